//! `docs/openapi.json` is what the code makes.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used)]

use rollcall::admin::openapi::command::text;
use rollcall::scim::policy::VEZA;

#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let current = text(&VEZA).expect("a document");
    assert!(
        written == current,
        "docs/openapi.json is not current; refresh it with: \
         cargo run --features cli --bin rollcall -- openapi --output docs/openapi.json"
    );
}
