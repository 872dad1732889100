//! Putting a bus together.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::bus::EventBus;
use crate::consumer_group::{ConsumerGroup, is_valid_name};
use crate::handler::{BatchHandler, DynamicHandler, Handler};
use crate::message::{Message, Posted};
use crate::queries::{self, Responder, ResponderEntry};
use crate::replicas::{ReplicaEntry, ReplicaStore, SnapshotSource, Snapshots};
use crate::request::Request;
use crate::settings::BusSettings;
use crate::snapshot::GetSnapshotPage;
use crate::start_error::StartError;
use crate::transport::Transport;

/// A bus to be started. Made by [`EventBus::builder`].
#[derive(Debug)]
#[must_use = "a bus does nothing until it is started"]
pub struct EventBusBuilder {
    pub(crate) service: String,
    pub(crate) pool: PgPool,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) settings: BusSettings,
    pub(crate) own: ConsumerGroup,
    pub(crate) groups: Vec<ConsumerGroup>,
    pub(crate) responders: Vec<ResponderEntry>,
    /// What the service says it publishes.
    #[cfg(feature = "asyncapi")]
    pub(crate) published: Vec<crate::asyncapi::Contract>,
    pub(crate) replicas: Vec<ReplicaEntry>,
}

impl EventBusBuilder {
    pub(crate) fn new(service: String, pool: PgPool, transport: Arc<dyn Transport>) -> Self {
        Self {
            service,
            pool,
            transport,
            settings: BusSettings::default(),
            own: ConsumerGroup::of_service(),
            groups: Vec::new(),
            responders: Vec::new(),
            #[cfg(feature = "asyncapi")]
            published: Vec::new(),
            replicas: Vec::new(),
        }
    }

    /// Handles a message one at a time.
    pub fn handle<M: Message<Kind: Posted>, H: Handler<M>>(mut self, handler: H) -> Self {
        self.own = self.own.handle::<M, H>(handler);
        self
    }

    /// Handles a message in sets: whatever has arrived at once.
    pub fn handle_batch<M: Message<Kind: Posted>, H: BatchHandler<M>>(
        mut self,
        handler: H,
    ) -> Self {
        self.own = self.own.handle_batch::<M, H>(handler);
        self
    }

    /// Handles events by a pattern of their names, see [`ConsumerGroup::handle_dynamic`].
    pub fn handle_dynamic<H: DynamicHandler>(mut self, pattern: &str, handler: H) -> Self {
        self.own = self.own.handle_dynamic(pattern, handler);
        self
    }

    /// Adds handlers with a queue, and settings, of their own.
    pub fn group(mut self, group: ConsumerGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Answers a query.
    pub fn answer<Q: Request, R: Responder<Q>>(mut self, responder: R) -> Self {
        self.responders.push(ResponderEntry::new::<Q, R>(responder));
        self
    }

    /// Keeps a replica of another service's entities: filled by asking their owner, kept by their
    /// events, in a group of its own.
    pub fn replica<S: ReplicaStore>(mut self, store: S) -> Self {
        let (replica, group) = ReplicaEntry::new(store);
        // To be filled, it asks.
        #[cfg(feature = "asyncapi")]
        self.published
            .push(crate::asyncapi::Contract::sent::<GetSnapshotPage<S::Eto>>());
        self.replicas.push(replica);
        self.group(group)
    }

    /// Lets the replicas of an entity be filled: answers [`GetSnapshotPage`] from its store.
    pub fn serve_snapshots<S: SnapshotSource>(self) -> Self {
        let snapshots = Snapshots::<S>::new(self.pool.clone());
        self.answer::<GetSnapshotPage<S::Eto>, _>(snapshots)
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
    /// If the service's name or a setting is invalid, or handlers, groups or responders conflict,
    /// see [`StartError`].
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, what was started runs until
    /// `shutdown` is cancelled.
    pub async fn start(mut self, shutdown: CancellationToken) -> Result<EventBus, StartError> {
        if !is_valid_name(&self.service) {
            return Err(StartError::InvalidService { name: self.service });
        }
        self.settings.check()?;
        let own = std::mem::replace(&mut self.own, ConsumerGroup::of_service());
        let groups = std::mem::take(&mut self.groups);
        let plans = std::iter::once(own)
            .chain(groups)
            .map(|group| group.resolve(&self.service, &self.settings))
            .collect::<Result<Vec<_>, _>>()?;
        queries::check_single(&self.responders)?;
        EventBus::start(self, plans, shutdown).await
    }
}
