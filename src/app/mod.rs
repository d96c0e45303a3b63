//! The application's side: what the product behind this service asks, for every tenant, with one key.
//!
//! One function reads and one manages. Both are an [`AppFunction`](function::AppFunction); the template gives
//! them different roles and routes.
//!
//! | file | what it has |
//! | --- | --- |
//! | [`router`] | one table of method, path and operation; the scope that an operation needs |
//! | [`function`] | a request from its event to its answer, and its line in the log |
//! | [`handler`] | one arm for each operation |
//! | [`problem`] | refusals as `application/problem+json` (RFC 9457) |
//! | [`request`], [`caller`], `body` | reading a request; what every operation needs |
//! | `changes`, `status` | the change feed |
//! | `tenants`, `keys`, `clients`, `assignments` | tenants and what is set in them |
//! | `definitions` | roles and entitlements |
//! | `webhooks` | where changes are sent to |
//! | `resources`, `members` | users, groups and members, with the operations of `provider` |

mod assignments;
mod body;
pub mod caller;
mod changes;
mod clients;
mod definitions;
pub mod function;
pub mod handler;
mod keys;
mod members;
pub mod problem;
pub mod request;
mod resources;
pub mod router;
mod status;
mod tenants;
mod webhooks;

/// The path below which the application's side is served.
pub const APP_BASE_PATH: &str = "/app/v1";
