//! Messages that wait for their next attempt: all the SQL of their table.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::dead_letters::storable;
use crate::envelope::Envelope;

/// A message that a handler has failed at.
#[derive(Debug, Clone)]
pub(crate) struct StoredRetry {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) handler: String,
    /// How often it was tried so far.
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: Timestamp,
}

/// A message to which an attempt was begun.
#[derive(Debug)]
pub(crate) struct BegunRetry {
    pub(crate) retry: StoredRetry,
    /// How many attempts were begun, this one included, since one last ended.
    pub(crate) begun: i32,
}

/// Keeps a message for a later attempt.
pub(crate) async fn store(
    connection: &mut PgConnection,
    retry: &StoredRetry,
    next_at: Timestamp,
    reasons: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into inbox_retries
             (message_id, handler, attributes, body, attempts, next_at, reasons, first_failed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (message_id, handler) do update
         set attempts = excluded.attempts, next_at = excluded.next_at, reasons = excluded.reasons,
             begun = 0",
        retry.envelope.id,
        retry.handler,
        Json(retry.envelope.as_ref()) as _,
        retry.envelope.body.as_ref(),
        i32::try_from(retry.attempts).unwrap_or(i32::MAX),
        next_at.to_sqlx() as _,
        &storable(reasons),
        retry.first_failed_at.to_sqlx() as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps a message that has not been tried, for a first attempt at the given time.
pub(crate) async fn store_untried(
    connection: &mut PgConnection,
    envelope: &Envelope,
    handler: &str,
    next_at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into inbox_retries
             (message_id, handler, attributes, body, attempts, next_at, reasons)
         values ($1, $2, $3, $4, 0, $5, '{}')
         on conflict (message_id, handler) do nothing",
        envelope.id,
        handler,
        Json(envelope) as _,
        envelope.body.as_ref(),
        next_at.to_sqlx() as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Begins an attempt at a message whose time has come, and counts that it was begun, whatever
/// becomes of it.
///
/// Only for handlers that are known here: another version of the service may know the others.
pub(crate) async fn begin_due(
    connection: &mut PgConnection,
    handlers: &[String],
) -> Result<Option<BegunRetry>, sqlx::Error> {
    // The count is for the end of this process, which an asynchronous commit outlives. The new time
    // keeps others away until the message is held.
    let row = sqlx::query!(
        r#"update inbox_retries
           set begun = begun + 1, next_at = statement_timestamp() + interval '1 second'
           where (message_id, handler) = (
                   select message_id, handler from inbox_retries
                   where next_at <= statement_timestamp() and handler = any($1)
                   order by next_at
                   limit 1
                   for update skip locked
               )
             and set_config('synchronous_commit', 'off', true) is not null
           returning handler, attributes as "attributes: Json<Envelope>", body, attempts,
                     first_failed_at, begun"#,
        handlers,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| BegunRetry {
        retry: StoredRetry {
            envelope: Arc::new(Envelope {
                body: Bytes::from(row.body),
                ..row.attributes.0
            }),
            handler: row.handler,
            attempts: row.attempts.unsigned_abs(),
            first_failed_at: row.first_failed_at.to_jiff(),
        },
        begun: row.begun,
    }))
}

/// Keeps a begun attempt's message from other instances until the transaction ends. Returns false
/// if another one has begun or ended an attempt meanwhile.
pub(crate) async fn hold(
    connection: &mut PgConnection,
    begun: &BegunRetry,
) -> Result<bool, sqlx::Error> {
    let held = sqlx::query_scalar!(
        "select message_id from inbox_retries where message_id = $1 and handler = $2 and begun = $3
         for update skip locked",
        begun.retry.envelope.id,
        begun.retry.handler,
        begun.begun,
    )
    .fetch_optional(connection)
    .await?;
    Ok(held.is_some())
}

/// Forgets a message that needs no further attempt.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    message_id: Uuid,
    handler: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from inbox_retries where message_id = $1 and handler = $2",
        message_id,
        handler,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a message again, after a transaction with it has failed. Returns whether it still waits.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    message_id: Uuid,
    handler: &str,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "select attempts from inbox_retries where message_id = $1 and handler = $2 for update",
        message_id,
        handler,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// How long it is until the next message becomes due, if any will. Those that are due already are
/// in somebody's hands.
pub(crate) async fn until_next(
    connection: &mut PgConnection,
) -> Result<Option<Duration>, sqlx::Error> {
    let milliseconds = sqlx::query_scalar!(
        "select (extract(epoch from min(next_at) - clock_timestamp()) * 1000)::bigint
         from inbox_retries where next_at > clock_timestamp()"
    )
    .fetch_one(connection)
    .await?;
    Ok(milliseconds.map(|wait| Duration::from_millis(wait.max(0).unsigned_abs())))
}

/// Makes the space of deleted rows usable again, unless somebody is at it.
pub(crate) async fn vacuum(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("vacuum (skip_locked, truncate false) inbox_retries")
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether there is a message to be tried again now, or one in somebody's hands for it.
#[cfg(feature = "test-kit")]
pub(crate) async fn is_any_due(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from inbox_retries where next_at <= clock_timestamp() or begun > 0) as "is!""#
    )
    .fetch_one(connection)
    .await
}
