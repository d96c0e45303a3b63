//! Checks the structure of `src`: layers, no circles of imports, a pure core, short files, unique type
//! names, metered calls, keys in one file.
//!
//! What does not hold yet is named in `EXCEPTIONS`, by its rule. A new violation fails the test, and so
//! does an exception that is no longer needed: the lists can only become shorter.
#![allow(clippy::expect_used, clippy::panic)]

mod architecture_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use architecture_support::graph::Sources;

/// The layers. A file imports from its own folder and from folders of lower layers.
const LAYERS: [&[&str]; 10] = [
    &["limits", "sdk"],
    &["scim"],
    &["clock", "config"],
    &["log", "outbound"],
    &["store"],
    &["deliver"],
    &["auth", "provider"],
    &["tenants", "monitor", "probe"],
    &["http", "app", "oauth"],
    &["admin", "dev"],
];
/// Folders of one layer that import one another, in this direction.
const SAME_LAYER: [(&str, &str); 3] = [("dev", "admin"), ("app", "http"), ("oauth", "http")];
/// What the core does not import: input and output, the environment, time, AWS.
const IMPURE: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];
/// The crates that the core does not import, by how their names begin.
const IMPURE_CRATES: [&str; 2] = ["aws_", "lambda_"];
/// The functions that read the clock.
const CLOCK_FUNCTIONS: [&str; 4] = ["now_local", "now_utc", "now_v4", "now_v7"];
/// The most lines of a file.
const MAX_LINES: usize = 500;
/// The calls of the AWS SDK that cost capacity. They have no argument: the builders take those.
const METERED_CALLS: [&str; 12] = [
    "batch_get_item",
    "batch_write_item",
    "delete_item",
    "execute_statement",
    "execute_transaction",
    "get_item",
    "put_item",
    "query",
    "scan",
    "transact_get_items",
    "transact_write_items",
    "update_item",
];
/// The files that read and write items with the AWS SDK's client, and meter what each call costs.
const METERED_FILES: [&str; 2] = ["store/batch.rs", "store/call.rs"];
/// The wall clock, and the places that read it: tests set the clock of the first, and of the local gateway.
const WALL_CLOCK: [&str; 3] = ["now_local", "now_utc", "SystemTime"];
const CLOCK_PLACES: [&str; 2] = ["clock.rs", "dev/gateway/"];
/// The places that make the keys of the table.
const KEY_PLACES: [&str; 2] = ["store/keys.rs", "store/keys/"];

/// What breaks a rule today: the rule, and its violations as the test prints them. An entry goes when the
/// code is corrected.
const EXCEPTIONS: [(&str, &[&str]); 0] = [];

/// The folder of a file, or its name at the top of `src`.
fn folder(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// The number of a folder's layer; the binaries are above all layers.
fn layer(folder: &str) -> Option<usize> {
    match folder {
        "bin" => Some(LAYERS.len()),
        folder => LAYERS.iter().position(|layer| layer.contains(&folder)),
    }
}

/// Imports from a higher layer, or from another folder of the same one.
fn upward_imports(sources: &Sources) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in sources.files.values().filter(|file| file.path != "lib.rs") {
        let from = folder(&file.path);
        if layer(from).is_none() {
            found.insert(format!("{} is in no layer", file.path));
        }
        for imported in sources.imported_by(file) {
            let to = folder(imported);
            let is_allowed = from == to || SAME_LAYER.contains(&(from, to)) || layer(to) < layer(from);
            if !is_allowed {
                found.insert(format!("{} imports {imported}", file.path));
            }
        }
    }
    found
}

fn circles(sources: &Sources) -> BTreeSet<String> {
    let circles = sources.circles().into_iter();
    circles.map(|circle| circle.into_iter().collect::<Vec<_>>().join(", ")).collect()
}

/// Whether a path leads into a module or a crate that does input or output, or reads the clock.
fn is_impure(path: &[String]) -> bool {
    let text = path.join("::");
    let is_below = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let takes_all = text.strip_suffix("::*");
    IMPURE.iter().any(|impure| is_below(impure, &text) || takes_all.is_some_and(|all| is_below(all, impure)))
        || IMPURE_CRATES.iter().any(|start| text.starts_with(start))
        || path.iter().any(|name| CLOCK_FUNCTIONS.contains(&name.as_str()))
}

fn impure_imports(sources: &Sources) -> BTreeSet<String> {
    let core = sources.files.values().filter(|file| folder(&file.path) == "scim");
    core.flat_map(|file| {
        let impure = file.imports.iter().filter(|path| is_impure(path));
        impure.map(|path| format!("{} imports {}", file.path, path.join("::")))
    })
    .collect()
}

fn long_files(sources: &Sources) -> BTreeSet<String> {
    sources.files.values().filter(|file| file.lines > MAX_LINES).map(|file| file.path.clone()).collect()
}

/// Type names that several places define, with the files.
fn repeated_types(sources: &Sources) -> BTreeSet<String> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in sources.files.values() {
        for name in &file.types {
            places.entry(name).or_default().push(&file.path);
        }
    }
    places.retain(|_, files| files.len() > 1);
    places.into_iter().map(|(name, files)| format!("{name}: {}", files.join(", "))).collect()
}

/// Calls that read or write items in a file that does not meter them. Other types have a `query` too: this
/// name and `scan` count only in a file that sends something.
fn unmetered_calls(sources: &Sources) -> BTreeSet<String> {
    let others = sources.files.values().filter(|file| !METERED_FILES.contains(&file.path.as_str()));
    others
        .flat_map(|file| {
            let calls = &file.calls_without_arguments;
            let sends = calls.contains("send");
            let metered = calls.iter().filter(move |call| {
                METERED_CALLS.contains(&call.as_str())
                    && (sends || !matches!(call.as_str(), "query" | "scan"))
            });
            metered.map(|call| format!("{} calls {call}", file.path))
        })
        .collect()
}

fn clocks_elsewhere(sources: &Sources) -> BTreeSet<String> {
    let is_clock = |path: &str| CLOCK_PLACES.iter().any(|place| path.starts_with(place));
    let others = sources.files.values().filter(|file| !is_clock(&file.path));
    others
        .flat_map(|file| {
            let read = |path: &&Vec<String>| path.iter().any(|name| WALL_CLOCK.contains(&name.as_str()));
            let clocks = file.imports.iter().filter(read);
            clocks.map(|path| format!("{} reads {}", file.path, path.join("::")))
        })
        .collect()
}

/// Whether a text is or begins with a piece of a key: capital letters and `#`, such as `T#` or `WORK#`.
fn is_piece_of_key(text: &str) -> bool {
    let name = text.split_once('#').map(|(name, _)| name).unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn keys_elsewhere(sources: &Sources) -> BTreeSet<String> {
    let is_place = |path: &str| KEY_PLACES.iter().any(|place| path.starts_with(place));
    let others = sources.files.values().filter(|file| !is_place(&file.path));
    others
        .flat_map(|file| {
            let pieces = file.literals.iter().filter(|text| is_piece_of_key(text));
            pieces.map(|text| format!("{} has the literal {text:?}", file.path))
        })
        .collect()
}

/// Compares the violations with the exceptions.
///
/// # Errors
/// The violations that no exception names, and the exceptions that name no violation.
fn compare_with_exceptions(found: &BTreeSet<String>, exceptions: &[&str]) -> Result<(), String> {
    let exceptions: BTreeSet<String> = exceptions.iter().map(|&exception| exception.to_owned()).collect();
    let new: Vec<&String> = found.difference(&exceptions).collect();
    let stale: Vec<&String> = exceptions.difference(found).collect();
    if new.is_empty() && stale.is_empty() {
        return Ok(());
    }
    Err(format!("new violations: {new:#?}\nexceptions that are no longer needed: {stale:#?}"))
}

/// Checks a rule in `src`, its exceptions left out.
fn check_rule(rule: &str, find: fn(&Sources) -> BTreeSet<String>) {
    static SOURCES: OnceLock<Sources> = OnceLock::new();
    let sources = SOURCES.get_or_init(|| Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    assert!(sources.files.len() > 100, "the sources are not read");
    let exceptions = EXCEPTIONS.iter().find(|(name, _)| *name == rule).map_or(&[][..], |(_, list)| list);
    if let Err(why) = compare_with_exceptions(&find(sources), exceptions) {
        panic!("{rule}: {why}");
    }
}

#[test]
fn layers_import_downwards() {
    check_rule("layers", upward_imports);
}

#[test]
fn files_import_one_another_without_circles() {
    check_rule("circles", circles);
}

#[test]
fn the_core_is_pure() {
    check_rule("purity", impure_imports);
}

#[test]
fn files_are_short() {
    check_rule("lines", long_files);
}

#[test]
fn a_type_name_is_unique() {
    check_rule("types", repeated_types);
}

#[test]
fn every_call_of_the_table_is_metered() {
    check_rule("calls", unmetered_calls);
}

#[test]
fn keys_are_made_in_one_file() {
    check_rule("keys", keys_elsewhere);
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    check_rule("clock", clocks_elsewhere);
}

/// Returns the violations of a rule in small sources.
fn violations_in(find: fn(&Sources) -> BTreeSet<String>, texts: &[(&str, &str)]) -> Vec<String> {
    find(&Sources::of(texts.iter().copied())).into_iter().collect()
}

const SCIM: (&str, &str) = ("scim/error.rs", "pub struct ScimError;");
const STORE: (&str, &str) = ("store/keys.rs", "pub fn hash() {}");

#[test]
fn an_upward_import_is_found_wherever_it_stands() {
    for code in [
        "use crate::store::keys;",
        "use crate::{scim::error::ScimError, store::{keys::{self as k, hash}}};",
        "use super::super::store::keys::hash;",
        "fn f() { crate::store::keys::hash() }",
        "fn f() -> Vec<crate::store::keys::Key> {}",
        "fn f() { println!(\"{}\", crate::store::keys::hash()) }",
        "#[arg(value_parser = crate::store::keys::hash)] struct S;",
        "use crate::store; fn f() { store::keys::hash() }",
        "mod inner { use super::super::super::store::keys::hash; }",
        "use crate::store::hash;",
    ] {
        let passing_on = ("store/mod.rs", "pub mod keys; pub use keys::hash;");
        let texts = [("scim/sort.rs", code), SCIM, STORE, passing_on, ("scim/mod.rs", "pub mod sort;")];
        assert_eq!(violations_in(upward_imports, &texts), ["scim/sort.rs imports store/keys.rs"], "{code}");
    }
    for code in [
        "// use crate::store::keys;",
        "/// [`crate::store::keys::hash`]\nfn f() {}",
        "const TEXT: &str = \"crate::store::keys::hash\";",
        "#[cfg(test)] mod tests { use crate::store::keys::hash; }",
        "#[cfg(test)] use crate::store::keys::hash;",
        "#[cfg(test)] mod props;",
        "use super::error::ScimError;",
    ] {
        let props = ("scim/sort/props.rs", "use crate::store::keys::hash;");
        let mut texts = vec![("scim/sort.rs", code), SCIM, STORE];
        texts.extend(code.contains("props").then_some(props));
        assert_eq!(violations_in(upward_imports, &texts), [""; 0], "{code}");
    }
    let same = [("auth/key.rs", "use crate::provider::query::f;"), ("provider/query.rs", "pub fn f() {}")];
    assert_eq!(violations_in(upward_imports, &same), ["auth/key.rs imports provider/query.rs"]);
    let clock = [("scim/sort.rs", "use crate::clock;"), ("clock.rs", "")];
    assert_eq!(violations_in(upward_imports, &clock), ["scim/sort.rs imports clock.rs"]);
    let binary = [("bin/scim.rs", "use rollcall::http::f;"), ("http/mod.rs", "pub fn f() {}")];
    assert_eq!(violations_in(upward_imports, &binary), [""; 0]);
    assert_eq!(violations_in(upward_imports, &[("new/a.rs", "")]), ["new/a.rs is in no layer"]);
}

#[test]
fn a_circle_is_found() {
    let (a, c) =
        (("scim/a.rs", "use super::b::B; pub struct A;"), ("scim/c.rs", "pub fn f() { super::a::g() }"));
    let b = ("scim/b.rs", "pub struct B; fn f() { crate::scim::c::f() }");
    assert_eq!(violations_in(circles, &[a, b, c]), ["scim/a.rs, scim/b.rs, scim/c.rs"]);
    assert_eq!(violations_in(circles, &[a, b]), [""; 0]);
    // The page of a folder declares and passes on its children.
    let page = ("scim/mod.rs", "pub mod d; mod e; pub use e::E; pub struct Page;");
    let e = ("scim/e.rs", "pub struct E;");
    assert_eq!(violations_in(circles, &[page, e, ("scim/d.rs", "use super::E; use super::Page;")]), [""; 0]);
    let hidden = ("scim/e.rs", "use super::d::D; pub struct E;");
    let d = ("scim/d.rs", "use crate::scim::E; pub struct D;");
    assert_eq!(violations_in(circles, &[page, hidden, d]), ["scim/d.rs, scim/e.rs"]);
    let working = ("scim/mod.rs", "mod d; pub struct Page; fn f() { d::g() }");
    let d = ("scim/d.rs", "use super::Page; pub fn g() {}");
    assert_eq!(violations_in(circles, &[working, d]), ["scim/d.rs, scim/mod.rs"]);
}

#[test]
fn an_impure_import_is_found() {
    for code in [
        "use std::fs;",
        "use std::time::{Duration, Instant};",
        "use std::time::*;",
        "use std::time; fn f() { time::SystemTime::now(); }",
        "fn f() { std::env::var(\"A\"); }",
        "fn f() { tokio::spawn(g()); }",
        "use aws_sdk_dynamodb::types::AttributeValue;",
        "use lambda_http::Body;",
        "use time::OffsetDateTime; fn f() { OffsetDateTime::now_utc(); }",
    ] {
        assert!(!violations_in(impure_imports, &[("scim/a.rs", code)]).is_empty(), "{code}");
        assert!(violations_in(impure_imports, &[("store/a.rs", code)]).is_empty(), "{code}");
    }
    assert_eq!(
        violations_in(impure_imports, &[("scim/a.rs", "use std::time::Duration; use time::Date;")]),
        [""; 0]
    );
}

#[test]
fn other_violations_are_found() {
    let long = "\n".repeat(MAX_LINES + 1);
    assert_eq!(violations_in(long_files, &[("http/a.rs", &long), ("http/b.rs", "")]), ["http/a.rs"]);

    let types = [
        ("http/a.rs", "pub struct Place; struct One; impl T for One { type Error = (); }"),
        ("scim/b.rs", "mod inner { enum Place {} } impl T for Two { type Error = (); }"),
        ("scim/c.rs", "#[cfg(test)] mod tests { struct One; }"),
    ];
    assert_eq!(violations_in(repeated_types, &types), ["Place: http/a.rs, scim/b.rs"]);

    let call = "async fn f(c: Client) { c.get_item().send().await; provider.query(1).await; }";
    let calls = [("admin/a.rs", call), ("store/call.rs", call)];
    assert_eq!(violations_in(unmetered_calls, &calls), ["admin/a.rs calls get_item"]);
    let other = [("http/a.rs", "fn f(uri: Uri) { uri.query(); }")];
    assert_eq!(violations_in(unmetered_calls, &other), [""; 0]);
    let hidden = [("admin/a.rs", "fn f() { tokio::join!(client.scan().send()); }")];
    assert_eq!(violations_in(unmetered_calls, &hidden), ["admin/a.rs calls scan"]);

    let clock = "use time::OffsetDateTime; fn f() { OffsetDateTime::now_utc(); }";
    assert!(!violations_in(clocks_elsewhere, &[("app/a.rs", clock)]).is_empty());
    let clocks = [("clock.rs", clock), ("dev/gateway/a.rs", clock)];
    assert_eq!(violations_in(clocks_elsewhere, &clocks), [""; 0]);

    let key = "/// `T#`\nfn f() { format!(\"WORK#{shard}\"); let other = \"a#b\"; }";
    let keys = [("admin/a.rs", key), ("store/keys.rs", key)];
    assert_eq!(violations_in(keys_elsewhere, &keys), ["admin/a.rs has the literal \"WORK#{shard}\""]);
}

#[test]
fn exceptions_only_shrink() {
    let found = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert!(compare_with_exceptions(&found, &["a", "b"]).is_ok());
    assert!(compare_with_exceptions(&found, &["a"]).expect_err("new").contains("\"b\""));
    assert!(compare_with_exceptions(&found, &["a", "b", "c"]).expect_err("stale").contains("\"c\""));
}
