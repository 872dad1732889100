//! How a message becomes a dead letter.

use uuid::Uuid;

use super::reason::DeadLetterReason;
use super::storage;
use crate::envelope::Envelope;
use crate::retries::FirstFailure;
use crate::signals;
use crate::unit_of_work::UnitOfWork;

/// The longest part of an error that is kept, in characters.
const LONGEST_REASON: usize = 1000;

/// Errors as PostgreSQL takes them: they may quote what came over the wire, and `text` has no NUL.
pub(crate) fn storable(reasons: &[String]) -> Vec<String> {
    let clean = |reason: &String| {
        let characters = reason.chars().take(LONGEST_REASON);
        characters
            .map(|c| {
                if c == '\0' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect()
    };
    reasons.iter().map(clean).collect()
}

/// A message that could not be handled.
#[derive(Debug)]
pub(crate) struct DeadLetter<'a> {
    /// What is known of it; `None` for what could not be read as a message.
    pub(crate) envelope: Option<&'a Envelope>,
    pub(crate) body: &'a [u8],
    /// The handler that failed; `None` if it never reached one.
    pub(crate) handler: Option<&'a str>,
    pub(crate) reason: DeadLetterReason,
    /// The error and its causes, outermost first.
    pub(crate) reasons: &'a [String],
    /// Since it was delivered, or replayed.
    pub(crate) attempts: u32,
    pub(crate) first_failed: FirstFailure,
}

/// Stores a dead letter with the commit of the unit of work, and reports it after that. The same
/// message for the same handler is stored once.
pub(crate) async fn insert(
    work: &mut UnitOfWork,
    letter: &DeadLetter<'_>,
) -> Result<(), sqlx::Error> {
    if storage::insert(work, letter).await? {
        let burial = Burial::of(letter);
        work.after_commit(move || burial.tell());
    }
    Ok(())
}

/// What is told of a new dead letter.
struct Burial {
    message_id: Option<Uuid>,
    name: Option<String>,
    handler: Option<String>,
    reason: DeadLetterReason,
    error: String,
    attempts: u32,
}

impl Burial {
    fn of(letter: &DeadLetter<'_>) -> Self {
        Self {
            message_id: letter.envelope.map(|envelope| envelope.id),
            name: letter.envelope.map(|envelope| envelope.name.clone()),
            handler: letter.handler.map(str::to_owned),
            reason: letter.reason,
            error: letter.reasons.join(": "),
            attempts: letter.attempts,
        }
    }

    fn tell(&self) {
        tracing::error!(
            message_id = self.message_id.map(tracing::field::display),
            name = self.name,
            handler = self.handler,
            reason = self.reason.as_str(),
            attempts = self.attempts,
            error = self.error,
            "a message went to the dead letters"
        );
        signals::dead_letter(self.reason.as_str());
    }
}
