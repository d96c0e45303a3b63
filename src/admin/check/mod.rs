//! `rollcall check`: walks everything that a tenant has and reports what does not add up.

mod changes;
pub mod command;
pub mod feed;
pub mod inventory;
pub mod ledger;
mod pending;
mod recount;
pub mod repair;
pub mod report;
pub mod rules;
pub mod run;
