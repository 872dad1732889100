//! The running bus.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::EventBusBuilder;
use crate::envelope::{Envelope, Lineage, PublishError};
use crate::message::{Message, Posted};
use crate::queries::ResponderEntry;
use crate::registry::Registry;
use crate::running::Running;
use crate::transport::{Settlement, Transport};
use crate::unit_of_work::{Publisher, UnitOfWork};
use crate::wake::WakeUp;

/// A participant of the bus, running. Cloning it is cheap and gives the same bus.
#[derive(Debug, Clone)]
pub struct EventBus {
    pub(crate) pool: PgPool,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) transport: Arc<dyn Transport>,
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

    /// Publishes a message that belongs to no change of state, and waits for the broker's confirm.
    ///
    /// For messages whose loss is no harm. What is published along with a change of state belongs to a [unit of work](Self::begin): this here can't be
    /// undone when the change is, and is lost when the process ends before it.
    ///
    /// It waits while the broker is away; put a time-out around it.
    ///
    /// # Errors
    ///
    /// If the message can't be encoded, or the broker does not confirm it.
    pub async fn publish_now<M: Message<Kind: Posted>>(
        &self,
        message: &M,
    ) -> Result<(), PublishNowError> {
        let lineage = Lineage::begin();
        let envelope = Envelope::encode(&self.publisher.service, lineage, message)?;
        let settlements = self.transport.publish(vec![envelope]).await.await;
        match settlements.into_iter().next() {
            Some(Settlement::Confirmed) => Ok(()),
            Some(Settlement::Unroutable) => Err(PublishNowError::Unroutable(M::NAME)),
            Some(Settlement::Failed(reason)) => Err(PublishNowError::Unconfirmed {
                name: M::NAME,
                reason,
            }),
            None => Err(PublishNowError::Unconfirmed {
                name: M::NAME,
                reason: "no answer from the transport".to_owned(),
            }),
        }
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
        responders: Vec<ResponderEntry>,
        shutdown: CancellationToken,
    ) -> Self {
        let publisher = Arc::new(Publisher {
            service: builder.service,
            relay: WakeUp::default(),
            clock: WakeUp::default(),
            poll_interval: builder.settings.poll_interval,
        });
        let bus = Self {
            pool: builder.pool,
            publisher,
            transport: builder.transport,
            tasks: TaskTracker::new(),
        };
        let running = Running::start(&bus, registry, &builder.settings, &shutdown).await;
        let at_once = builder.settings.answers_at_once;
        running.answer(&bus, responders, at_once, &shutdown).await;
        bus.tasks.spawn(async move {
            shutdown.cancelled().await;
            running.stop().await;
        });
        bus.tasks.close();
        bus
    }
}

/// Why a message could not be published at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishNowError {
    /// It could not be put into an envelope.
    #[error(transparent)]
    Encode(#[from] PublishError),
    /// Somebody must hear it, and nobody is bound for it.
    #[error("nobody is bound for `{0}` yet")]
    Unroutable(&'static str),
    /// It is unknown whether it arrived.
    #[error("the broker did not confirm `{name}`: {reason}")]
    Unconfirmed {
        /// The message's name.
        name: &'static str,
        /// What the transport said.
        reason: String,
    },
}
