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

/// A row that can be measured separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// The limits of the database and the broker.
    Limits,
    /// A minute of orders at full speed, with the memory of the services.
    Orders,
    /// From an outbox into a queue.
    Relay,
    /// From a queue into a table.
    Dispatcher,
    /// From commit to commit at 200 orders per second.
    Latency,
    /// Orders of a single client.
    Single,
    /// A million rows in the outbox.
    Backlog,
    /// From the start of a service until it is ready.
    Start,
    /// How throughput depends on load and size. It takes minutes, so it runs only on request.
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

/// The limits as separate figures.
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
