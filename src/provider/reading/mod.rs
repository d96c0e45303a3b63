//! Reads resources: one by its id, or those that a query asks for.
//!
//! # The way of a query
//!
//! 1. [`query`] parses the filter and the sort attribute against the schemas (`parsed_query`), and reads
//!    the cursor or the index of the page ([`cursor`], `page`).
//! 2. [`candidates`] decides where matches can be: at a few ids that a look-up by key finds, or anywhere.
//! 3. [`scan`] reads the candidates in strides. Without a filter and a sort attribute the list alone has the
//!    answer, and no resource is read.
//! 4. `evaluate` evaluates the filter on each candidate, and `page_collector` keeps the page.
//! 5. [`list_response`] writes the resources of the page, one after another.
//!
//! Roles and entitlements are few. [`definitions`] reads them all and evaluates the query in memory.

pub mod candidates;
pub mod cursor;
pub mod definitions;
mod evaluate;
pub mod list_response;
mod page;
mod page_collector;
mod parsed_query;
pub mod query;
pub mod retrieve;
pub mod scan;

use super::Provider;

/// The operations that read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'p> {
    provider: &'p Provider<'p>,
}

impl<'p> Provider<'p> {
    /// The operations that read.
    pub fn reading(&'p self) -> Reading<'p> {
        Reading { provider: self }
    }
}
