//! What the database and the broker do by themselves, measured in the same run.

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
/// Messages for the bare client: some seconds' work.
const MESSAGES: usize = 60_000;
/// About the size of an order's event.
pub(crate) const USUAL_BODY: usize = 200;

/// The limits, each measured when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    broker: OnceCell<Broker>,
    many_clients: OnceCell<Transactions>,
    one_client: OnceCell<Transactions>,
    rested_client: OnceCell<Transactions>,
}

impl Limits {
    /// Bare clients on a quorum queue.
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

    /// Transactions of two inserts, by one client that rests in between.
    pub(crate) async fn rested_client(&self) -> anyhow::Result<&Transactions> {
        let measure = || transactions(Pace::Rested);
        self.rested_client.get_or_try_init(measure).await
    }
}

/// Bare clients on a quorum queue, with bodies of a size.
pub(crate) async fn broker(body: usize, messages: usize) -> anyhow::Result<Broker> {
    let broker = TestBroker::create().await;
    broker::measure(&broker.url(), body, messages).await
}

/// A bare client that takes so many messages from a queue where they are. Messages a second.
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
