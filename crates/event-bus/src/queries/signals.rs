//! Spans and metrics of queries, named after OpenTelemetry's
//! [messaging conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).

use std::time::{Duration, Instant};

use tracing::{Span, field};

use crate::envelope::Envelope;
use crate::{signals, trace};

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
    record: fn(&'static str, &'static str, Duration),
    query: &'static str,
    started: Instant,
    /// What it came to. At first what it is if it comes to nothing: the future was dropped.
    pub(super) outcome: &'static str,
}

impl Measured {
    pub(super) fn request(query: &'static str) -> Self {
        Self::start(signals::requested, query)
    }

    pub(super) fn respond(query: &'static str) -> Self {
        Self::start(signals::responded, query)
    }

    fn start(record: fn(&'static str, &'static str, Duration), query: &'static str) -> Self {
        Self {
            record,
            query,
            started: Instant::now(),
            outcome: "dropped",
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        (self.record)(self.query, self.outcome, self.started.elapsed());
    }
}
