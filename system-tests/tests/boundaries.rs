//! Who may depend on whom.
#![expect(
    clippy::expect_used,
    reason = "what fails in a test has to fail the test"
)]

use std::collections::BTreeSet;
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

#[test]
fn tests_may_use_what_services_may_not() {
    // The test above would pass for any name if the tree were empty or named otherwise.
    let metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("metadata is JSON");
    let packages: BTreeSet<&str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    for name in SERVICES.iter().chain(&BUILDING_BLOCKS) {
        assert!(packages.contains(name), "{name} is no package here");
    }
}
