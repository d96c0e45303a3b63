//! `docs/openapi.json` is what the code makes.
#![allow(clippy::expect_used)]

use rollcall::admin::openapi::command::{app_text, text};
use rollcall::scim::policy::VEZA;

#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let current = text(&VEZA).expect("a document");
    assert!(
        written == current,
        "docs/openapi.json is not current; refresh it with: \
         cargo run --features cli --bin rollcall -- openapi --to docs/openapi.json"
    );
}

#[test]
fn the_document_of_the_applications_side_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/app-openapi.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let current = app_text(&VEZA).expect("a document");
    assert!(
        written == current,
        "docs/app-openapi.json is not current; refresh it with: \
         cargo run --features cli --bin rollcall -- openapi --app --to docs/app-openapi.json"
    );
}
