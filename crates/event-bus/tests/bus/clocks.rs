//! The database's clock and the program's may differ. Delays are the same as if they did not.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_bus::{
    BusSettings, Handler, HandlerError, KillSwitch, Received, RetryPolicy, UnitOfWork,
};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::{BOUND, Ground, Placed, Running};

const DELAY: Duration = Duration::from_millis(400);
/// Delays are spread over their upper half.
const SHORTEST: Duration = Duration::from_millis(200);

/// Connections on which the database's clock is so much ahead of the program's: functions of the
/// schema stand before those of PostgreSQL.
async fn skewed(ground: &Ground, schema: &str, seconds: i64) -> PgPool {
    let pool = ground.database.pool(schema).await;
    for clock in ["statement_timestamp", "clock_timestamp", "now"] {
        let function = format!(
            "create function {clock}() returns timestamptz language sql stable
             as $$ select pg_catalog.{clock}() + interval '{seconds} seconds' $$"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(function))
            .execute(&pool)
            .await
            .expect("a clock of the schema's own");
    }
    let options = PgConnectOptions::from_str(&ground.database.url(schema)).expect("an address");
    let options = options.options([("search_path", &*format!("{schema},pg_catalog"))]);
    let pool = PgPoolOptions::new().max_connections(10);
    pool.connect_with(options).await.expect("a connection")
}

/// Notes when it was called, and fails.
#[derive(Clone, Default)]
struct Failing {
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Failing {
    fn calls(&self) -> Vec<Instant> {
        self.calls.lock().expect("no panic before").clone()
    }
}

impl Handler<Placed> for Failing {
    async fn handle(&self, _: Received<Placed>, _: &mut UnitOfWork) -> Result<(), HandlerError> {
        self.calls
            .lock()
            .expect("no panic before")
            .push(Instant::now());
        Err(HandlerError::retry("told to fail"))
    }
}

async fn attempts_keep_their_distance(seconds: i64) {
    let ground = Ground::in_memory().await;
    let pool = skewed(&ground, "stock", seconds).await;
    let failing = Failing::default();
    let settings = BusSettings {
        retry: RetryPolicy {
            immediate: 0,
            delayed: 3,
            first_delay: DELAY,
            max_delay: DELAY,
            ..RetryPolicy::default()
        },
        ..BusSettings::default()
    };
    let stock = ground
        .participant_on("stock", pool.clone())
        .settings(settings);
    let _stock = Running::start(stock.handle::<Placed, _>(failing.clone())).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    ground
        .expect_count("stock", "select attempts::bigint from dead_letters", 4)
        .await;
    let calls = failing.calls();
    // The batch of it was not counted as an attempt, and was tried again at once.
    assert_eq!(calls.len(), 5);
    for pair in calls[1..].windows(2) {
        let distance = pair[1] - pair[0];
        assert!(distance >= SHORTEST, "tried again after {distance:?}");
    }
    let first_failed: bool = sqlx::query_scalar(
        "select clock_timestamp() - first_failed_at between interval '0' and interval '1 minute'
         from dead_letters",
    )
    .fetch_one(&pool)
    .await
    .expect("the letter");
    assert!(first_failed, "the first failure is not of this minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_keep_their_distance_when_the_database_is_two_hours_ahead() {
    attempts_keep_their_distance(7200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_keep_their_distance_when_the_database_is_a_minute_behind() {
    attempts_keep_their_distance(-60).await;
}

/// What a paused handler's messages wait for is the pause, whatever the clocks say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_handler_is_probed_when_the_database_is_a_minute_behind() {
    let ground = Ground::in_memory().await;
    let pool = skewed(&ground, "stock", -60).await;
    let failing = Failing::default();
    let settings = BusSettings {
        kill_switch: Some(KillSwitch {
            window: 2,
            failure_share: 1.0,
            pause: DELAY,
            max_pause: DELAY,
        }),
        retry: RetryPolicy {
            immediate: 0,
            delayed: 5,
            first_delay: BOUND * 10,
            max_delay: BOUND * 10,
            ..RetryPolicy::default()
        },
        ..BusSettings::default()
    };
    let stock = ground.participant_on("stock", pool).settings(settings);
    let stock = Running::start(stock.handle::<Placed, _>(failing.clone())).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1, 2]).await;
    test_servers::eventually("the handler is paused", BOUND, async || {
        (!stock.bus.health().paused_handlers.is_empty()).then_some(())
    })
    .await;
    let before = failing.calls().len();
    shop.place([3]).await;
    test_servers::eventually("it is probed", BOUND, async || {
        (failing.calls().len() > before).then_some(())
    })
    .await;
}
