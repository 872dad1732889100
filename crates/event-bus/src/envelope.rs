//! The envelope: what a message carries beside its body.
//!
//! The attributes are those of [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md)
//! with its extensions for partitioning, distributed tracing and correlation. How a transport
//! writes them is the transport's own matter.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::{Kind, Message};

/// The largest body that is published or taken, in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The longest partition key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The longest name of a message, in bytes: what AMQP has for a routing key.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// The longest `traceparent` and `tracestate` that are sent on, in bytes. The recommendation asks
/// for 512 at least; the headers of a message have to fit into one AMQP frame.
const MAX_TRACE_BYTES: usize = 8 * 1024;

/// A message on its way, with its body still encoded.
///
/// Its serde form is the attributes alone, under their CloudEvents names, as the outbox keeps them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Attributes")]
pub struct Envelope {
    /// CloudEvents `id`: a UUIDv7 made when the message was published. Of a message that came with
    /// an id which is no UUID, a UUIDv5 made of its source and that id.
    pub id: Uuid,
    /// CloudEvents `type`: [`Message::NAME`].
    #[serde(rename = "type")]
    pub name: String,
    /// Extension `dataversion`: [`Message::VERSION`].
    #[serde(rename = "dataversion")]
    pub version: u32,
    /// Whether it is an event, a command or a query.
    pub kind: Kind,
    /// CloudEvents `source`: the name of the publishing service.
    pub source: String,
    /// CloudEvents `time`: when it was published.
    pub time: Timestamp,
    /// Extension `partitionkey`: see [`Message::partition_key`].
    #[serde(rename = "partitionkey", skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// Extension `correlationid`: the same on everything that one cause set off.
    #[serde(rename = "correlationid")]
    pub correlation_id: Uuid,
    /// Extension `causationid`: the message that was being handled when this one was published.
    #[serde(rename = "causationid", skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// Extensions `traceparent` and `tracestate`.
    #[serde(flatten)]
    pub trace: TraceContext,
    /// Whether the broker must return the message when no queue is bound for it.
    pub mandatory: bool,
    /// The JSON of the message.
    #[serde(skip)]
    pub body: Bytes,
}

/// An envelope as it is read. To flatten the trace here would make serde keep all attributes of a
/// row aside first, which the relay would feel.
#[derive(Deserialize)]
struct Attributes {
    id: Uuid,
    #[serde(rename = "type")]
    name: String,
    #[serde(rename = "dataversion")]
    version: u32,
    kind: Kind,
    source: String,
    time: Timestamp,
    #[serde(rename = "partitionkey")]
    partition_key: Option<String>,
    #[serde(rename = "correlationid")]
    correlation_id: Uuid,
    #[serde(rename = "causationid")]
    causation_id: Option<Uuid>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    mandatory: bool,
}

impl From<Attributes> for Envelope {
    fn from(attributes: Attributes) -> Self {
        Self {
            id: attributes.id,
            name: attributes.name,
            version: attributes.version,
            kind: attributes.kind,
            source: attributes.source,
            time: attributes.time,
            partition_key: attributes.partition_key,
            correlation_id: attributes.correlation_id,
            causation_id: attributes.causation_id,
            trace: TraceContext {
                traceparent: attributes.traceparent,
                tracestate: attributes.tracestate,
            },
            mandatory: attributes.mandatory,
            body: Bytes::new(),
        }
    }
}

/// [W3C trace context](https://www.w3.org/TR/trace-context/) in the form it travels in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// `version-traceid-parentid-flags`, in lower-case hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
    /// What tracing vendors add. Passed on untouched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// The trace id, 32 hexadecimal digits, if there is a `traceparent` to read it from.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    /// The context without what cannot be stored or sent on. It comes from other programs, and what
    /// they got wrong must not keep a message from being published.
    fn if_valid(self) -> Self {
        let is_valid = |text: &String| text.len() <= MAX_TRACE_BYTES && !text.contains('\0');
        Self {
            traceparent: self.traceparent.filter(is_valid),
            tracestate: self.tracestate.filter(is_valid),
        }
    }
}

/// For names, which are checked when the program is built.
const fn contains_nul(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == 0 {
            return true;
        }
        index += 1;
    }
    false
}

/// Where a message stands in the chain of causes and effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// See [`Envelope::correlation_id`].
    pub correlation_id: Uuid,
    /// See [`Envelope::causation_id`].
    pub causation_id: Option<Uuid>,
    /// See [`Envelope::trace`].
    pub trace: TraceContext,
}

/// Why a message could not be put into an envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message's `Serialize` failed.
    #[error("`{name}` could not be written as JSON")]
    Encode {
        /// The message's name.
        name: &'static str,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// The partition key is longer than [`MAX_KEY_BYTES`].
    #[error(
        "`{name}` has a partition key of {bytes} bytes, more than the {MAX_KEY_BYTES} that travel"
    )]
    KeyTooLong {
        /// The message's name.
        name: &'static str,
        /// The length of the key.
        bytes: usize,
    },
    /// The body is larger than [`MAX_BODY_BYTES`].
    #[error("`{name}` is {bytes} bytes as JSON, more than the {MAX_BODY_BYTES} that travel")]
    TooLarge {
        /// The message's name.
        name: &'static str,
        /// The size of its JSON.
        bytes: usize,
    },
    /// The partition key contains the character U+0000, which PostgreSQL cannot store, neither for
    /// the publisher nor for a receiver.
    #[error("`{name}` has a partition key with the character U+0000, which cannot be stored")]
    NulInKey {
        /// The message's name.
        name: &'static str,
    },
}

/// Bodies may hold personal data: what is logged of a message is its attributes.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("source", &self.source)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Envelope {
    /// Encodes a message, under a new id and with the present time.
    ///
    /// # Errors
    ///
    /// If the message can't be encoded, its body or its partition key is too large, or its
    /// partition key cannot be stored.
    pub fn encode<M: Message>(
        source: &str,
        lineage: Lineage,
        message: &M,
    ) -> Result<Self, PublishError> {
        use crate::message::MessageKind as _;

        const {
            assert!(
                M::NAME.len() <= MAX_NAME_BYTES,
                "the message's name is too long"
            );
            assert!(
                !contains_nul(M::NAME),
                "the message's name contains the character U+0000"
            );
        };

        let body = serde_json::to_vec(message).map_err(|source| PublishError::Encode {
            name: M::NAME,
            source,
        })?;
        if body.len() > MAX_BODY_BYTES {
            return Err(PublishError::TooLarge {
                name: M::NAME,
                bytes: body.len(),
            });
        }
        let partition_key = message.partition_key();
        if let Some(key) = partition_key
            .as_ref()
            .filter(|key| key.len() > MAX_KEY_BYTES)
        {
            return Err(PublishError::KeyTooLong {
                name: M::NAME,
                bytes: key.len(),
            });
        }
        if partition_key.as_ref().is_some_and(|key| key.contains('\0')) {
            return Err(PublishError::NulInKey { name: M::NAME });
        }
        Ok(Self {
            id: Uuid::now_v7(),
            name: M::NAME.to_owned(),
            version: M::VERSION,
            kind: M::Kind::KIND,
            source: source.to_owned(),
            time: Timestamp::now(),
            partition_key,
            correlation_id: lineage.correlation_id,
            causation_id: lineage.causation_id,
            trace: lineage.trace.if_valid(),
            mandatory: M::MUST_BE_HEARD || M::Kind::KIND != Kind::Event,
            body: Bytes::from(body),
        })
    }

    /// What a message published while handling this one inherits.
    pub fn lineage_of_effects(&self) -> Lineage {
        Lineage {
            correlation_id: self.correlation_id,
            causation_id: Some(self.id),
            trace: self.trace.clone(),
        }
    }
}
