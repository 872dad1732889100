//! A message as a handler gets it.

use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::envelope::Envelope;

/// A message and what is known of its way here. Dereferences to the message.
#[derive(Debug, Clone)]
pub struct Received<M> {
    message: M,
    envelope: Arc<Envelope>,
    attempt: u32,
}

impl<M> Received<M> {
    pub(crate) fn new(message: M, envelope: Arc<Envelope>, attempt: u32) -> Self {
        Self {
            message,
            envelope,
            attempt,
        }
    }

    /// The message's id, given by its publisher: the same however often it is delivered.
    pub fn id(&self) -> Uuid {
        self.envelope.id
    }

    /// The name it travelled under.
    pub fn name(&self) -> &str {
        &self.envelope.name
    }

    /// The service that published it.
    pub fn source(&self) -> &str {
        &self.envelope.source
    }

    /// When it was published.
    pub fn time(&self) -> Timestamp {
        self.envelope.time
    }

    /// The same on everything that one cause set off.
    pub fn correlation_id(&self) -> Uuid {
        self.envelope.correlation_id
    }

    /// The message whose handling published this one.
    pub fn causation_id(&self) -> Option<Uuid> {
        self.envelope.causation_id
    }

    /// The trace it belongs to, 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.envelope.trace.trace_id()
    }

    /// Which attempt of this handler at this message this is, counted from 1 across restarts and
    /// instances, and anew after a replay. An attempt that died with its process is not counted.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The message without its envelope.
    pub fn into_inner(self) -> M {
        self.message
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

impl<M> Deref for Received<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.message
    }
}
