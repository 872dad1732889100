//! Checks the shape of a message against its golden file and its schema.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use event_bus::{Envelope, Lineage, Message, Request, TraceContext};
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// Checks that the message serializes exactly to its golden file and conforms to its schema, and
/// that the golden files of all versions deserialize to the message.
pub(crate) fn check<M: Message + PartialEq + Debug>(message: &M) {
    let path = golden_file::<M>(M::VERSION);
    let written = serde_json::to_value(message).expect("a message is JSON");
    update(&path, &written);
    let schema = schema_of::<M>();
    if let Err(error) = jsonschema::validate(&schema, &written) {
        panic!("{} does not conform to its schema: {error}", M::NAME);
    }
    for version in 1..=M::VERSION {
        let path = golden_file::<M>(version);
        let golden = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display())
        });
        if version == M::VERSION {
            let golden: Value = serde_json::from_slice(&golden).expect("a golden file is JSON");
            assert_eq!(
                written,
                golden,
                "the serialized form of {} has changed",
                M::NAME
            );
        }
        let read: M = envelope(message, version, golden)
            .decode()
            .unwrap_or_else(|error| panic!("failed to decode {}: {error:?}", path.display()));
        assert_eq!(&read, message);
    }
}

/// Checks that a request and its response serialize exactly to their golden files and deserialize
/// from them.
pub(crate) fn check_request<R>(request: &R, response: &R::Answer)
where
    R: Request<Answer: PartialEq + Debug> + PartialEq + Debug,
{
    check_shape(&golden_file::<R>(R::VERSION), request);
    let path = golden_file::<R>(R::VERSION).with_extension("response.json");
    check_shape(&path, response);
}

fn check_shape<T: Serialize + DeserializeOwned + PartialEq + Debug>(path: &Path, value: &T) {
    let written = serde_json::to_value(value).expect("a value serializes to JSON");
    update(path, &written);
    let golden = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    let golden_value: Value = serde_json::from_str(&golden).expect("a golden file is JSON");
    assert_eq!(written, golden_value, "{} has changed", path.display());
    let read: T = serde_json::from_str(&golden)
        .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()));
    assert_eq!(&read, value);
}

/// Rewrites a golden file if `UPDATE_GOLDEN` is set.
fn update(path: &Path, written: &Value) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let pretty = serde_json::to_string_pretty(written).expect("a value is JSON");
        std::fs::write(path, pretty + "\n").expect("golden/ can be written");
    }
}

/// The schema of a message, with all references inlined.
fn schema_of<M: Message>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = M::schema(&mut settings.into_generator());
    let schema = schema.unwrap_or_else(|| panic!("{} has no schema", M::NAME));
    assert_eq!(schema.get("type"), Some(&json!("object")), "{}", M::NAME);
    schema.to_value()
}

fn golden_file<M: Message>(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{}.v{version}.json", M::NAME))
}

/// Returns the envelope of the message, with the given version and body.
fn envelope<M: Message>(message: &M, version: u32, body: Vec<u8>) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::nil(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope {
        version,
        body: body.into(),
        ..Envelope::encode("tests", lineage, message).expect("a message is JSON")
    }
}
