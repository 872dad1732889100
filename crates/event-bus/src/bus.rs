//! The running bus.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::EventBusBuilder;
use crate::conditions::Conditions;
use crate::consumer_group::{ConsumerGroup, GroupPlan};
use crate::dead_letters::DeadLetters;
use crate::envelope::{Envelope, Lineage, PublishError};
use crate::groups::{self, Groups};
use crate::health::BusHealth;
use crate::instances::Presence;
use crate::message::{Message, Posted};
use crate::replicas::{ReplicaEntry, ReplicaState};
use crate::running::Running;
use crate::settings::BusSettings;
use crate::start_error::StartError;
use crate::subscription::{Subscription, Tentative};
use crate::transport::{Refusal, Settlement, Transport};
use crate::unit_of_work::{Publisher, UnitOfWork};
use crate::wake::WakeUp;
use crate::{outbox, signals};

/// A participant of the bus, running. Cloning it is cheap and gives the same bus.
#[derive(Debug, Clone)]
pub struct EventBus {
    pub(crate) pool: PgPool,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) replicas: Arc<[Arc<ReplicaState>]>,
    settings: BusSettings,
    tasks: TaskTracker,
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
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: a transaction that nobody takes is rolled back.
    pub async fn begin(&self) -> Result<UnitOfWork, sqlx::Error> {
        UnitOfWork::begin(&self.pool, self.publisher.clone()).await
    }

    /// Publishes a message that belongs to no change of state, and waits for the broker's confirm.
    ///
    /// For messages whose loss is no harm. What is published along with a change of state belongs
    /// to a [unit of work](Self::begin): this here can't be undone when the change is, and is lost
    /// when the process ends before it.
    ///
    /// It waits while the broker is away; put a time-out around it.
    ///
    /// # Errors
    ///
    /// If the message can't be encoded, or the broker does not confirm it.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe: if its future is dropped, it is unknown whether the message
    /// is published.
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
            Some(
                Settlement::Failed(reason)
                | Settlement::Refused(Refusal { reason, .. })
                | Settlement::Suspected(Refusal { reason, .. }),
            ) => Err(PublishNowError::Unconfirmed {
                name: M::NAME,
                reason,
            }),
            None => Err(PublishNowError::Unconfirmed {
                name: M::NAME,
                reason: "no answer from the transport".to_owned(),
            }),
        }
    }

    /// Resolves when the queues of all groups are there and bound: what is published from then on
    /// reaches them. [`start`](EventBusBuilder::start) does not wait for it, so that a service can
    /// begin its work without the broker.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn bound(&self) {
        self.groups.bound().await;
    }

    /// The messages that could not be handled: to look at, to replay and to discard.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::of(self.clone())
    }

    /// Reports what the bus can and can't do now. Reads memory only.
    pub fn health(&self) -> BusHealth {
        let unfilled = self.replicas.iter().filter(|replica| !replica.is_filled());
        let mut problems = self.transport.problems();
        problems.extend(self.groups.conditions.problems());
        BusHealth {
            broker: self.transport.connection(),
            broker_connected: self.transport.connected(),
            paused_handlers: self.groups.paused(),
            unfilled_replicas: unfilled.map(|replica| replica.name).collect(),
            problems,
        }
    }

    /// How long the first message of the outbox has been waiting to be published, a scheduled one
    /// since it was due; zero if none is.
    ///
    /// For backpressure: whoever takes work in can take in less while this grows. It grows, too,
    /// while the broker is away, see [`health`](Self::health).
    ///
    /// # Errors
    ///
    /// If the database fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn outbox_age(&self) -> Result<Duration, sqlx::Error> {
        outbox::age(&self.pool).await
    }

    /// Adds a consumer group while the bus is running, and waits until nothing is missed any more:
    /// what is published from then on reaches it. That takes a connection to the broker; put a
    /// time-out around it, after which the group is not there.
    ///
    /// The group's queue is durable, as that of any other: when the program ends, messages are kept
    /// for it until it subscribes again, or [unsubscribes](Subscription::unsubscribe).
    ///
    /// # Errors
    ///
    /// If the group can't stand beside the others, see [`StartError`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: if its future is dropped, the group is removed in the
    /// background. Until that is done, its name is taken. Its queue, if the broker has declared it,
    /// keeps its messages for the next subscription.
    pub async fn subscribe(&self, group: ConsumerGroup) -> Result<Subscription, StartError> {
        let plan = group.resolve(&self.publisher.service, &self.settings)?;
        let active = self.groups.add(plan, true)?;
        let subscription = Subscription::new(self.groups.clone(), active.clone());
        // From the first await point on, dropping the future removes the group.
        let tentative = Tentative::new(subscription.clone());
        self.groups.subscribe(&active).await;
        tentative.bound().await;
        Ok(subscription)
    }

    /// Resolves when the bus has stopped, after the token given to
    /// [`start`](EventBusBuilder::start) was cancelled.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    pub(crate) async fn start(
        builder: EventBusBuilder,
        plans: Vec<GroupPlan>,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        groups::check(&plans, Vec::new())?;
        signals::describe();
        let publisher = Arc::new(Publisher {
            service: builder.service,
            relay: WakeUp::default(),
            clock: WakeUp::default(),
            poll_interval: builder.settings.poll_interval,
        });
        let groups = Arc::new(Groups {
            pool: builder.pool.clone(),
            publisher: publisher.clone(),
            transport: builder.transport.clone(),
            shutdown: shutdown.clone(),
            abandon: CancellationToken::new(),
            tasks: TaskTracker::new(),
            conditions: Conditions::default(),
            presence: Presence::new(),
            active: Mutex::default(),
        });
        builder.transport.connect();
        let running = Running::start(&groups, &builder.settings);
        let at_once = builder.settings.answers_at_once;
        running.answer(&groups, builder.responders, at_once).await;
        for plan in plans.into_iter().filter(|plan| !plan.handlers.is_empty()) {
            groups.start(plan).await?;
        }
        running.watch_instances(&groups);
        let bus = Self {
            pool: builder.pool,
            publisher,
            transport: builder.transport,
            groups,
            replicas: builder.replicas.iter().map(|r| r.state.clone()).collect(),
            settings: builder.settings,
            tasks: TaskTracker::new(),
        };
        bus.fill(builder.replicas);
        bus.tasks.spawn(async move {
            shutdown.cancelled().await;
            running.stop().await;
        });
        bus.tasks.close();
        Ok(bus)
    }

    /// Fills replicas until shut down.
    fn fill(&self, replicas: Vec<ReplicaEntry>) {
        for replica in replicas {
            let group = format!("{}.{}", self.publisher.service, replica.state.name);
            let Some(bound) = self.groups.bound_of(&group) else {
                continue;
            };
            let shutdown = self.groups.shutdown.clone();
            let filling = replica.fill(self.clone(), bound);
            self.groups.tasks.spawn(async move {
                shutdown.run_until_cancelled(filling).await;
            });
        }
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
