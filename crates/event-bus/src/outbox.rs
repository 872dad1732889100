//! The outbox tables: all their SQL.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::envelope::Envelope;

/// A row of the outbox.
#[derive(Debug)]
pub(crate) struct OutboxRow {
    /// Where it stands. Rises in the order of insertion, which is not always that of commit.
    pub(crate) position: i64,
    pub(crate) envelope: Envelope,
}

/// Adds messages, those to be published now in the given order, and those that wait for their time.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    now: &[Envelope],
    later: &[(Timestamp, Envelope)],
) -> Result<(), sqlx::Error> {
    let attributes: Vec<_> = now.iter().map(Json).collect();
    let bodies: Vec<&[u8]> = now.iter().map(|e| e.body.as_ref()).collect();
    let later_ids: Vec<Uuid> = later.iter().map(|(_, e)| e.id).collect();
    let due: Vec<_> = later.iter().map(|(at, _)| at.to_sqlx()).collect();
    let later_attributes: Vec<_> = later.iter().map(|(_, e)| Json(e)).collect();
    let later_bodies: Vec<&[u8]> = later.iter().map(|(_, e)| e.body.as_ref()).collect();
    sqlx::query!(
        "with later as (
             insert into outbox_scheduled (message_id, due_at, attributes, body)
             select * from unnest($3::uuid[], $4::timestamptz[], $5::jsonb[], $6::bytea[])
         )
         insert into outbox (attributes, body) select * from unnest($1::jsonb[], $2::bytea[])",
        &attributes as _,
        &bodies as _,
        &later_ids,
        &due as _,
        &later_attributes as _,
        &later_bodies as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a message that still waits for its time, and says whether it did.
pub(crate) async fn cancel_scheduled(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    let cancelled = sqlx::query!("delete from outbox_scheduled where message_id = $1", id)
        .execute(connection)
        .await?;
    Ok(cancelled.rows_affected() > 0)
}

/// Positions without a gap, from the first to the last.
pub(crate) type Run = (i64, i64);

/// The runs that positions are made of.
pub(crate) fn runs(positions: &BTreeSet<i64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &position in positions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => runs.push((position, position)),
        }
    }
    runs
}

/// The next rows after a position, in order, without those in the runs.
pub(crate) async fn next(
    connection: &mut PgConnection,
    after: i64,
    without: &[Run],
    limit: i64,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let (first, last): (Vec<i64>, Vec<i64>) = without.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select position, attributes as "attributes: Json<Envelope>", body
           from outbox
           where position > $1
             and not exists (select from unnest($2::bigint[], $3::bigint[]) as run (first, last)
                             where position between first and last)
           order by position limit $4"#,
        after,
        &first,
        &last,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OutboxRow {
            position: row.position,
            envelope: Envelope {
                body: Bytes::from(row.body),
                ..row.attributes.0
            },
        })
        .collect())
}

/// How long the first message has been waiting.
pub(crate) async fn age(pool: &PgPool) -> Result<Duration, sqlx::Error> {
    let seconds = sqlx::query_scalar!(
        r#"select extract(epoch from clock_timestamp() - created_at)::float8 as "age!"
           from outbox order by position limit 1"#
    )
    .fetch_optional(pool)
    .await?;
    Ok(Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default())
}

/// Forgets rows whose messages the broker has confirmed.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from outbox where position = any($1)", positions)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the space of deleted rows usable again, unless somebody is at it.
///
/// It does not give the space back to the system: for that it would have to keep everybody out.
pub(crate) async fn vacuum(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query!("vacuum (skip_locked, truncate false) outbox")
        .execute(pool)
        .await?;
    Ok(())
}

/// Sets messages aside that the broker has returned, until a later try: after 1 s, doubling with
/// each return, at most 30 s.
pub(crate) async fn set_aside(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with unroutable as (
             delete from outbox where position = any($1) returning attributes, body, returned
         )
         insert into outbox_scheduled (message_id, due_at, attributes, body, returned)
         select (attributes ->> 'id')::uuid,
                clock_timestamp() + least(interval '1 second' * 2 ^ least(returned, 5), interval '30 seconds'),
                attributes, body, returned + 1
         from unroutable",
        positions,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves messages whose time has come to the end of the outbox, no more than so many at once, and
/// says when the next one is due.
///
/// A message that is being cancelled is left alone until it is known whether it was: the relay
/// waits for nobody's transaction.
pub(crate) async fn release_due(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query!(
        "with due as materialized (
             select message_id from outbox_scheduled
             where due_at <= statement_timestamp() order by due_at limit $1
             for update skip locked
         ), released as (
             delete from outbox_scheduled using due
             where outbox_scheduled.message_id = due.message_id
             returning outbox_scheduled.message_id, outbox_scheduled.due_at,
                       outbox_scheduled.attributes, outbox_scheduled.body,
                       outbox_scheduled.returned
         )
         insert into outbox (attributes, body, returned)
         select attributes, body, returned from released order by due_at, message_id",
        limit,
    )
    .execute(&mut *connection)
    .await?;
    let next = sqlx::query_scalar!("select min(due_at) from outbox_scheduled")
        .fetch_one(connection)
        .await?;
    Ok(next.map(jiff_sqlx::Timestamp::to_jiff))
}

/// Whether there is a message to be published now.
#[cfg(feature = "test-kit")]
pub(crate) async fn is_any_due(pool: &sqlx::PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from outbox)
               or exists (select from outbox_scheduled where due_at <= clock_timestamp()) as "is!""#
    )
    .fetch_one(pool)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_without_a_gap_are_one_run() {
        let runs_of = |positions: &[i64]| runs(&positions.iter().copied().collect());
        assert_eq!(runs_of(&[]), []);
        assert_eq!(runs_of(&[7]), [(7, 7)]);
        assert_eq!(runs_of(&[3, 1, 2, 5, 9, 8]), [(1, 3), (5, 5), (8, 9)]);
    }
}
