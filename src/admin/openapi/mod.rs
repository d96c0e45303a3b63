//! The API as an OpenAPI 3.1 document, made from the routes and the schemas that are served, and the
//! command `rollcall openapi` that prints it. No deployed function holds any of it.

mod app;
mod app_schemas;
pub mod command;
mod components;
mod document;
mod oauth;
mod operations;
mod schemas;
