//! Who leads, and how the others reach the leader. Both belong to a schema, so that several
//! services can share a database.

use sqlx::PgPool;

use crate::lease::{LeasedSession, in_time};

/// A session that holds the lock, or `None` while another instance leads.
pub(super) async fn try_lead(pool: &PgPool) -> Result<Option<LeasedSession>, sqlx::Error> {
    let Some(mut lease) = LeasedSession::try_take(pool, "event_bus_relay", "").await? else {
        return Ok(None);
    };
    // What the relay does need not outlive a crash of the server: a row whose deletion is lost is
    // published once more, under the same id, and the next message does not wait for the disk.
    let statement = sqlx::query!("set synchronous_commit = off");
    in_time(statement.execute(lease.connection())).await?;
    Ok(Some(lease))
}

/// The name of the notification channel.
///
/// A channel's name is an identifier of 63 bytes at most. The name of the schema is part of it where
/// it fits: instances of older versions know no other name.
pub(super) async fn channel(pool: &PgPool) -> Result<String, sqlx::Error> {
    let channel = sqlx::query_scalar!(
        r#"select case when octet_length(channel) < 64 then channel
                       else 'event_bus_relay.' || hashtextextended(current_schema(), 0)
                  end as "channel!"
           from (select 'event_bus_relay.' || current_schema()) as plain (channel)"#
    );
    in_time(channel.fetch_one(pool)).await
}

/// Wakes the leader, wherever it is.
///
/// Never part of a unit of work: a notification serializes the commits of a whole database.
pub(super) async fn notify(pool: &PgPool, channel: &str) -> Result<(), sqlx::Error> {
    in_time(sqlx::query!("select pg_notify($1, '')", channel).execute(pool)).await?;
    Ok(())
}
