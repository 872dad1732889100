//! The AsyncAPI document is committed, so that a review shows every change to the messages.

use std::process::Command;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json");

/// To accept a change, run this test with `UPDATE_GOLDEN=1` and review the diff.
#[test]
fn the_asyncapi_document_matches_the_committed_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_identity"))
        .arg("asyncapi")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(
        printed == committed,
        "the messages differ from services/identity/asyncapi.json; if the change is intended, run \
         this test once with UPDATE_GOLDEN=1"
    );
}
