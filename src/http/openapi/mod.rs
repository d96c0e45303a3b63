//! The API as an OpenAPI 3.1 document, made from the routes and the schemas that are served.

mod components;
pub mod document;
mod operations;
mod schemas;
