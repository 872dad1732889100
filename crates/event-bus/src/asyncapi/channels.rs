//! Channels, and what the service does on them.

use serde_json::{Map, Value, json};

use super::contracts::{Contract, Direction};
use crate::message::Kind;
use crate::transport::exchange_of;

/// The version of AsyncAPI's binding for AMQP 0-9-1.
pub(super) const BINDING: &str = "0.3.0";

/// A channel for each name or pattern, and one for each queue.
pub(super) fn of(contracts: &[Contract]) -> Map<String, Value> {
    let mut channels = Map::new();
    for contract in contracts {
        let routing_key = channels
            .entry(contract.channel_id())
            .or_insert_with(|| routing_key_channel(contract));
        add_message(routing_key, contract);
        let Direction::Receive { queues, .. } = &contract.direction else {
            continue;
        };
        for queue in queues {
            let queue = channels
                .entry(format!("queue.{queue}"))
                .or_insert_with(|| queue_channel(queue));
            add_message(queue, contract);
        }
    }
    channels
}

fn routing_key_channel(contract: &Contract) -> Value {
    let exchange_type = match contract.kind {
        Kind::Event => "topic",
        Kind::Command | Kind::Query => "direct",
    };
    json!({
        "address": contract.name,
        "messages": {},
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": {
                "name": exchange_of(contract.kind),
                "type": exchange_type,
                "durable": true,
                "autoDelete": false,
            },
            "bindingVersion": BINDING,
        }},
    })
}

fn queue_channel(queue: &str) -> Value {
    json!({
        "address": queue,
        "description": "A quorum queue, shared by the instances of the service.",
        "messages": {},
        "bindings": { "amqp": {
            "is": "queue",
            "queue": { "name": queue, "durable": true, "exclusive": false, "autoDelete": false },
            "bindingVersion": BINDING,
        }},
    })
}

fn add_message(channel: &mut Value, contract: &Contract) {
    if let Some(id) = contract.message_id() {
        channel["messages"][&id] = json!({ "$ref": format!("#/components/messages/{id}") });
    }
}

/// What the service sends and receives.
pub(super) fn operations(contracts: &[Contract]) -> Map<String, Value> {
    let operation = |contract: &Contract| (operation_id(contract), operation(contract));
    contracts.iter().map(operation).collect()
}

/// A message that several groups handle is an operation for each of them.
fn operation_id(contract: &Contract) -> String {
    let action = contract.action();
    let message = contract.message_id();
    let message = message.unwrap_or_else(|| contract.channel_id());
    match &contract.direction {
        Direction::Send { .. } => format!("{action}.{message}"),
        Direction::Receive { group, .. } => format!("{action}.{message}.{group}"),
    }
}

fn operation(contract: &Contract) -> Value {
    let channel = contract.channel_id();
    let mut operation = json!({
        "action": contract.action(),
        "channel": { "$ref": format!("#/channels/{channel}") },
    });
    if let Some(message) = contract.message_id() {
        let message = format!("#/channels/{channel}/messages/{message}");
        operation["messages"] = json!([{ "$ref": message }]);
    }
    if contract.kind == Kind::Query {
        operation["reply"]["address"] = json!({
            "description": "The property `reply_to`, which is RabbitMQ's direct reply-to.",
            "location": "$message.header#/reply_to",
        });
    }
    match &contract.direction {
        Direction::Send { mandatory } => {
            operation["bindings"]["amqp"] = json!({
                "deliveryMode": if contract.kind == Kind::Query { 1 } else { 2 },
                "mandatory": mandatory,
                "timestamp": true,
                "bindingVersion": BINDING,
            });
        }
        Direction::Receive {
            queues, handlers, ..
        } => {
            operation["bindings"]["amqp"] = json!({ "ack": true, "bindingVersion": BINDING });
            operation["x-queues"] = json!(queues);
            operation["x-handlers"] = json!(handlers);
        }
    }
    operation
}
