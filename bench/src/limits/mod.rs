//! The limits of the database and the broker, measured in the same run.

mod broker;
mod postgres;

use std::time::Duration;

use sqlx::Executor as _;
use test_servers::{TestBroker, TestDatabase};
use tokio::sync::OnceCell;

pub(crate) use self::broker::Broker;
use self::postgres::Pace;
pub(crate) use self::postgres::Transactions;

const DURATION: Duration = Duration::from_secs(8);
/// Messages for the bare client, enough for a few seconds.
const MESSAGES: usize = 60_000;
/// Typical size of a body in bytes, about that of an order event.
pub(crate) const USUAL_BODY: usize = 200;

/// The limits. Each one is measured on first use.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    broker: OnceCell<Broker>,
    many_clients: OnceCell<Transactions>,
    one_client: OnceCell<Transactions>,
    rested_client: OnceCell<Transactions>,
}

impl Limits {
    /// A bare client on a quorum queue.
    pub(crate) async fn broker(&self) -> anyhow::Result<&Broker> {
        let measure = || broker(USUAL_BODY, MESSAGES);
        self.broker.get_or_try_init(measure).await
    }

    /// Transactions of two inserts, by 64 clients.
    pub(crate) async fn many_clients(&self) -> anyhow::Result<&Transactions> {
        let measure = || transactions(Pace::Unpaced(crate::CONNECTIONS));
        self.many_clients.get_or_try_init(measure).await
    }

    /// Transactions of two inserts, by one client.
    pub(crate) async fn one_client(&self) -> anyhow::Result<&Transactions> {
        let measure = || transactions(Pace::Unpaced(1));
        self.one_client.get_or_try_init(measure).await
    }

    /// Transactions of two inserts, by one client that pauses in between.
    pub(crate) async fn rested_client(&self) -> anyhow::Result<&Transactions> {
        let measure = || transactions(Pace::Rested);
        self.rested_client.get_or_try_init(measure).await
    }
}

/// Measures a bare client on a quorum queue, with bodies of `body` bytes.
pub(crate) async fn broker(body: usize, messages: usize) -> anyhow::Result<Broker> {
    let broker = TestBroker::create().await;
    broker::measure(&broker.url(), body, messages).await
}

/// Consumes this many messages from a queue with a bare client. Returns messages per second.
pub(crate) async fn bare_consumer(url: &str, queue: &str, messages: usize) -> anyhow::Result<f64> {
    broker::take(url, queue, messages).await
}

async fn transactions(pace: Pace) -> anyhow::Result<Transactions> {
    let database = TestDatabase::create(&["pgbench"]).await;
    let pool = database.pool("pgbench").await;
    pool.execute(postgres::TABLES).await?;
    pool.close().await;
    postgres::two_inserts(&database.url("pgbench"), pace, DURATION).await
}
