//! The AsyncAPI document of a service: what it publishes and handles.

use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::{Router, response::IntoResponse as _};
use event_bus::{EventBus, EventBusBuilder, InMemory};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::service::Service;

/// The document of the messages that the service registers.
///
/// A bus is put together for it and not started, so database and broker may be nowhere. A runtime
/// has to be entered, which the pool is bound to.
pub(crate) fn describe<S: Service>(settings: &S::Settings) -> Value {
    let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass());
    let bus = EventBus::builder(S::NAME, pool, InMemory::new());
    document::<S>(&S::handlers(bus, settings))
}

/// The document of a bus that is put together.
pub(crate) fn document<S: Service>(bus: &EventBusBuilder) -> Value {
    let mut document = bus.asyncapi(&format!("Waybill {}", S::NAME), env!("CARGO_PKG_VERSION"));
    document["info"]["description"] = json!(S::ABOUT);
    document
}

/// `/asyncapi.json`.
pub(crate) fn routes(document: &Value) -> Router {
    let body = axum::body::Bytes::from(document.to_string());
    let answer = async move || ([(CONTENT_TYPE, "application/json")], body.clone()).into_response();
    Router::new().route("/asyncapi.json", get(answer))
}
