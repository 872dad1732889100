//! Dead letters as an operator sees them.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::reason::DeadLetterReason;
use crate::envelope::Envelope;

/// Which dead letters are meant: those for which everything that is given holds. The default is
/// all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The handler that failed, by its name.
    pub handler: Option<String>,
    /// The message's name.
    pub name: Option<String>,
    /// Why it is dead.
    pub reason: Option<DeadLetterReason>,
    /// The message's id. It may be dead for several handlers.
    pub message_id: Option<Uuid>,
    /// Dead at this time or later.
    pub since: Option<Timestamp>,
    /// Dead before this time.
    pub until: Option<Timestamp>,
}

/// A dead letter as a list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetterSummary {
    /// The letter's own id, a UUIDv7: what it is replayed, discarded and paged by. A message that
    /// is replayed and dies again is another letter.
    pub id: Uuid,
    /// The message's id; `None` for what could not be read as a message.
    pub message_id: Option<Uuid>,
    /// The message's name; `None` for what could not be read as a message.
    pub name: Option<String>,
    /// The handler that failed; `None` if it never reached one.
    pub handler: Option<String>,
    /// Why it is dead.
    pub reason: DeadLetterReason,
    /// The last error, without its causes.
    pub error: String,
    /// How often the handler was tried, earlier replays included.
    pub attempts: u32,
    /// The size of the body.
    pub body_bytes: u32,
    /// When the handler failed for the first time.
    pub first_failed_at: Timestamp,
    /// When it became a dead letter.
    pub dead_at: Timestamp,
}

/// Everything that is known of a dead letter.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterDetails {
    /// What a list has of it.
    pub summary: DeadLetterSummary,
    /// The last error and its causes, outermost first.
    pub reasons: Vec<String>,
    /// The message with its attributes; `None` for what could not be read as one.
    pub envelope: Option<Envelope>,
    /// The body as it came.
    pub body: Bytes,
}

/// Bodies may hold personal data and are left out, as of an [`Envelope`].
impl fmt::Debug for DeadLetterDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterDetails")
            .field("summary", &self.summary)
            .field("reasons", &self.reasons)
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}
