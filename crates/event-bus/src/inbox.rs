//! The inbox table: all its SQL.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::database_fault::is_lock_unavailable;
use crate::interval::interval;

/// A message and the name of one of its handlers.
pub(crate) type Claim<'a> = (Uuid, &'a str);

/// Why messages could not be claimed.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// Another transaction has made one of the claims and not ended yet: the message is being
    /// handled, for as long as its handler takes.
    HeldElsewhere,
    /// The database failed.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ClaimError {
    fn from(error: sqlx::Error) -> Self {
        if is_lock_unavailable(&error) {
            Self::HeldElsewhere
        } else {
            Self::Database(error)
        }
    }
}

/// Claims messages for their handlers, and returns the claims that are new.
///
/// It never waits long for another transaction's claim, so that a slow handler delays no one else.
/// After an error the transaction is aborted.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    claims: &[Claim<'_>],
) -> Result<HashSet<(Uuid, String)>, ClaimError> {
    // In one order everywhere, so that two batches with the same messages can't deadlock.
    let mut claims = claims.to_vec();
    claims.sort_unstable();
    claims.dedup();
    let (ids, handlers): (Vec<Uuid>, Vec<String>) = claims
        .into_iter()
        .map(|(id, handler)| (id, handler.to_owned()))
        .unzip();
    let fresh = sqlx::query!(
        r#"select claimed_id as "message_id!", claimed_handler as "handler!" from inbox_claim($1, $2)"#,
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
    sqlx::query!("select inbox_keep($1)", interval(retention))
        .execute(connection)
        .await?;
    Ok(())
}
