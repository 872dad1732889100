//! Users of the shop: who they are, how they sign in, and what they may do.
//!
//! Other services know users by two things alone: access tokens, which they check against the
//! published keys, and the events that creating, changing and deleting a user publishes.

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
            demo::plant(app).await?;
        }
        // Last, so that it happens once however often preparing is tried.
        app.spawn(keys::keep_current(app.clone()));
        app.spawn(sessions::keep_tidy(app.clone()));
        Ok(())
    }
}
