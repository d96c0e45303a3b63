//! What local development needs to know of `template.yaml`, and nothing else of CloudFormation.
//!
//! A value that is needed and cannot be read is refused with its path; nothing is guessed.

pub mod api;
pub mod facts;
pub mod gateway_response;
pub mod node;
pub mod read;
pub mod table;
