//! Exchanges and queues, and how they hang together.
//!
//! ```text
//!  events (topic) ──pattern──▶ catalog ──consumer
//!  commands (direct) ──name──▶    │
//!                                 └─ delivered too often ─▶ dead-letters (direct) ─▶ catalog.dead ──consumer
//!
//!  queries (direct) ──name──▶ catalog.queries.<name> ──consumer; replies go straight to the asker
//! ```

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::message::Kind;
use crate::transport::Group;

pub(super) const EVENTS: &str = "events";
pub(super) const COMMANDS: &str = "commands";
pub(super) const QUERIES: &str = "queries";
pub(super) const DEAD_LETTERS: &str = "dead-letters";

/// How often the broker delivers a message before it gives up on it. The bus acknowledges what
/// its handlers fail at, so only crashes and lost connections count.
const DELIVERY_LIMIT: i64 = 20;

pub(super) const fn exchange_of(kind: Kind) -> &'static str {
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

pub(super) async fn declare_exchanges(channel: &Channel) -> lapin::Result<()> {
    for (name, kind) in [
        (EVENTS, ExchangeKind::Topic),
        (COMMANDS, ExchangeKind::Direct),
        (QUERIES, ExchangeKind::Direct),
        (DEAD_LETTERS, ExchangeKind::Direct),
    ] {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await?;
    }
    Ok(())
}

/// Declares and binds the queues of a group.
pub(super) async fn declare_group(channel: &Channel, group: &Group) -> lapin::Result<()> {
    let dead = dead_queue(&group.name);
    declare_queue(channel, &dead, &[]).await?;
    bind(channel, &dead, DEAD_LETTERS, &group.name).await?;

    let arguments = [
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(DEAD_LETTERS)),
        ("x-dead-letter-routing-key", text(&group.name)),
        // The broker keeps a message until the dead queue has it; this needs `reject-publish`.
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    declare_queue(channel, &group.name, &arguments).await?;
    for binding in &group.bindings {
        let exchange = exchange_of(binding.kind);
        bind(channel, &group.name, exchange, &binding.pattern).await?;
    }
    Ok(())
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: &[(&str, AMQPValue)],
) -> lapin::Result<()> {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
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

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
