//! Measurements of requests, under OpenTelemetry's names, and where they are read.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, header};
use axum::routing::get;
use metrics::{Unit, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const REQUEST_DURATION: &str = "http_server_request_duration_seconds";

/// Upper bounds in seconds; those of OpenTelemetry's conventions, with finer ones at the fast end.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// One recorder per process: services that share a process share their measurements.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts measuring.
pub(crate) fn install() -> PrometheusHandle {
    RECORDER
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            // Fails only for an empty list of buckets, and leaves the default then.
            let builder = builder
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
                .unwrap_or_else(|_| PrometheusBuilder::new());
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Somebody else's recorder, in a program that brings its own, gets the values.
            let _ = metrics::set_global_recorder(recorder);
            describe_histogram!(
                REQUEST_DURATION,
                Unit::Seconds,
                "Duration of HTTP server requests."
            );
            handle
        })
        .clone()
}

/// Notes one answered request. `route` is the template, never the path: paths are without number.
pub(crate) fn record(method: &Method, route: &str, status: StatusCode, duration: Duration) {
    histogram!(
        REQUEST_DURATION,
        "http_request_method" => known_method(method),
        "http_route" => route.to_owned(),
        "http_response_status_code" => status.as_u16().to_string(),
    )
    .record(duration);
}

/// A client can make up methods, and each would be a time series of its own.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// `/metrics` in Prometheus' text format.
pub(crate) fn routes(handle: PrometheusHandle) -> Router {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Router::new().route(
        "/metrics",
        get(async move || (content_type, handle.render())),
    )
}

/// Keeps the memory of the measurements bounded when nobody reads them.
pub(crate) async fn keep_tidy(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
