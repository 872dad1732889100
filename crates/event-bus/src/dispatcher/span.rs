//! Spans and metrics of handling, named after OpenTelemetry's
//! [messaging conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).

use std::time::Instant;

use tracing::{Span, field};

use crate::envelope::TraceContext;
use crate::handler_entry::{HandlerEntry, Task};
use crate::{signals, trace};

/// The span of a batch. It belongs to no message's trace.
pub(super) fn for_batch(messages: usize) -> Span {
    tracing::debug_span!(
        "process batch",
        otel.kind = "consumer",
        messaging.operation.type = "process",
        messaging.batch.message_count = messages,
    )
}

/// The span of a handler. For a single message it continues the message's trace.
pub(super) fn for_handler(handler: &HandlerEntry, tasks: &[Task]) -> Span {
    let [task] = tasks else {
        return tracing::debug_span!(
            "handle set",
            handler = handler.name,
            messaging.batch.message_count = tasks.len(),
        );
    };
    let span = tracing::info_span!(
        "process",
        otel.name = format!("process {}", task.envelope.name),
        otel.kind = "consumer",
        messaging.operation.type = "process",
        messaging.destination.name = task.envelope.name,
        messaging.message.id = %task.envelope.id,
        handler = handler.name,
        attempt = task.attempt,
        trace_id = field::Empty,
    );
    trace::continue_in(&span, &task.envelope.trace);
    if let Some(trace_id) = task.envelope.trace.trace_id() {
        span.record("trace_id", trace_id);
    }
    span
}

/// What is published within the span belongs to it; if it is not recorded, to the message's trace.
pub(super) fn trace_within(span: &Span, of_message: TraceContext) -> TraceContext {
    let within = trace::of(span);
    if within.traceparent.is_some() {
        within
    } else {
        of_message
    }
}

/// Measures until it is dropped.
pub(super) struct HandlingTimer {
    what: &'static str,
    started: Instant,
}

impl HandlingTimer {
    pub(super) fn start(what: &'static str) -> Self {
        Self {
            what,
            started: Instant::now(),
        }
    }
}

impl Drop for HandlingTimer {
    fn drop(&mut self) {
        signals::processed(self.what, self.started.elapsed());
    }
}
