//! Requests to servers on the internet: of webhooks, and of the keys of issuers.
//!
//! - `target` reads a URL, `address` says which addresses are public.
//! - `client` sends one request on one connection.

pub mod address;
#[cfg(feature = "outbound")]
pub mod client;
pub mod target;
