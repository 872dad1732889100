//! The OpenAPI document is committed, so that a review shows every change to the API.
//!
//! To accept a change: `cargo run -p identity -- openapi > services/identity/openapi.json`.

use std::process::Command;

#[test]
fn the_openapi_document_matches_the_committed_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_identity"))
        .arg("openapi")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let committed = include_str!("../../openapi.json");
    assert!(
        printed == committed,
        "the API differs from services/identity/openapi.json; if the change is intended, update \
         the file as described at the top of this test\n{printed}"
    );
}
