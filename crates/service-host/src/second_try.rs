//! A second try for a request that met a session older than the schema.
//!
//! A migration may change the type of a column while the service runs. PostgreSQL then refuses each
//! statement that was prepared before and returns the column, until its session ends. Nothing that
//! the request asks for was done then, since a handler reads nothing after its commit. So the
//! request is handled once more, on sessions that have prepared nothing yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::ready;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::{StreamExt as _, stream};

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

/// The innermost error. `Body` wraps it once more, and what reads the body looks for an error that
/// tells of its size only so deep.
fn unwrap(error: axum::Error) -> BoxError {
    let mut inner = error.into_inner();
    loop {
        match inner.downcast::<axum::Error>() {
            Ok(error) => inner = error.into_inner(),
            Err(innermost) => return innermost,
        }
    }
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
        let mut frames = body.into_data_stream();
        let recorder = recording.clone();
        let body = Body::from_stream(stream::poll_fn(move |context| {
            let frame: Option<Result<Bytes, _>> = ready!(frames.poll_next_unpin(context));
            recorder.with(|recorded| match &frame {
                Some(Ok(bytes)) => recorded.read.extend_from_slice(bytes),
                Some(Err(_)) => {}
                None => recorded.is_complete = true,
            });
            std::task::Poll::Ready(frame.map(|frame| frame.map_err(unwrap)))
        }));
        (body, recording)
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
