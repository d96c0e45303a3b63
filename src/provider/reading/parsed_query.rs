//! A query after parsing: what the scan, the evaluation and the page collector work with.

use crate::scim::filter::ast::Filter;
use crate::scim::filter::bind::Bound;
use crate::scim::resource_type::Kind;
use crate::scim::sort::SortBy;

/// A query whose filter and sort attribute were read against the schemas of each kind.
pub(super) struct ParsedQuery<'a> {
    pub kinds: &'a [Kind],
    /// Beside each kind, if there is a filter.
    pub filters: Vec<Option<Bound>>,
    /// The filter's tree.
    pub filter: Option<Filter>,
    pub sort: Option<SortBy>,
    pub descending: bool,
    /// A hash of all that decides what is found and in which order.
    pub hash: String,
}
