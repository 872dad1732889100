//! The services' programs, as they are now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Says where the programs are, built already: `scripts/test` does, having built everything.
const VARIABLE: &str = "WAYBILL_PROGRAMS";

/// The folder of the services' programs. Built first where nobody says that they are, so that no
/// test runs an old one.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(folder) => folder.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bins"])
        .args(["--package", "catalog"])
        .args(["--package", "ordering"])
        .args(["--package", "identity"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo can be run");
    assert!(built.success(), "the services do not build");
    // target/debug/deps/test-… → target/debug
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().nth(2).expect("it is in target/debug/deps");
    folder.to_owned()
}
