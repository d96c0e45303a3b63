//! The tests of the tool `rollcall`, of the template's roles, and of what the documentation names.

mod app_support;
mod cli;
mod day;
mod docs;
mod help;
mod oauth_support;
mod operator;
mod permissions;
mod pre_traffic;
mod roles;
mod roles_support;
mod seed;
mod support;
mod tool;
mod tool_dev;
mod transfer;
