//! The tests of SCIM: what the operations answer, what they cost, and that lists and large answers stay right.
//!
//! The files of this folder are modules of few test programs. A program for each would compile what they share, and link
//! the AWS SDK, seventy times.

mod app_support;
mod budgets;
mod bulk;
mod changes;
mod clients;
mod cursors;
mod definitions;
mod events;
mod integrity;
mod isolation;
mod known_groups;
mod large;
mod memory;
mod oauth_support;
mod openapi;
mod pages;
mod paging;
mod rates;
mod root_team;
mod scale;
mod scale_changes;
mod sdk_requests;
mod streaming;
mod support;
mod walk;
mod wire;
