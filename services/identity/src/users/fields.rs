//! The fields of a user. They are valid by construction, because only `parse` creates them.
//!
//! Lengths are in characters. Surrounding white space is removed; apart from that, text is stored
//! unchanged.

use std::fmt;

/// Why a field is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("must have at least {0} characters")]
    TooShort(usize),
    #[error("must have at most {0} characters")]
    TooLong(usize),
    #[error("must contain only letters, digits, `.`, `_` and `-`")]
    NotAUserName,
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error("is not an e-mail address")]
    NotAnEmail,
    #[error("is not a telephone number, such as +49 30 123456")]
    NotAPhoneNumber,
}

macro_rules! text_field {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, sqlx::Type)]
        #[sqlx(transparent)]
        pub(crate) struct $name(String);

        impl $name {
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        // Personal data must not be logged.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

text_field!(
    /// The name a user signs in with: 3–64 letters, digits, `.`, `_`, `-`. Unique regardless of
    /// case.
    UserName
);
text_field!(
    /// A given or family name, 1–64 characters.
    PersonName
);
text_field!(
    /// An e-mail address, at most 254 characters. Only the syntax is checked, not whether the
    /// mailbox exists.
    Email
);
text_field!(
    /// A telephone number, 5–32 characters: digits and ` ()-/.`, with an optional `+` in front.
    PhoneNumber
);

impl UserName {
    pub(crate) const MIN: usize = 3;
    pub(crate) const MAX: usize = 64;

    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let text = within(text, Self::MIN, Self::MAX)?;
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.chars().all(is_allowed) {
            Ok(Self(text))
        } else {
            Err(FieldError::NotAUserName)
        }
    }
}

impl PersonName {
    pub(crate) const MAX: usize = 64;

    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let text = within(text, 1, Self::MAX)?;
        if text.chars().any(char::is_control) {
            Err(FieldError::ControlCharacter)
        } else {
            Ok(Self(text))
        }
    }
}

impl Email {
    pub(crate) const MAX: usize = 254;

    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let text = within(text, 3, Self::MAX)?;
        let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let has_both_parts = text.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !local.contains('@') && is_domain(domain)
        });
        if is_plain && has_both_parts {
            Ok(Self(text))
        } else {
            Err(FieldError::NotAnEmail)
        }
    }
}

fn is_domain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|label| !label.is_empty())
}

impl PhoneNumber {
    pub(crate) const MIN: usize = 5;
    pub(crate) const MAX: usize = 32;

    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let text = within(text, Self::MIN, Self::MAX)?;
        let number = text.strip_prefix('+').unwrap_or(&text);
        let is_allowed = |c: char| c.is_ascii_digit() || " ()-/.".contains(c);
        if number.chars().all(is_allowed) && number.chars().any(|c| c.is_ascii_digit()) {
            Ok(Self(text))
        } else {
            Err(FieldError::NotAPhoneNumber)
        }
    }
}

fn within(text: &str, min: usize, max: usize) -> Result<String, FieldError> {
    let text = text.trim();
    match text.chars().count() {
        length if length < min => Err(FieldError::TooShort(min)),
        length if length > max => Err(FieldError::TooLong(max)),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_contain_only_letters_digits_and_a_few_signs() {
        for good in ["ada", " ada ", "Ada.Lovelace-1815_x", "björn"] {
            assert!(UserName::parse(good).is_ok(), "{good}");
        }
        for (bad, error) in [
            ("ab", FieldError::TooShort(3)),
            ("a b c", FieldError::NotAUserName),
            ("ada@home", FieldError::NotAUserName),
        ] {
            assert_eq!(UserName::parse(bad), Err(error), "{bad}");
        }
        assert_eq!(
            UserName::parse(&"a".repeat(65)),
            Err(FieldError::TooLong(64))
        );
    }

    #[test]
    fn person_names_contain_anything_but_control_characters() {
        for good in ["Ada", "José María", "O’Brien", "李"] {
            assert!(PersonName::parse(good).is_ok(), "{good}");
        }
        assert_eq!(PersonName::parse("  "), Err(FieldError::TooShort(1)));
        assert_eq!(
            PersonName::parse("a\u{7}b"),
            Err(FieldError::ControlCharacter)
        );
    }

    #[test]
    fn e_mail_addresses_have_two_parts() {
        for good in ["ada@example.org", "a+b@localhost", "ü@bücher.example"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ada",
            "@example.org",
            "ada@",
            "a b@example.org",
            "a@b@c",
            "a@b..c",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn telephone_numbers_contain_digits_and_separators() {
        for good in ["+49 30 123456", "(555) 010-9999", "12345"] {
            assert!(PhoneNumber::parse(good).is_ok(), "{good}");
        }
        for bad in ["1234", "call me", "+ () -", "12+345"] {
            assert!(PhoneNumber::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_personal_data() {
        let email = Email::parse("ada@example.org").unwrap();
        assert_eq!(format!("{email:?}"), "Email(…)");
    }
}
