//! Rollcall: a SCIM 2.0 service provider on AWS Lambda and DynamoDB.
//!
//! The floors, each importing only from those below it: `dev` and `admin`, `http`, `provider`,
//! `store`, `auth`, `scim`. The last is pure and builds without any feature.

#[cfg(feature = "cli")]
pub mod dev;
pub mod scim;
#[cfg(feature = "aws")]
pub mod store;
