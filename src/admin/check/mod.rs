//! `rollcall check`: reads everything that a tenant has and reports broken invariants.

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
