//! What a product is, in a few sentences.

use serde::Serialize;

/// A description: up to 2000 characters, lines and tabs allowed, not empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::Type)]
#[sqlx(transparent)]
pub struct Description(String);

/// Why a text is no [`Description`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDescription {
    /// It is too long.
    #[error("must have at most {max} characters, and has {0}", max = Description::MAX_LENGTH)]
    Length(usize),
    /// It holds something that is not to be seen.
    #[error("must not have control characters other than line breaks and tabs")]
    ControlCharacter,
}

impl Description {
    /// The most characters of a description.
    pub const MAX_LENGTH: usize = 2000;

    /// Takes a description as somebody typed it: space around it does not count, and nothing but
    /// space is no description.
    ///
    /// # Errors
    ///
    /// If it is too long or has control characters other than line breaks and tabs.
    pub fn parse(text: &str) -> Result<Option<Self>, InvalidDescription> {
        let text = text.trim();
        let is_layout = |c: char| matches!(c, '\n' | '\r' | '\t');
        if text.chars().any(|c| c.is_control() && !is_layout(c)) {
            return Err(InvalidDescription::ControlCharacter);
        }
        let length = text.chars().count();
        if length > Self::MAX_LENGTH {
            return Err(InvalidDescription::Length(length));
        }
        Ok((length > 0).then(|| Self(text.to_owned())))
    }

    /// The description as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_space_is_no_description() {
        assert_eq!(Description::parse(" \n "), Ok(None));
    }

    #[test]
    fn several_lines_are_one_description() {
        let text = "Holds a litre.\n\tDishwasher safe.";
        assert_eq!(Description::parse(text).unwrap().unwrap().as_str(), text);
    }

    #[test]
    fn what_can_not_be_stored_or_seen_is_refused() {
        assert_eq!(
            Description::parse("Holds\0a litre."),
            Err(InvalidDescription::ControlCharacter)
        );
        assert_eq!(
            Description::parse(&"é".repeat(2001)),
            Err(InvalidDescription::Length(2001))
        );
        assert!(Description::parse(&"é".repeat(2000)).is_ok());
    }
}
