//! The AsyncAPI document of a service: what it publishes and handles.

use event_bus::{EventBus, InMemory};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::service::Service;

/// The document of the messages that the service registers.
///
/// A bus is put together for it and not started, so database and broker may be nowhere. A runtime
/// has to be entered, which the pool is bound to.
pub(crate) fn describe<S: Service>(settings: &S::Settings) -> Value {
    let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass());
    let bus = S::handlers(EventBus::builder(S::NAME, pool, InMemory::new()), settings);
    let mut document = bus.asyncapi(&format!("Waybill {}", S::NAME), env!("CARGO_PKG_VERSION"));
    document["info"]["description"] = json!(S::ABOUT);
    document
}
