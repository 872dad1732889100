//! What every HTTP service needs and no service owns: configuration, telemetry, problem details,
//! access tokens, health, pages, migrations, shutdown.
//!
//! A service implements [`Service`] and has [`main`] and the [`Allocator`] as its whole program:
//!
//! ```no_run
//! use event_bus::EventBusBuilder;
//! use service_host::{App, Service};
//! use sqlx::migrate::Migrator;
//! use utoipa_axum::{router::OpenApiRouter, routes};
//!
//! /// Says hello.
//! struct Greeter;
//!
//! static MIGRATOR: Migrator = Migrator::DEFAULT;
//!
//! impl Service for Greeter {
//!     const NAME: &'static str = "greeter";
//!     const ABOUT: &'static str = "Says hello.";
//!     const HTTP_PORT: u16 = 8090;
//!     type Settings = service_host::NoSettings;
//!     type State = ();
//!
//!     fn migrator() -> &'static Migrator {
//!         &MIGRATOR
//!     }
//!
//!     fn handlers(bus: EventBusBuilder, _settings: &Self::Settings) -> EventBusBuilder {
//!         bus
//!     }
//!
//!     fn routes() -> OpenApiRouter<App<Self>> {
//!         OpenApiRouter::new().routes(routes!(hello))
//!     }
//! }
//!
//! #[utoipa::path(get, path = "/hello", responses((status = 200, body = String)))]
//! async fn hello() -> &'static str {
//!     "hello"
//! }
//!
//! #[global_allocator]
//! static ALLOCATOR: service_host::Allocator = service_host::Allocator;
//!
//! fn main() -> std::process::ExitCode {
//!     service_host::main::<Greeter>()
//! }
//! ```

mod app;
mod asyncapi;
mod caller;
mod cli;
mod config;
mod database;
mod database_error;
mod entry;
mod etag;
mod health;
mod healthcheck;
mod http_metrics;
mod json_body;
mod migrate;
mod openapi;
mod page;
mod params;
mod preparation;
pub mod problem;
mod request_layers;
mod second_try;
mod server;
mod service;
mod telemetry;
#[cfg(feature = "testing")]
mod test_call;
mod token;
mod trace_context;
mod violations;

pub use app::App;
pub use caller::{Caller, Permission, Permitted, SignedIn, User};
pub use config::{
    BrokerConfig, ConfigError, DatabaseConfig, Environment, EnvironmentConfig, HostConfig,
    HttpConfig, LogConfig, LogFormat, NoSettings, TokenConfig,
};
pub use database_error::{ConstraintViolation, OnConstraint, is_passing};
pub use entry::main;
pub use etag::{ETag, IfMatch};
pub use json_body::{JsonBody, MAX_BODY};
pub use page::{Cursor, Page, PageLimit};
pub use params::{PathId, QueryParams};
pub use problem::{Answer, Problem};
pub use server::{RunningService, StartError, start};
pub use service::Service;
#[cfg(feature = "testing")]
pub use test_call::{TestCall, uncalled};
#[cfg(feature = "testing")]
pub use token::test_issuer::TestIssuer;
pub use token::{Claims, ISSUER, MAX_LIFETIME, TokenError, TokenVerifier};
pub use trace_context::current_trace_id;
pub use violations::{Violation, Violations};

/// The allocator of a service's program: memory is returned and reused faster than by the system's
/// under many small requests.
///
/// Each `main.rs` names it. This crate does not, so that tests of a service can have another one,
/// such as one that counts.
pub use mimalloc::MiMalloc as Allocator;
