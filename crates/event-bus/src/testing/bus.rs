//! Handlers without a database and without a broker.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::messages::{as_type, of_type};
use crate::consumer_group::ConsumerGroup;
use crate::envelope::{Envelope, Lineage};
use crate::groups;
use crate::handler::{BatchHandler, DynamicHandler, Handler, Verdict};
use crate::handler_entry::{HandlerEntry, HandlerFailure, Task};
use crate::message::{Command, Event, Message, Posted};
use crate::registry::Registry;
use crate::settings::BusSettings;
use crate::transport::Binding;
use crate::unit_of_work::UnitOfWork;

/// How often a handler is given a message at which it fails with an error that may pass.
const ATTEMPTS: u32 = 3;

/// Services that hear of each other, without a database and without a broker.
///
/// Nothing happens behind the test's back: messages are handled one after the other, in the order
/// in which they were published, while the test waits in [`wait_until_idle`](Self::wait_until_idle).
/// Whatever a handler publishes goes on its way when the handler has succeeded, and is dropped when
/// it has not, as in a transaction. A handler that fails is tried three times in all, at once.
///
/// There is no outbox and no inbox: every message is delivered once. What the bus does about the
/// rest is its own tests' affair.
#[derive(Debug)]
pub struct TestBus {
    /// The first one is where the test itself publishes.
    participants: Vec<Participant>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Participant {
    service: String,
    registry: Registry,
    bindings: Vec<Binding>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Envelope>>,
    published: Vec<Arc<Envelope>>,
    scheduled: Vec<(Timestamp, Envelope)>,
    failures: Vec<Failure>,
    /// How far the test's clock is ahead.
    ahead: Duration,
}

/// A handler that gave a message up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The service that the handler is of.
    pub service: String,
    /// The handler's name.
    pub handler: &'static str,
    /// The message's name.
    pub message: String,
    /// The error and its causes, outermost first, separated by colons.
    pub reason: String,
    /// How often it was tried. An error that can't pass is not tried again.
    pub attempts: u32,
}

/// A [`TestBus`] to be started.
#[derive(Debug)]
#[must_use = "a bus does nothing until it is started"]
pub struct TestBusBuilder(Vec<(String, ConsumerGroup)>);

impl TestBusBuilder {
    /// Adds another service. The handlers that follow are its own.
    pub fn participant(mut self, service: impl Into<String>) -> Self {
        self.0.push((service.into(), ConsumerGroup::of_service()));
        self
    }

    /// Handles a message one at a time.
    pub fn handle<M: Message<Kind: Posted>, H: Handler<M>>(self, handler: H) -> Self {
        self.with(|group| group.handle::<M, H>(handler))
    }

    /// Handles a message in sets, which have one message each here.
    pub fn handle_batch<M: Message<Kind: Posted>, H: BatchHandler<M>>(self, handler: H) -> Self {
        self.with(|group| group.handle_batch::<M, H>(handler))
    }

    /// Handles events by a pattern of their names.
    pub fn handle_dynamic<H: DynamicHandler>(self, pattern: &str, handler: H) -> Self {
        self.with(|group| group.handle_dynamic(pattern, handler))
    }

    /// The bus.
    ///
    /// # Panics
    ///
    /// If the handlers can't stand beside each other, as at the start of a real bus.
    pub fn start(self) -> TestBus {
        let participants = self.0.into_iter().map(|(service, group)| {
            let plan = group.resolve(&service, &BusSettings::default());
            let plans = plan
                .map(|plan| [plan])
                .unwrap_or_else(|error| panic!("{error}"));
            groups::check(&plans, Vec::new()).unwrap_or_else(|error| panic!("{error}"));
            let [plan] = plans;
            let registry = Registry::new(plan.handlers);
            Participant {
                service,
                bindings: registry.bindings(),
                registry,
            }
        });
        TestBus {
            participants: participants.collect(),
            state: Mutex::default(),
        }
    }

    fn with(mut self, add: impl FnOnce(ConsumerGroup) -> ConsumerGroup) -> Self {
        if let Some((service, group)) = self.0.pop() {
            self.0.push((service, add(group)));
        }
        self
    }
}

impl TestBus {
    /// Begins to put a bus together, with a first service.
    pub fn builder(service: impl Into<String>) -> TestBusBuilder {
        TestBusBuilder(Vec::new()).participant(service)
    }

    /// Publishes an event, as the first service.
    ///
    /// # Panics
    ///
    /// If it can't be encoded.
    pub fn publish<M: Message<Kind = Event>>(&self, event: &M) {
        self.accept(event);
    }

    /// Sends a command, as the first service.
    ///
    /// # Panics
    ///
    /// If it can't be encoded.
    pub fn send<M: Message<Kind = Command>>(&self, command: &M) {
        self.accept(command);
    }

    /// Handles what was published, and what that leads to, until there is nothing left.
    ///
    /// Scheduled messages wait for [`advance`](Self::advance).
    ///
    /// # Panics
    ///
    /// If there is something left when the bound has passed: a handler that waits for ever, or
    /// messages that lead to each other without end.
    pub async fn wait_until_idle(&self, bound: Duration) {
        let deadline = Instant::now() + bound;
        while let Some(envelope) = self.next() {
            let left = deadline.saturating_duration_since(Instant::now());
            let handling = tokio::time::timeout(left, self.handle(&envelope));
            let in_time = handling.await.is_ok() && Instant::now() < deadline;
            assert!(
                in_time,
                "the bus is not idle after {bound:?}, with `{}` under way",
                envelope.name
            );
        }
    }

    /// Moves the clock on and releases the scheduled messages whose time has come then, the
    /// earliest first.
    pub fn advance(&self, time: Duration) {
        let mut state = self.state();
        state.ahead += time;
        state.release();
    }

    /// The messages of a type that were published or sent so far, by the test and by handlers, in
    /// order. A scheduled one counts when it is released.
    ///
    /// # Panics
    ///
    /// If a message of that name is not of that type.
    pub fn published<M: Message>(&self) -> Vec<M> {
        of_type(self.state().published.iter().map(AsRef::as_ref))
    }

    /// The messages of a type that wait for their time, with it.
    ///
    /// # Panics
    ///
    /// If a message of that name is not of that type.
    pub fn scheduled<M: Message>(&self) -> Vec<(Timestamp, M)> {
        let state = self.state();
        let scheduled = state.scheduled.iter();
        scheduled
            .filter_map(|(at, envelope)| Some((*at, as_type(envelope)?)))
            .collect()
    }

    /// The handlers that gave a message up, in order.
    pub fn failures(&self) -> Vec<Failure> {
        self.state().failures.clone()
    }

    fn accept<M: Message>(&self, message: &M) {
        let service = &self.participants[0].service;
        let envelope = Envelope::encode(service, Lineage::begin(), message)
            .unwrap_or_else(|error| panic!("{error}"));
        self.state().publish(envelope);
    }

    fn next(&self) -> Option<Arc<Envelope>> {
        self.state().waiting.pop_front()
    }

    async fn handle(&self, envelope: &Arc<Envelope>) {
        for participant in &self.participants {
            if !participant.bindings.iter().any(|b| b.matches(envelope)) {
                continue;
            }
            for handler in participant.registry.handlers_of(&envelope.name) {
                self.handle_with(&participant.service, handler, envelope)
                    .await;
            }
        }
    }

    async fn handle_with(&self, service: &str, handler: &HandlerEntry, envelope: &Arc<Envelope>) {
        for attempt in 1..=ATTEMPTS {
            let task = Task {
                envelope: envelope.clone(),
                attempt,
            };
            let scheduled = self.state().scheduled_ids();
            let mut work = UnitOfWork::detached(service, envelope.lineage_of_effects(), scheduled);
            let Err(failure) = handler.run(&[task], &mut work).await else {
                self.state().commit(work);
                return;
            };
            let (may_pass, reason) = match failure {
                HandlerFailure::Unreadable { detail, .. } => (false, detail),
                HandlerFailure::Handler(error) => (
                    error.verdict == Verdict::MayPass,
                    error.reasons().join(": "),
                ),
            };
            if !may_pass || attempt == ATTEMPTS {
                self.state().failures.push(Failure {
                    service: service.to_owned(),
                    handler: handler.name,
                    message: envelope.name.clone(),
                    reason,
                    attempts: attempt,
                });
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, envelope: Envelope) {
        let envelope = Arc::new(envelope);
        self.published.push(envelope.clone());
        self.waiting.push_back(envelope);
    }

    fn scheduled_ids(&self) -> HashSet<Uuid> {
        self.scheduled
            .iter()
            .map(|(_, message)| message.id)
            .collect()
    }

    fn commit(&mut self, work: UnitOfWork) {
        let (now, later, scheduled) = work.into_messages();
        self.scheduled
            .retain(|(_, message)| scheduled.contains(&message.id));
        now.into_iter().for_each(|message| self.publish(message));
        self.scheduled.extend(later);
        self.release();
    }

    fn release(&mut self) {
        let now = Timestamp::now()
            .saturating_add(self.ahead)
            .unwrap_or(Timestamp::MAX);
        // Stable, so that of one time those go first that were scheduled first.
        self.scheduled.sort_by_key(|(at, _)| *at);
        let due = self.scheduled.partition_point(|(at, _)| *at <= now);
        let due: Vec<_> = self.scheduled.drain(..due).collect();
        for (_, envelope) in due {
            self.publish(envelope);
        }
    }
}
