//! Handlers that share a queue of their own.

use std::num::NonZeroU16;

use crate::handler::{BatchHandler, DynamicHandler, Handler};
use crate::handler_entry::HandlerEntry;
use crate::kill_switch::KillSwitch;
use crate::message::{Message, Posted};
use crate::partition::BUCKETS;
use crate::pattern::Pattern;
use crate::retry_policy::RetryPolicy;
use crate::settings::BusSettings;
use crate::start_error::StartError;

/// The longest name of a service or a group, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Handlers that share a queue: what one group is behind with holds up no other.
///
/// The instances of a service share the messages of each of its groups. Handlers that are added to
/// the bus itself are one group, named like the service; further ones are for handlers that need
/// another pace, another retry policy, or an order:
///
/// ```
/// use event_bus::{ConsumerGroup, RetryPolicy};
/// # use event_bus::{DynamicHandler, HandlerError, Received, UnitOfWork};
/// # struct AuditTrail;
/// # impl DynamicHandler for AuditTrail {
/// #     async fn handle(&self, _: Received<serde_json::Value>, _: &mut UnitOfWork) -> Result<(), HandlerError> { Ok(()) }
/// # }
///
/// let audit = ConsumerGroup::new("audit")
///     .handle_dynamic("identity.#", AuditTrail)
///     .ordered(8)
///     .retry(RetryPolicy { delayed: 20, ..RetryPolicy::default() });
/// ```
#[derive(Debug)]
#[must_use = "a group does nothing until it is given to a bus"]
pub struct ConsumerGroup {
    /// `None` for the service's own.
    name: Option<String>,
    handlers: Vec<HandlerEntry>,
    invalid: Option<StartError>,
    concurrency: Option<usize>,
    batch: Option<usize>,
    prefetch: Option<u16>,
    retry: Option<RetryPolicy>,
    kill_switch: Option<Option<KillSwitch>>,
    partitions: Option<u16>,
}

impl ConsumerGroup {
    /// A group without handlers. Its queue is named after the service and it:
    /// `<service>.<name>`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::of_service()
        }
    }

    pub(crate) fn of_service() -> Self {
        Self {
            name: None,
            handlers: Vec::new(),
            invalid: None,
            concurrency: None,
            batch: None,
            prefetch: None,
            retry: None,
            kill_switch: None,
            partitions: None,
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

    /// Handles events by a pattern of their names, as a topic exchange reads it: words separated
    /// by dots, where `*` stands for one word and `#` for any number of them.
    pub fn handle_dynamic<H: DynamicHandler>(mut self, pattern: &str, handler: H) -> Self {
        match Pattern::new(pattern) {
            Some(pattern) => self.handlers.push(HandlerEntry::dynamic(pattern, handler)),
            None => {
                self.invalid = Some(StartError::InvalidPattern {
                    handler: handler.name(),
                });
            }
        }
        self
    }

    /// How many batches each instance works on at once; [`BusSettings::workers`] if not said. An
    /// ordered group works on one for each partition.
    pub fn concurrency(mut self, workers: usize) -> Self {
        self.concurrency = Some(workers);
        self
    }

    /// The most messages that are handled in one transaction; [`BusSettings::batch`] if not said.
    pub fn batch(mut self, messages: usize) -> Self {
        self.batch = Some(messages);
        self
    }

    /// How many messages the broker may send ahead, for an ordered group to each partition;
    /// [`BusSettings::prefetch`] if not said.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = Some(messages);
        self
    }

    /// What happens when one of its handlers fails; [`BusSettings::retry`] if not said.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// When its handlers are paused, `None` for never; [`BusSettings::kill_switch`] if not said.
    pub fn kill_switch(mut self, kill_switch: Option<KillSwitch>) -> Self {
        self.kill_switch = Some(kill_switch);
        self
    }

    /// Handles messages with the same partition key in the order of their publishing.
    ///
    /// The group gets so many queues, 1 to 32, which are spread over the instances of the service;
    /// keys are spread over the queues. A message that fails holds back the messages of its key
    /// that come after it, for the handler that failed, and nothing else: they go on when it
    /// succeeds, or when it has become a dead letter and is replayed or discarded. Messages without
    /// a key have no order, and share the first queue.
    ///
    /// The number can't be changed while the queues exist: take another name for the group.
    pub fn ordered(mut self, partitions: u16) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// What a document can say of the group: its name at the broker, its handlers, and how many
    /// partitions it has.
    #[cfg(feature = "asyncapi")]
    pub(crate) fn outline(&self, service: &str) -> (String, &[HandlerEntry], Option<u16>) {
        let name = match &self.name {
            None => service.to_owned(),
            Some(name) => format!("{service}.{name}"),
        };
        (name, &self.handlers, self.partitions)
    }

    /// What the group is, in a service with these settings.
    pub(crate) fn resolve(
        self,
        service: &str,
        defaults: &BusSettings,
    ) -> Result<GroupPlan, StartError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let name = match self.name {
            None => service.to_owned(),
            Some(name) if is_valid_name(&name) && !is_taken(&name) => format!("{service}.{name}"),
            Some(name) => return Err(StartError::InvalidGroup { name }),
        };
        let partitions = match self.partitions {
            None => None,
            Some(partitions) => match NonZeroU16::new(partitions) {
                Some(partitions) if partitions.get() <= BUCKETS => Some(partitions),
                _ => {
                    return Err(StartError::InvalidPartitions {
                        group: name,
                        partitions,
                        most: BUCKETS,
                    });
                }
            },
        };
        let settings = GroupSettings {
            workers: self.concurrency.unwrap_or(defaults.workers),
            batch: self.batch.unwrap_or(defaults.batch),
            prefetch: self.prefetch.unwrap_or(defaults.prefetch),
            retry: self.retry.unwrap_or_else(|| defaults.retry.clone()),
            kill_switch: self.kill_switch.unwrap_or(defaults.kill_switch),
            partitions,
            poll_interval: defaults.poll_interval,
        };
        settings.check(&name)?;
        Ok(GroupPlan {
            name,
            handlers: self.handlers,
            settings,
        })
    }
}

/// A group whose settings are all known.
#[derive(Debug)]
pub(crate) struct GroupPlan {
    /// The name of its queue.
    pub(crate) name: String,
    pub(crate) handlers: Vec<HandlerEntry>,
    pub(crate) settings: GroupSettings,
}

/// What a group works by.
#[derive(Debug, Clone)]
pub(crate) struct GroupSettings {
    pub(crate) workers: usize,
    pub(crate) batch: usize,
    pub(crate) prefetch: u16,
    pub(crate) retry: RetryPolicy,
    pub(crate) kill_switch: Option<KillSwitch>,
    /// How many partitions it has, if it is ordered.
    pub(crate) partitions: Option<NonZeroU16>,
    pub(crate) poll_interval: std::time::Duration,
}

/// Characters that stand for themselves everywhere in a URI (RFC 3986, section 2.3), but the dot,
/// which parts a service from its groups in the names of queues.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(is_valid)
}

/// Whether other queues of a service end on the name: those of what the broker has given up on, of
/// queries and of partitions.
fn is_taken(name: &str) -> bool {
    name == "dead" || name == "queries" || name.parse::<u16>().is_ok()
}
