//! Tenants, their keys and the application keys: making, changing and listing them. The operator's tool
//! and the application's side both do it with this code.

pub mod actor;
pub mod application;
pub mod error;
pub mod key;
pub mod record;
pub mod usage;
#[cfg(feature = "usage-keys")]
pub mod usage_key;
