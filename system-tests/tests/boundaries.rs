//! Who may depend on whom.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const SERVICES: [&str; 3] = ["catalog", "identity", "ordering"];
const BUILDING_BLOCKS: [&str; 2] = ["event-bus", "service-host"];

/// Everything a package needs to run, dependencies of dependencies included.
fn dependencies(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--package", package, "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{lib}", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let names = String::from_utf8(tree.stdout).expect("names are text");
    names.lines().map(str::to_owned).collect()
}

#[test]
fn no_service_depends_on_another() {
    for service in SERVICES {
        let dependencies = dependencies(service);
        assert!(
            dependencies.contains("event_contracts"),
            "{service}: {dependencies:?}"
        );
        for other in SERVICES.iter().filter(|other| **other != service) {
            assert!(
                !dependencies.contains(*other),
                "{service} depends on {other}"
            );
        }
    }
}

#[test]
fn building_blocks_know_no_service_and_no_contract() {
    for block in BUILDING_BLOCKS {
        let dependencies = dependencies(block);
        for stranger in SERVICES.iter().chain(&["event_contracts"]) {
            assert!(
                !dependencies.contains(*stranger),
                "{block} depends on {stranger}"
            );
        }
    }
}

#[test]
fn contracts_need_neither_database_nor_broker() {
    let dependencies = dependencies("event-contracts");
    for heavy in ["sqlx", "lapin", "tokio"] {
        assert!(
            !dependencies.contains(heavy),
            "event-contracts depends on {heavy}"
        );
    }
}

/// A service sees the messages that it publishes or receives, and no others.
#[test]
fn a_service_turns_on_the_contracts_that_its_sources_use() {
    let packages = packages();
    for service in SERVICES {
        let package = packages.iter().find(|package| package["name"] == service);
        let dependencies = package.expect("a package")["dependencies"].as_array();
        let contracts = dependencies
            .expect("dependencies")
            .iter()
            .find(|dependency| {
                dependency["name"] == "event-contracts" && dependency["kind"].is_null()
            })
            .expect("every service has contracts");
        let features = contracts["features"].as_array().expect("features");
        let features: BTreeSet<_> = features.iter().filter_map(Value::as_str).collect();
        let sources = root().join("services").join(service).join("src");
        let sources = rust_sources(&sources);
        let used: BTreeSet<_> = SERVICES
            .into_iter()
            .filter(|publisher| {
                let module = format!("event_contracts::{publisher}");
                sources.iter().any(|source| source.contains(&module))
            })
            .collect();
        assert!(!used.is_empty(), "{service} uses no contract");
        assert_eq!(features, used, "features of event-contracts in {service}");
    }
}

/// The texts of all Rust files in a folder and the folders in it.
fn rust_sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => rust_sources(&path),
            Some(extension) if extension == "rs" => {
                vec![std::fs::read_to_string(&path).expect("a source is text")]
            }
            _ => Vec::new(),
        })
        .collect()
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the workspace").to_owned()
}

/// The packages of the workspace, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline"])
        .args(["--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

#[test]
fn tests_may_use_what_services_may_not() {
    // The tests above would pass for any name if the tree were empty or named otherwise.
    let packages = packages();
    let names: BTreeSet<_> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for name in SERVICES.iter().chain(&BUILDING_BLOCKS) {
        assert!(names.contains(name), "{name} is no package here");
    }
}
