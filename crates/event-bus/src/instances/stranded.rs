//! Messages that no running instance will handle: all the SQL that counts them.

use sqlx::PgConnection;
use uuid::Uuid;

/// Messages that are stored for a handler that no running instance has.
#[derive(Debug)]
pub(super) struct Stranded {
    pub(super) handler: String,
    /// Counts to 10,000.
    pub(super) retries: i64,
    /// Messages behind a held key. Counts to 10,000.
    pub(super) held: i64,
}

/// What is stored for handlers that no running instance has. Reads one row for each handler, and
/// the rows that it counts.
pub(super) async fn count(connection: &mut PgConnection) -> Result<Vec<Stranded>, sqlx::Error> {
    sqlx::query_as!(
        Stranded,
        r#"with recursive retried as (
               (select min(handler) as handler from inbox_retries)
               union
               select (select min(handler) from inbox_retries where handler > retried.handler)
               from retried where retried.handler is not null
           ), holding as (
               (select min(handler) as handler from inbox_held_messages)
               union
               select (select min(handler) from inbox_held_messages
                       where handler > holding.handler)
               from holding where holding.handler is not null
           )
           select handler as "handler!",
                  (select count(*) from (select from inbox_retries as retry
                                         where retry.handler = stored.handler
                                         limit 10000) as counted) as "retries!",
                  (select count(*) from (select from inbox_held_messages as held
                                         where held.handler = stored.handler
                                         limit 10000) as counted) as "held!"
           from (select handler from retried union select handler from holding) as stored
           where handler is not null
             and not exists (select from bus_instances where stored.handler = any(handlers))
           order by handler"#
    )
    .fetch_all(connection)
    .await
}

/// Whether the instance is the oldest one of its schema, which reports for all of them.
pub(super) async fn is_oldest(
    connection: &mut PgConnection,
    instance: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select not exists (select from bus_instances where instance < $1) as "oldest!""#,
        instance,
    )
    .fetch_one(connection)
    .await
}
