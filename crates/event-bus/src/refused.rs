//! The table of messages that the broker refuses: all its SQL.

use std::time::Duration;

use bytes::Bytes;
use sqlx::PgConnection;

use crate::envelope::Envelope;
use crate::message::Kind;
use crate::outbox::from_seconds;
use crate::transport::{Refusal, RefusalScope};

/// The exchange of a kind of message and the name that is its routing key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl Destination {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self {
            kind: envelope.kind,
            name: envelope.name.clone(),
        }
    }
}

/// A refused message.
#[derive(Debug)]
pub(crate) struct RefusedRow {
    pub(crate) position: i64,
    pub(crate) name: Option<String>,
    /// The message, or why the row cannot be read as one.
    pub(crate) envelope: Result<Envelope, serde_json::Error>,
}

/// Refused messages that have something in common.
#[derive(Debug)]
pub(crate) struct RefusedGroup {
    pub(crate) name: Option<String>,
    /// Set if the broker refuses all messages of this destination.
    pub(crate) destination: Option<Destination>,
    pub(crate) error: String,
    pub(crate) reason: String,
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "event",
        Kind::Command => "command",
        Kind::Query => "query",
    }
}

fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Event, Kind::Command, Kind::Query]
        .into_iter()
        .find(|kind| self::word(*kind) == word)
}

/// Moves messages out of the outbox. Their next attempt is due in one second.
///
/// `tried` is false for messages that were not published because their destination is refused.
/// Returns the names of the messages.
pub(crate) async fn set_aside(
    connection: &mut PgConnection,
    positions: &[i64],
    refusal: &Refusal,
    tried: bool,
) -> Result<Vec<Option<String>>, sqlx::Error> {
    sqlx::query_scalar!(
        "with refused as (
             delete from outbox where position = any($1)
             returning position, attributes, body, returned, created_at
         )
         insert into outbox_refused (message_id, kind, name, attributes, body, returned, error,
                                     reason, by_destination, refusals, created_at, next_at)
         select attributes ->> 'id', attributes ->> 'kind', attributes ->> 'type', attributes, body,
                returned, $2, $3, $4, $5::boolean::integer, created_at,
                clock_timestamp() + interval '1 second'
         from refused order by position
         returning name",
        positions,
        &*refusal.error,
        refusal.reason,
        refusal.scope == RefusalScope::Destination,
        tried,
    )
    .fetch_all(connection)
    .await
}

/// Notes that messages were refused again. The next attempt is due after 1 s, doubled with each
/// refusal, at most 5 minutes.
pub(crate) async fn refuse_again(
    connection: &mut PgConnection,
    positions: &[i64],
    refusal: &Refusal,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update outbox_refused
         set error = $2, reason = $3, by_destination = $4, refusals = refusals + 1,
             refused_at = clock_timestamp(),
             next_at = clock_timestamp()
                       + least(interval '1 second' * 2 ^ least(refusals, 9), interval '5 minutes')
         where position = any($1)",
        positions,
        &*refusal.error,
        refusal.reason,
        refusal.scope == RefusalScope::Destination,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The next messages of a refused destination: those first that were refused least often, so that
/// one message the broker never takes cannot keep the destination closed.
pub(crate) async fn next_of(
    connection: &mut PgConnection,
    destination: &Destination,
    limit: i64,
) -> Result<Vec<RefusedRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select position, name, attributes::text as "attributes!", body
           from outbox_refused
           where by_destination and kind = $1 and name = $2
           order by refusals, position limit $3"#,
        word(destination.kind),
        destination.name,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RefusedRow {
            position: row.position,
            name: row.name,
            envelope: read(&row.attributes, row.body),
        })
        .collect())
}

/// The message whose own next attempt is due, if there is one.
pub(crate) async fn next_due(
    connection: &mut PgConnection,
) -> Result<Option<RefusedRow>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select position, name, attributes::text as "attributes!", body
           from outbox_refused
           where not by_destination and next_at <= clock_timestamp()
           order by next_at limit 1"#
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| RefusedRow {
        position: row.position,
        name: row.name,
        envelope: read(&row.attributes, row.body),
    }))
}

/// How long until a message is due for its own next attempt, by the database's clock.
pub(crate) async fn until_due(
    connection: &mut PgConnection,
) -> Result<Option<Duration>, sqlx::Error> {
    let seconds = sqlx::query_scalar!(
        "select extract(epoch from min(next_at) - clock_timestamp())::float8
         from outbox_refused where not by_destination and isfinite(next_at)"
    )
    .fetch_one(connection)
    .await?;
    Ok(seconds.map(from_seconds))
}

/// Deletes messages that the broker has confirmed.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from outbox_refused where position = any($1)",
        positions
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves messages that the broker no longer refuses but returns to those that wait for a queue.
pub(crate) async fn make_unroutable(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with unroutable as (
             delete from outbox_refused where position = any($1)
             returning message_id, attributes, body, returned
         )
         insert into outbox_scheduled (message_id, due_at, attributes, body, returned)
         select message_id::uuid, clock_timestamp() + interval '1 second', attributes, body,
                returned + 1
         from unroutable
         on conflict (message_id) do nothing",
        positions,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What is stored, each destination and each name once.
pub(crate) async fn groups(
    connection: &mut PgConnection,
) -> Result<Vec<RefusedGroup>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select kind, name, by_destination,
                  (array_agg(error order by refused_at desc))[1] as "error!",
                  (array_agg(reason order by refused_at desc))[1] as "reason!"
           from outbox_refused group by kind, name, by_destination"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let kind = row.kind.as_deref().and_then(kind_of);
            let destination = kind.zip(row.name.clone()).filter(|_| row.by_destination);
            RefusedGroup {
                name: row.name,
                destination: destination.map(|(kind, name)| Destination { kind, name }),
                error: row.error,
                reason: row.reason,
            }
        })
        .collect())
}

/// Whether a message of this name is stored.
pub(crate) async fn has_name(
    connection: &mut PgConnection,
    name: Option<&str>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select case when $1::text is null
               then exists (select from outbox_refused where name is null)
               else exists (select from outbox_refused where name = $1) end as "has!""#,
        name
    )
    .fetch_one(connection)
    .await
}

fn read(attributes: &str, body: Vec<u8>) -> Result<Envelope, serde_json::Error> {
    Ok(Envelope {
        body: Bytes::from(body),
        ..serde_json::from_str(attributes)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_stored_as_it_is_in_the_attributes() {
        for kind in [Kind::Event, Kind::Command, Kind::Query] {
            assert_eq!(serde_json::json!(kind), word(kind));
            assert_eq!(kind_of(word(kind)), Some(kind));
        }
    }
}
