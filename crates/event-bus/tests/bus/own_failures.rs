//! A failure that is the message's own says nothing about the next message.

use std::time::Duration;

use event_bus::{
    BusSettings, DatabaseFault, Handler, HandlerError, Received, RetryPolicy, UnitOfWork,
};

use crate::support::{Effect, Ground, Placed, Running, on_both_transports, quick};

/// More than the kill switch looks back on.
const BAD: u32 = 30;

/// Writes what the database refuses for the first orders.
struct Writes {
    refused: fn(u32) -> String,
}

impl Handler<Placed> for Writes {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        if placed.order <= BAD {
            let name = (self.refused)(placed.order);
            sqlx::query("insert into names (name) values ($1)")
                .bind(name)
                .execute(&mut **work)
                .await?;
        }
        Effect::named("writes").apply(placed.order, work).await
    }
}

async fn stock(ground: &Ground, refused: fn(u32) -> String, settings: BusSettings) -> Running {
    let pool = ground.database.pool("stock").await;
    sqlx::query("create table names (name text not null check (name <> 'refused'))")
        .execute(&pool)
        .await
        .expect("a table");
    let stock = ground.participant("stock").await.settings(settings);
    Running::start(stock.handle::<Placed, _>(Writes { refused })).await
}

async fn data_that_the_database_refuses_makes_a_dead_letter_at_once(ground: &Ground) {
    let with_nul = |order| format!("order \0 {order}");
    let stock = stock(ground, with_nul, BusSettings::default()).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=BAD + 1).await;
    let after = i64::from(BAD + 1);
    ground.expect_effects("stock", &[("writes", after)]).await;
    let refused = "select count(*) from dead_letters
                   where reason = 'refused_data' and attempts = 1
                     and reasons = array['the database refuses the data (SQLSTATE 22021)']";
    ground.expect_count("stock", refused, BAD.into()).await;
    assert!(stock.bus.health().paused_handlers.is_empty());
    shop.place([BAD + 2]).await;
    ground
        .expect_effects("stock", &[("writes", after), ("writes", after + 1)])
        .await;
}

async fn a_violated_constraint_is_retried_and_pauses_nothing(ground: &Ground) {
    let settings = BusSettings {
        retry: RetryPolicy {
            immediate: 1,
            delayed: 1,
            first_delay: Duration::from_millis(20),
            ..RetryPolicy::default()
        },
        ..quick()
    };
    let stock = stock(ground, |_| "refused".to_owned(), settings).await;
    let shop = Running::start(ground.participant("shop").await).await;
    shop.place(1..=BAD + 1).await;
    let after = i64::from(BAD + 1);
    ground.expect_effects("stock", &[("writes", after)]).await;
    let exhausted = "select count(*) from dead_letters
                     where reason = 'retries_exhausted' and attempts = 3";
    ground.expect_count("stock", exhausted, BAD.into()).await;
    assert!(stock.bus.health().paused_handlers.is_empty());
    shop.place([BAD + 2]).await;
    ground
        .expect_effects("stock", &[("writes", after), ("writes", after + 1)])
        .await;
}

on_both_transports! {
    data_that_the_database_refuses_makes_a_dead_letter_at_once,
    a_violated_constraint_is_retried_and_pauses_nothing,
}

#[tokio::test]
async fn faults_of_postgres_are_told_apart() {
    let ground = Ground::in_memory().await;
    let pool = ground.database.pool("stock").await;
    for (query, fault) in [
        ("select 1 / 0", DatabaseFault::RefusedData),
        (
            "insert into effects values (null, 1)",
            DatabaseFault::ViolatedConstraint,
        ),
        ("select * from nothing", DatabaseFault::Other),
        (
            "do $$ begin raise exception 'told to' using errcode = 'deadlock_detected'; end $$",
            DatabaseFault::Conflict,
        ),
        (
            "do $$ begin raise exception 'told to' using errcode = 'admin_shutdown'; end $$",
            DatabaseFault::Outage,
        ),
    ] {
        let error = sqlx::query(query).execute(&pool).await;
        assert_eq!(
            DatabaseFault::of(&error.expect_err(query)),
            fault,
            "{query}"
        );
    }
}
