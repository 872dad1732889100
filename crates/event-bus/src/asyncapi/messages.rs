//! Messages: their headers and bodies.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::channels::BINDING;
use super::contracts::{Body, Contract};
use super::{SCHEMAS, headers};
use crate::message::Kind;

/// Every message that is sent or received, by its name and version. The schemas that bodies refer
/// to stay with the generator.
pub(super) fn of(contracts: &[Contract], generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut messages = Map::new();
    for contract in contracts {
        let (Some(id), Some(body)) = (contract.message_id(), contract.body) else {
            continue;
        };
        messages
            .entry(id)
            .or_insert_with(|| message(contract, body, generator));
    }
    messages
}

fn message(contract: &Contract, body: Body, generator: &mut SchemaGenerator) -> Value {
    let kind = match contract.kind {
        Kind::Event => "event",
        Kind::Command => "command",
        Kind::Query => "query",
    };
    let mut message = json!({
        "name": contract.name,
        "tags": [{ "name": kind }],
        "contentType": "application/json",
        "correlationId": { "$ref": format!("#/components/correlationIds/{}", headers::CORRELATION) },
        "headers": headers::of(&contract.name, body.version),
        "bindings": { "amqp": { "messageType": contract.name, "bindingVersion": BINDING } },
    });
    if let Some(schema) = (body.schema)(generator) {
        let schema = schema.to_value();
        if let Some(description) = described(&schema, generator) {
            message["summary"] = json!(description);
        }
        message["payload"] = schema;
    }
    message
}

/// What a type's documentation says of it, in its first paragraph.
fn described(schema: &Value, generator: &SchemaGenerator) -> Option<String> {
    let of_type = |reference: &str| {
        let name = reference.strip_prefix('#')?.strip_prefix(SCHEMAS)?;
        generator.definitions().get(name.strip_prefix('/')?)
    };
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => of_type(reference)?,
        None => schema,
    };
    let text = schema.get("description")?.as_str()?;
    text.split("\n\n").next().map(str::to_owned)
}
