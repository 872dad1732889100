//! Spans and metrics of queries, named after OpenTelemetry's
//! [messaging conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).

use std::time::Instant;

use tracing::{Span, field};

use crate::envelope::Envelope;
use crate::trace;

/// How long a request took as its asker saw it, in seconds; by `query` and `outcome`.
const REQUEST_DURATION: &str = "event_bus.request.duration";
/// How long a responder took, in seconds; by `query` and `outcome`.
const RESPOND_DURATION: &str = "event_bus.respond.duration";

/// The asker's span. What answers continues its trace.
pub(super) fn request_span(query: &'static str) -> Span {
    tracing::info_span!(
        "request",
        otel.name = format!("request {query}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        messaging.operation.name = "request",
        messaging.operation.type = "send",
        messaging.destination.name = query,
        messaging.message.id = field::Empty,
        outcome = field::Empty,
    )
}

/// The responder's span, in the trace of whoever asks.
pub(super) fn respond_span(query: &'static str, responder: &str, envelope: &Envelope) -> Span {
    let span = tracing::info_span!(
        "respond",
        otel.name = format!("respond {query}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        messaging.operation.name = "respond",
        messaging.operation.type = "process",
        messaging.destination.name = query,
        messaging.message.id = %envelope.id,
        responder,
        trace_id = field::Empty,
        outcome = field::Empty,
    );
    trace::continue_in(&span, &envelope.trace);
    if let Some(trace_id) = envelope.trace.trace_id() {
        span.record("trace_id", trace_id);
    }
    span
}

/// A refusal is an answer; anything else but an answer is an error.
pub(super) fn record_outcome(span: &Span, outcome: &'static str) {
    span.record("outcome", outcome);
    if !matches!(outcome, "answered" | "refused") {
        span.record("otel.status_code", "ERROR");
    }
}

/// Measures until it is dropped.
pub(super) struct Measured {
    metric: &'static str,
    query: &'static str,
    started: Instant,
    /// What it came to. At first what it is if it comes to nothing: the future was dropped.
    pub(super) outcome: &'static str,
}

impl Measured {
    pub(super) fn request(query: &'static str) -> Self {
        Self::start(REQUEST_DURATION, query)
    }

    pub(super) fn respond(query: &'static str) -> Self {
        Self::start(RESPOND_DURATION, query)
    }

    fn start(metric: &'static str, query: &'static str) -> Self {
        Self {
            metric,
            query,
            started: Instant::now(),
            outcome: "dropped",
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::histogram!(self.metric, "query" => self.query, "outcome" => self.outcome)
            .record(self.started.elapsed());
    }
}
