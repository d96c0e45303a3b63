//! The table: keys, items, and the calls that read and write them. Knows no HTTP.

pub mod apply;
pub mod batch;
pub mod breaker;
pub mod call;
pub mod chunk;
pub mod cursor;
pub mod delete;
pub mod error;
pub mod event;
pub mod guard;
pub mod index;
pub mod item;
pub mod keys;
pub mod leave;
pub mod list;
pub mod membership;
pub mod meter;
pub mod overlay;
pub mod reader;
pub mod record;
pub mod resource;
pub mod tally;
pub mod tombstone;
pub mod transaction;
pub mod work;
pub mod worker;
