//! A tenant's users and groups as lines of JSON, out and in.

pub mod command;
pub mod export;
pub mod import;
pub mod kept_file;
mod levels;
pub mod move_in;
pub mod rows;
