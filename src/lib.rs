//! Rollcall: a SCIM 2.0 service provider on AWS Lambda and DynamoDB.
//!
//! Each layer imports only from the layers below it: `dev`, `admin`, `app`, `oauth`, `http`, `tenants`, `monitor` and
//! `probe`, `provider` and `auth`, `deliver`, `store`, `log` and `outbound`, `config` and `clock`, `scim`, `limits` and `sdk`.
//! `scim` is pure and builds without any feature.
//! `tests/architecture.rs` checks this.

#[cfg(feature = "cli")]
pub mod admin;
#[cfg(feature = "aws")]
pub mod app;
#[cfg(feature = "aws")]
pub mod auth;
#[cfg(feature = "aws")]
pub mod clock;
#[cfg(feature = "aws")]
pub mod config;
#[cfg(feature = "aws")]
pub mod deliver;
#[cfg(feature = "cli")]
pub mod dev;
#[cfg(feature = "aws")]
pub mod http;
pub mod limits;
#[cfg(feature = "aws")]
pub mod log;
#[cfg(feature = "aws")]
pub mod monitor;
#[cfg(feature = "oauth")]
pub mod oauth;
#[cfg(feature = "aws")]
pub mod outbound;
#[cfg(feature = "pre-traffic")]
pub mod probe;
#[cfg(feature = "aws")]
pub mod provider;
pub mod scim;
#[cfg(feature = "aws")]
pub mod sdk;
#[cfg(feature = "aws")]
pub mod store;
#[cfg(feature = "aws")]
pub mod tenants;
