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

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

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

pub(super) async fn declare_exchanges(channel: &Channel) -> lapin::Result<()> {
    for (name, kind) in [
        (EVENTS, ExchangeKind::Topic),
        (COMMANDS, ExchangeKind::Direct),
        (QUERIES, ExchangeKind::Direct),
        (DEAD_LETTERS, ExchangeKind::Direct),
    ] {
        declare_exchange(channel, name, kind, FieldTable::default()).await?;
    }
    Ok(())
}

/// Declares and binds the queues of a group: those for messages last, so that nothing is routed
/// before there is a queue for it.
pub(super) async fn declare_group(channel: &Channel, group: &Group) -> lapin::Result<()> {
    let dead = dead_queue(&group.name);
    declare_queue(channel, &dead, &[]).await?;
    bind(channel, &dead, DEAD_LETTERS, &group.name).await?;

    let common = [
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(DEAD_LETTERS)),
        ("x-dead-letter-routing-key", text(&group.name)),
        // The broker keeps a message until the dead queue has it; this needs `reject-publish`.
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    let Some(partition) = group.partition else {
        declare_queue(channel, &group.name, &common).await?;
        for binding in &group.bindings {
            let exchange = exchange_of(binding.kind);
            bind(channel, &group.name, exchange, &binding.pattern).await?;
        }
        return Ok(());
    };
    let one_at_a_time = ("x-single-active-consumer", AMQPValue::Boolean(true));
    let arguments: Vec<_> = common.into_iter().chain([one_at_a_time]).collect();
    declare_partitions(channel, group, partition, &arguments).await
}

async fn declare_partitions(
    channel: &Channel,
    group: &Group,
    partition: Partition,
    arguments: &[(&str, AMQPValue)],
) -> lapin::Result<()> {
    let keyless = keyless_exchange(group, partition);
    declare_exchange(
        channel,
        &keyless,
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await?;
    let else_to = table(&[("alternate-exchange", text(&keyless))]);
    declare_exchange(channel, &group.name, ExchangeKind::Headers, else_to).await?;
    for partition in all_of(partition) {
        let queue = partition_queue(group, partition);
        declare_queue(channel, &queue, arguments).await?;
        for bucket in partition.buckets() {
            let matches = table(&[
                ("x-match", text("all")),
                (BUCKET, text(&bucket.to_string())),
            ]);
            let options = QueueBindOptions::default();
            let exchange = group.name.as_str().into();
            // A headers exchange reads no keys: this one is for people who look at the bindings.
            let key = bucket.to_string().into();
            channel
                .queue_bind(queue.as_str().into(), exchange, key, options, matches)
                .await?;
        }
        if partition.index == 0 {
            bind(channel, &queue, &keyless, "").await?;
        }
    }
    for binding in &group.bindings {
        channel
            .exchange_bind(
                group.name.as_str().into(),
                exchange_of(binding.kind).into(),
                binding.pattern.as_str().into(),
                ExchangeBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(name.into(), kind, options, arguments)
        .await
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: &[(&str, AMQPValue)],
) -> lapin::Result<()> {
    let mut table = table(arguments);
    table.insert("x-queue-type".into(), text("quorum"));
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), table)
        .await?;
    Ok(())
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
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
