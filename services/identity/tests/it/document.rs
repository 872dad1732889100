//! The OpenAPI document, as it is agreed upon in `openapi.json`.
//!
//! After a change that is meant: `cargo run -p identity -- openapi > services/identity/openapi.json`.

use std::process::Command;

#[test]
fn the_document_is_the_one_that_is_committed() {
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
        "the API has changed; if it is meant to, see the head of this file\n{printed}"
    );
}
