//! Sessions that hold a right of which there is one for all instances, as a lease.
//!
//! The right is an advisory lock of a database session. A lock alone outlives a process that is
//! stopped and a network that drops packets silently, for as long as TCP allows, and meanwhile no
//! other instance gets it. So the server ends such a session when it has heard nothing for
//! [`SILENCE`], the holder speaks at least every [`BEAT`], and it gives up the session when a
//! statement is not answered within [`ANSWER_WITHIN`].

use std::io;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, timeout};

/// How often the holder speaks at least.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// How long a session may be silent, or leave the server's data unacknowledged, before the server
/// ends it.
const SILENCE: Duration = Duration::from_secs(5);
/// After this time the server cancels a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);
/// After this time without a response the client gives up on a session. Longer than
/// [`STATEMENT_TIMEOUT`], so that a slow statement is reported as what it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A database session that holds an advisory lock.
#[derive(Debug)]
pub(crate) struct LeasedSession {
    connection: PgConnection,
    spoke_at: Instant,
}

impl LeasedSession {
    /// Tries to get the lock that `holder`, the schema and `of` name. `None` while another session
    /// has it.
    pub(crate) async fn try_take(
        pool: &PgPool,
        holder: &str,
        of: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let mut candidate = Candidate::acquire(pool).await?;
        if !candidate.try_lock(holder, of).await? {
            candidate.give_back();
            return Ok(None);
        }
        let mut session = Self {
            connection: candidate.detach()?,
            spoke_at: Instant::now(),
        };
        in_time(set_timeouts(session.connection())).await?;
        Ok(Some(session))
    }

    /// The connection, for one statement within [`in_time`].
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.spoke_at = Instant::now();
        &mut self.connection
    }

    /// When the session has to speak next.
    pub(crate) fn beat_at(&self) -> Instant {
        self.spoke_at + BEAT
    }

    /// Speaks, to keep the lease.
    pub(crate) async fn beat(&mut self) -> Result<(), sqlx::Error> {
        in_time(sqlx::raw_sql("select 1").execute(self.connection())).await?;
        Ok(())
    }

    /// Keeps the lease while `work` runs. If the lease is lost, the work is dropped.
    pub(crate) async fn keep_while<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, sqlx::Error> {
        tokio::select! {
            done = work => Ok(done),
            error = self.keep() => Err(error),
        }
    }

    /// Keeps the lease until that fails.
    async fn keep(&mut self) -> sqlx::Error {
        loop {
            tokio::time::sleep_until(self.beat_at()).await;
            if let Err(error) = self.beat().await {
                return error;
            }
        }
    }

    /// Ends the session, so that another instance need not wait until the server does.
    ///
    /// Only for a session that responds: one that failed is dropped, which waits for nothing.
    pub(crate) async fn close(self) {
        // If the connection is lost, so is the lock.
        let _ = timeout(CLOSE_WITHIN, self.connection.close()).await;
    }
}

/// A pooled connection that may or may not have the lock. Dropped while that is unknown, it is
/// closed instead of given back: the pool would hand it out with the lock on it.
struct Candidate(Option<PoolConnection<Postgres>>);

impl Candidate {
    async fn acquire(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let mut candidate = Self(Some(in_time(pool.acquire()).await?));
        // A session that comes with an open transaction would keep it for as long as it leads: it
        // would hold back vacuum, and nothing it deletes would ever be gone.
        match in_time(in_transaction(candidate.connection()?)).await {
            Ok(false) => {}
            Ok(true) => candidate.rollback().await?,
            Err(error) if is_in_failed_transaction(&error) => candidate.rollback().await?,
            Err(error) => return Err(error),
        }
        Ok(candidate)
    }

    async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        in_time(sqlx::raw_sql("rollback").execute(self.connection()?)).await?;
        Ok(())
    }

    async fn try_lock(&mut self, holder: &str, of: &str) -> Result<bool, sqlx::Error> {
        let locked = sqlx::query_scalar!(
            r#"select pg_try_advisory_lock(
                   hashtextextended($1 || '.' || current_schema() || $2, 0)
               ) as "locked!""#,
            holder,
            of
        );
        in_time(locked.fetch_one(self.connection()?)).await
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = self.0.as_deref_mut();
        connection.ok_or(sqlx::Error::PoolClosed)
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }

    /// Takes the connection from the pool, so that the pool neither counts it nor hands it out.
    fn detach(mut self) -> Result<PgConnection, sqlx::Error> {
        let connection = self.0.take().ok_or(sqlx::Error::PoolClosed)?;
        Ok(connection.detach())
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// Whether the session is in a transaction that began with an earlier statement.
async fn in_transaction(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select pg_catalog.now() < pg_catalog.statement_timestamp() as "is_in_transaction!""#
    )
    .fetch_one(connection)
    .await
}

/// `in_failed_sql_transaction`: an earlier statement failed, and only a rollback ends that.
fn is_in_failed_transaction(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "25P02")
}

async fn set_timeouts(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let timeouts = [
        ("idle_session_timeout", SILENCE),
        ("idle_in_transaction_session_timeout", SILENCE),
        ("tcp_user_timeout", SILENCE),
        ("statement_timeout", STATEMENT_TIMEOUT),
    ];
    let (names, milliseconds): (Vec<_>, Vec<_>) = timeouts
        .map(|(name, time)| (name.to_owned(), time.as_millis().to_string()))
        .into_iter()
        .unzip();
    sqlx::query_scalar!(
        "select set_config(name, value, false)
         from unnest($1::text[], $2::text[]) as setting (name, value)",
        &names,
        &milliseconds,
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// Waits for the database no longer than ten seconds. After a time-out the state of the connection
/// is unknown, and it has to be dropped.
pub(crate) async fn in_time<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let response = timeout(ANSWER_WITHIN, statement).await;
    response.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Whether a statement took too long, by the client's or the server's time-out.
pub(crate) fn is_timeout(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::TimedOut,
        // `query_canceled`
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "57014"),
        _ => false,
    }
}
