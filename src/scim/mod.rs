//! The SCIM core (RFC 7643, RFC 7644, RFC 9865): schemas, paths, filters, PATCH, projection.
//!
//! Pure: no I/O, no clock, no environment, no AWS. `cargo check --lib --no-default-features`
//! builds this layer alone.

pub mod absent;
pub mod attr_path;
mod attribute_holder;
pub mod bulk;
pub mod comparison;
pub mod discovery;
pub mod document_rules;
pub mod equality;
pub mod error;
pub mod extension;
pub mod faults;
pub mod filter;
pub mod fold;
pub mod json;
pub mod lexical;
pub mod members;
pub mod note_texts;
pub mod notes;
pub mod order;
pub mod patch;
pub mod policy;
pub mod projection;
pub mod refusal;
pub mod resource;
pub mod resource_type;
pub mod schema;
pub mod sort;
pub mod urn;
pub mod username;
pub mod validate;
pub mod values;
pub mod work;
