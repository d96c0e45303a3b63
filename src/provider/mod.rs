//! The operations of the protocol, one file each, generic over the resource type. They know
//! neither HTTP nor DynamoDB's expressions; Bulk calls them as the router does.

pub mod answer;
mod breaker;
pub mod bulk;
mod circle;
pub mod create;
pub mod cursor;
pub mod delete;
pub mod failure;
pub mod guard;
mod harvest;
mod judge;
pub mod large;
pub mod members;
pub mod modify;
pub mod page;
pub mod plan;
pub mod precondition;
pub mod query;
pub mod replace;
pub mod retrieve;
pub mod walk;
