//! The members of groups: read one group or many, whole or in part.
//!
//! A group and its memberships share a partition, which one Query reads page by page. A Query is not
//! isolated against transactions. So a whole group is read again until its members have the digest that
//! its item holds (`whole_group.rs`). A change of some members reads only those
//! ([`Members::view_group`], in `view.rs`).
//!
//! Every reader combines the members with the group's pending change, and hides members that are
//! deleted and have not left the group yet. Both are explained in [`large_change`](super::large_change).

pub mod page;
pub mod view;
mod whole_group;

use super::Store;
use super::membership::Membership;
use super::record::Record;

/// A group with all its members, in one version.
#[derive(Clone, Debug)]
pub struct WholeGroup {
    /// The group.
    pub record: Record,
    /// Its members, as its pending change makes them, in the order of their ids.
    pub members: Vec<Membership>,
}

/// The members of a tenant's groups.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    store: &'a Store,
}

impl Store {
    /// The members of the tenant's groups.
    pub fn members(&self) -> Members<'_> {
        Members { store: self }
    }
}
