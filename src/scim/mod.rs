//! The SCIM core (RFC 7643, RFC 7644, RFC 9865): schemas, paths, filters, PATCH, projection.
//!
//! Pure: no I/O, no clock, no environment, no AWS. `cargo check --lib --no-default-features`
//! builds just this floor.

pub mod attr_path;
pub mod error;
pub mod filter;
pub mod fold;
pub mod patch;
pub mod policy;
pub mod resource_type;
pub mod schema;
pub mod urn;
