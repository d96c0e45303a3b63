//! `rollcall dev`: the deployed code on a laptop, behind a small API Gateway and on an embedded DynamoDB.
//!
//! Only the two ends differ from a deployment. Both are driven by the `template.yaml` that deploys.

pub mod backend;
pub mod command;
pub mod data_dir;
pub mod embedded;
pub mod gateway;
pub mod logging;
pub mod seed;
pub mod session;
pub mod template;
pub mod wiring;
