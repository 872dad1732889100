//! Putting a bus together.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::bus::EventBus;
use crate::handler::{BatchHandler, Handler};
use crate::message::Message;
use crate::registry::{DuplicateHandler, HandlerEntry, Registry};
use crate::settings::BusSettings;
use crate::transport::Transport;

/// A bus to be started. Made by [`EventBus::builder`].
#[derive(Debug)]
#[must_use = "a bus does nothing until it is started"]
pub struct EventBusBuilder {
    pub(crate) service: String,
    pub(crate) pool: PgPool,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) settings: BusSettings,
    handlers: Vec<HandlerEntry>,
}

impl EventBusBuilder {
    pub(crate) fn new(service: String, pool: PgPool, transport: Arc<dyn Transport>) -> Self {
        Self {
            service,
            pool,
            transport,
            settings: BusSettings::default(),
            handlers: Vec::new(),
        }
    }

    /// Handles a message one at a time.
    pub fn handle<M: Message, H: Handler<M>>(mut self, handler: H) -> Self {
        self.handlers.push(HandlerEntry::single::<M, H>(handler));
        self
    }

    /// Handles a message in sets: whatever has arrived at once.
    pub fn handle_batch<M: Message, H: BatchHandler<M>>(mut self, handler: H) -> Self {
        self.handlers.push(HandlerEntry::batch::<M, H>(handler));
        self
    }

    /// Replaces the default sizes and times.
    pub fn settings(mut self, settings: BusSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Starts the bus: relay, consumers, retries and house-keeping.
    ///
    /// It returns at once, whether or not database and broker can be reached; the bus waits for
    /// them. It runs until `shutdown` is cancelled, finishes what is under way, and then
    /// [`EventBus::stopped`] resolves.
    ///
    /// # Errors
    ///
    /// If two handlers of one message have the same name, or a command has two receivers.
    pub async fn start(
        mut self,
        shutdown: CancellationToken,
    ) -> Result<EventBus, DuplicateHandler> {
        let mut registry = Registry::default();
        for entry in std::mem::take(&mut self.handlers) {
            registry.add(entry)?;
        }
        Ok(EventBus::start(self, registry, shutdown).await)
    }
}
