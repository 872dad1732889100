//! A schema that changes while the bus runs.

use event_bus::{BusSettings, Handler, HandlerError, Received, RetryPolicy, UnitOfWork};
use sqlx::{Executor as _, Row as _};

use super::full_pool;
use crate::support::{Ground, Placed, Running, on_both_transports, quick};

on_both_transports! {
    a_change_of_the_schema_costs_no_attempt,
}

/// Returns a column of its own table, whose type changes.
struct Returning;

impl Handler<Placed> for Returning {
    async fn handle(
        &self,
        placed: Received<Placed>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let insert = "insert into effects (handler, number) values ('reserve', $1) returning number, handler";
        let row = sqlx::query(insert)
            .bind(i64::from(placed.order))
            .fetch_one(&mut **work)
            .await?;
        assert_eq!(row.get_unchecked::<String, _>("handler"), "reserve");
        Ok(())
    }
}

/// Whatever counts as an attempt makes a dead letter here.
fn no_retries() -> BusSettings {
    BusSettings {
        retry: RetryPolicy {
            immediate: 0,
            delayed: 0,
            ..RetryPolicy::default()
        },
        ..quick()
    }
}

async fn a_change_of_the_schema_costs_no_attempt(ground: &Ground) {
    let pool = full_pool(&ground.database.url("stock"), 8).await;
    let stock = ground
        .participant_on("stock", pool.clone())
        .settings(no_retries());
    let stock = Running::start(stock.handle::<Placed, _>(Returning)).await;
    stock.bus.bound().await;
    let shop = Running::start(ground.participant("shop").await).await;
    let mut orders = 0;
    let mut expected = Vec::new();
    for change in [
        "select",
        "alter table effects alter column handler type varchar",
        "alter table inbox alter column handler type varchar",
        "alter table inbox add column noted text; create index on inbox (handler, message_id)",
        "alter table effects alter column handler type text",
    ] {
        pool.execute(change).await.expect(change);
        // One by one, so that each session of the pool has its turn.
        for _ in 0..10 {
            orders += 1;
            shop.place([orders]).await;
            expected.push(("reserve", i64::from(orders)));
            ground.expect_effects("stock", &expected).await;
        }
    }
    ground
        .expect_count("stock", "select count(*) from dead_letters", 0)
        .await;
}
