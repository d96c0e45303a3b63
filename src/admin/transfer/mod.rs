//! A tenant's users, groups, roles and entitlements as lines of JSON, out and in.

pub mod command;
pub mod definitions;
mod dry_run;
pub mod export;
mod file_ids;
pub mod import;
pub mod kept_file;
mod levels;
pub mod move_in;
mod names;
mod row_write;
pub mod rows;
pub mod user_table;
mod wanted_roles;
mod whole_file;
