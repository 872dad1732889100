//! The headers of all messages: CloudEvents in binary mode, and trace context.

use serde_json::{Value, json};

use super::SCHEMAS;
use crate::envelope::MAX_KEY_BYTES;

/// The name of their schema among the components. No Rust type has one like it.
pub(super) const NAME: &str = "cloud-event-headers";

/// The name of the correlation id among the components.
pub(super) const CORRELATION: &str = "correlation";

/// The headers of one message.
pub(super) fn of(name: &str, version: u32) -> Value {
    json!({ "allOf": [
        { "$ref": format!("#{SCHEMAS}/{NAME}") },
        { "properties": {
            "cloudEvents_type": { "const": name },
            "cloudEvents_dataversion": { "const": version },
        }},
    ]})
}

/// Where a message says what set it off.
pub(super) fn correlation_id() -> Value {
    json!({
        "description": "The same on everything that one cause set off.",
        "location": "$message.header#/cloudEvents_correlationid",
    })
}

/// The headers that all messages have. Required is what a foreign publisher can't leave out.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode, and W3C trace context.",
        "required": [
            "cloudEvents_specversion", "cloudEvents_id", "cloudEvents_source", "cloudEvents_type",
        ],
        "properties": {
            "cloudEvents_specversion": { "type": "string", "const": "1.0" },
            "cloudEvents_id": {
                "type": "string", "format": "uuid",
                "description": "The same however often the message is delivered.",
            },
            "cloudEvents_source": {
                "type": "string", "format": "uri-reference", "minLength": 1,
                "description": "The service that published it.",
            },
            "cloudEvents_type": { "type": "string", "maxLength": 255, "description": "Its name." },
            "cloudEvents_time": {
                "type": "string", "format": "date-time",
                "description": "When it was published.",
            },
            "cloudEvents_dataversion": {
                "type": "integer", "minimum": 1, "default": 1,
                "description": "The version of the body's shape.",
            },
            "cloudEvents_partitionkey": {
                "type": "string", "maxLength": MAX_KEY_BYTES,
                "description": "Messages with the same key are in an order.",
            },
            "cloudEvents_correlationid": {
                "type": "string", "format": "uuid",
                "description": "The same on everything that one cause set off.",
            },
            "cloudEvents_causationid": {
                "type": "string", "format": "uuid",
                "description": "The message whose handling published this one.",
            },
            "partition-bucket": {
                "type": "string", "pattern": "^[0-9]+$",
                "description": "What the partition key sorts the message into.",
            },
            "traceparent": {
                "type": "string",
                "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            },
            "tracestate": { "type": "string", "maxLength": 512 },
        },
    })
}
