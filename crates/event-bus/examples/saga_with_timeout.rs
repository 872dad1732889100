//! A saga with a time-out: an order waits for its payment, but not for ever.
//!
//! ```text
//! DATABASE_URL=postgres://… cargo run --example saga_with_timeout
//! ```
//!
//! The saga's state is a row. Whichever comes first decides: the payment, or the scheduled message
//! that says it is overdue. Both ask for the same state and leave another, in the transaction of
//! their message, so that the loser finds nothing to do. That makes the time-out right; cancelling
//! it only saves the message.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::time::Duration;

use event_bus::{
    Command, Event, EventBus, Handler, HandlerError, InMemory, Message, Received, UnitOfWork,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long an order waits for its payment.
const PAYMENT_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct PaymentReceived {
    order: i32,
}

impl Message for PaymentReceived {
    type Kind = Event;
    const NAME: &'static str = "payments.payment.received";
}

/// What the saga tells itself when time is up.
#[derive(Debug, Serialize, Deserialize)]
struct PaymentOverdue {
    order: i32,
}

impl Message for PaymentOverdue {
    type Kind = Command;
    const NAME: &'static str = "shop.order.payment-overdue";
}

#[derive(Debug, Clone)]
struct OrderSaga;

impl OrderSaga {
    /// Begins: the order waits, and with the same commit its time runs.
    async fn place(bus: &EventBus, order: i32) -> Outcome {
        let mut work = bus.begin().await?;
        let until = Timestamp::now() + PAYMENT_WITHIN;
        let overdue = work.schedule(&PaymentOverdue { order }, until)?;
        sqlx::query("insert into orders (id, state, overdue) values ($1, 'waiting', $2)")
            .bind(order)
            .bind(overdue)
            .execute(&mut *work)
            .await?;
        work.commit().await?;
        println!("order {order} waits for its payment");
        Ok(())
    }

    /// Goes from one state to another, if it is in the first. Returns the id of the time-out then.
    async fn step(
        work: &mut UnitOfWork,
        order: i32,
        (from, to): (&str, &str),
    ) -> sqlx::Result<Option<Uuid>> {
        sqlx::query_scalar(
            "update orders set state = $3 where id = $1 and state = $2 returning overdue",
        )
        .bind(order)
        .bind(from)
        .bind(to)
        .fetch_optional(&mut **work)
        .await
    }
}

impl Handler<PaymentReceived> for OrderSaga {
    async fn handle(
        &self,
        payment: Received<PaymentReceived>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = payment.order;
        let in_time = ("waiting", "confirmed");
        if let Some(overdue) = Self::step(work, order, in_time).await? {
            let is_cancelled = work.cancel_scheduled(overdue).await?;
            println!("order {order} is paid; its time-out is cancelled: {is_cancelled}");
            return Ok(());
        }
        let too_late = ("cancelled", "refunded");
        if Self::step(work, order, too_late).await?.is_some() {
            println!("order {order} is paid too late, the money goes back");
        }
        Ok(())
    }
}

impl Handler<PaymentOverdue> for OrderSaga {
    async fn handle(
        &self,
        overdue: Received<PaymentOverdue>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        let order = overdue.order;
        let in_vain = ("waiting", "cancelled");
        if Self::step(work, order, in_vain).await?.is_some() {
            println!("order {order} is not paid in time");
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let database: PgConnectOptions = variable("DATABASE_URL")?.parse()?;
    let own = format!("saga_{}", Uuid::now_v7().simple());
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(database.options([("search_path", &own)]))
        .await?;
    execute(&pool, &format!("create schema {own}")).await?;
    let outcome = run(&pool).await;
    execute(&pool, &format!("drop schema {own} cascade")).await?;
    outcome
}

async fn run(pool: &PgPool) -> Outcome {
    event_bus::migrate(pool).await?;
    let orders = "create table orders (id integer primary key, state text not null, overdue uuid)";
    execute(pool, orders).await?;
    let shutdown = CancellationToken::new();
    let bus = EventBus::builder("shop", pool.clone(), InMemory::new())
        .handle::<PaymentReceived, _>(OrderSaga)
        .handle::<PaymentOverdue, _>(OrderSaga)
        .start(shutdown.clone())
        .await?;

    OrderSaga::place(&bus, 1).await?;
    OrderSaga::place(&bus, 2).await?;
    bus.publish_now(&PaymentReceived { order: 1 }).await?;
    wait_for(pool, 1, "confirmed").await?;
    wait_for(pool, 2, "cancelled").await?;
    bus.publish_now(&PaymentReceived { order: 2 }).await?;
    wait_for(pool, 2, "refunded").await?;

    shutdown.cancel();
    bus.stopped().await;
    for (order, state) in states(pool).await? {
        println!("order {order} is {state}");
    }
    Ok(())
}

async fn states(pool: &PgPool) -> Outcome<Vec<(i32, String)>> {
    let states = sqlx::query_as("select id, state from orders order by id");
    Ok(states.fetch_all(pool).await?)
}

async fn wait_for(pool: &PgPool, order: i32, state: &str) -> Outcome {
    let expected = (order, state.to_owned());
    let reached = async {
        while !states(pool).await?.contains(&expected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await?
}

/// Runs a statement that is put together here, of nothing that came from outside.
async fn execute(pool: &PgPool, statement: &str) -> Outcome {
    let statement = sqlx::AssertSqlSafe(statement);
    sqlx::raw_sql(statement).execute(pool).await?;
    Ok(())
}

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}
