//! A second try for a request that met a session older than the schema.
//!
//! A migration may change the type of a column while the service runs. PostgreSQL then refuses each
//! statement that was prepared before and returns the column, until its session ends. Nothing that
//! the request asks for was done then, since a handler reads nothing after its commit. So the
//! request is handled once more, on sessions that have prepared nothing yet.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};

use crate::database::OutdatedSessions;
use crate::problem::Problem;

/// Runs the handler again, once, if its failure was that of an outdated session.
pub(crate) async fn on_clean_sessions(
    State(sessions): State<OutdatedSessions>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let (body, recording) = Recording::of(body);
    let again = (parts.clone(), next.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    if !is_of_outdated_session(&response) {
        return response;
    }
    sessions.exclude_all();
    let Some(body) = recording.replay() else {
        return response;
    };
    tracing::info!("handling a request again: the schema has changed under the first try");
    let (parts, next) = again;
    next.run(Request::from_parts(parts, body)).await
}

fn is_of_outdated_session(response: &Response) -> bool {
    let problem = response.extensions().get::<Arc<Problem>>();
    let cause = problem.and_then(|problem| problem.cause());
    cause.is_some_and(|cause| event_bus::is_outdated_statement(cause))
}

/// What was read of a request's body.
#[derive(Debug, Clone, Default)]
struct Recording(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    read: Vec<u8>,
    is_complete: bool,
}

impl Recording {
    /// The same body, which is recorded as it is read.
    fn of(body: Body) -> (Body, Self) {
        let recording = Self::default();
        if body.is_end_stream() {
            recording.with(|recorded| recorded.is_complete = true);
            return (body, recording);
        }
        let body = RecordedBody {
            body,
            recording: recording.clone(),
        };
        (Body::new(body), recording)
    }

    /// The body once more, if it was read to its end.
    fn replay(&self) -> Option<Body> {
        self.with(|recorded| {
            let complete = recorded.is_complete;
            complete.then(|| Body::from(std::mem::take(&mut recorded.read)))
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut Recorded) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A body that is recorded as it is read.
struct RecordedBody {
    body: Body,
    recording: Recording,
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.recording.with(|recorded| match &frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], AsRef::as_ref);
                recorded.read.extend_from_slice(data);
            }
            Some(Err(_)) => {}
            None => recorded.is_complete = true,
        });
        // Unwrapped, since `Body` wraps the error again, and who reads the body looks for the one
        // that tells of its size only so deep.
        Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::into_inner)))
    }

    fn is_end_stream(&self) -> bool {
        // The end is seen only by who asks for one more frame.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
