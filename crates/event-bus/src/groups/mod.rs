//! The consumer groups of a running bus: those it was started with, and those that come and go.

mod conflicts;
mod members;
mod partitions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::conflicts::check;
use crate::conditions::Conditions;
use crate::consumer_group::GroupPlan;
use crate::dispatcher::{self, Dispatcher, Parking};
use crate::instances::{self, Presence, Wanted};
use crate::kill_switch::Switches;
use crate::partition::Partition;
use crate::registry::Registry;
use crate::start_error::StartError;
use crate::transport::{Group, Transport, TransportError};
use crate::unit_of_work::Publisher;
use crate::wake::WakeUp;

/// After this time without a message, a queue that is bound for nothing counts as empty.
const QUIET: Duration = Duration::from_millis(250);
/// How long the broker may take to notice that nobody consumes a queue any more.
const REMOVAL_TRIES: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// The groups of a bus.
pub(crate) struct Groups {
    pub(crate) pool: PgPool,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Ends handling when cancelled, after the batch at hand.
    pub(crate) shutdown: CancellationToken,
    /// Ends what has not ended by itself in time.
    pub(crate) abandon: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// What degrades the bus, apart from its transport.
    pub(crate) conditions: Conditions,
    pub(crate) presence: Presence,
    pub(crate) active: Mutex<BTreeMap<String, Arc<ActiveGroup>>>,
}

/// A group that handles messages.
#[derive(Debug)]
pub(crate) struct ActiveGroup {
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// What it is for the transport. Of an ordered group, its first partition.
    pub(crate) group: Group,
    /// Cancelled when the group's queue is there and bound.
    pub(crate) bound: CancellationToken,
    /// Whether it was subscribed while the bus was running.
    subscribed: bool,
    /// Whether it was unsubscribed, here or by another instance: nothing binds it again.
    pub(crate) withdrawn: AtomicBool,
    began: Instant,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Groups {
    /// Starts a group that the bus was built with. It takes part as soon as there is a connection.
    ///
    /// # Errors
    ///
    /// If it can't stand beside the others.
    pub(crate) async fn start(
        self: &Arc<Self>,
        plan: GroupPlan,
    ) -> Result<Arc<ActiveGroup>, StartError> {
        let active = self.add(plan, false)?;
        self.begin(&active).await;
        Ok(active)
    }

    /// Starts a group that was [added](Self::add) while the bus is running. The subscription is
    /// durable from then on.
    pub(crate) async fn subscribe(self: &Arc<Self>, active: &Arc<ActiveGroup>) {
        let name = &active.group.name;
        if let Err(error) = instances::record_subscription(self, name).await {
            tracing::debug!(group = name, %error, "the subscription is recorded later");
        }
        self.begin(active).await;
    }

    async fn begin(self: &Arc<Self>, active: &Arc<ActiveGroup>) {
        match active.group.partition {
            // What is bound there is bound at once, and does not outlive the process.
            None if !self.transport.capabilities().durable => self.start_workers(active).await,
            None => {
                let (this, group) = (self.clone(), active.clone());
                self.spawn(active, async move {
                    let stop = group.stop.clone();
                    let registered = this.presence.registered.cancelled();
                    if stop.run_until_cancelled(registered).await.is_some() {
                        this.start_workers(&group).await;
                    }
                });
            }
            Some(partition) => {
                let share = partitions::Share::new(self, active.clone(), partition.of);
                self.spawn(active, share.run(active.stop.clone()));
            }
        }
        let parking = dispatcher::run_parking(active.dispatcher.clone(), active.stop.clone());
        self.spawn(active, parking);
        for _ in 0..active.dispatcher.settings.workers {
            let retrier = dispatcher::run_retrier(active.dispatcher.clone(), active.stop.clone());
            self.spawn(active, retrier);
        }
    }

    async fn start_workers(&self, active: &Arc<ActiveGroup>) {
        let subscription = self.transport.subscribe(active.group.clone()).await;
        let (of_transport, bound) = (subscription.bound(), active.bound.clone());
        let (swept, stop) = (self.presence.swept.clone(), active.stop.clone());
        self.spawn(active, async move {
            let announce = async {
                of_transport.cancelled().await;
                swept.cancelled().await;
                bound.cancel();
            };
            // A group that is stopped before it was bound never is.
            stop.run_until_cancelled(announce).await;
        });
        let subscription = Arc::new(tokio::sync::Mutex::new(subscription));
        for _ in 0..active.dispatcher.settings.workers {
            let dispatcher = active.dispatcher.clone();
            let worker = dispatcher.run(subscription.clone(), active.stop.clone());
            self.spawn(active, worker);
        }
    }

    /// Adds a group to the others, without any work yet. `subscribed` says that this happens while
    /// the bus is running.
    ///
    /// # Errors
    ///
    /// If it conflicts with them.
    pub(crate) fn add(
        &self,
        plan: GroupPlan,
        subscribed: bool,
    ) -> Result<Arc<ActiveGroup>, StartError> {
        let mut active = self.lock();
        let others = active.values().flat_map(|group| {
            let entries = group.dispatcher.registry.entries();
            entries.map(|entry| (group.group.name.as_str(), entry))
        });
        check(std::slice::from_ref(&plan), others.collect())?;
        let registry = Registry::new(plan.handlers);
        let group = Group {
            name: plan.name.clone(),
            bindings: registry.bindings(),
            prefetch: plan.settings.prefetch,
            partition: plan.settings.partitions.map(|of| Partition {
                index: 0,
                of: of.get(),
            }),
        };
        let added = Arc::new(ActiveGroup {
            dispatcher: Arc::new(Dispatcher {
                group: plan.name.clone(),
                pool: self.pool.clone(),
                publisher: self.publisher.clone(),
                switches: Switches::new(plan.settings.kill_switch, registry.handler_names()),
                registry,
                settings: plan.settings,
                retry_stored: WakeUp::default(),
                parking: Parking::default(),
                conditions: self.conditions.clone(),
            }),
            group,
            bound: CancellationToken::new(),
            subscribed,
            withdrawn: AtomicBool::new(false),
            began: Instant::now(),
            stop: self.shutdown.child_token(),
            tasks: TaskTracker::new(),
        });
        active.insert(plan.name, added.clone());
        Ok(added)
    }

    /// Ends a group for good: nothing new reaches its queue, what has reached it is handled, and
    /// then the queue goes, unless other instances still take part.
    pub(crate) async fn end(&self, active: &ActiveGroup) -> Result<(), TransportError> {
        // First of all, so that no other instance binds it again.
        active.withdrawn.store(true, Ordering::Relaxed);
        let recorded = instances::record_unsubscription(self, &active.group.name).await;
        recorded.map_err(|error| TransportError {
            action: "record the end of the subscription",
            source: error.into(),
        })?;
        self.transport.unbind(&active.group).await?;
        self.stop(active).await;
        // From here on nobody of this instance binds it again when a connection is made anew.
        let unbound = Group {
            bindings: Vec::new(),
            ..active.group.clone()
        };
        for partition in partitions_of(&unbound) {
            let mut rest = self.transport.subscribe(partition).await;
            let bound = rest.bound();
            if self
                .shutdown
                .run_until_cancelled(bound.cancelled())
                .await
                .is_none()
            {
                return Ok(());
            }
            let drain = active.dispatcher.drain(&mut rest, QUIET, &self.shutdown);
            drain.await;
        }
        for _ in 0..REMOVAL_TRIES {
            if self.transport.remove(&unbound).await? {
                return Ok(());
            }
            tokio::time::sleep(REMOVAL_PAUSE).await;
        }
        tracing::info!(
            group = active.group.name,
            "the group's queue stays, since other instances take part in it"
        );
        Ok(())
    }

    /// Ends this instance's part in a group, and waits for what is under way.
    pub(crate) async fn stop(&self, active: &ActiveGroup) {
        active.stop.cancel();
        active.tasks.close();
        active.tasks.wait().await;
        self.lock().remove(&active.group.name);
    }

    /// Resolves when all groups that are there now are bound.
    pub(crate) async fn bound(&self) {
        let bound: Vec<_> = self.lock().values().map(|g| g.bound.clone()).collect();
        for group in bound {
            group.cancelled().await;
        }
    }

    /// The token that is cancelled when a group is bound.
    pub(crate) fn bound_of(&self, group: &str) -> Option<CancellationToken> {
        self.lock().get(group).map(|group| group.bound.clone())
    }

    /// The names of the handlers that a message has, in whichever groups they are.
    pub(crate) fn handler_names_of(&self, message: &str) -> Vec<String> {
        let active = self.lock();
        let groups = active.values();
        let handlers = groups.flat_map(|g| g.dispatcher.registry.handlers_of(message));
        handlers.map(|handler| handler.name.to_owned()).collect()
    }

    /// The names of the handlers of all groups.
    pub(crate) fn handler_names(&self) -> Vec<String> {
        let active = self.lock();
        let names = active
            .values()
            .flat_map(|g| g.dispatcher.registry.handler_names());
        names.map(str::to_owned).collect()
    }

    /// What the groups are bound for.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let active = self.lock();
        let wanted = active.values().map(|active| Wanted {
            group: active.group.clone(),
            subscribed: active.subscribed,
        });
        wanted.collect()
    }

    /// The groups that were subscribed while the bus was running.
    pub(crate) fn subscribed(&self) -> Vec<Arc<ActiveGroup>> {
        let active = self.lock();
        active.values().filter(|g| g.subscribed).cloned().collect()
    }

    /// The groups that have not been bound in this time.
    pub(crate) fn unbound_for(&self, time: Duration) -> Vec<String> {
        let active = self.lock();
        let unbound = active
            .values()
            .filter(|group| !group.bound.is_cancelled() && group.began.elapsed() > time);
        unbound.map(|group| group.group.name.clone()).collect()
    }

    /// The handlers that are paused, sorted.
    pub(crate) fn paused(&self) -> Vec<&'static str> {
        let active = self.lock();
        let mut paused: Vec<_> = active
            .values()
            .flat_map(|group| group.dispatcher.switches.paused())
            .collect();
        paused.sort_unstable();
        paused.dedup();
        paused
    }

    /// Wakes those who look for stored messages.
    pub(crate) fn wake_retriers(&self) {
        for group in self.lock().values() {
            group.dispatcher.retry_stored.ring();
        }
    }

    fn spawn(&self, active: &ActiveGroup, task: impl Future<Output = ()> + Send + 'static) {
        let abandon = self.abandon.clone();
        let task = active.tasks.track_future(task);
        self.tasks.spawn(async move {
            abandon.run_until_cancelled(task).await;
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ActiveGroup>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

/// The group itself, or each of its partitions.
fn partitions_of(group: &Group) -> Vec<Group> {
    match group.partition {
        None => vec![group.clone()],
        Some(Partition { of, .. }) => (0..of)
            .map(|index| Group {
                partition: Some(Partition { index, of }),
                ..group.clone()
            })
            .collect(),
    }
}
