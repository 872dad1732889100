//! The rules for new passwords.

use secrecy::{ExposeSecret, SecretString};

/// A valid new password. Only the length is checked: NIST SP 800-63B, section 5.1.1.2, advises
/// against rules about digits and symbols.
#[derive(Debug, Clone)]
pub(crate) struct Password(SecretString);

/// Why a new password is invalid.
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
    fn only_the_length_in_characters_matters() {
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
    fn debug_output_hides_the_password() {
        let password = Password::parse("open sesame".into()).unwrap();
        assert!(!format!("{password:?}").contains("sesame"));
    }
}
