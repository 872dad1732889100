//! Who leads, and how the others reach the leader. Both belong to a schema, so that several
//! services can share a database.

use sqlx::{PgConnection, PgPool};

/// A connection that holds the lock, or `None` while somebody else does.
///
/// The lock is the session's: it goes when the connection does, however the process ends.
pub(super) async fn try_lead(pool: &PgPool) -> Result<Option<PgConnection>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let locked = sqlx::query_scalar!(
        r#"select pg_try_advisory_lock(hashtextextended('event_bus_relay.' || current_schema(), 0)) as "locked!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if !locked {
        return Ok(None);
    }
    // Detached, so that the pool neither counts it nor hands it out with the lock on it.
    let mut connection = connection.detach();
    // What the relay does need not outlive a crash of the server: a row whose deletion is lost is
    // published once more, under the same id, and the next message does not wait for the disk.
    sqlx::query!("set synchronous_commit = off")
        .execute(&mut connection)
        .await?;
    Ok(Some(connection))
}

/// The name of the notification channel.
pub(super) async fn channel(pool: &PgPool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(r#"select 'event_bus_relay.' || current_schema() as "channel!""#)
        .fetch_one(pool)
        .await
}

/// Wakes the leader, wherever it is.
///
/// Never part of a unit of work: a notification serializes the commits of a whole database.
pub(super) async fn notify(pool: &PgPool, channel: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_notify($1, '')", channel)
        .execute(pool)
        .await?;
    Ok(())
}
