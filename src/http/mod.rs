//! HTTP on this side of API Gateway: routing, reading requests, writing responses.

pub mod caller;
pub mod event;
pub mod function;
pub mod handler;
pub mod log;
pub mod request;
pub mod response;
pub mod router;
pub mod schemas;
pub mod service;
