//! Bearer keys, access tokens and application keys: their text, what the table knows of them, and whether a request
//! may pass.
//!
//! It also has OAuth clients, their secrets, and the check of their assertions.

pub mod access_token;
pub mod app_authorizer;
pub mod application;
#[cfg(feature = "oauth")]
pub mod assertion;
pub mod authorizer;
pub mod client;
#[cfg(feature = "oauth")]
pub mod jwks;
pub mod key;
pub mod key_use;
pub mod plan;
pub mod record;
pub mod tenant;
