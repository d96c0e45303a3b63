//! Filters (RFC 7644 §3.4.2.2): one tree for `filter=`, `/.search` and the brackets of a PATCH path.

pub mod ast;
pub mod bind;
mod context;
pub mod eval;
mod literal;
mod operand;
pub mod parse;
mod place;
pub mod plan;
#[cfg(test)]
mod props;

pub use place::strip_urns;
