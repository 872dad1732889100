//! Keys of ordered groups that are held back by a message that failed: all the SQL of their tables.
//!
//! A held key is a queue of messages, of which the first one is among the retries or the dead
//! letters. When it is handled or discarded, the next one takes its place as a retry that is due;
//! when there is none, the key is free and its messages are handled as they arrive.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::envelope::Envelope;
use crate::signals;

/// A message that has to wait behind others of its key.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) handler: &'static str,
    pub(crate) key: String,
    pub(crate) envelope: Arc<Envelope>,
}

/// Which of these keys are held, each for a handler. They can't become free before the
/// transaction ends.
pub(crate) async fn held_of(
    connection: &mut PgConnection,
    keys: &[(&'static str, String)],
) -> Result<HashSet<(String, String)>, sqlx::Error> {
    let (handlers, keys): (Vec<String>, Vec<String>) = keys
        .iter()
        .map(|(handler, key)| ((*handler).to_owned(), key.clone()))
        .unzip();
    // Locked in one order everywhere, so that two transactions can't deadlock.
    let held = sqlx::query!(
        "select handler, key from inbox_held_keys
         where (handler, key) in (select * from unnest($1::text[], $2::text[]))
         order by handler, key
         for update",
        &handlers,
        &keys,
    )
    .fetch_all(connection)
    .await?;
    Ok(held.into_iter().map(|row| (row.handler, row.key)).collect())
}

/// Holds a key because of a message. Returns false if another message holds it already.
pub(crate) async fn hold(
    connection: &mut PgConnection,
    handler: &str,
    key: &str,
    message_id: Uuid,
) -> Result<bool, sqlx::Error> {
    let holder = sqlx::query_scalar!(
        "insert into inbox_held_keys as held (handler, key, message_id) values ($1, $2, $3)
         on conflict (handler, key) do update set message_id = held.message_id
         returning message_id",
        handler,
        key,
        message_id,
    )
    .fetch_one(connection)
    .await?;
    Ok(holder == message_id)
}

/// Puts messages behind the others of their keys, in the given order.
pub(crate) async fn append(
    connection: &mut PgConnection,
    messages: &[Held],
) -> Result<(), sqlx::Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let handlers: Vec<String> = messages.iter().map(|m| m.handler.to_owned()).collect();
    let keys: Vec<String> = messages.iter().map(|m| m.key.clone()).collect();
    let ids: Vec<Uuid> = messages.iter().map(|m| m.envelope.id).collect();
    let attributes: Vec<_> = messages.iter().map(|m| Json(m.envelope.as_ref())).collect();
    let bodies: Vec<&[u8]> = messages.iter().map(|m| m.envelope.body.as_ref()).collect();
    sqlx::query!(
        "insert into inbox_held_messages (handler, key, message_id, attributes, body)
         select * from unnest($1::text[], $2::text[], $3::uuid[], $4::jsonb[], $5::bytea[])",
        &handlers,
        &keys,
        &ids,
        &attributes as _,
        &bodies as _,
    )
    .execute(connection)
    .await?;
    signals::held(messages.len());
    Ok(())
}

/// The messages among these dead letters that hold back their keys, each with its handler.
pub(crate) async fn held_by_letters(
    connection: &mut PgConnection,
    letters: &[Uuid],
) -> Result<Vec<(String, Uuid)>, sqlx::Error> {
    let holding = sqlx::query!(
        "select held.handler, held.message_id
         from inbox_held_keys as held
         join dead_letters as letter using (message_id, handler)
         where letter.id = any($1)",
        letters,
    )
    .fetch_all(connection)
    .await?;
    Ok(holding
        .into_iter()
        .map(|row| (row.handler, row.message_id))
        .collect())
}

/// Ends what a message holds back: the next message of its key becomes a retry that is due, or the
/// key is free. Does nothing if the message holds no key.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    handler: &str,
    message_id: Uuid,
) -> Result<(), sqlx::Error> {
    let key = sqlx::query_scalar!(
        "select key from inbox_held_keys where message_id = $1 and handler = $2 for update",
        message_id,
        handler,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(key) = key else {
        return Ok(());
    };
    let next = sqlx::query_scalar!(
        "with next as (
             delete from inbox_held_messages
             where position = (
                 select min(position) from inbox_held_messages where handler = $1 and key = $2
             )
             returning message_id, handler, attributes, body
         )
         insert into inbox_retries (message_id, handler, attributes, body, attempts, next_at, reasons)
         select message_id, handler, attributes, body, 0, clock_timestamp(), '{}' from next
         returning message_id",
        handler,
        key,
    )
    .fetch_optional(&mut *connection)
    .await?;
    match next {
        Some(next) => {
            sqlx::query!(
                "update inbox_held_keys set message_id = $3 where handler = $1 and key = $2",
                handler,
                key,
                next,
            )
            .execute(connection)
            .await?;
        }
        None => {
            sqlx::query!(
                "delete from inbox_held_keys where handler = $1 and key = $2",
                handler,
                key,
            )
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}
