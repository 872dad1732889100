//! Logs and spans.
//!
//! Spans carry OpenTelemetry trace ids, so that one trace goes through requests and messages of
//! all services; they are not exported yet.

use std::sync::Once;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{LogConfig, LogFormat};

static INSTALLED: Once = Once::new();

/// Starts logging to standard output, once per process; later calls change nothing.
pub(crate) fn install(service: &'static str, config: &LogConfig) {
    INSTALLED.call_once(|| {
        // The filter was parsed with the configuration.
        let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = match config.format {
            LogFormat::Json => tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .boxed(),
            LogFormat::Text => tracing_subscriber::fmt::layer().boxed(),
        };
        // How the bus writes the trace into its messages.
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        // Every span has a trace id, whatever is logged.
        let tracer = SdkTracerProvider::builder().build().tracer(service);
        let traces = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(is_traced));
        let subscriber = Registry::default()
            .with(traces)
            .with(lines.with_filter(filter));
        // Somebody else's subscriber, in a program that brings its own, is as good.
        let _ = tracing::subscriber::set_global_default(subscriber);
        std::panic::set_hook(Box::new(log_panic));
    });
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

/// One structured line instead of the standard library's two on standard error.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        location = panic.location().map(tracing::field::display),
        "panicked: {}",
        message.unwrap_or("for no reason given")
    );
}
