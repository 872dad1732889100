//! Outbox and inbox with PostgreSQL and RabbitMQ:
//!
//! ```text
//! DATABASE_URL=postgres://… AMQP_URL=amqp://… cargo run --example postgres_rabbitmq
//! ```
//!
//! An account is paid into: the balance and the event are one commit. The handler of the event
//! keeps a statement, and a second delivery of the same message does not change it. The example
//! works in a schema and a queue of its own, and removes both.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::time::Duration;

use event_bus::transport::Transport;
use event_bus::{
    ConsumerGroup, Envelope, Event, EventBus, Handler, HandlerError, Lineage, Message, RabbitMq,
    Received, UnitOfWork,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Debug, Serialize, Deserialize)]
struct Deposited {
    amount: i64,
}

impl Message for Deposited {
    type Kind = Event;
    const NAME: &'static str = "bank.account.deposited";
}

/// Adds up what was paid in.
struct KeepStatement;

impl Handler<Deposited> for KeepStatement {
    async fn handle(
        &self,
        deposited: Received<Deposited>,
        work: &mut UnitOfWork,
    ) -> Result<(), HandlerError> {
        // In one transaction with the inbox's record of this message.
        sqlx::query("update statement set deposits = deposits + 1, total = total + $1")
            .bind(deposited.amount)
            .execute(&mut **work)
            .await?;
        Ok(())
    }
}

/// Changes the balance and says so, both or neither.
async fn deposit(bus: &EventBus, amount: i64) -> Outcome {
    let mut work = bus.begin().await?;
    sqlx::query("update account set balance = balance + $1")
        .bind(amount)
        .execute(&mut *work)
        .await?;
    work.publish(&Deposited { amount })?;
    work.commit().await?;
    println!("{amount} is paid in");
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let database: PgConnectOptions = variable("DATABASE_URL")?.parse()?;
    let broker = variable("AMQP_URL")?;
    let own = format!("bank_{}", Uuid::now_v7().simple());
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(database.options([("search_path", &own)]))
        .await?;
    execute(&pool, &format!("create schema {own}")).await?;
    let outcome = run(&own, &pool, &broker).await;
    execute(&pool, &format!("drop schema {own} cascade")).await?;
    outcome
}

async fn run(own: &str, pool: &PgPool, broker: &str) -> Outcome {
    event_bus::migrate(pool).await?;
    execute(pool, "create table account as select 0::bigint as balance").await?;
    let statement = "create table statement as select 0::bigint as deposits, 0::bigint as total";
    execute(pool, statement).await?;

    let shutdown = CancellationToken::new();
    let bus = EventBus::builder(own, pool.clone(), RabbitMq::new(broker)?)
        .start(shutdown.clone())
        .await?;
    // Added while the bus is running, so that its queue can be removed at the end.
    let statements = ConsumerGroup::new("statements").handle::<Deposited, _>(KeepStatement);
    let subscription = bus.subscribe(statements).await?;

    deposit(&bus, 30).await?;
    deposit(&bus, 12).await?;
    wait_for(pool, 2).await?;

    // Rolled back, with the message.
    let mut work = bus.begin().await?;
    work.publish(&Deposited { amount: 1_000 })?;
    work.rollback().await?;
    println!("a deposit of 1000 is taken back");

    // Whatever sends a message twice, it has the same id both times.
    let gift = Envelope::encode(own, Lineage::begin(), &Deposited { amount: 100 })?;
    let publisher = RabbitMq::new(broker)?;
    for _ in 0..2 {
        publisher.publish(vec![gift.clone()]).await.await;
        println!("100 is announced, under the same id");
    }
    publisher.close().await;
    wait_for(pool, 3).await?;

    // Unsubscribing handles what has reached the queue, so the duplicate is behind us.
    subscription.unsubscribe().await?;
    shutdown.cancel();
    bus.stopped().await;
    let (deposits, total) = statement_of(pool).await?;
    println!("the statement has {deposits} deposits, {total} in all");
    Ok(())
}

/// Waits until the statement has so many deposits.
async fn wait_for(pool: &PgPool, deposits: i64) -> Outcome {
    let reached = async {
        while statement_of(pool).await?.0 < deposits {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await?
}

async fn statement_of(pool: &PgPool) -> Outcome<(i64, i64)> {
    let statement = sqlx::query_as("select deposits, total from statement");
    Ok(statement.fetch_one(pool).await?)
}

/// Runs a statement that is put together here, of nothing that came from outside.
async fn execute(pool: &PgPool, statement: &str) -> Outcome {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(pool)
        .await?;
    Ok(())
}

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}
