//! Between the tracing span at hand and the W3C trace context that travels.
//!
//! The program's global propagator decides the format; without one, and without an OpenTelemetry
//! layer, nothing is written and what came in is passed on as it came.

use std::collections::HashMap;

use opentelemetry::global;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::envelope::{Lineage, TraceContext};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Lineage {
    /// The beginning of a chain of causes and effects, in the trace of the current span.
    pub fn begin() -> Self {
        Self {
            correlation_id: Uuid::now_v7(),
            causation_id: None,
            trace: current(),
        }
    }
}

/// The context of the current span.
fn current() -> TraceContext {
    of(&Span::current())
}

/// The context of a span, empty if it is not recorded.
pub(crate) fn of(span: &Span) -> TraceContext {
    let mut carrier = HashMap::new();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&span.context(), &mut carrier);
    });
    TraceContext {
        traceparent: carrier.remove(TRACEPARENT),
        tracestate: carrier.remove(TRACESTATE).filter(|state| !state.is_empty()),
    }
}

/// Makes `span` a child of the span that published the message.
pub(crate) fn continue_in(span: &Span, trace: &TraceContext) {
    let Some(traceparent) = &trace.traceparent else {
        return;
    };
    let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.clone())]);
    if let Some(tracestate) = &trace.tracestate {
        carrier.insert(TRACESTATE.to_owned(), tracestate.clone());
    }
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
    // The only error is a subscriber without an OpenTelemetry layer, where there is no trace.
    let _ = span.set_parent(parent);
}
