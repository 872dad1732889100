//! The outbox tables: all their SQL.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::types::PgInterval;
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

/// Adds messages: those to be published now, in the given order, and those that are due after a
/// delay.
///
/// The delay begins with this statement, by the database's clock, which need not agree with the
/// program's.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    now: &[Envelope],
    later: &[(Duration, &Envelope)],
) -> Result<(), sqlx::Error> {
    let attributes: Vec<_> = now.iter().map(Json).collect();
    let bodies: Vec<&[u8]> = now.iter().map(|e| e.body.as_ref()).collect();
    let later_ids: Vec<Uuid> = later.iter().map(|(_, e)| e.id).collect();
    let delays: Vec<_> = later.iter().map(|(delay, _)| interval(*delay)).collect();
    let later_attributes: Vec<_> = later.iter().map(|(_, e)| Json(e)).collect();
    let later_bodies: Vec<&[u8]> = later.iter().map(|(_, e)| e.body.as_ref()).collect();
    sqlx::query!(
        "with later as (
             insert into outbox_scheduled (message_id, due_at, attributes, body)
             select id, clock_timestamp() + delay, attributes, body
             from unnest($3::uuid[], $4::interval[], $5::jsonb[], $6::bytea[])
                  as scheduled (id, delay, attributes, body)
         )
         insert into outbox (attributes, body) select * from unnest($1::jsonb[], $2::bytea[])",
        &attributes as _,
        &bodies as _,
        &later_ids,
        &delays,
        &later_attributes as _,
        &later_bodies as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The longest delay: PostgreSQL's timestamps end in the year 294276.
const LONGEST_DELAY: Duration = Duration::from_secs(200_000 * 365 * 24 * 60 * 60);

fn interval(delay: Duration) -> PgInterval {
    let delay = delay.min(LONGEST_DELAY);
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(delay.as_micros()).unwrap_or(i64::MAX),
    }
}

/// An interval in seconds as a duration; zero if it is negative.
pub(crate) fn from_seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
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

/// A row that cannot be read as a message.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) position: i64,
    pub(crate) error: serde_json::Error,
}

/// The rows among those that [`next`] would give which cannot be read as messages, such as those of
/// a newer version of this crate.
pub(crate) async fn unreadable(
    connection: &mut PgConnection,
    after: i64,
    without: &[Run],
    limit: i64,
) -> Result<Vec<Unreadable>, sqlx::Error> {
    let (first, last): (Vec<i64>, Vec<i64>) = without.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select position, attributes::text as "attributes!"
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
    let unreadable = |attributes: &str| serde_json::from_str::<Envelope>(attributes).err();
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(Unreadable {
                position: row.position,
                error: unreadable(&row.attributes)?,
            })
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
    Ok(seconds.map(from_seconds).unwrap_or_default())
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
         from unroutable
         on conflict (message_id) do nothing",
        positions,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What [`release_due`] did.
#[derive(Debug)]
pub(crate) struct Released {
    /// How many messages were moved.
    pub(crate) messages: u64,
    /// How long until the next one is due, by the database's clock. Zero if it is due already.
    pub(crate) until_next: Option<Duration>,
}

/// Moves messages that are due to the end of the outbox, at most `limit` of them.
///
/// A message that is being cancelled is left alone until it is known whether it was: the relay
/// waits for nobody's transaction.
pub(crate) async fn release_due(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Released, sqlx::Error> {
    let released = sqlx::query!(
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
    let seconds = sqlx::query_scalar!(
        "select extract(epoch from min(due_at) - clock_timestamp())::float8
         from outbox_scheduled where isfinite(due_at)"
    )
    .fetch_one(connection)
    .await?;
    Ok(Released {
        messages: released.rows_affected(),
        until_next: seconds.map(from_seconds),
    })
}

/// Whether there is a message to be published now.
#[cfg(feature = "test-kit")]
pub(crate) async fn is_any_due(pool: &sqlx::PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from outbox)
               or exists (select from outbox_refused)
               or exists (select from outbox_scheduled where due_at <= clock_timestamp()) as "is!""#
    )
    .fetch_one(pool)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delay_is_an_interval_and_every_interval_a_delay() {
        assert_eq!(interval(Duration::ZERO).microseconds, 0);
        assert_eq!(interval(Duration::MAX), interval(LONGEST_DELAY));
        assert_eq!(from_seconds(-1.0), Duration::ZERO);
        assert_eq!(from_seconds(f64::NAN), Duration::ZERO);
        assert_eq!(from_seconds(f64::INFINITY), Duration::MAX);
    }

    #[test]
    fn positions_without_a_gap_are_one_run() {
        let runs_of = |positions: &[i64]| runs(&positions.iter().copied().collect());
        assert_eq!(runs_of(&[]), []);
        assert_eq!(runs_of(&[7]), [(7, 7)]);
        assert_eq!(runs_of(&[3, 1, 2, 5, 9, 8]), [(1, 3), (5, 5), (8, 9)]);
    }
}
