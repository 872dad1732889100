//! What users write to answer a query.

use std::error::Error;
use std::fmt;

use crate::handler::{HandlerError, short_type_name};
use crate::received::Received;
use crate::request::Request;

/// Answers one kind of query.
///
/// It may be called many times at once, see
/// [`BusSettings::answers_at_once`](crate::BusSettings::answers_at_once), and is dropped where it
/// stands when the asker no longer waits. A query changes nothing: there is no unit of work here.
pub trait Responder<Q: Request>: Send + Sync + 'static {
    /// Answers the query.
    ///
    /// # Errors
    ///
    /// [`RespondError::refuse`] is a typed *no* that the asker gets to read. Any other error, and a
    /// panic, is logged here; the asker learns that the responder failed, and nothing more.
    fn respond(
        &self,
        query: Received<Q>,
    ) -> impl Future<Output = Result<Q::Answer, RespondError<Q::Refusal>>> + Send;

    /// The name of this responder in logs and errors: the type's name.
    fn name(&self) -> &'static str {
        short_type_name::<Self>()
    }
}

/// Why a responder gives no answer.
///
/// Any error becomes a failure with `?`.
pub struct RespondError<R>(pub(super) Verdict<R>);

pub(super) enum Verdict<R> {
    Refused(R),
    Failed(HandlerError),
}

impl<R> RespondError<R> {
    /// A *no* that the asker gets to read, as
    /// [`RequestError::Refused`](crate::RequestError::Refused).
    pub fn refuse(refusal: R) -> Self {
        Self(Verdict::Refused(refusal))
    }

    /// The responder can't answer, for a reason of its own.
    pub fn fail(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Verdict::Failed(HandlerError::reject(source)))
    }
}

impl<R: fmt::Debug> fmt::Debug for RespondError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Verdict::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
            Verdict::Failed(error) => write!(f, "Failed: {}", error.reasons().join(": ")),
        }
    }
}

impl<R, E: Error + Send + Sync + 'static> From<E> for RespondError<R> {
    fn from(source: E) -> Self {
        Self::fail(source)
    }
}
