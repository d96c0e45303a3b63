//! Bulk (RFC 7644 §3.7): many operations in one request.

pub mod conflicts;
pub mod plan;
pub mod references;
pub mod request;
