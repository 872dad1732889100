//! Collecting everything that is wrong with a request before refusing it.

use std::fmt::{self, Display};

use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// One part of a request that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/name")]
    pub pointer: Option<String>,
    /// Name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, for people.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_ref().or(self.parameter.as_ref()) {
            Some(place) => write!(f, "`{place}` {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl Violation {
    /// A wrong field of the body; `pointer` is a JSON pointer such as `/name`.
    #[must_use]
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// A wrong query parameter.
    #[must_use]
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.into()),
            detail: detail.into(),
        }
    }
}

/// Collects violations, so that a client hears of all of them at once.
///
/// ```
/// use service_host::{Problem, Violations};
///
/// fn quantity(number: u32) -> Result<u32, &'static str> {
///     if number == 0 { Err("must be at least 1") } else { Ok(number) }
/// }
///
/// fn parse(number: u32) -> Result<u32, Problem> {
///     let mut violations = Violations::new();
///     let quantity = violations.check("/quantity", quantity(number));
///     let Some(quantity) = quantity else {
///         return Err(violations.into());
///     };
///     Ok(quantity)
/// }
/// assert_eq!(parse(3).ok(), Some(3));
/// assert_eq!(parse(0).map_err(|problem| problem.status().as_u16()), Err(422));
/// ```
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the value out of a parsed field, or notes why there is none.
    pub fn check<T, E: Display>(&mut self, pointer: &str, parsed: Result<T, E>) -> Option<T> {
        parsed
            .map_err(|error| self.0.push(Violation::field(pointer, error.to_string())))
            .ok()
    }

    /// Notes that a field of the body is wrong.
    pub fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(Violation::field(pointer, detail));
    }

    /// Whether nothing was found wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses if anything was found wrong.
    ///
    /// # Errors
    ///
    /// 422 with all violations.
    pub fn finish(self) -> Result<(), Problem> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.into())
        }
    }
}

impl From<Violations> for Problem {
    fn from(violations: Violations) -> Self {
        Self::invalid(violations.0)
    }
}
