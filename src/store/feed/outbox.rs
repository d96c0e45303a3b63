//! The outbox: changes that are committed and not in the feed yet.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::change::FeedChange;
use crate::store::error::StoreError;
use crate::store::item::{Item, get_ids, get_text, id_set, key_of, text};
use crate::store::keys::{self, Key, OutboxName, TenantId};
use crate::store::trail::Trail;
use crate::store::transaction::Action;

/// The attribute with the change as JSON.
const CHANGE: &str = "change";
/// The attribute with the groups that a deleted member has left.
const LEFT: &str = "left";

/// An item of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedChange {
    /// Its key.
    pub key: Key,
    /// What the key says.
    pub name: OutboxName,
    /// The change. `None` for an item that only says which groups a deleted member has left.
    pub change: Option<FeedChange>,
    /// What it comes after, besides the version before it.
    pub trail: Trail,
    /// The groups that the deleted resource has left in the same transaction.
    pub left: BTreeSet<Uuid>,
}

impl QueuedChange {
    /// Reads an item of the outbox.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if it cannot be read.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("an item of the outbox cannot be read".to_owned());
        let key = key_of(item).ok_or_else(broken)?;
        let change = match get_text(item, CHANGE) {
            Some(json) => Some(serde_json::from_str(json).map_err(|_| broken())?),
            None => None,
        };
        Ok(Self {
            name: keys::parse_outbox(&key.sk).ok_or_else(broken)?,
            key,
            change,
            trail: Trail::from_item(item),
            left: get_ids(item, LEFT),
        })
    }
}

/// The attributes of a change in the outbox.
///
/// # Errors
/// [`StoreError::Broken`] never for changes made here.
pub fn attributes(change: &FeedChange, trail: &Trail, left: &BTreeSet<Uuid>) -> Item {
    let mut item = trail.attributes();
    item.extend([text(CHANGE, &serde_json::to_string(change).unwrap_or_default())]);
    item.extend(left_attribute(left));
    item
}

fn left_attribute(left: &BTreeSet<Uuid>) -> Option<(String, AttributeValue)> {
    (!left.is_empty()).then(|| (LEFT.to_owned(), id_set(left)))
}

/// The action that tells the sequencer which groups a deleted resource has left. It goes into the
/// transaction in which the resource leaves them, if that writes no change of its own.
pub fn note_departures(tenant: &TenantId, member: Uuid, left: &BTreeSet<Uuid>) -> Action {
    let key = keys::outbox_note(tenant, member, &Uuid::now_v7().to_string());
    Action::put(key, Item::from_iter(left_attribute(left)))
}

/// The action that keeps the departures of one group for a later page. Several such notes are one.
pub(super) fn keep_departures(tenant: &TenantId, group: Uuid) -> Action {
    let key = keys::outbox_note(tenant, group, "later");
    Action::put(key, Item::from_iter(left_attribute(&BTreeSet::from([group]))))
}
