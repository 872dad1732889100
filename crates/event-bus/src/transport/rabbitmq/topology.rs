//! Exchanges and queues, and how they hang together.
//!
//! ```text
//!  events (topic) ──pattern──▶ catalog ──consumer
//!  commands (direct) ──name──▶    │
//!                                 └─ delivered too often ─▶ dead-letters (direct) ─▶ catalog.dead ──consumer
//!
//!  queries (direct) ──name──▶ catalog.queries.<name> ──consumer; replies go straight to the asker
//! ```
//!
//! An ordered group has an exchange in the place of the queue, and a queue for each partition:
//!
//! ```text
//!  events ──pattern──▶ catalog.prices (headers) ──partition-bucket──▶ catalog.prices.0 … .7 ──one consumer each
//!                           └─ no bucket ─▶ catalog.prices.of-8 (fanout) ─▶ catalog.prices.0
//! ```
//!
//! How many partitions there are is part of a name, since the broker then refuses another number:
//! two numbers side by side would put the messages of one key into two queues.

use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, ExchangeKind};

use super::declaring::{DeclareError, Declaring, Mode};
use crate::message::Kind;
use crate::partition::Partition;
use crate::transport::Group;

pub(super) const EVENTS: &str = "events";
pub(super) const COMMANDS: &str = "commands";
pub(super) const QUERIES: &str = "queries";
pub(super) const DEAD_LETTERS: &str = "dead-letters";
/// The header that sorts messages into partitions.
pub(super) const BUCKET: &str = "partition-bucket";

/// How often the broker delivers a message before it gives up on it. The bus acknowledges what
/// its handlers fail at, so only crashes and lost connections count.
const DELIVERY_LIMIT: i64 = 20;

pub(crate) const fn exchange_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => EVENTS,
        Kind::Command => COMMANDS,
        Kind::Query => QUERIES,
    }
}

/// The queue of what the broker has given up on for a group.
pub(super) fn dead_queue(group: &str) -> String {
    format!("{group}.dead")
}

/// The queue that a member of the group consumes.
pub(super) fn queue_of(group: &Group) -> String {
    match group.partition {
        None => group.name.clone(),
        Some(partition) => partition_queue(group, partition),
    }
}

/// All queues of a group but the one for what the broker has given up on.
pub(crate) fn queues_of(group: &Group) -> Vec<String> {
    match group.partition {
        None => vec![group.name.clone()],
        Some(partition) => all_of(partition)
            .map(|partition| partition_queue(group, partition))
            .collect(),
    }
}

/// The exchange for messages of an ordered group that have no key.
pub(super) fn keyless_exchange(group: &Group, partition: Partition) -> String {
    format!("{}.of-{}", group.name, partition.of)
}

fn partition_queue(group: &Group, partition: Partition) -> String {
    format!("{}.{}", group.name, partition.index)
}

fn all_of(partition: Partition) -> impl Iterator<Item = Partition> {
    (0..partition.of).map(move |index| Partition { index, ..partition })
}

/// Makes sure that the exchanges exist which publishers need.
pub(super) async fn ensure_exchanges(connection: &Connection) -> Result<(), DeclareError> {
    let mut declaring = Declaring::on(connection, Mode::Declare).await?;
    declare_exchanges(&mut declaring).await?;
    declaring.close().await;
    Ok(())
}

pub(super) async fn declare_exchanges(declaring: &mut Declaring<'_>) -> Result<(), DeclareError> {
    for (name, kind) in [
        (EVENTS, ExchangeKind::Topic),
        (COMMANDS, ExchangeKind::Direct),
        (QUERIES, ExchangeKind::Direct),
        (DEAD_LETTERS, ExchangeKind::Direct),
    ] {
        declaring
            .exchange(name, kind, FieldTable::default())
            .await?;
    }
    Ok(())
}

/// Declares and binds the queues of a group: those for messages last, so that nothing is routed
/// before there is a queue for it.
pub(super) async fn declare_group(
    declaring: &mut Declaring<'_>,
    group: &Group,
) -> Result<(), DeclareError> {
    let dead = short(&dead_queue(&group.name))?;
    declaring.queue(&dead, quorum(&[])).await?;
    declaring
        .bind_queue(&dead, DEAD_LETTERS, &group.name, FieldTable::default())
        .await?;

    let common = [
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(DEAD_LETTERS)),
        ("x-dead-letter-routing-key", text(&group.name)),
        // The broker keeps a message until the dead queue has it; this needs `reject-publish`.
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    let Some(partition) = group.partition else {
        let queue = short(&group.name)?;
        declaring.queue(&queue, quorum(&common)).await?;
        for binding in &group.bindings {
            let exchange = exchange_of(binding.kind);
            declaring
                .bind_queue(&queue, exchange, &binding.pattern, FieldTable::default())
                .await?;
        }
        return Ok(());
    };
    let one_at_a_time = ("x-single-active-consumer", AMQPValue::Boolean(true));
    let arguments: Vec<_> = common.into_iter().chain([one_at_a_time]).collect();
    declare_partitions(declaring, group, partition, &arguments).await
}

async fn declare_partitions(
    declaring: &mut Declaring<'_>,
    group: &Group,
    partition: Partition,
    arguments: &[(&str, AMQPValue)],
) -> Result<(), DeclareError> {
    let keyless = keyless_exchange(group, partition);
    declaring
        .exchange(&keyless, ExchangeKind::Fanout, FieldTable::default())
        .await?;
    let else_to = table(&[("alternate-exchange", text(&keyless))]);
    declaring
        .exchange(&group.name, ExchangeKind::Headers, else_to)
        .await?;
    for partition in all_of(partition) {
        let queue = short(&partition_queue(group, partition))?;
        declaring.queue(&queue, quorum(arguments)).await?;
        for bucket in partition.buckets() {
            let bucket = bucket.to_string();
            let matches = table(&[("x-match", text("all")), (BUCKET, text(&bucket))]);
            // A headers exchange reads no keys: this one is for people who look at the bindings.
            declaring
                .bind_queue(&queue, &group.name, &bucket, matches)
                .await?;
        }
        if partition.index == 0 {
            declaring
                .bind_queue(&queue, &keyless, "", FieldTable::default())
                .await?;
        }
    }
    for binding in &group.bindings {
        let exchange = exchange_of(binding.kind);
        declaring
            .bind_exchange(&group.name, exchange, &binding.pattern)
            .await?;
    }
    Ok(())
}

/// The arguments of a quorum queue.
pub(super) fn quorum(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = table(arguments);
    table.insert("x-queue-type".into(), text("quorum"));
    table
}

fn short(name: &str) -> Result<ShortString, DeclareError> {
    let name = ShortString::try_new(name).map_err(std::io::Error::other);
    Ok(name.map_err(lapin::Error::from)?)
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
