//! What a service tells its host.

use clap::Args;
use event_bus::EventBusBuilder;
use sqlx::migrate::Migrator;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::config::{ConfigError, Environment};

/// A service: what is its own, and nothing of what all services have alike.
pub trait Service: Sized + Send + Sync + 'static {
    /// Name of the service, of its participant on the bus, and of its database role and schema.
    const NAME: &'static str;

    /// What it does, in one line.
    const ABOUT: &'static str;

    /// Port of the API, if nothing else is configured; the one for metrics is 1000 higher.
    const HTTP_PORT: u16;

    /// Whether the service issues the access tokens itself. Then no key set is fetched, and it
    /// says whom to trust by [`TokenVerifier::trust`](crate::TokenVerifier::trust).
    const ISSUES_TOKENS: bool = false;

    /// Variables of the service's own. Each argument needs `long` and `env`.
    type Settings: Args + Clone + std::fmt::Debug + Send + Sync + 'static;

    /// What the service keeps in memory, [`App::state`]; `()` if nothing.
    type State: Default + Send + Sync + 'static;

    /// The service's own migrations.
    fn migrator() -> &'static Migrator;

    /// Refuses settings that can't be used, such as default passwords in production.
    ///
    /// # Errors
    ///
    /// Names the variable.
    fn check(settings: &Self::Settings, environment: Environment) -> Result<(), ConfigError> {
        let _ = (settings, environment);
        Ok(())
    }

    /// Adds the handlers of the messages that the service receives, and names the messages that it
    /// publishes; the AsyncAPI document comes from the same registration.
    fn handlers(bus: EventBusBuilder, settings: &Self::Settings) -> EventBusBuilder;

    /// The routes of the API; the OpenAPI document comes from the same registration.
    fn routes() -> OpenApiRouter<App<Self>>;

    /// Runs once the database is there and its schema current, and before any request is let in:
    /// demo data, keys. May run again, and in several instances at once.
    ///
    /// # Errors
    ///
    /// It is tried again until it succeeds, so that a database that goes away meanwhile is waited
    /// for.
    fn prepare(app: &App<Self>) -> impl Future<Output = anyhow::Result<()>> + Send {
        let _ = app;
        async { Ok(()) }
    }
}
