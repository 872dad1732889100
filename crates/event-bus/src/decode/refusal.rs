//! Why a JSON value is not of a type, without repeating anything of the value.
//!
//! Bodies may hold personal data, and serde's errors quote them. When a body was refused, it is
//! read a second time by a deserializer of its own whose error takes the kind of the refusal and
//! the place in the body, and drops what was found there. Names in the path are those of the type
//! (fields of its structs, variants of its enums); a key of a map is part of the body and becomes
//! `*`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Expected, Unexpected};
use serde_json::Value;

use super::reader::Reader;

/// The longest description of what was expected, in characters.
const LONGEST_EXPECTATION: usize = 100;

/// Why a value is not of a type. Its `Display` is like `at /lines/3/quantity: invalid type,
/// expected u32`.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Innermost first.
    path: Vec<Segment>,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Segment {
    Name(&'static str),
    Index(usize),
    /// A key that the body has and no type.
    Key,
}

#[derive(Debug)]
enum Kind {
    Type {
        expected: String,
    },
    Value {
        expected: String,
    },
    Length {
        expected: String,
    },
    UnknownVariant,
    UnknownField,
    MissingField(&'static str),
    DuplicateField(&'static str),
    /// The type's own objection, which may quote the value.
    Other,
}

/// Why this value is not a `T`. `None` if it is one after all.
pub(super) fn refusal<'de, T: Deserialize<'de>>(value: &'de Value) -> Option<Refusal> {
    T::deserialize(Reader(value)).err()
}

impl Refusal {
    pub(super) fn invalid() -> Self {
        Self::of(Kind::Other)
    }

    fn of(kind: Kind) -> Self {
        let path = Vec::new();
        Self { path, kind }
    }

    pub(super) fn within(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            f.write_str("at ")?;
            for segment in self.path.iter().rev() {
                match segment {
                    Segment::Name(name) => write!(f, "/{name}")?,
                    Segment::Index(index) => write!(f, "/{index}")?,
                    Segment::Key => f.write_str("/*")?,
                }
            }
            f.write_str(": ")?;
        }
        match &self.kind {
            Kind::Type { expected } => write!(f, "invalid type, expected {expected}"),
            Kind::Value { expected } => write!(f, "invalid value, expected {expected}"),
            Kind::Length { expected } => write!(f, "invalid length, expected {expected}"),
            Kind::UnknownVariant => f.write_str("unknown variant"),
            Kind::UnknownField => f.write_str("unknown field"),
            Kind::MissingField(field) => write!(f, "missing field `{field}`"),
            Kind::DuplicateField(field) => write!(f, "duplicate field `{field}`"),
            Kind::Other => f.write_str("invalid value"),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::of(Kind::Other)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = shortened(expected);
        Self::of(Kind::Type { expected })
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = shortened(expected);
        Self::of(Kind::Value { expected })
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        let expected = shortened(expected);
        Self::of(Kind::Length { expected })
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownVariant)
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::of(Kind::UnknownField)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(Kind::MissingField(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::of(Kind::DuplicateField(field))
    }
}

fn shortened(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    expected.chars().take(LONGEST_EXPECTATION).collect()
}
