//! The operator's side: tenants and bearer keys, in the library and on the command line.

mod actor;
pub mod audit;
pub mod check;
pub mod cli;
pub mod completions;
pub mod definition;
pub mod error;
pub mod feed;
pub mod group;
mod group_list;
pub mod key;
pub mod listen;
pub mod local_client;
pub mod openapi;
pub mod output;
pub mod plain_http;
pub mod progress;
pub mod running_dev;
pub mod sweep;
pub mod tenant;
pub mod transfer;
pub mod usage_key;
pub mod user;
pub mod when;
pub mod wipe;
