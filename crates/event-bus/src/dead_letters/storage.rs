//! The table of dead letters: all its SQL, and what moves from there to the stored retries.

use bytes::Bytes;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;
use uuid::Uuid;

use super::bury::{DeadLetter, storable};
use super::letter::{DeadLetterDetails, DeadLetterFilter, DeadLetterSummary};
use super::reason::DeadLetterReason;
use crate::envelope::Envelope;
use crate::interval::interval;

/// A query of the letters that match a filter; its own parameters begin with `$7`.
macro_rules! query_matching {
    ($filter:ident, $select:literal, $rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query!(
            $select
                + " where ($1::text is null or handler = $1)
                      and ($2::text is null or name = $2)
                      and ($3::text is null or reason = $3)
                      and ($4::uuid is null or message_id = $4)
                      and ($5::timestamptz is null or dead_at >= $5)
                      and ($6::timestamptz is null or dead_at < $6) "
                + $rest,
            $filter.handler.as_deref(),
            $filter.name.as_deref(),
            $filter.reason.map(DeadLetterReason::as_str),
            $filter.message_id,
            $filter.since.map(Timestamp::to_sqlx) as _,
            $filter.until.map(Timestamp::to_sqlx) as _,
            $($argument,)*
        )
    };
}

/// Marks the state to which [`undo`] returns.
pub(super) async fn mark(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("savepoint claims").execute(connection).await?;
    Ok(())
}

/// Undoes everything since the last [`mark`], also in an aborted transaction.
pub(super) async fn undo(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("rollback to savepoint claims")
        .execute(connection)
        .await?;
    Ok(())
}

/// Plans each query of the transaction for its own filter: a plan that is kept for every filter
/// would use the index of none.
pub(super) async fn plan_for_filters(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("set local plan_cache_mode = force_custom_plan")
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps a dead letter, if there is none yet of this message for this handler. Returns whether
/// there was none.
pub(super) async fn insert(
    connection: &mut PgConnection,
    letter: &DeadLetter<'_>,
) -> Result<bool, sqlx::Error> {
    let (first_failed_at, age) = letter.first_failed.parts();
    let inserted = sqlx::query!(
        "insert into dead_letters
             (id, message_id, handler, name, reason, reasons, attributes, body, attempts,
              first_failed_at, taken_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8,
                 least($9 + coalesce((select earlier_attempts from inbox_retries
                                      where message_id = $2 and handler = $3), 0)::bigint,
                       2147483647)::integer,
                 coalesce($10, clock_timestamp() - $11::interval),
                 case when $3::text is null
                      then array(select handler from inbox where message_id = $2) else '{}' end)
         on conflict (message_id, handler) where message_id is not null do nothing",
        Uuid::now_v7(),
        letter.envelope.map(|envelope| envelope.id),
        letter.handler,
        letter.envelope.map(|envelope| envelope.name.as_str()),
        letter.reason.as_str(),
        &storable(letter.reasons),
        letter.envelope.map(Json) as _,
        letter.body,
        i64::from(letter.attempts),
        first_failed_at.map(Timestamp::to_sqlx) as _,
        interval(age),
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Letters that match, newest first, older than the given one.
pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &DeadLetterFilter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<DeadLetterSummary>, sqlx::Error> {
    let rows = query_matching!(
        filter,
        r#"select id, message_id, name, handler, reason, coalesce(reasons[1], '') as "error!", attempts,
                  octet_length(body) as "body_bytes!", first_failed_at, dead_at
           from dead_letters"#,
        "and ($7::uuid is null or id < $7) order by id desc limit $8",
        after,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DeadLetterSummary {
            id: row.id,
            message_id: row.message_id,
            name: row.name,
            handler: row.handler,
            reason: DeadLetterReason::of_word(&row.reason),
            error: row.error,
            attempts: row.attempts.unsigned_abs(),
            body_bytes: row.body_bytes.unsigned_abs(),
            first_failed_at: row.first_failed_at.to_jiff(),
            dead_at: row.dead_at.to_jiff(),
        })
        .collect())
}

/// How many match.
pub(super) async fn count(
    connection: &mut PgConnection,
    filter: &DeadLetterFilter,
) -> Result<u64, sqlx::Error> {
    let row = query_matching!(
        filter,
        r#"select count(*) as "count!" from dead_letters"#,
        ""
    )
    .fetch_one(connection)
    .await?;
    Ok(row.count.unsigned_abs())
}

/// The ids of letters that match, oldest first, newer than the one and no newer than the other.
pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &DeadLetterFilter,
    after: Uuid,
    last: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let rows = query_matching!(
        filter,
        "select id from dead_letters",
        "and id > $7 and id <= $8 order by id limit $9",
        after,
        last,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Everything of one letter.
pub(super) async fn show(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<DeadLetterDetails>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select id, message_id, name, handler, reason, reasons,
                  attributes as "attributes: Json<Envelope>", body, attempts, first_failed_at, dead_at
           from dead_letters where id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        let body = Bytes::from(row.body);
        let summary = DeadLetterSummary {
            id: row.id,
            message_id: row.message_id,
            name: row.name,
            handler: row.handler,
            reason: DeadLetterReason::of_word(&row.reason),
            error: row.reasons.first().cloned().unwrap_or_default(),
            attempts: row.attempts.unsigned_abs(),
            body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            first_failed_at: row.first_failed_at.to_jiff(),
            dead_at: row.dead_at.to_jiff(),
        };
        DeadLetterDetails {
            summary,
            reasons: row.reasons,
            envelope: row.attributes.map(|attributes| Envelope {
                body: body.clone(),
                ..attributes.0
            }),
            body,
        }
    }))
}

/// Keeps letters from others until the transaction ends, and says which of them are still there.
pub(super) async fn lock(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    // In one order everywhere, so that two operators can't deadlock.
    sqlx::query_scalar!(
        "select id from dead_letters where id = any($1) order by id for update",
        ids,
    )
    .fetch_all(connection)
    .await
}

/// Letters that have been here for longer than this, the oldest first, and which nobody else is at
/// work on. They are kept from others until the transaction ends.
pub(super) async fn lock_expired(
    connection: &mut PgConnection,
    retention: PgInterval,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from dead_letters where dead_at < now() - $1::interval
         order by dead_at limit $2 for update skip locked",
        retention,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// What it takes to know where a letter can be replayed to.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) id: Uuid,
    /// The message and its name, if it is one.
    pub(super) message: Option<(Uuid, String)>,
    /// The handler that failed.
    pub(super) handler: Option<String>,
    /// Handlers that have had the message, if none has failed.
    pub(super) taken_by: Vec<String>,
}

/// Where letters can be replayed to.
pub(super) async fn addresses(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Address>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id, message_id, name, handler, taken_by, attributes is not null as "readable!"
           from dead_letters where id = any($1) order by id"#,
        ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Address {
            id: row.id,
            message: row.message_id.zip(row.name).filter(|_| row.readable),
            handler: row.handler,
            taken_by: row.taken_by,
        })
        .collect())
}

/// Makes letters retries that are due now, of the handlers that failed at them.
///
/// A retry of the same message and handler that is waiting already stands for both.
pub(super) async fn give_back(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with letter as (
             delete from dead_letters where id = any($1)
             returning id, message_id, handler, attributes, body, attempts, reasons, first_failed_at
         )
         insert into inbox_retries
             (message_id, handler, attributes, body, attempts, earlier_attempts, next_at, reasons,
              first_failed_at)
         select message_id, handler, attributes, body, 0, attempts, clock_timestamp(), reasons,
                first_failed_at
         from letter order by id
         on conflict (message_id, handler) do nothing",
        ids,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes letters that are no handler's retries that are due now, each of the handler at the same
/// place.
pub(super) async fn give_out(
    connection: &mut PgConnection,
    ids: &[Uuid],
    handlers: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into inbox_retries
             (message_id, handler, attributes, body, attempts, earlier_attempts, next_at, reasons,
              first_failed_at)
         select message_id, receiver.handler, attributes, body, 0, attempts, clock_timestamp(),
                reasons, first_failed_at
         from unnest($1::uuid[], $2::text[]) as receiver (id, handler)
         join dead_letters using (id)
         order by id
         on conflict (message_id, handler) do nothing",
        ids,
        handlers,
    )
    .execute(&mut *connection)
    .await?;
    delete(connection, ids).await?;
    Ok(())
}

/// Forgets letters, and says how many there were.
pub(super) async fn delete(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!("delete from dead_letters where id = any($1)", ids)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
