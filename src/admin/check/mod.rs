//! `rollcall check`: walks everything that a tenant has and reports what does not add up.

pub mod command;
pub mod inventory;
mod recount;
pub mod repair;
pub mod report;
pub mod rules;
pub mod run;
