//! Why a message is among the dead letters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a message is among the dead letters.
///
/// Its serde form and its `Display` are the word that the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The handler said that trying again is of no use.
    Rejected,
    /// The database refuses the message's data, and always will: SQLSTATE class 22, data exception.
    RefusedData,
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
    /// Attempts at it were begun again and again and none of them ended. Handling it most likely
    /// ends the process.
    DeliveryLimit,
    /// A reason that this version of the crate does not know: a newer one has stored it.
    #[serde(other)]
    Other,
}

impl DeadLetterReason {
    const ALL: [Self; 9] = [
        Self::Rejected,
        Self::RefusedData,
        Self::RetriesExhausted,
        Self::Malformed,
        Self::UnknownMessage,
        Self::NewerVersion,
        Self::TooLarge,
        Self::DeliveryLimit,
        Self::Other,
    ];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::RefusedData => "refused_data",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Malformed => "malformed",
            Self::UnknownMessage => "unknown_message",
            Self::NewerVersion => "newer_version",
            Self::TooLarge => "too_large",
            Self::DeliveryLimit => "delivery_limit",
            Self::Other => "other",
        }
    }

    /// The reason behind a stored word.
    pub(super) fn of_word(word: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == word)
            .unwrap_or(Self::Other)
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_back_from_its_word() {
        for reason in DeadLetterReason::ALL {
            assert_eq!(DeadLetterReason::of_word(reason.as_str()), reason);
            let json = serde_json::to_value(reason).ok();
            assert_eq!(json, Some(reason.as_str().into()));
        }
        assert_eq!(
            DeadLetterReason::of_word("of_a_newer_version"),
            DeadLetterReason::Other
        );
    }
}
