//! Users of the shop: who they are, how they sign in, and what they may do.
//!
//! Other services learn about users in two ways only: from access tokens, which they verify with
//! the published keys, and from the events published when a user is created, changed or deleted.

mod demo;
mod keys;
mod passwords;
mod sessions;
mod settings;
mod state;
mod users;

use event_bus::{EntityCreatedEto, EntityDeletedEto, EntityUpdatedEto, EventBusBuilder};
use event_contracts::identity::UserEto;
use service_host::{App, ConfigError, Environment, Service};
use sqlx::migrate::Migrator;
use utoipa_axum::router::OpenApiRouter;

pub use settings::Settings;
pub use state::State;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/identity");

/// The identity service.
#[derive(Debug)]
pub struct Identity;

impl Service for Identity {
    const NAME: &'static str = "identity";
    const ABOUT: &'static str = "Users, roles, sessions and the keys that sign access tokens.";
    const HTTP_PORT: u16 = 8083;
    const ISSUES_TOKENS: bool = true;
    type Settings = Settings;
    type State = State;

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    fn check(settings: &Settings, environment: Environment) -> Result<(), ConfigError> {
        settings.check(environment)
    }

    fn handlers(bus: EventBusBuilder, _settings: &Settings) -> EventBusBuilder {
        users::storage::serve_snapshots(bus)
            .publishes::<EntityCreatedEto<UserEto>>()
            .publishes::<EntityUpdatedEto<UserEto>>()
            .publishes::<EntityDeletedEto<UserEto>>()
    }

    fn routes() -> OpenApiRouter<App<Self>> {
        OpenApiRouter::new()
            .merge(keys::routes())
            .merge(sessions::routes())
            .merge(users::routes())
    }

    async fn prepare(app: &App<Self>) -> anyhow::Result<()> {
        keys::load(app).await?;
        if app.settings.seed_demo_data {
            demo::seed(app).await?;
        }
        // Spawned last: `prepare` is retried after a failure, and each task must start only once.
        app.spawn(keys::reload_periodically(app.clone()));
        app.spawn(sessions::delete_expired_periodically(app.clone()));
        Ok(())
    }
}
