//! The role of a running service reads and writes rows, and owns nothing.

use std::str::FromStr;

use event_bus::{EventBus, InMemory};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use test_servers::{TestDatabase, eventually};

use crate::support::{BOUND, Effect, Placed, Running, quick};

/// The grants of the crate's README.
const GRANTS: &str = "
    grant usage on schema stock to clerk;
    grant select, insert, update, delete on all tables in schema stock to clerk";

struct Scene {
    database: TestDatabase,
    owner: PgPool,
}

impl Scene {
    async fn set_up() -> Self {
        let database = TestDatabase::create(&["stock", "clerk"]).await;
        let owner = database.pool("stock").await;
        event_bus::migrate(&owner).await.expect("the bus's tables");
        let scene = Self { database, owner };
        let effects = "create table effects (handler text not null, number bigint not null)";
        scene.as_owner(effects).await;
        scene.as_owner(GRANTS).await;
        scene
    }

    async fn as_owner(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.owner)
            .await
            .expect("the owner may");
    }

    /// A bus in the schema of `stock`, as a role that owns none of it.
    async fn start_as_clerk(&self) -> Running {
        let options = PgConnectOptions::from_str(&self.database.url("clerk"))
            .expect("a URL")
            .options([("search_path", "stock")]);
        let pool = PgPoolOptions::new().connect_with(options).await;
        let bus = EventBus::builder("stock", pool.expect("a pool"), InMemory::new());
        Running::start(
            bus.settings(quick())
                .handle::<Placed, _>(Effect::named("reserved")),
        )
        .await
    }

    async fn count(&self, query: &'static str) -> i64 {
        let count = sqlx::query_scalar(query).fetch_one(&self.owner).await;
        count.expect("a count")
    }
}

/// The problem of this subject, once the bus reports it.
async fn problem(bus: &Running, subject: &str) -> String {
    eventually("the problem is reported", BOUND, async || {
        let problems = bus.bus.health().problems;
        let problem = problems.iter().find(|problem| problem.subject == subject)?;
        Some(problem.reason.clone())
    })
    .await
}

#[tokio::test]
async fn a_role_that_owns_no_table_handles_messages_and_keeps_the_tables() {
    let scene = Scene::set_up().await;
    let partitions = "select count(*) from pg_inherits where inhparent = 'stock.inbox'::regclass";
    scene.as_owner(
        "do $$ declare partition text; begin
             for partition in select inhrelid::regclass::text from pg_inherits
                              where inhparent = 'inbox'::regclass and inhrelid::regclass::text <> 'inbox_default'
             loop execute format('drop table %s', partition); end loop;
         end $$",
    )
    .await;
    let stock = scene.start_as_clerk().await;
    eventually("the partitions are made", BOUND, async || {
        (scene.count(partitions).await == 4).then_some(())
    })
    .await;
    stock.place([1]).await;
    eventually("the message is handled", BOUND, async || {
        (scene.count("select count(*) from effects").await == 1).then_some(())
    })
    .await;
    assert_eq!(stock.bus.health().problems, []);
    stock.stop().await;
}

#[tokio::test]
async fn a_missing_privilege_is_named_by_health_from_the_start() {
    let scene = Scene::set_up().await;
    scene
        .as_owner("revoke delete on dead_letters from clerk")
        .await;
    let stock = scene.start_as_clerk().await;
    let reason = problem(&stock, "database privileges").await;
    assert_eq!(
        reason,
        "the role lacks privileges; grant it delete on dead_letters"
    );
    stock.stop().await;
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_named_by_health_from_the_start() {
    let scene = Scene::set_up().await;
    scene.as_owner("drop table group_members").await;
    let stock = scene.start_as_clerk().await;
    let reason = problem(&stock, "database privileges").await;
    assert_eq!(
        reason,
        "the schema has no table group_members; run the bus's migrations"
    );
    stock.stop().await;
}

/// The list of tables in the program is complete.
#[tokio::test]
async fn every_table_of_the_bus_is_checked() {
    let scene = Scene::set_up().await;
    scene
        .as_owner("revoke all on all tables in schema stock from clerk")
        .await;
    let stock = scene.start_as_clerk().await;
    let reason = problem(&stock, "database privileges").await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'stock'::regnamespace and relkind in ('r', 'p') and not relispartition
           and relname not in ('effects', '_event_bus_migrations', 'schema_requirements')",
    )
    .fetch_all(&scene.owner)
    .await
    .expect("the tables");
    for table in tables {
        for privilege in ["select", "insert", "update", "delete"] {
            let missing = format!("{privilege} on {table}");
            assert!(reason.contains(&missing), "{missing} is not in: {reason}");
        }
    }
    stock.stop().await;
}
