//! Requests to servers on the internet: of webhooks, and of the keys of issuers.
//!
//! - `target` reads a URL, `address` says which addresses are public.
//! - `client` sends one request on one connection, `tls` secures it.

pub mod address;
#[cfg(feature = "outbound")]
pub mod client;
pub mod target;
#[cfg(feature = "outbound")]
pub mod tls;

/// Why there is no TLS connection on a machine that trusts no server.
pub const NO_CA_CERTIFICATES: &str = "this machine has no CA certificates, so no server can be trusted: install the package ca-certificates, or name a file of certificates in SSL_CERT_FILE";
