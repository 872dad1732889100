//! SQL names its columns, so that a column which a later version adds changes no statement of this
//! one: a prepared statement whose result changes fails until its session ends.
#![expect(clippy::expect_used, reason = "what fails here has to fail the test")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn no_statement_of_the_product_returns_whatever_columns_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["crates", "services", "migrations"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 100, "the sources are elsewhere");
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a source file");
            let found = all_columns(&text).into_iter();
            found
                .map(|statement| format!("{}: {statement}", file.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "name the columns:\n{}", found.join("\n"));
}

#[test]
fn what_returns_whatever_columns_there_are_is_found() {
    for found in [
        "select * from orders",
        "select orders.* from orders",
        "select id, orders.*, name from orders",
        "delete from orders returning *",
        "update orders set a = 1 returning orders.*",
        "returning\n    *",
        "select distinct * from orders",
        "select * from unnest($1) join orders using (id)",
    ] {
        assert_eq!(all_columns(found).len(), 1, "{found}");
    }
    for allowed in [
        "select count(*) from orders",
        "select price * quantity, 2 * 3 from orders",
        "insert into orders (id) select * from unnest($1::uuid[])",
        "where id in (select * from unnest($1::uuid[], $2::text[]))",
        "select id from orders returning id",
    ] {
        assert_eq!(all_columns(allowed), Vec::<String>::new(), "{allowed}");
    }
}

/// Files with SQL of the product: sources and migrations, and no tests.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() {
            if !matches!(name, Some("tests" | "target" | "interleavings")) {
                collect(&path, files);
            }
        } else if path
            .extension()
            .is_some_and(|end| end == "rs" || end == "sql")
        {
            files.push(path);
        }
    }
}

/// The column lists with a `*` that stands for columns. The columns of `unnest` are those that the
/// statement itself names, so `select * from unnest(…)` alone is allowed.
fn all_columns(text: &str) -> Vec<String> {
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut position = 0;
    let mut found = Vec::new();
    for word in words {
        position += word.len();
        let keyword = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if !matches!(keyword, "select" | "returning") || !word.ends_with(char::is_whitespace) {
            continue;
        }
        let rest = text[position..].trim_start();
        let rest = rest.strip_prefix("distinct ").unwrap_or(rest).trim_start();
        let list = column_list(rest);
        let all = list.split(',').map(str::trim);
        let has_all = all
            .clone()
            .any(|column| column == "*" || column.ends_with(".*"));
        let is_unnest = all.eq(["*"]) && is_of_unnest(&rest[list.len()..]);
        if has_all && !is_unnest {
            found.push(format!("{keyword} {}", list.trim()));
        }
    }
    found
}

/// What stands between the keyword and `from`, or the end of the statement.
fn column_list(rest: &str) -> &str {
    let mut depth = 0_i32;
    for (position, character) in rest.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        let ends = depth < 0 || matches!(character, ';' | '"' | '{' | '}');
        if ends || depth == 0 && rest[position..].starts_with("from ") {
            return &rest[..position];
        }
    }
    rest
}

/// Whether what is selected from is `unnest(…)` and nothing else.
fn is_of_unnest(from: &str) -> bool {
    let Some(arguments) = from.strip_prefix("from unnest(") else {
        return false;
    };
    let mut depth = 1;
    let end = arguments.find(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let after = end.map_or("", |end| arguments[end + 1..].trim_start());
    !after.starts_with("join") && !after.starts_with(',') && !after.starts_with("left")
}
