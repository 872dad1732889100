//! What happens around every request: span, measurement, log line, problem details.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, field};

use crate::health::Explained;
use crate::http_metrics;
use crate::problem::Problem;
use crate::trace_context::{continue_trace, current_trace_id, trace_id_of};

/// The outermost layer: opens the span of the request, in the trace of the caller.
///
/// The span and the log know the route's template and neither the path nor the query, which may
/// hold personal data.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{} {route}", http_metrics::known_method(&method)),
        otel.kind = "server",
        http.request.method = http_metrics::known_method(&method),
        http.route = route,
        trace_id = field::Empty,
    );
    continue_trace(&span, request.headers());
    span.record("trace_id", trace_id_of(&span));

    let answered = async {
        let response = next.run(request).await;
        let status = response.status();
        let elapsed = begun.elapsed();
        http_metrics::record(&method, route, status, elapsed);
        if status.is_client_error() {
            tracing::info!(status = status.as_u16(), ?elapsed, "refused");
        } else {
            tracing::debug!(status = status.as_u16(), ?elapsed, "answered");
        }
        response
    };
    answered.instrument(span).await
}

/// Turns every 4xx and 5xx into problem details, and logs what is our own fault, once, here.
pub(crate) async fn explain(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || response.extensions().get::<Explained>().is_some() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Arc<Problem>>();
    let problem = problem.unwrap_or_else(|| Arc::new(bare(status)));
    if response.extensions().get::<Logged>().is_none() {
        log(&problem);
    }

    let body = problem.body(&instance, current_trace_id());
    let mut headers = std::mem::take(response.headers_mut());
    headers.extend(problem.headers().clone());
    for described in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ] {
        headers.remove(described);
    }
    let content_type = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, content_type);
    // Every part of a problem has a JSON form; should one day one have none, the status remains.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    (problem.status(), headers, body).into_response()
}

/// The problem of an answer that did not come from a handler of ours.
fn bare(status: StatusCode) -> Problem {
    match status {
        // The time limit around a handler answers so: the work was given up, and may be asked
        // for again.
        StatusCode::SERVICE_UNAVAILABLE => Problem::unavailable("the request took too long"),
        status => Problem::of_status(status),
    }
}

fn log(problem: &Problem) {
    let status = problem.status();
    let error = problem.cause().map(|cause| causes(cause));
    match status {
        // Nobody's fault in particular, and as frequent as requests while it lasts.
        StatusCode::SERVICE_UNAVAILABLE => tracing::info!(status = 503, error, "not available"),
        status if status.is_server_error() => {
            tracing::error!(status = status.as_u16(), error, "request failed");
        }
        _ => {}
    }
}

/// The chain of causes in one line, without the data that serde or the database quote.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for text in event_bus::error_reasons(error) {
        // Some errors repeat their cause in their own text.
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

/// Marks an answer whose reason was logged, with its place, where it happened.
#[derive(Debug, Clone, Copy)]
struct Logged;

/// The answer to a request whose handler panicked.
pub(crate) fn panicked(_payload: Box<dyn Any + Send>) -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(Logged);
    response
}

/// Browsers are told to take answers for what they say they are.
pub(crate) async fn no_sniffing(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers: &mut HeaderMap = response.headers_mut();
    let value = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, value);
    response
}
