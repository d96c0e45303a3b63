//! PATCH (RFC 7644 §3.5.2): operations onto a resource.

pub mod apply;
mod attribute_change;
#[cfg(test)]
mod bounds;
mod elements;
pub mod group_attributes;
mod listed;
mod member_filter;
pub mod members;
mod mutability;
pub mod path;
pub mod request;
pub mod select;
pub mod steps;
pub mod sync_username_and_email;
