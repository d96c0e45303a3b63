//! What the pages name, exists: the tests and files in the tables of `docs/conformance.md` and
//! `docs/security.md`, and source files in all pages.
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
    check("conformance.md", 4, 100);
}

#[test]
fn every_attack_has_its_test() {
    check("security.md", 3, 15);
}

/// Checks the rows of tables with `columns` columns. There are at least `least` of them.
fn check(document: &str, columns: usize, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    let text = read_to_string(root.join("docs").join(document)).expect("the document");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows: Vec<Vec<&str>> =
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(rows.len() > least, "the tables are not read");

    let mut wrong = BTreeSet::new();
    for cells in rows {
        if cells.len() != columns || cells.iter().any(|cell| cell.is_empty()) {
            wrong.insert(format!("not {columns} full cells: {cells:?}"));
            continue;
        }
        for name in cells[2..].iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
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
    assert!(wrong.is_empty(), "docs/{document}: {wrong:#?}");
}

/// Every page, with its place in the project.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/architecture"] {
        for entry in read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(root).expect("a page").display().to_string();
                found.push((name, read_to_string(&path).expect("a page")));
            }
        }
    }
    found
}

/// The places of all Rust files.
fn rust_files(folder: &Path, found: &mut Vec<String>) {
    for entry in read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn every_source_file_that_a_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/targets"] {
        rust_files(&root.join(folder), &mut files);
    }
    let (mut named, mut wrong) = (0, BTreeSet::new());
    for (page, text) in pages() {
        for name in text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs")) {
            named += 1;
            if !name.contains(char::is_whitespace)
                && !files.iter().any(|file| file.ends_with(&format!("/{name}")))
            {
                wrong.insert(format!("{page}: there is no {name}"));
            }
        }
    }
    assert!(named > 100, "the pages are not read");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
