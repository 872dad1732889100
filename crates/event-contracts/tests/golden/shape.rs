//! What a golden file holds a message to.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use event_bus::{Envelope, Lineage, Message, Request, TraceContext};
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// Checks that the message is serialized exactly as its golden file and as its schema allows, and
/// that this file and those of older versions are read as the message.
pub(crate) fn check<M: Message + PartialEq + Debug>(message: &M) {
    let path = golden_file::<M>(M::VERSION);
    let written = serde_json::to_value(message).expect("a message is JSON");
    update(&path, &written);
    let schema = schema_of::<M>();
    if let Err(error) = jsonschema::validate(&schema, &written) {
        panic!("{} is not what its schema says: {error}", M::NAME);
    }
    for version in 1..=M::VERSION {
        let path = golden_file::<M>(version);
        let golden = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display())
        });
        if version == M::VERSION {
            let golden: Value = serde_json::from_slice(&golden).expect("a golden file is JSON");
            assert_eq!(written, golden, "{} is written differently now", M::NAME);
        }
        let read: M = arrived(message, version, golden)
            .decode()
            .unwrap_or_else(|error| panic!("{} can't be read: {error:?}", path.display()));
        assert_eq!(&read, message);
    }
}

/// Checks that a request and its response are serialized exactly as their golden files, and read
/// from them.
pub(crate) fn check_query<Q>(query: &Q, answer: &Q::Answer)
where
    Q: Request<Answer: PartialEq + Debug> + PartialEq + Debug,
{
    check_shape(&golden_file::<Q>(Q::VERSION), query);
    let path = golden_file::<Q>(Q::VERSION).with_extension("answer.json");
    check_shape(&path, answer);
}

fn check_shape<T: Serialize + DeserializeOwned + PartialEq + Debug>(path: &Path, value: &T) {
    let written = serde_json::to_value(value).expect("it is JSON");
    update(path, &written);
    let golden = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    let golden_value: Value = serde_json::from_str(&golden).expect("a golden file is JSON");
    assert_eq!(written, golden_value, "{} has changed", path.display());
    let read: T = serde_json::from_str(&golden)
        .unwrap_or_else(|error| panic!("{} can't be read any more: {error}", path.display()));
    assert_eq!(&read, value);
}

/// Rewrites a golden file if `UPDATE_GOLDEN` is set.
fn update(path: &Path, written: &Value) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let pretty = serde_json::to_string_pretty(written).expect("a value is JSON");
        std::fs::write(path, pretty + "\n").expect("golden/ can be written");
    }
}

/// The schema of a message, without references.
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

/// An envelope like that of this message, with another version and body.
fn arrived<M: Message>(like: &M, version: u32, body: Vec<u8>) -> Envelope {
    let lineage = Lineage {
        correlation_id: Uuid::nil(),
        causation_id: None,
        trace: TraceContext::default(),
    };
    Envelope {
        version,
        body: body.into(),
        ..Envelope::encode("tests", lineage, like).expect("a message is JSON")
    }
}
