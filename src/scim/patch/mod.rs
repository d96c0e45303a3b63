//! PATCH (RFC 7644 §3.5.2): operations onto a resource.

pub mod apply;
#[cfg(test)]
mod bounds;
mod elements;
mod fixed;
pub mod follow;
mod listed;
mod member_filter;
pub mod members;
pub mod path;
pub mod request;
pub mod select;
