//! Messages that could not be handled, kept for an operator: all the SQL of their table.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::envelope::Envelope;

/// Why a message is among the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The handler said that trying again is of no use.
    Rejected,
    /// The last attempt of the retry policy failed.
    RetriesExhausted,
    /// It is no message, or its body is not what its name promises.
    Malformed,
    /// No handler here knows its name.
    UnknownMessage,
    /// It has a newer version than any handler here can read.
    NewerVersion,
    /// Its body is larger than [`MAX_BODY_BYTES`](crate::envelope::MAX_BODY_BYTES).
    TooLarge,
    /// The broker delivered it again and again, and never heard what became of it. Handling it
    /// most likely ends the process.
    DeliveryLimit,
}

impl Reason {
    /// The word that is stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Malformed => "malformed",
            Self::UnknownMessage => "unknown_message",
            Self::NewerVersion => "newer_version",
            Self::TooLarge => "too_large",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

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
    pub(crate) reason: Reason,
    /// The error and its causes, outermost first.
    pub(crate) reasons: &'a [String],
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: Timestamp,
}

/// Keeps a dead letter. The same message for the same handler is kept once.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    letter: &DeadLetter<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into dead_letters
             (id, message_id, handler, name, reason, reasons, attributes, body, attempts, first_failed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (message_id, handler) where message_id is not null do nothing",
        Uuid::now_v7(),
        letter.envelope.map(|envelope| envelope.id),
        letter.handler,
        letter.envelope.map(|envelope| envelope.name.as_str()),
        letter.reason.as_str(),
        &storable(letter.reasons),
        letter.envelope.map(Json) as _,
        letter.body,
        i32::try_from(letter.attempts).unwrap_or(i32::MAX),
        letter.first_failed_at.to_sqlx() as _,
    )
    .execute(connection)
    .await?;
    let message_id = letter.envelope.map(|envelope| envelope.id);
    tracing::error!(
        message_id = message_id.map(tracing::field::display),
        name = letter.envelope.map(|envelope| envelope.name.as_str()),
        handler = letter.handler,
        reason = letter.reason.as_str(),
        attempts = letter.attempts,
        error = letter.reasons.join(": "),
        "a message went to the dead letters"
    );
    crate::signals::dead_letter(letter.reason.as_str());
    Ok(())
}
