//! What is scheduled goes at its time, unless it is taken back before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_bus::{BusSettings, Handler, HandlerError, Received, UnitOfWork};
use jiff::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{BOUND, Effect, Ground, Placed, Running, on_both_transports, quick};

async fn schedule(bus: &Running, order: u32, at: Timestamp) -> Uuid {
    let mut work = bus.bus.begin().await.expect("a unit of work");
    let id = work.schedule(&Placed { order }, at).expect("it is JSON");
    work.commit().await.expect("it is committed");
    id
}

fn in_(delay: Duration) -> Timestamp {
    Timestamp::now() + delay
}

/// Both services, with everything declared: one message has come through.
async fn shop_and_stock(ground: &Ground) -> (Running, Running) {
    let stock = ground.participant("stock").await;
    let stock = Running::start(stock.handle::<Placed, _>(Effect::named("due"))).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    ground.expect_effects("stock", &[("due", 0)]).await;
    (shop, stock)
}

/// Notes when it was given each order.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<HashMap<u32, Timestamp>>>);

impl Handler<Placed> for Clock {
    async fn handle(
        &self,
        placed: Received<Placed>,
        _work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let mut seen = self.0.lock().expect("nobody panics");
        seen.entry(placed.order).or_insert_with(Timestamp::now);
        Ok(())
    }
}

/// What was scheduled long ago has not been waiting for the relay all the time.
async fn the_age_of_the_outbox_begins_when_a_message_is_due(ground: &Ground) {
    let (shop, _stock) = shop_and_stock(ground).await;
    schedule(&shop, 1, in_(Duration::from_secs(3600))).await;
    let pool = ground.database.pool("shop").await;
    let note_ages = "create table ages (age interval not null);
                     create function note_age() returns trigger language plpgsql as $$
                         begin
                             insert into ages values (clock_timestamp() - new.created_at);
                             return null;
                         end $$;
                     create trigger note_age after insert on outbox
                         for each row execute function note_age();
                     update outbox_scheduled
                     set created_at = created_at - interval '1 hour', due_at = clock_timestamp()";
    sqlx::raw_sql(note_ages)
        .execute(&pool)
        .await
        .expect("it is valid");
    ground
        .expect_effects("stock", &[("due", 0), ("due", 1)])
        .await;
    let is_new = "select bool_and(age < interval '1 minute') from ages";
    let is_new: Option<bool> = sqlx::query_scalar(is_new)
        .fetch_one(&pool)
        .await
        .expect("a database");
    assert_eq!(is_new, Some(true));
}

async fn an_idle_bus_handles_what_is_due_within_a_tenth_of_a_second(ground: &Ground) {
    let clock = Clock::default();
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(clock.clone())).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([0]).await;
    let seen = |count: usize| {
        let clock = clock.clone();
        test_servers::eventually("they are handled", BOUND, async move || {
            let seen = clock.0.lock().expect("nobody panics").clone();
            (seen.len() == count).then_some(seen)
        })
    };
    seen(1).await;
    // At odd times, so that no regular look at the table meets them all.
    let start = in_(Duration::from_millis(300));
    let mut due = HashMap::new();
    for order in 1..=20 {
        let at = start + Duration::from_millis(173) * order;
        schedule(&shop, order, at).await;
        due.insert(order, at);
    }
    let seen = seen(21).await;
    let mut late: Vec<_> = due
        .iter()
        .map(|(order, at)| seen[order].duration_since(*at).as_millis())
        .collect();
    late.sort_unstable();
    assert!(late[0] >= 0, "none came before its time: {late:?}");
    // Looked for each second, the one in the middle would be half a second late. The last two are
    // left to the machine.
    assert!(late[9] < 100 && late[17] < 300, "milliseconds: {late:?}");
}

async fn a_scheduled_message_survives_a_restart(ground: &Ground) {
    let (shop, _stock) = shop_and_stock(ground).await;
    schedule(&shop, 1, in_(Duration::from_millis(300))).await;
    let later = in_(Duration::from_millis(1500));
    schedule(&shop, 2, later).await;
    shop.stop().await;
    // The first one becomes due while nobody is there, the second one after.
    test_servers::eventually("it is due", BOUND, async || {
        let pool = ground.database.pool("shop").await;
        let due = "select count(*) from outbox_scheduled where due_at < clock_timestamp()";
        let due: i64 = sqlx::query_scalar(due).fetch_one(&pool).await.ok()?;
        (due == 1).then_some(())
    })
    .await;
    let _shop = Running::start(ground.participant("shop").await).await;
    ground
        .expect_effects("stock", &[("due", 0), ("due", 1)])
        .await;
    assert!(Timestamp::now() < later, "the due one waits for no other");
    ground
        .expect_effects("stock", &[("due", 0), ("due", 1), ("due", 2)])
        .await;
    assert!(Timestamp::now() >= later, "it came before its time");
}

async fn a_cancelled_message_never_goes(ground: &Ground) {
    let (shop, _stock) = shop_and_stock(ground).await;
    let at = in_(Duration::from_millis(600));
    let cancelled = schedule(&shop, 1, at).await;
    let kept = schedule(&shop, 2, at).await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    let unwritten = work.schedule(&Placed { order: 3 }, at).expect("it is JSON");
    assert!(work.cancel_scheduled(unwritten).await.expect("a database"));
    assert!(!work.cancel_scheduled(unwritten).await.expect("a database"));
    assert!(work.cancel_scheduled(cancelled).await.expect("a database"));
    work.commit().await.expect("it is committed");
    // Rolled back, a cancellation has not been.
    let mut work = shop.bus.begin().await.expect("a unit of work");
    assert!(work.cancel_scheduled(kept).await.expect("a database"));
    work.rollback().await.expect("it is rolled back");

    schedule(&shop, 4, at + Duration::from_millis(50)).await;
    ground
        .expect_effects("stock", &[("due", 0), ("due", 2), ("due", 4)])
        .await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    for gone in [kept, cancelled, Uuid::now_v7()] {
        let waiting = work.cancel_scheduled(gone).await.expect("a database");
        assert!(!waiting, "it has gone, or never was");
    }
}

async fn an_unfinished_cancellation_holds_up_nobody(ground: &Ground) {
    let (shop, _stock) = shop_and_stock(ground).await;
    let at = in_(Duration::from_millis(200));
    let held = schedule(&shop, 1, at).await;
    let mut undecided = shop.bus.begin().await.expect("a unit of work");
    assert!(undecided.cancel_scheduled(held).await.expect("a database"));
    schedule(&shop, 2, at + Duration::from_millis(50)).await;
    ground
        .expect_effects("stock", &[("due", 0), ("due", 2)])
        .await;
    shop.place([3]).await;
    ground
        .expect_effects("stock", &[("due", 0), ("due", 2), ("due", 3)])
        .await;
    undecided.rollback().await.expect("it is rolled back");
    let all = [("due", 0), ("due", 1), ("due", 2), ("due", 3)];
    ground.expect_effects("stock", &all).await;
}

async fn of_a_cancellation_and_a_release_exactly_one_wins(ground: &Ground) {
    const ORDERS: u32 = 200;
    let (shop, _stock) = shop_and_stock(ground).await;
    let start = in_(Duration::from_millis(500));
    let mut work = shop.bus.begin().await.expect("a unit of work");
    let mut scheduled = Vec::new();
    for order in 1..=ORDERS {
        let at = start + Duration::from_millis(5) * order;
        let id = work.schedule(&Placed { order }, at).expect("it is JSON");
        scheduled.push((order, id, at));
    }
    work.commit().await.expect("it is committed");

    // Each is cancelled at about the time it is due, give or take what the release takes.
    let mut cancelling = JoinSet::new();
    for (order, id, at) in scheduled {
        let bus = shop.bus.clone();
        let begin_at = at + Duration::from_millis(u64::from(order % 16));
        cancelling.spawn(async move {
            let wait = begin_at.duration_since(Timestamp::now());
            tokio::time::sleep(wait.try_into().unwrap_or_default()).await;
            let mut work = bus.begin().await.expect("a unit of work");
            let cancelled = work.cancel_scheduled(id).await.expect("a database");
            work.commit().await.expect("it is committed");
            (order, cancelled)
        });
    }
    let outcomes = cancelling.join_all().await;
    let gone = outcomes.iter().filter(|(_, cancelled)| !cancelled);
    let mut expected: Vec<_> = gone.map(|(order, _)| ("due", i64::from(*order))).collect();
    expected.push(("due", 0));
    // One that was cancelled and went all the same would be one too many.
    schedule(&shop, ORDERS + 1, Timestamp::now()).await;
    expected.push(("due", i64::from(ORDERS) + 1));
    ground.expect_effects("stock", &expected).await;
    for table in [
        "select count(*) from outbox_scheduled",
        "select count(*) from outbox",
    ] {
        ground.expect_count("shop", table, 0).await;
    }
    ground.expect_effects("stock", &expected).await;
}

/// A database whose clock is ahead of the program's by so many seconds; behind, if negative. The
/// schema's own functions come before those of the system.
async fn with_clock(ground: &Ground, schema: &str, ahead: i64) -> PgPool {
    let pool = ground.database.pool(schema).await;
    for function in ["statement_timestamp", "clock_timestamp", "now"] {
        let skewed = format!(
            "create function {function}() returns timestamptz language sql stable as
             $$ select pg_catalog.{function}() + interval '{ahead} seconds' $$"
        );
        let created = sqlx::raw_sql(AssertSqlSafe(skewed)).execute(&pool).await;
        created.expect("it is valid");
    }
    let options: PgConnectOptions = ground.database.url(schema).parse().expect("a URL");
    let path = format!("{schema},pg_catalog");
    let options = options.options([("search_path", &*path)]);
    let pool = PgPoolOptions::new().max_connections(10);
    pool.connect_with(options).await.expect("a database")
}

async fn commits(pool: &PgPool) -> i64 {
    let commits = "select xact_commit from pg_stat_database where datname = current_database()";
    let commits = sqlx::query_scalar(commits).fetch_one(pool).await;
    commits.expect("statistics")
}

async fn a_scheduled_message_is_on_time_whatever_the_databases_clock_says(ground: &Ground) {
    let clock = Clock::default();
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(clock.clone())).await;
    let pool = ground.database.pool("shop").await;
    let has_come = async |order: u32| {
        test_servers::eventually("it has come", BOUND, async || {
            let seen = clock.0.lock().expect("nobody panics");
            seen.get(&order).copied()
        })
        .await
    };
    for (order, ahead) in [(1, 7200), (2, -60)] {
        sqlx::raw_sql(
            "drop function if exists
             shop.statement_timestamp(), shop.clock_timestamp(), shop.now()",
        )
        .execute(&pool)
        .await
        .expect("a database");
        let skewed = with_clock(ground, "shop", ahead).await;
        let shop = Running::start(ground.participant_on("shop", skewed)).await;
        let far = schedule(&shop, order + 10, in_(Duration::from_secs(3600))).await;
        let at = in_(Duration::from_secs(2));
        schedule(&shop, order, at).await;
        let before = commits(&pool).await;
        let came = has_come(order).await;
        assert!(
            came >= at,
            "it came {:?} before its time",
            at.duration_since(came)
        );
        // A relay that never sleeps commits some hundred times a second.
        let busy = commits(&pool).await - before;
        let seconds = came.duration_since(at).as_secs() + 3;
        assert!(busy < 60 * seconds, "{busy} commits in {seconds} s");
        let mut work = shop.bus.begin().await.expect("a unit of work");
        assert!(
            work.cancel_scheduled(far).await.expect("a database"),
            "it waits"
        );
        work.commit().await.expect("it is committed");
        shop.stop().await;
    }
}

async fn the_first_and_the_last_time_there_is_are_times_as_well(ground: &Ground) {
    let (shop, _stock) = shop_and_stock(ground).await;
    let last = schedule(&shop, 1, Timestamp::MAX).await;
    schedule(&shop, 2, Timestamp::MIN).await;
    schedule(&shop, 3, in_(Duration::from_millis(100))).await;
    ground
        .expect_effects("stock", &[("due", 0), ("due", 2), ("due", 3)])
        .await;
    let mut work = shop.bus.begin().await.expect("a unit of work");
    assert!(
        work.cancel_scheduled(last).await.expect("a database"),
        "it waits"
    );
    work.commit().await.expect("it is committed");
}

/// Nor of the polls, which count as a time, too.
async fn a_relay_that_polls_rarely_is_woken_by_what_is_scheduled(ground: &Ground) {
    let stock = ground.participant("stock").await;
    let _stock = Running::start(stock.handle::<Placed, _>(Effect::named("due"))).await;
    for poll_interval in [Duration::from_secs(3600), Duration::from_millis(10)] {
        let settings = BusSettings {
            poll_interval,
            ..quick()
        };
        let shop = ground.participant("shop").await.settings(settings);
        let shop = Running::start(shop).await;
        let order = u32::from(poll_interval < Duration::from_secs(1));
        shop.place([order]).await;
        schedule(&shop, order + 10, in_(Duration::from_millis(300))).await;
        let done = format!("select count(*) from effects where number in ({order}, {order} + 10)");
        let pool = ground.database.pool("stock").await;
        test_servers::eventually("both are handled", BOUND, async || {
            let done = sqlx::query_scalar(AssertSqlSafe(done.clone()));
            let count: i64 = done.fetch_one(&pool).await.ok()?;
            (count == 2).then_some(())
        })
        .await;
        shop.stop().await;
    }
}

on_both_transports! {
    a_scheduled_message_is_on_time_whatever_the_databases_clock_says,
    the_first_and_the_last_time_there_is_are_times_as_well,
    a_relay_that_polls_rarely_is_woken_by_what_is_scheduled,
    the_age_of_the_outbox_begins_when_a_message_is_due,
    an_idle_bus_handles_what_is_due_within_a_tenth_of_a_second,
    a_scheduled_message_survives_a_restart,
    a_cancelled_message_never_goes,
    an_unfinished_cancellation_holds_up_nobody,
    of_a_cancellation_and_a_release_exactly_one_wins,
}
