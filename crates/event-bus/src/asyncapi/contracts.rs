//! What a service publishes and handles, as it is registered.

use schemars::{Schema, SchemaGenerator};

use crate::builder::EventBusBuilder;
use crate::consumer_group::ConsumerGroup;
use crate::handler_entry::{HandlerEntry, Subject};
use crate::message::{Kind, Message, MessageKind as _};
use crate::partition::Partition;
use crate::queries::ResponderEntry;
use crate::transport::{Group, queues_of};

/// One message that the service publishes or handles, or a pattern of those it handles.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    pub(super) kind: Kind,
    /// The name of the message, or the pattern.
    pub(super) name: String,
    /// What is known of the message; of a pattern, nothing.
    pub(super) body: Option<Body>,
    pub(super) direction: Direction,
}

/// The body of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    pub(super) version: u32,
    /// What makes its schema.
    pub(super) schema: fn(&mut SchemaGenerator) -> Option<Schema>,
}

impl Body {
    pub(crate) fn of<M: Message>() -> Self {
        Self {
            version: M::VERSION,
            schema: M::schema,
        }
    }
}

/// Which way a message goes, seen from the service.
#[derive(Debug, Clone)]
pub(super) enum Direction {
    Send {
        /// Whether it waits until somebody can receive it.
        mandatory: bool,
    },
    Receive {
        /// The consumer group that receives it; of a query, the service.
        group: String,
        /// The queues of the group. Those of queries are the service's own matter.
        queues: Vec<String>,
        /// Who handles or answers it.
        handlers: Vec<&'static str>,
    },
}

impl Contract {
    pub(crate) fn sent<M: Message>() -> Self {
        Self {
            kind: M::Kind::KIND,
            name: M::NAME.to_owned(),
            body: Some(Body::of::<M>()),
            direction: Direction::Send {
                mandatory: M::MUST_BE_HEARD || M::Kind::KIND != Kind::Event,
            },
        }
    }

    fn answered(service: &str, responder: &ResponderEntry) -> Self {
        let (name, body) = responder.outline();
        Self {
            kind: Kind::Query,
            name: responder.query().to_owned(),
            body: Some(body),
            direction: Direction::Receive {
                group: service.to_owned(),
                queues: Vec::new(),
                handlers: vec![name],
            },
        }
    }

    fn received(subject: &Subject, direction: Direction) -> Self {
        let body = match *subject {
            Subject::Type { body, .. } => Some(body),
            Subject::Pattern(_) => None,
        };
        let binding = subject.binding();
        Self {
            kind: binding.kind,
            name: binding.pattern,
            body,
            direction,
        }
    }

    /// The word of the specification for its direction.
    pub(super) fn action(&self) -> &'static str {
        match self.direction {
            Direction::Send { .. } => "send",
            Direction::Receive { .. } => "receive",
        }
    }

    /// What its channel is called. Of a pattern, `*` and `#` have no place in a reference.
    pub(super) fn channel_id(&self) -> String {
        self.name.replace('*', "_word").replace('#', "_words")
    }

    /// What the message is called among the components: one name may be known in two versions.
    pub(super) fn message_id(&self) -> Option<String> {
        let version = self.body?.version;
        Some(format!("{}.v{version}", self.name))
    }
}

/// All contracts of a service: what it publishes, what each group handles, what it answers.
pub(super) fn of(bus: &EventBusBuilder) -> Vec<Contract> {
    let mut contracts: Vec<Contract> = bus.published.clone();
    for group in std::iter::once(&bus.own).chain(&bus.groups) {
        contracts.extend(of_group(group, &bus.service));
    }
    let answered = bus.responders.iter();
    contracts.extend(answered.map(|responder| Contract::answered(&bus.service, responder)));
    contracts
}

fn of_group(group: &ConsumerGroup, service: &str) -> Vec<Contract> {
    let (name, entries, partitions) = group.outline(service);
    let group = Group {
        name,
        bindings: Vec::new(),
        prefetch: 0,
        partition: partitions.map(|of| Partition { index: 0, of }),
    };
    let queues = queues_of(&group);
    let mut contracts: Vec<Contract> = Vec::new();
    for HandlerEntry { name, subject, .. } in entries {
        let known = contracts.iter_mut().find(|c| c.name == subject.as_str());
        match known.map(|contract| &mut contract.direction) {
            Some(Direction::Receive { handlers, .. }) => handlers.push(name),
            _ => {
                let direction = Direction::Receive {
                    group: group.name.clone(),
                    queues: queues.clone(),
                    handlers: vec![name],
                };
                contracts.push(Contract::received(subject, direction));
            }
        }
    }
    contracts
}
