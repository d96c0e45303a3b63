//! PATCH (RFC 7644 §3.5.2): operations onto a resource.

pub mod path;
