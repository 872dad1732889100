//! What a password has to be.

use secrecy::{ExposeSecret, SecretString};

/// A password that may be set. Length is what counts (NIST SP 800-63B, 5.1.1.2): no rules about
/// digits and signs.
#[derive(Debug, Clone)]
pub(crate) struct Password(SecretString);

/// Why a password can't be set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PasswordError {
    #[error("must have at least {} characters", Password::MIN)]
    TooShort,
    #[error("must have at most {} characters", Password::MAX)]
    TooLong,
}

impl Password {
    pub(crate) const MIN: usize = 8;
    pub(crate) const MAX: usize = 128;

    pub(crate) fn parse(text: String) -> Result<Self, PasswordError> {
        match text.chars().count() {
            ..Self::MIN => Err(PasswordError::TooShort),
            Self::MIN..=Self::MAX => Ok(Self(SecretString::from(text))),
            _ => Err(PasswordError::TooLong),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_in_characters_is_all_that_counts() {
        assert_eq!(
            Password::parse("1234567".into()).unwrap_err(),
            PasswordError::TooShort
        );
        assert!(Password::parse("äöüäöüäö".into()).is_ok());
        assert!(Password::parse("ä".repeat(128)).is_ok());
        assert_eq!(
            Password::parse("a".repeat(129)).unwrap_err(),
            PasswordError::TooLong
        );
    }

    #[test]
    fn it_does_not_show_itself() {
        let password = Password::parse("open sesame".into()).unwrap();
        assert!(!format!("{password:?}").contains("sesame"));
    }
}
