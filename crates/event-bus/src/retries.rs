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
use crate::interval::interval;

/// A message that a handler has failed at.
#[derive(Debug, Clone)]
pub(crate) struct StoredRetry {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) handler: String,
    /// How often it was tried so far.
    pub(crate) attempts: u32,
    pub(crate) first_failed: FirstFailure,
}

/// When a message failed for the first time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FirstFailure {
    /// So long ago. The database makes a time of it, by the clock that it compares all times with.
    Ago(Duration),
    /// What the database has stored.
    At(Timestamp),
}

impl FirstFailure {
    /// The stored time, and how long ago it was otherwise.
    pub(crate) fn parts(self) -> (Option<Timestamp>, Duration) {
        match self {
            Self::Ago(age) => (None, age),
            Self::At(time) => (Some(time), Duration::ZERO),
        }
    }
}

/// A message to which an attempt was begun.
#[derive(Debug)]
pub(crate) struct BegunRetry {
    pub(crate) retry: StoredRetry,
    /// How many attempts were begun, this one included, since one last ended.
    pub(crate) begun: i32,
    /// Whether the broker gave up on the message, and no attempt has ended since.
    pub(crate) given_up: bool,
}

/// Whether messages whose last attempt did not end may be begun. One of them may end the process,
/// and with it every other attempt that runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspects {
    Included,
    Excluded,
}

/// Stores a message for an attempt after the given delay.
pub(crate) async fn store(
    connection: &mut PgConnection,
    retry: &StoredRetry,
    delay: Duration,
    reasons: &[String],
) -> Result<(), sqlx::Error> {
    let (first_failed_at, age) = retry.first_failed.parts();
    sqlx::query!(
        "insert into inbox_retries
             (message_id, handler, attributes, body, attempts, next_at, reasons, first_failed_at)
         values ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval, $7,
                 coalesce($8, clock_timestamp() - $9::interval))
         on conflict (message_id, handler) do update
         set attempts = excluded.attempts, next_at = excluded.next_at, reasons = excluded.reasons,
             begun = 0, given_up = false",
        retry.envelope.id,
        retry.handler,
        Json(retry.envelope.as_ref()) as _,
        retry.envelope.body.as_ref(),
        i32::try_from(retry.attempts).unwrap_or(i32::MAX),
        interval(delay),
        &storable(reasons),
        first_failed_at.map(Timestamp::to_sqlx) as _,
        interval(age),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Why a message is stored before its first attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Untried {
    /// Its handler is paused, for this long.
    Paused(Duration),
    /// The broker has given up on it.
    GivenUp,
}

/// Stores a message that has not been tried, for a first attempt.
pub(crate) async fn store_untried(
    connection: &mut PgConnection,
    envelope: &Envelope,
    handler: &str,
    untried: Untried,
) -> Result<(), sqlx::Error> {
    let (delay, given_up) = match untried {
        Untried::Paused(pause) => (pause, false),
        Untried::GivenUp => (Duration::ZERO, true),
    };
    sqlx::query!(
        "insert into inbox_retries
             (message_id, handler, attributes, body, attempts, next_at, reasons, given_up)
         values ($1, $2, $3, $4, 0, clock_timestamp() + $5::interval, '{}', $6)
         on conflict (message_id, handler) do nothing",
        envelope.id,
        handler,
        Json(envelope) as _,
        envelope.body.as_ref(),
        interval(delay),
        given_up,
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
    suspects: Suspects,
) -> Result<Option<BegunRetry>, sqlx::Error> {
    // The count is for the end of this process, which an asynchronous commit outlives. The new time
    // keeps others away until the message is held.
    let row = sqlx::query!(
        r#"update inbox_retries
           set begun = begun + 1, next_at = statement_timestamp() + interval '1 second'
           where (message_id, handler) = (
                   select message_id, handler from inbox_retries
                   where next_at <= statement_timestamp() and handler = any($1)
                     and (begun = 0 or $2)
                   order by next_at
                   limit 1
                   for update skip locked
               )
             and set_config('synchronous_commit', 'off', true) is not null
           returning handler, attributes as "attributes: Json<Envelope>", body, attempts,
                     first_failed_at, begun, given_up"#,
        handlers,
        suspects == Suspects::Included,
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
            first_failed: FirstFailure::At(row.first_failed_at.to_jiff()),
        },
        begun: row.begun,
        given_up: row.given_up,
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

/// Takes back that an attempt was begun: it ended with the connection to the database, which says
/// nothing about the message.
pub(crate) async fn unbegin(
    connection: &mut PgConnection,
    begun: &BegunRetry,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update inbox_retries set begun = begun - 1
         where message_id = $1 and handler = $2 and begun = $3",
        begun.retry.envelope.id,
        begun.retry.handler,
        begun.begun,
    )
    .execute(connection)
    .await?;
    Ok(())
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
