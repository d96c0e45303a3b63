//! Tenants, their keys and clients, and the application keys: making, changing and listing them. The operator's tool
//! and the application's side both do it with this code.
//!
//! `provider` reads and changes the users and groups of any tenant. With it, `current_state` reads the resources of
//! changes, for answers, and `message_resources` for messages to webhooks.

pub mod actor;
pub mod application;
pub mod client;
pub mod current_state;
pub mod definition;
pub mod error;
pub mod key;
pub mod message_resources;
pub mod provider;
pub mod record;
pub mod usage;
#[cfg(feature = "usage-keys")]
pub mod usage_key;
#[cfg(feature = "cli")]
pub mod usage_key_again;
