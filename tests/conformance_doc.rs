//! What `docs/conformance.md` names, exists.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::path::Path;

/// The text of every Rust file below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&read_to_string(&path).expect("a file"));
        }
    }
}

#[test]
fn every_rule_is_accounted_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    let document = read_to_string(root.join("docs/conformance.md")).expect("the document");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 100, "the tables are not read");

    let mut wrong = BTreeSet::new();
    for row in rows.iter().filter(|row| !row.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if cells.len() != 4 || cells.iter().any(|cell| cell.is_empty()) {
            wrong.insert(format!("not four full cells: {row}"));
            continue;
        }
        for name in [cells[2], cells[3]].iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            let is_function = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            let found = if name.ends_with(".json") {
                root.join("tests/cases").join(name).exists()
            } else if name.ends_with(".rs") || name.ends_with('/') || name.ends_with(".yaml") {
                root.join(name).exists()
            } else if is_function && name.contains('_') {
                code.contains(&format!("fn {name}("))
            } else {
                true
            };
            if !found {
                wrong.insert(format!("there is no {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/conformance.md: {wrong:#?}");
}
