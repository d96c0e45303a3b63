//! The table: keys, items, and the calls that read and write them. Knows no HTTP.

pub mod call;
pub mod error;
pub mod event;
pub mod item;
pub mod keys;
pub mod meter;
pub mod transaction;
