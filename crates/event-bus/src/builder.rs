//! Putting a bus together.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::bus::EventBus;
use crate::handler::{BatchHandler, Handler};
use crate::message::{Message, Posted};
use crate::queries::{self, Responder, ResponderEntry};
use crate::registry::{DuplicateHandler, HandlerEntry, Registry};
use crate::request::Request;
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
    responders: Vec<ResponderEntry>,
}

impl EventBusBuilder {
    pub(crate) fn new(service: String, pool: PgPool, transport: Arc<dyn Transport>) -> Self {
        Self {
            service,
            pool,
            transport,
            settings: BusSettings::default(),
            handlers: Vec::new(),
            responders: Vec::new(),
        }
    }

    /// Handles a message one at a time.
    pub fn handle<M: Message<Kind: Posted>, H: Handler<M>>(mut self, handler: H) -> Self {
        self.handlers.push(HandlerEntry::single::<M, H>(handler));
        self
    }

    /// Handles a message in sets: whatever has arrived at once.
    pub fn handle_batch<M: Message<Kind: Posted>, H: BatchHandler<M>>(
        mut self,
        handler: H,
    ) -> Self {
        self.handlers.push(HandlerEntry::batch::<M, H>(handler));
        self
    }

    /// Answers a query.
    pub fn answer<Q: Request, R: Responder<Q>>(mut self, responder: R) -> Self {
        self.responders.push(ResponderEntry::new::<Q, R>(responder));
        self
    }

    /// Replaces the default sizes and times.
    pub fn settings(mut self, settings: BusSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Starts the bus: relay, consumers, responders, retries and house-keeping.
    ///
    /// It returns at once, whether or not database and broker can be reached; the bus waits for
    /// them. It runs until `shutdown` is cancelled, finishes what is under way, and then
    /// [`EventBus::stopped`] resolves.
    ///
    /// # Errors
    ///
    /// If two handlers of one message have the same name, a command has two receivers, or a query
    /// two responders.
    pub async fn start(
        mut self,
        shutdown: CancellationToken,
    ) -> Result<EventBus, DuplicateHandler> {
        let mut registry = Registry::default();
        for entry in std::mem::take(&mut self.handlers) {
            registry.add(entry)?;
        }
        let responders = std::mem::take(&mut self.responders);
        queries::check_single(&responders)?;
        Ok(EventBus::start(self, registry, responders, shutdown).await)
    }
}
