//! Connections to the service's database, and whether its schema is the one this program knows.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, PgPool};
use tracing::log::LevelFilter;

use crate::config::{ConfigError, DatabaseConfig};

/// How long a request waits for a connection before it is told that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that was in use so short a time ago is taken to live still.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A pool that connects when it is first used, so that a service starts without its database.
pub(crate) fn connect_lazily(
    service: &'static str,
    config: &DatabaseConfig,
) -> Result<PgPool, ConfigError> {
    let options = PgConnectOptions::from_str(config.url.expose_secret())
        .map_err(|_| ConfigError::new("DATABASE_URL", "can't be read"))?
        .application_name(service)
        // Plans are kept. One that was made while a table had no rows would go on to read all of it
        // until the table is analyzed, which may be a minute and a million rows later. Where there is
        // no other way, a plan counts as so dear then that PostgreSQL would compile it each time.
        .options([("enable_seqscan", "off"), ("jit", "off")])
        .log_statements(LevelFilter::Trace);
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                Ok(metadata.idle_for < TRUSTED_FOR || connection.ping().await.is_ok())
            })
        })
        .connect_lazy_with(options))
}

/// Whether the database answers.
pub(crate) async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    let answer = sqlx::query_scalar::<_, i32>("select 1").fetch_one(pool);
    match tokio::time::timeout(ACQUIRE_TIMEOUT, answer).await {
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Whether every migration of the program is applied, and unchanged. Newer ones may be there as
/// well: while a new version is rolled out, the old one goes on.
pub(crate) async fn is_current(pool: &PgPool, migrator: &Migrator) -> Result<bool, MigrateError> {
    let mut connection = pool.acquire().await?;
    let table = sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null")
        .bind(&*migrator.table_name)
        .fetch_one(&mut *connection)
        .await?;
    if !table {
        return Ok(false);
    }
    if connection
        .dirty_version(&migrator.table_name)
        .await?
        .is_some()
    {
        return Ok(false);
    }
    let applied = connection
        .list_applied_migrations(&migrator.table_name)
        .await?;
    let is_applied = |version: i64, checksum: &[u8]| {
        applied
            .iter()
            .any(|done| done.version == version && *done.checksum == *checksum)
    };
    Ok(migrator
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .all(|migration| is_applied(migration.version, &migration.checksum)))
}
