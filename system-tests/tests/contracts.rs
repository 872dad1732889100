//! What the services say to each other, by the documents that they print and that are committed.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use test_servers::AsyncApiSchema;

const SERVICES: [&str; 3] = ["catalog", "identity", "ordering"];

/// The AsyncAPI document of a service.
fn document(service: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../services")
        .join(service)
        .join("asyncapi.json");
    let document = fs::read(&path).expect("every service has a document");
    serde_json::from_slice(&document).expect("a document is JSON")
}

/// The messages that a service sends or receives, by name and version.
fn messages<'a>(document: &'a Value, action: &str) -> Vec<&'a str> {
    let operations = document["operations"].as_object().expect("operations");
    let operations = operations.values().filter(|o| o["action"] == action);
    let message = |operation: &'a Value| {
        let reference = operation["messages"][0]["$ref"].as_str()?;
        reference.rsplit('/').next()
    };
    operations.filter_map(message).collect()
}

/// A part of a document with everything in the place of its reference.
fn resolved(document: &Value, value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|v| resolved(document, v)).collect(),
        Value::Object(members) => match members.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = document.pointer(reference.trim_start_matches('#'));
                resolved(document, target.expect("what is referred to"))
            }
            None => members
                .iter()
                .map(|(name, value)| (name.clone(), resolved(document, value)))
                .collect(),
        },
        other => other.clone(),
    }
}

#[test]
fn every_services_document_keeps_to_the_specification_of_asyncapi() {
    let specification = AsyncApiSchema::install(env!("CARGO_TARGET_TMPDIR"));
    for service in SERVICES {
        let document = document(service);
        let of_service = format!("Waybill {service}");
        assert_eq!(document["info"]["title"], of_service);
        assert_eq!(specification.errors(&document), [""; 0], "{service}");
    }
}

#[test]
fn what_a_service_receives_is_what_a_service_sends() {
    let documents = SERVICES.map(document);
    let mut seen = 0;
    for receiver in &documents {
        for message in messages(receiver, "receive") {
            let mut senders = documents
                .iter()
                .filter(|document| messages(document, "send").contains(&message));
            let sender = senders.next();
            let sender = sender.unwrap_or_else(|| panic!("nobody sends {message}"));
            let of =
                |document: &Value| resolved(document, &document["components"]["messages"][message]);
            assert_eq!(of(sender), of(receiver), "{message}");
            seen += 1;
        }
    }
    assert!(seen > 10, "the messages are found: {seen}");
}

#[test]
fn a_command_has_one_receiver() {
    let documents = SERVICES.map(document);
    let mut seen = 0;
    for sender in &documents {
        for message in messages(sender, "send") {
            let kind = &sender["components"]["messages"][message]["tags"][0]["name"];
            if kind == "command" {
                let receives = |document: &&Value| messages(document, "receive").contains(&message);
                let receivers = documents.iter().filter(receives).count();
                assert_eq!(receivers, 1, "{message}");
                seen += 1;
            }
        }
    }
    assert!(seen > 1, "the commands are found: {seen}");
}
