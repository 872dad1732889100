//! The name an order is placed under.

use std::fmt;

use serde::Serialize;

/// Most characters of a name.
const MAX: usize = 120;

/// A name of 1–120 characters, without blanks around it and without control characters. Personal
/// data: not for logs.
#[derive(Clone, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct CustomerName(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoName {
    /// There is nothing but blanks.
    #[error("must not be empty")]
    Empty,
    /// It is longer than a name may be.
    #[error("must have at most {MAX} characters")]
    TooLong,
    /// It has characters that are not to be seen.
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl CustomerName {
    /// A name as somebody typed it.
    ///
    /// # Errors
    ///
    /// If it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, NoName> {
        let name = text.trim();
        if name.is_empty() {
            Err(NoName::Empty)
        } else if name.chars().count() > MAX {
            Err(NoName::TooLong)
        } else if name.chars().any(char::is_control) {
            Err(NoName::ControlCharacter)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// A name as identity knows it. What another service has accepted is not refused here but
    /// made to fit.
    pub fn fitting(text: &str) -> Self {
        let visible = text.trim().chars().filter(|c| !c.is_control());
        let name: String = visible.take(MAX).collect();
        Self::parse(&name).unwrap_or_else(|_| Self("unnamed customer".to_owned()))
    }

    /// What stands where the name of a deleted customer stood.
    pub fn of_deleted() -> Self {
        Self("deleted customer".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CustomerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerName(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_trimmed_and_counted_in_characters() {
        assert_eq!(CustomerName::parse("  David ").unwrap().as_str(), "David");
        assert!(CustomerName::parse(&"ü".repeat(120)).is_ok());
        assert_eq!(CustomerName::parse(&"ü".repeat(121)), Err(NoName::TooLong));
        assert_eq!(CustomerName::parse(" \t "), Err(NoName::Empty));
        assert_eq!(CustomerName::parse("a\0b"), Err(NoName::ControlCharacter));
    }

    proptest! {
        #[test]
        fn whatever_identity_says_becomes_a_name(text in ".*") {
            let name = CustomerName::fitting(&text);
            prop_assert_eq!(CustomerName::parse(name.as_str()), Ok(name));
        }

        #[test]
        fn a_good_name_is_left_as_it_is(text in "[a-zA-Z]{1,120}") {
            let name = CustomerName::fitting(&text);
            prop_assert_eq!(name.as_str(), &text);
        }
    }
}
