//! A small API Gateway: what a REST API with a Lambda authorizer, a usage plan and one function does, as far as
//! `template.yaml` asks for it. Nothing here knows SCIM; every answer is the function's or the template's.

pub mod answer;
pub mod authority;
pub mod authorization;
pub mod authorizer;
pub mod event;
pub mod front;
pub mod lambda;
pub mod policy_document;
pub mod refusal;
pub mod rest_api;
pub mod usage_plan;

#[cfg(test)]
mod tests;
