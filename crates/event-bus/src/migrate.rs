//! Migrations, and which programs a schema works with.

use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::{PgConnection, PgPool};

use crate::sessions;

static MIGRATOR: Migrator = sqlx::migrate!();

/// The migrations of the bus's tables, for programs that check whether a schema is current.
pub fn migrator() -> &'static Migrator {
    &MIGRATOR
}

/// Why a schema could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The schema requires a newer program.
    #[error(transparent)]
    Incompatible(#[from] IncompatibleSchema),
    /// A migration failed, or one that is applied has been edited since.
    #[error(transparent)]
    Failed(#[from] sqlx::migrate::MigrateError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The schema requires a newer program: a migration that this program does not know is
/// incompatible with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the schema is at version {schema} of `{migrations_table}` and requires a program that knows \
     version {required}, but this program knows version {program} at most; start a newer program, \
     or restore a backup of the database from before version {required}"
)]
#[non_exhaustive]
pub struct IncompatibleSchema {
    /// The table of the applied migrations.
    pub migrations_table: String,
    /// The newest applied migration.
    pub schema: i64,
    /// The newest migration that a program must know to work with the schema.
    pub required: i64,
    /// The newest migration that this program knows.
    pub program: i64,
}

/// Creates or updates the bus's tables in the schema the pool connects to.
///
/// They have their own table of applied migrations, `_event_bus_migrations`, so that they don't
/// get in the way of the service's. See [`run_migrations`] for what happens if the schema is newer
/// than the program.
///
/// # Errors
///
/// As [`run_migrations`].
///
/// # Cancel safety
///
/// This function is cancel safe: the migration at hand is rolled back, the lock is released, and
/// the next call continues.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    run_migrations(pool, &MIGRATOR).await
}

/// Applies the migrations that are missing, of the bus or of a service whose tables are in the same
/// schema.
///
/// Applied migrations that the program does not know are ignored, so that an older program can be
/// started again after a newer one has migrated. A migration that older programs cannot work with
/// excludes them by a row in the table `schema_requirements`: `migrations_table` names the table of
/// applied migrations it is recorded in, and `oldest_program` is the number of the newest migration
/// that a program must know.
///
/// # Errors
///
/// [`MigrateError::Incompatible`] if the schema excludes this program; otherwise if the database
/// can't be reached or refuses, or if an applied migration differs from the program's.
///
/// # Cancel safety
///
/// This function is cancel safe, see [`migrate`].
pub async fn run_migrations(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut session = pool.acquire().await?;
    // The lock belongs to the session. Should this fail or be dropped, it must not stay in the pool.
    session.close_on_drop();
    let connection: &mut PgConnection = &mut session;
    sessions::end_foreign_transaction(connection).await?;
    connection.lock().await?;
    check_compatible_on(connection, migrator).await?;
    let mut within_lock = Migrator::with_migrations(migrator.iter().cloned().collect());
    within_lock.dangerous_set_table_name(migrator.table_name.clone());
    within_lock.set_ignore_missing(true).set_locking(false);
    within_lock.run_direct(None, connection, false).await?;
    session.close().await?;
    Ok(())
}

/// Checks that the schema does not require a newer program, see [`run_migrations`].
///
/// # Errors
///
/// [`MigrateError::Incompatible`] if it does; otherwise if the database fails.
///
/// # Cancel safety
///
/// This function is cancel safe.
pub async fn check_compatible(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut session = pool.acquire().await?;
    check_compatible_on(&mut session, migrator).await
}

async fn check_compatible_on(
    connection: &mut PgConnection,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    // Before the bus's first migration, or its ninth, there is no such table.
    let exists = "select to_regclass('schema_requirements') is not null";
    if !sqlx::query_scalar::<_, bool>(exists)
        .fetch_one(&mut *connection)
        .await?
    {
        return Ok(());
    }
    let table = &*migrator.table_name;
    let required = sqlx::query_scalar!(
        "select oldest_program from schema_requirements where migrations_table = $1",
        table,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let program = migrator.iter().map(|m| m.version).max().unwrap_or(0);
    let Some(required) = required.filter(|required| *required > program) else {
        return Ok(());
    };
    let applied = connection.list_applied_migrations(table).await?;
    Err(IncompatibleSchema {
        migrations_table: table.to_owned(),
        schema: applied.iter().map(|m| m.version).max().unwrap_or(0),
        required,
        program,
    }
    .into())
}
