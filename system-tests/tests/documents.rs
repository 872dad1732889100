//! Documents that name tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust sources below a folder, as one text.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let document = fs::read_to_string(root().join("docs/GUARANTEES.md")).expect("the document");
    let mut tests = String::new();
    for folder in ["crates", "services", "system-tests"] {
        sources(&root().join(folder), &mut tests);
    }
    let names: Vec<&str> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| quoted.matches('_').count() >= 3)
        .collect();
    assert!(names.len() > 20, "the names are found: {names:?}");
    for name in names {
        assert!(
            tests.contains(&format!("fn {name}(")),
            "there is no test {name}"
        );
    }
}

#[test]
fn every_metric_of_the_bus_is_explained_and_no_other() {
    let document = fs::read_to_string(root().join("docs/SIGNALS.md")).expect("the document");
    let source = root().join("crates/event-bus/src/signals.rs");
    let source = fs::read_to_string(source).expect("the source");
    let measured: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("const "))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    let explained: BTreeSet<&str> = document
        .lines()
        .filter(|line| line.contains("| counter |") || line.contains("| gauge |"))
        .chain(document.lines().filter(|l| l.contains("| histogram |")))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert!(measured.len() > 10, "the metrics are found: {measured:?}");
    assert_eq!(measured, explained);
}
