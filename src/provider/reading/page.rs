//! A page of a query: what is asked for, and what was found.

use std::collections::BTreeMap;

use crate::scim::sort::SortKey;
use crate::store::item::Item;
use crate::store::list::Position;

/// The page that is asked for.
#[derive(Debug)]
pub(super) struct PageRequest {
    /// Go on after this resource.
    pub after: Option<Position>,
    /// Its key, in a sorted walk.
    pub sort_key: Option<SortKey>,
    /// How many matches to leave out first.
    pub skip: u64,
    /// The total, where an earlier page has found it.
    pub total: Option<u64>,
    /// The most resources of the page.
    pub count: usize,
}

/// The resources of a page, by their places.
#[derive(Debug, Default)]
pub(super) struct ResourcePage {
    /// What was found, in order.
    pub ids: Vec<Position>,
    /// Some of the items, where finding them needed them.
    pub items: BTreeMap<Position, Item>,
    /// `totalResults`.
    pub total: u64,
    /// Whether another page follows.
    pub more: bool,
    /// Where the page ends, and that resource's key in a sorted walk.
    pub last: Option<(Position, Option<SortKey>)>,
}

impl ResourcePage {
    /// How many resources the page has.
    pub fn len(&self) -> usize {
        self.ids.len()
    }
}
