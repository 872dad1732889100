//! What a product is called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a product: 2–120 characters on one line, without space around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
pub struct ProductName(String);

/// Why a text is no [`ProductName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProductName {
    /// It is too short or too long, once the space around it is gone.
    #[error(
        "must have {min} to {max} characters, and has {0}",
        min = ProductName::MIN_LENGTH,
        max = ProductName::MAX_LENGTH
    )]
    Length(usize),
    /// It holds a line break or something else that is not to be seen.
    #[error("must not have control characters")]
    ControlCharacter,
}

impl ProductName {
    /// The fewest characters of a name.
    pub const MIN_LENGTH: usize = 2;
    /// The most characters of a name.
    pub const MAX_LENGTH: usize = 120;

    /// Takes a name as somebody typed it: space around it does not count.
    ///
    /// # Errors
    ///
    /// If the length is out of range or there are control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidProductName> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(InvalidProductName::ControlCharacter);
        }
        let length = text.chars().count();
        if !(Self::MIN_LENGTH..=Self::MAX_LENGTH).contains(&length) {
            return Err(InvalidProductName::Length(length));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProductName {
    type Error = InvalidProductName;

    fn try_from(text: String) -> Result<Self, InvalidProductName> {
        Self::parse(&text)
    }
}

impl fmt::Display for ProductName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn space_around_a_name_does_not_count() {
        assert_eq!(
            ProductName::parse("  Tea pot\n").unwrap().as_str(),
            "Tea pot"
        );
        assert_eq!(
            ProductName::parse("  x  "),
            Err(InvalidProductName::Length(1))
        );
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(ProductName::parse(&"ü".repeat(120)).is_ok());
        assert_eq!(
            ProductName::parse(&"ü".repeat(121)),
            Err(InvalidProductName::Length(121))
        );
    }

    #[test]
    fn a_line_break_or_a_null_within_is_refused() {
        for text in ["Tea\npot", "Tea\0pot", "Tea\u{85}pot"] {
            assert_eq!(
                ProductName::parse(text),
                Err(InvalidProductName::ControlCharacter)
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_a_name_again_changes_nothing(text in any::<String>()) {
            if let Ok(name) = ProductName::parse(&text) {
                prop_assert_eq!(ProductName::parse(name.as_str()), Ok(name));
            }
        }
    }
}
