//! `POST /Bulk` (RFC 7644 §3.7): many operations, each as if it came alone.
//!
//! The core plans a request: its units, and which unit waits for which other one
//! ([`Plan`](crate::scim::bulk::plan::Plan)). A unit is one operation, or all operations that refer to one
//! another in a circle.
//!
//! - [`run`] begins each unit as soon as those that it waits for have ended, some side by side.
//! - `progress` holds what became of each operation, and resolves references to what was created.
//! - `cyclic_create` creates the resources of a circle, all or none.

mod cyclic_create;
mod progress;
pub mod run;

use super::Provider;

/// Runs Bulk requests.
#[derive(Clone, Copy, Debug)]
pub struct Bulk<'p> {
    provider: &'p Provider<'p>,
}

impl<'p> Provider<'p> {
    /// The operations of Bulk requests.
    pub fn bulk(&'p self) -> Bulk<'p> {
        Bulk { provider: self }
    }
}
