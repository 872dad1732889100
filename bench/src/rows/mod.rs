//! The rows of the table.

mod bus;
mod growth;
mod latency;
mod orders;
mod start;

use clap::ValueEnum;

use crate::limits::Limits;
use crate::report::Figure;
use crate::report::Unit::{Milliseconds, PerSecond};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// What database and broker do by themselves.
    Limits,
    /// A minute of orders as fast as they are taken, with the memory it needs.
    Orders,
    /// An outbox into a queue.
    Relay,
    /// A queue into a table.
    Dispatcher,
    /// From commit to commit at 200 orders a second.
    Latency,
    /// One client alone.
    Single,
    /// A million rows in the outbox.
    Backlog,
    /// From starting to being ready.
    Start,
    /// How cost grows: only when asked for, as it takes minutes of its own.
    Growth,
}

impl Row {
    /// All rows that have goals, with the limits.
    pub(crate) const TABLE: [Self; 8] = [
        Self::Limits,
        Self::Orders,
        Self::Relay,
        Self::Dispatcher,
        Self::Latency,
        Self::Single,
        Self::Backlog,
        Self::Start,
    ];

    pub(crate) async fn measure(self, limits: &Limits) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Limits => show(limits).await,
            Self::Orders => orders::measure(limits).await,
            Self::Relay => bus::relay(limits).await,
            Self::Dispatcher => bus::dispatcher(limits).await,
            Self::Latency => latency::measure().await,
            Self::Single => latency::of_one_client(limits).await,
            Self::Backlog => bus::backlog().await,
            Self::Start => start::measure().await,
            Self::Growth => growth::measure().await,
        }
    }
}

/// The limits as figures of their own.
async fn show(limits: &Limits) -> anyhow::Result<Vec<Figure>> {
    let rate = |what, value| Figure::new("limits", what, value, PerSecond);
    let many = limits.many_clients().await?;
    let one = limits.one_client().await?.latency.value_at_quantile(0.5) as f64 / 1000.0;
    let broker = limits.broker().await?;
    Ok(vec![
        rate("pgbench, two inserts, 64 clients", many.per_second),
        Figure::new(
            "limits",
            "pgbench, two inserts, one client, p50",
            one,
            Milliseconds,
        ),
        rate("bare publisher, confirms pipelined", broker.publishing),
        rate("bare consumer, full queue", broker.consuming),
        rate("bare publisher and consumer together", broker.flowing),
    ])
}
