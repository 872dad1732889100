//! What the failures of a database mean to a client.

use axum::http::StatusCode;
use event_bus::{DatabaseFault, PublishError, RepositoryError};
use sqlx::Error;
use sqlx::error::DatabaseError;

use crate::problem::Problem;

/// Whether the database is unavailable, overloaded or ended one of two transactions that were in
/// each other's way, so that the same request may succeed later; or a prepared statement is older
/// than the schema, which another session does not have.
#[must_use]
pub fn is_passing(error: &Error) -> bool {
    event_bus::is_outdated_statement(error)
        || matches!(
            DatabaseFault::of(error),
            DatabaseFault::Outage | DatabaseFault::Conflict
        )
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if is_passing(&error) {
            Self::unavailable(error)
        } else if is_no_text(&error) {
            Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "validation",
                "The request is not valid",
            )
            .with_detail(
                "A text of the request holds a character that can't be stored, such as NUL.",
            )
        } else {
            Self::internal(error)
        }
    }
}

/// SQLSTATE 22021: PostgreSQL takes NUL in no text, and one that got this far came with the request.
fn is_no_text(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "22021")
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        Self::internal(error)
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Database(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

/// An error that may come from a constraint of the database.
pub trait ConstraintViolation {
    /// Name of the violated constraint, if that is what happened.
    fn constraint(&self) -> Option<&str>;
}

impl ConstraintViolation for Error {
    fn constraint(&self) -> Option<&str> {
        self.as_database_error()?.constraint()
    }
}

impl ConstraintViolation for RepositoryError {
    fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.constraint(),
            _ => None,
        }
    }
}

/// Maps violated constraints to what they mean in the domain.
pub trait OnConstraint<T> {
    /// The result as an answer; if the constraint `name` was violated, with the problem that
    /// `meaning` makes of it.
    ///
    /// # Errors
    ///
    /// The problem given by `meaning`, or what the error is anyway.
    fn on_constraint(self, name: &str, meaning: impl FnOnce() -> Problem) -> Result<T, Problem>;
}

impl<T, E: ConstraintViolation + Into<Problem>> OnConstraint<T> for Result<T, E> {
    fn on_constraint(self, name: &str, meaning: impl FnOnce() -> Problem) -> Result<T, Problem> {
        self.map_err(|error| match error.constraint() {
            Some(violated) if violated == name => meaning(),
            _ => error.into(),
        })
    }
}

/// Allows several constraints to be named one after the other.
impl ConstraintViolation for Problem {
    fn constraint(&self) -> Option<&str> {
        if self.status() != StatusCode::INTERNAL_SERVER_ERROR {
            return None;
        }
        self.cause()?.downcast_ref::<Error>()?.constraint()
    }
}
