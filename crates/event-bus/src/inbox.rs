//! The inbox table: all its SQL.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

/// A message and the name of one of its handlers.
pub(crate) type Claim<'a> = (Uuid, &'a str);

/// Takes messages for their handlers, and says which of them had not been taken before.
///
/// If another transaction has taken one of them and not committed yet, this waits for it.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    claims: &[Claim<'_>],
) -> Result<HashSet<(Uuid, String)>, sqlx::Error> {
    // In one order everywhere, so that two batches with the same messages can't deadlock.
    let mut claims = claims.to_vec();
    claims.sort_unstable();
    claims.dedup();
    let (ids, handlers): (Vec<Uuid>, Vec<String>) = claims
        .into_iter()
        .map(|(id, handler)| (id, handler.to_owned()))
        .unzip();
    let fresh = sqlx::query!(
        "insert into inbox (message_id, handler)
         select * from unnest($1::uuid[], $2::text[])
         on conflict do nothing
         returning message_id, handler",
        &ids,
        &handlers,
    )
    .fetch_all(connection)
    .await?;
    Ok(fresh
        .into_iter()
        .map(|row| (row.message_id, row.handler))
        .collect())
}

/// Which messages have not been taken for their handlers, as far as is committed.
pub(crate) async fn unclaimed(
    connection: &mut PgConnection,
    claims: &[Claim<'_>],
) -> Result<HashSet<(Uuid, String)>, sqlx::Error> {
    let (ids, handlers): (Vec<Uuid>, Vec<String>) = claims
        .iter()
        .map(|(id, handler)| (*id, (*handler).to_owned()))
        .unzip();
    let unclaimed = sqlx::query!(
        r#"select message_id as "message_id!", handler as "handler!"
           from unnest($1::uuid[], $2::text[]) as claim (message_id, handler)
           where not exists (select from inbox
                             where inbox.message_id = claim.message_id
                               and inbox.handler = claim.handler)"#,
        &ids,
        &handlers,
    )
    .fetch_all(connection)
    .await?;
    Ok(unclaimed
        .into_iter()
        .map(|row| (row.message_id, row.handler))
        .collect())
}

/// Makes partitions ahead of time and drops those older than the retention.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    retention: Duration,
) -> Result<(), sqlx::Error> {
    let retention = PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(retention.as_micros()).unwrap_or(i64::MAX),
    };
    sqlx::query!("select inbox_keep($1)", retention)
        .execute(connection)
        .await?;
    Ok(())
}
