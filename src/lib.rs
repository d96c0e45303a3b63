//! Rollcall: a SCIM 2.0 service provider on AWS Lambda and DynamoDB.
//!
//! The floors, each importing only from those below it: `dev` and `admin`, `http`, `provider`,
//! `store`, `scim`. The last is pure and builds without any feature. `auth`, on top of `store`, and
//! `config` stand apart.

#[cfg(feature = "cli")]
pub mod admin;
#[cfg(feature = "aws")]
pub mod auth;
#[cfg(feature = "aws")]
pub mod clock;
#[cfg(feature = "aws")]
pub mod config;
#[cfg(feature = "cli")]
pub mod dev;
#[cfg(feature = "aws")]
pub mod http;
#[cfg(feature = "aws")]
pub mod provider;
pub mod scim;
#[cfg(feature = "aws")]
pub mod store;
