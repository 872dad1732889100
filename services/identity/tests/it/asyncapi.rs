//! The document of the messages is part of the repository, so that a change of them is seen as one.

use std::process::Command;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json");

/// To accept a change: `UPDATE_GOLDEN=1`, and read the difference before committing it.
#[test]
fn the_document_of_the_messages_is_the_one_that_is_committed() {
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
        "the messages are not what services/identity/asyncapi.json says; if that is meant, run this test \
         once with UPDATE_GOLDEN=1"
    );
}
