//! Messages that could not be handled, kept for an operator: all the SQL of their table.

/// Why a message is among the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
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
    /// Its body is larger than [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    TooLarge,
    /// The broker delivered it again and again, and never heard what became of it. Handling it
    /// most likely ends the process.
    DeliveryLimit,
}

impl Reason {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
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
