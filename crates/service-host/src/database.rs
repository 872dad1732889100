//! Connections to the service's database, and whether its schema is the one this program knows.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, PgConnection, PgPool};
use tracing::log::LevelFilter;

use crate::config::{ConfigError, DatabaseConfig};

/// How long a request waits for a connection before it is told that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that was in use so short a time ago is taken to live still.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A pool that connects when it is first used, so that a service starts without its database; and
/// what excludes sessions from it that are older than the schema.
pub(crate) fn connect_lazily(
    service: &'static str,
    config: &DatabaseConfig,
) -> Result<(PgPool, OutdatedSessions), ConfigError> {
    let options = PgConnectOptions::from_str(config.url.expose_secret())
        .map_err(|_| ConfigError::new("DATABASE_URL", "can't be read"))?
        .application_name(service)
        // Plans are kept. One that was made while a table had no rows would go on to read all of it
        // until the table is analyzed, which may be a minute and a million rows later. Where there is
        // no other way, a plan counts as so dear then that PostgreSQL would compile it each time.
        .options([("enable_seqscan", "off"), ("jit", "off")])
        .log_statements(LevelFilter::Trace);
    let outdated = OutdatedSessions::new();
    let excluded = outdated.clone();
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            let excluded = excluded.exclude(metadata.age);
            let trusted = metadata.idle_for < TRUSTED_FOR;
            Box::pin(async move { Ok(!excluded && (trusted || is_clean(connection).await)) })
        })
        .connect_lazy_with(options);
    Ok((pool, outdated))
}

/// Whether the session lives, and is in no transaction that somebody left open.
///
/// One round trip, as a ping takes: sqlx compares the server's answer with what a BEGIN would have
/// led to, and a statement that begins nothing leads there only if a transaction is open already.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing begins here, and a session that is dropped meanwhile is closed"
)]
async fn is_clean(connection: &mut PgConnection) -> bool {
    matches!(
        connection.begin_with("select").await,
        Err(sqlx::Error::BeginFailed)
    )
}

/// Excludes the sessions of a pool that have prepared statements for a schema that has changed.
///
/// Which sessions have, only the server knows. So when one of them fails, all that existed by then
/// are replaced as they come out of the pool.
#[derive(Debug, Clone)]
pub(crate) struct OutdatedSessions {
    origin: Instant,
    /// Sessions from before this are excluded, in microseconds since the origin.
    before: Arc<AtomicU64>,
}

impl OutdatedSessions {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            before: Arc::default(),
        }
    }

    /// Excludes every session that exists now.
    pub(crate) fn exclude_all(&self) {
        let now = self.since_origin(Instant::now());
        self.before.fetch_max(now, Ordering::AcqRel);
    }

    /// Whether a session of this age is excluded.
    fn exclude(&self, age: Duration) -> bool {
        let before = self.before.load(Ordering::Acquire);
        let created = Instant::now().checked_sub(age).unwrap_or(self.origin);
        before > 0 && self.since_origin(created) <= before
    }

    fn since_origin(&self, instant: Instant) -> u64 {
        let micros = instant.saturating_duration_since(self.origin).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

/// Whether the database answers.
pub(crate) async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    let answer = sqlx::query_scalar::<_, i32>("select 1").fetch_one(pool);
    match tokio::time::timeout(ACQUIRE_TIMEOUT, answer).await {
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Whether every migration of the program is applied, and unchanged. Newer ones may be applied as
/// well: while a new version is rolled out, or after it is rolled back, the old one works on, unless
/// the schema excludes it (see [`event_bus::check_compatible`]).
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
