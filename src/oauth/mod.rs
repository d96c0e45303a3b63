//! The token endpoint (RFC 6749 §4.4, client credentials) and its metadata (RFC 8414).
//!
//! | file | what it has |
//! | --- | --- |
//! | [`function`] | a request from its event to its answer, and its line in the log |
//! | `form` | the parameters of a token request |
//! | `credentials` | who the client says it is, and how it proves it |
//! | `grant` | the check of the proof, the scope, and the access token |
//! | [`metadata`] | what the endpoint can do, for clients |
//! | [`error`] | refusals (RFC 6749 §5.2) |
//!
//! The function writes access tokens and the ids of used assertions. It can write neither keys nor clients.

mod credentials;
pub mod error;
mod form;
pub mod function;
mod grant;
pub mod metadata;
