//! The bus's own tables.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

static MIGRATOR: Migrator = sqlx::migrate!();

/// The migrations of the bus's tables, for programs that look whether a schema is current.
pub fn migrator() -> &'static Migrator {
    &MIGRATOR
}

/// Creates or updates the bus's tables in the schema the pool connects to.
///
/// They have their own table of applied migrations, `_event_bus_migrations`, so that they don't
/// get in the way of the service's.
///
/// # Errors
///
/// If the database can't be reached or refuses.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    MIGRATOR.run(pool).await
}
