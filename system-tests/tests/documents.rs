//! Documents that name tests.

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
