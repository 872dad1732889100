//! Whether a document keeps to the AsyncAPI specification, by the specification's own schema.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::install_once::install_once;

/// The package in which the specification's authors publish its schemas.
const PACKAGE: &str = "@asyncapi/specs";
const VERSION: &str = "6.11.1";

/// The schema of AsyncAPI 3.0.0.
#[derive(Debug)]
pub struct AsyncApiSchema(jsonschema::Validator);

impl AsyncApiSchema {
    /// Takes the schema from npm, unless it is below `folder` already: a test's is
    /// `env!("CARGO_TARGET_TMPDIR")`.
    ///
    /// # Panics
    ///
    /// With one line that says what is missing, if there is no npm or it can't get the package.
    pub fn install(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().join(format!("asyncapi-specs-{VERSION}"));
        install_once(&folder, get_package);
        let package = folder.join("node_modules").join(PACKAGE);
        let schema = fs::read(package.join("schemas/3.0.0-without-$id.json"));
        let schema = schema.expect("the package has the schema of 3.0.0");
        let schema: Value = serde_json::from_slice(&schema).expect("a schema is JSON");
        let validator = jsonschema::draft7::options()
            .build(&schema)
            .expect("the specification's schema is one");
        Self(validator)
    }

    /// What is wrong with a document, by the schema and in its references; empty if nothing is.
    pub fn errors(&self, document: &Value) -> Vec<String> {
        let by_schema = self.0.iter_errors(document);
        let by_schema = by_schema.map(|error| format!("{}: {error}", error.instance_path()));
        let dangling = references(document).into_iter().filter(|reference| {
            let pointer = reference.strip_prefix('#');
            pointer.is_none_or(|pointer| document.pointer(pointer).is_none())
        });
        let dangling = dangling.map(|reference| format!("{reference} is not in the document"));
        by_schema.chain(dangling).collect()
    }
}

/// Everything the document refers to.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().flat_map(references).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(reference) if name == "$ref" => vec![reference],
                _ => references(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn get_package(folder: &Path) {
    let npm = Command::new("npm")
        .args(["install", "--no-save", "--no-package-lock"])
        .args(["--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--loglevel", "error", "--prefix"])
        .arg(folder)
        .arg(format!("{PACKAGE}@{VERSION}"))
        .output();
    match npm {
        Err(error) => panic!("npm can't be run ({error}): install Node.js with npm"),
        Ok(output) if !output.status.success() => panic!(
            "npm can't get {PACKAGE}@{VERSION}: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Ok(_) => {}
    }
}
