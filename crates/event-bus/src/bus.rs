//! The running bus.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::EventBusBuilder;
use crate::registry::Registry;
use crate::transport::Transport;
use crate::unit_of_work::{Publisher, UnitOfWork};
use crate::wake::WakeUp;

/// A participant of the bus, running. Cloning it is cheap and gives the same bus.
#[derive(Debug, Clone)]
pub struct EventBus {
    pool: PgPool,
    publisher: Arc<Publisher>,
    transport: Arc<dyn Transport>,
    tasks: TaskTracker,
}

/// How a bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusHealth {
    /// Whether the broker can be reached. If not, messages wait in the outbox and nothing is lost.
    pub broker_connected: bool,
}

impl EventBus {
    /// Begins to put a bus together.
    ///
    /// `service` names this participant: the source of its messages and the name of its queue.
    /// All instances of a service have the same name. `pool` connects to the schema that holds
    /// the bus's tables, see [`migrate`](crate::migrate).
    pub fn builder(
        service: impl Into<String>,
        pool: PgPool,
        transport: impl Transport,
    ) -> EventBusBuilder {
        EventBusBuilder::new(service.into(), pool, Arc::new(transport))
    }

    /// Begins a unit of work.
    ///
    /// # Errors
    ///
    /// If no connection to the database can be had.
    pub async fn begin(&self) -> Result<UnitOfWork, sqlx::Error> {
        UnitOfWork::begin(&self.pool, self.publisher.clone()).await
    }

    /// How the bus is now.
    pub fn health(&self) -> BusHealth {
        BusHealth {
            broker_connected: self.transport.connected(),
        }
    }

    /// Resolves when the bus has stopped, after the token given to
    /// [`start`](EventBusBuilder::start) was cancelled.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    pub(crate) async fn start(
        builder: EventBusBuilder,
        registry: Registry,
        shutdown: CancellationToken,
    ) -> Self {
        let _ = (registry, shutdown);
        Self {
            pool: builder.pool,
            publisher: Arc::new(Publisher {
                service: builder.service,
                relay: WakeUp::default(),
            }),
            transport: builder.transport,
            tasks: TaskTracker::new(),
        }
    }
}
