//! The document that describes the API.

use std::path::Path;

use serde_json::Value;

use crate::support::TestCatalog;

/// What clients build on is in `openapi.json`, so that a change of it is seen before it is made.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_the_one_that_is_committed() {
    let catalog = TestCatalog::start().await;
    let document = catalog.get("/api-docs/openapi.json").await.body;
    let document = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &document).expect("openapi.json can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        document == committed,
        "the API is not what services/catalog/openapi.json says; if that is meant, run this test \
         once with UPDATE_GOLDEN=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_are_described_as_well() {
    let catalog = TestCatalog::start().await;
    let served = catalog.get("/asyncapi.json").await.body;
    let committed = include_str!("../../asyncapi.json");
    let committed: Value = serde_json::from_str(committed).expect("JSON");
    assert_eq!(served, committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_the_document_refers_to_is_in_it() {
    let catalog = TestCatalog::start().await;
    let document = catalog.get("/api-docs/openapi.json").await.body;
    let references = references(&document);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference
            .strip_prefix('#')
            .expect("a place in the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().flat_map(references).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(reference) if name == "$ref" => vec![reference],
                _ => references(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}
