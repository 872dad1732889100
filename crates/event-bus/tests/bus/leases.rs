//! One relay for all instances: another one takes over from a leader that is stopped or cut off.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use event_bus::{BusSettings, EventBus, RabbitMq};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use test_servers::{FaultProxy, TestDatabase};
use tokio_util::sync::CancellationToken;

use crate::support::{BOUND, Effect, Ground, Placed, Running, quick};

/// The sessions that hold the lock of this schema's relay.
const LEADERS: &str = "select count(*) from pg_locks
    where locktype = 'advisory' and granted
      and database = (select oid from pg_database where datname = current_database())
      and (classid::bigint << 32 | objid::bigint)
          = hashtextextended('event_bus_relay.' || current_schema(), 0)";

async fn start_stock(ground: &Ground) -> Running {
    let stock = ground.participant("stock").await;
    let stock = stock.handle::<Placed, _>(Effect::named("reserve"));
    let stock = Running::start(stock).await;
    stock.bus.bound().await;
    stock
}

/// Polls so rarely that only the lease brings another leader in time.
fn patient() -> BusSettings {
    BusSettings {
        poll_interval: BOUND * 10,
        ..quick()
    }
}

async fn leaders(pool: &PgPool, expected: i64) {
    test_servers::eventually("so many lead", BOUND, async || {
        let leaders: i64 = sqlx::query_scalar(LEADERS).fetch_one(pool).await.ok()?;
        (leaders == expected).then_some(())
    })
    .await;
}

/// A process of this program in which one test runs. Killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(test: &str, variables: &[(&str, &str)]) -> Self {
        let this = std::env::current_exe().expect("it runs");
        let mut command = Command::new(this);
        command.args(["--exact", test, "--ignored", "--nocapture"]);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("there is a kill command").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

const DATABASE: &str = "LEADER_DATABASE";
const BROKER: &str = "LEADER_BROKER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process of another test"]
async fn leads_in_a_process_of_its_own() {
    let variable = |name| std::env::var(name).expect("it is set");
    let pool = PgPoolOptions::new().connect(&variable(DATABASE)).await;
    let rabbitmq = RabbitMq::new(&variable(BROKER)).expect("a broker's address");
    let shop = EventBus::builder("shop", pool.expect("a database"), rabbitmq);
    let shop = shop.settings(quick()).start(CancellationToken::new()).await;
    shop.expect("it starts").stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_takes_over_from_a_leader_that_is_stopped() {
    let ground = Ground::rabbitmq().await;
    let _stock = start_stock(&ground).await;
    let database = ground.database.url("shop");
    let variables = [(DATABASE, &*database), (BROKER, &ground.broker().url())];
    let leader = Process::start("leases::leads_in_a_process_of_its_own", &variables);
    leaders(&ground.database.pool("shop").await, 1).await;
    let standby = Running::start(ground.participant("shop").await.settings(patient())).await;
    standby.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;

    leader.signal("-STOP");
    standby.place([2]).await;
    ground
        .expect_effects("stock", &[("reserve", 1), ("reserve", 2)])
        .await;

    // It finds that it no longer leads, and stands by: when the other one stops, it leads again.
    leader.signal("-CONT");
    standby.place(3..=50).await;
    let all: Vec<_> = (1..=50).map(|n| ("reserve", n)).collect();
    ground.expect_effects("stock", &all).await;
    ground
        .expect_count("shop", "select count(*) from outbox", 0)
        .await;
    let mut work = standby.bus.begin().await.expect("a unit of work");
    work.publish(&Placed { order: 51 }).expect("it is JSON");
    standby.stop().await;
    work.commit().await.expect("it is committed");
    let all: Vec<_> = (1..=51).map(|n| ("reserve", n)).collect();
    ground.expect_effects("stock", &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_takes_over_from_a_leader_that_is_cut_off_silently() {
    let ground = Ground::rabbitmq().await;
    let _stock = start_stock(&ground).await;
    let proxy = FaultProxy::before(&ground.database.url("shop")).await;
    let pool = PgPoolOptions::new().connect(proxy.url()).await;
    let rabbitmq = RabbitMq::new(&ground.broker().url()).expect("a broker's address");
    let leader = EventBus::builder("shop", pool.expect("a database"), rabbitmq);
    let leader = Running::start(leader.settings(quick())).await;
    leader.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    let standby = Running::start(ground.participant("shop").await.settings(patient())).await;

    assert!(proxy.silence().await > 0);
    standby.place([2]).await;
    ground
        .expect_effects("stock", &[("reserve", 1), ("reserve", 2)])
        .await;
    // The one that is cut off gives up by itself, says so, and recovers.
    let problem = async |is_there: bool| {
        test_servers::eventually("the relay's problem", BOUND * 2, async || {
            let problems = leader.bus.health().problems;
            (problems.iter().any(|p| p.subject == "relay") == is_there).then_some(())
        })
        .await;
    };
    problem(true).await;
    proxy.restore().await;
    problem(false).await;
}

/// With the database of the only instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_database_fails_is_a_problem_until_it_is_back() {
    let ground = Ground::in_memory().await;
    let _stock = start_stock(&ground).await;
    let proxy = FaultProxy::before(&ground.database.url("shop")).await;
    let pool = PgPoolOptions::new().connect(proxy.url()).await;
    let shop = ground.participant_on("shop", pool.expect("a database"));
    let shop = Running::start(shop).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    proxy.cut().await;
    let relay = async |is_there: bool| {
        test_servers::eventually("the relay's problem", BOUND, async || {
            let problems = shop.bus.health().problems;
            (problems.iter().any(|p| p.subject == "relay") == is_there).then_some(())
        })
        .await;
    };
    relay(true).await;
    proxy.restore().await;
    relay(false).await;
    shop.place([2]).await;
    ground
        .expect_effects("stock", &[("reserve", 1), ("reserve", 2)])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_long_while_the_broker_is_connected_are_a_problem() {
    let ground = Ground::in_memory().await;
    let _stock = start_stock(&ground).await;
    let pool = ground.database.pool("shop").await;
    // Another instance leads and publishes nothing.
    let leader = ground.lead_without_publishing("shop").await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place([1]).await;
    sqlx::raw_sql("update outbox set created_at = clock_timestamp() - interval '1 hour'")
        .execute(&pool)
        .await
        .expect("a database");
    let waiting = async |is_there: bool| {
        test_servers::eventually("the outbox's problem", BOUND, async || {
            let problems = shop.bus.health().problems;
            (problems.iter().any(|p| p.subject == "outbox") == is_there).then_some(())
        })
        .await;
    };
    waiting(true).await;
    drop(leader);
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    waiting(false).await;
}

/// It would hold back vacuum for as long as the relay leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_keeps_no_transaction_open_that_its_session_came_with() {
    let ground = Ground::in_memory().await;
    let pool = PgPoolOptions::new().max_connections(4);
    let pool = pool.connect(&ground.database.url("shop")).await;
    let pool = pool.expect("a database");
    let mut connections = Vec::new();
    for (number, forgotten) in ["begin", "begin", "begin; select 1", "begin"]
        .iter()
        .enumerate()
    {
        let mut connection = pool.acquire().await.expect("a connection");
        sqlx::raw_sql(*forgotten)
            .execute(&mut *connection)
            .await
            .expect("it begins");
        if number % 2 == 1 {
            let failing = sqlx::raw_sql("select 1 / 0")
                .execute(&mut *connection)
                .await;
            failing.expect_err("the transaction has failed");
        }
        connections.push(connection);
    }
    drop(connections);
    let shop = Running::start(ground.participant_on("shop", pool)).await;
    let observer = ground.database.pool("shop").await;
    leaders(&observer, 1).await;
    let states = "select count(*) from pg_stat_activity join pg_locks using (pid)
                  where locktype = 'advisory' and granted and state like 'idle in transaction%'
                    and datname = current_database()";
    test_servers::eventually("the leader is in no transaction", BOUND, async || {
        let open: i64 = sqlx::query_scalar(states).fetch_one(&observer).await.ok()?;
        (open == 0).then_some(())
    })
    .await;
    drop(shop);
}

/// The name of a notification channel has 63 bytes at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_reach_the_leader_also_from_a_schema_with_a_long_name() {
    let name = "shop_with_a_schema_whose_name_is_as_long_as_names_can_be_really";
    assert_eq!(name.len(), 63);
    let ground = Ground::in_memory().await;
    let _stock = start_stock(&ground).await;
    let database = TestDatabase::create(&[name]).await;
    let pool = database.pool(name).await;
    event_bus::migrate(&pool).await.expect("the bus's tables");
    let bus = async || {
        let bus = ground.participant_on("shop", database.pool(name).await);
        Running::start(bus.settings(patient())).await
    };
    let leader = bus().await;
    leader.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    let standby = bus().await;
    for order in 2..=5 {
        standby.place([order]).await;
        let all: Vec<_> = (1..=i64::from(order)).map(|n| ("reserve", n)).collect();
        ground.expect_effects("stock", &all).await;
    }
    assert_eq!(standby.bus.health().problems, []);
}

/// With no connection of the pool left, only the session of its own goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_goes_on_while_the_pool_is_exhausted() {
    let ground = Ground::in_memory().await;
    let _stock = start_stock(&ground).await;
    let options = PgPoolOptions::new().max_connections(3);
    let options = options.acquire_timeout(Duration::from_millis(500));
    let pool = options.connect(&ground.database.url("shop")).await;
    let pool = pool.expect("a database");
    let shop = Running::start(ground.participant_on("shop", pool.clone())).await;
    shop.place([1]).await;
    ground.expect_effects("stock", &[("reserve", 1)]).await;
    let mut held = Vec::new();
    while let Ok(connection) = pool.acquire().await {
        held.push(connection);
    }
    // Another instance commits; this one leads.
    let other = Running::start(ground.participant("shop").await).await;
    other.place([2]).await;
    ground
        .expect_effects("stock", &[("reserve", 1), ("reserve", 2)])
        .await;
}
