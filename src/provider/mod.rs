//! The operations of the protocol, one file each, generic over the resource type. They know
//! neither HTTP nor DynamoDB's expressions; Bulk calls them as the router does.

pub mod answer;
mod breaker;
pub mod bulk;
mod bulk_run;
pub mod create;
pub mod cursor;
mod cyclic_create;
pub mod delete;
mod evaluate;
pub mod failure;
pub mod guard;
pub mod large;
pub mod list_response;
pub mod members;
pub mod modify;
mod page;
mod page_collector;
mod parsed_query;
pub mod plan;
pub mod precondition;
pub mod query;
pub mod replace;
pub mod retrieve;
pub mod scan;
