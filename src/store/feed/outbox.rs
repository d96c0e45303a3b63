//! The outbox: changes that are committed and not in the feed yet.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::change::FeedChange;
use crate::clock;
use crate::limits::OUTBOX_SHARDS;
use crate::store::call::{Range, Table};
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::item::{Attributes, Item, get_ids, get_text, id_set, key_of, text};
use crate::store::keys::outbox::OutboxName;
use crate::store::keys::{self, Key, TenantId, parse_id};
use crate::store::trail::Trail;
use crate::store::transaction::Action;

/// The attribute with the change as JSON.
const CHANGE: &str = "change";
/// The attributes with the ids of members, of 16 bytes each: as text they would double the cost of a change
/// of many.
const MEMBERS: [&str; 2] = ["added", "removed"];
/// The attribute with the groups that a deleted member has left.
const LEFT: &str = "left";
/// The attribute that tells a note from another one under the same key.
const STAMP: &str = "stamp";
/// The attribute with the time of the first departure that a note stands for.
const SINCE: &str = "since";

/// An item of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedChange {
    /// Its key.
    pub key: Key,
    /// What the key says.
    pub name: OutboxName,
    /// The change. `None` for an item that only says which groups a deleted member has left.
    pub change: Option<FeedChange>,
    /// What it comes after, in addition to the version before it.
    pub trail: Trail,
    /// The groups that the deleted resource has left in the same transaction.
    pub left: BTreeSet<Uuid>,
    /// Tells a note from another one under the same key.
    pub stamp: Option<String>,
    /// Since when a note waits, in RFC 3339. `None` for a change.
    pub since: Option<String>,
}

impl QueuedChange {
    /// The resource whose changes it is among.
    pub(super) fn chain(&self) -> (&TenantId, &str) {
        (&self.name.tenant, &self.name.resource)
    }

    /// Since when the item waits, in RFC 3339.
    pub(super) fn waits_since(&self) -> Option<&str> {
        self.change.as_ref().map(|change| change.time.as_str()).or(self.since.as_deref())
    }

    /// The action that takes the item out of the outbox. It is refused as [`Refusal::Gone`] if the item is
    /// not there as it was read.
    pub(super) fn take_out(&self) -> Action {
        let as_read = match &self.stamp {
            Some(stamp) => Expression::equals(STAMP, AttributeValue::S(stamp.clone())),
            None => Expression::exists(),
        };
        Action::delete(self.key.clone()).only_if(as_read, Refusal::Gone)
    }

    /// Reads an item of the outbox.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if it cannot be read.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("an item of the outbox cannot be read".to_owned());
        let key = key_of(item).ok_or_else(broken)?;
        let mut change: Option<FeedChange> = match get_text(item, CHANGE) {
            Some(json) => Some(serde_json::from_str(json).map_err(|_| broken())?),
            None => None,
        };
        if let Some(change) = &mut change {
            let [added, removed] = MEMBERS.map(|name| get_packed_ids(item, name));
            (change.added, change.removed) = (added, removed);
        }
        Ok(Self {
            name: keys::outbox::parse_outbox(&key.sk).ok_or_else(broken)?,
            key,
            change,
            trail: Trail::from_item(item),
            left: get_ids(item, LEFT),
            stamp: get_text(item, STAMP).map(str::to_owned),
            since: get_text(item, SINCE).map(str::to_owned),
        })
    }
}

/// The attributes of a change in the outbox.
pub fn attributes(mut change: FeedChange, trail: &Trail, left: &BTreeSet<Uuid>) -> Attributes {
    let mut all = trail.attributes();
    let ids = [std::mem::take(&mut change.added), std::mem::take(&mut change.removed)];
    all.extend(MEMBERS.into_iter().zip(ids).filter_map(|(name, ids)| packed_ids(name, &ids)));
    all.push(text(CHANGE, serde_json::to_string(&change).unwrap_or_default()));
    all.extend(left_attribute(left));
    all
}

fn packed_ids(name: &str, ids: &[String]) -> Option<(String, AttributeValue)> {
    let bytes: Vec<u8> = ids.iter().filter_map(|id| parse_id(id)).flat_map(Uuid::into_bytes).collect();
    (!bytes.is_empty()).then(|| (name.to_owned(), AttributeValue::B(Blob::new(bytes))))
}

fn get_packed_ids(item: &Item, name: &str) -> Vec<String> {
    let bytes = item.get(name).and_then(|bytes| bytes.as_b().ok());
    let ids = bytes.iter().flat_map(|bytes| bytes.as_ref().chunks(16));
    ids.filter_map(|id| Uuid::from_slice(id).ok()).map(|id| id.to_string()).collect()
}

fn left_attribute(left: &BTreeSet<Uuid>) -> Option<(String, AttributeValue)> {
    (!left.is_empty()).then(|| (LEFT.to_owned(), id_set(left)))
}

/// Whether the outbox has no item of a tenant.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn is_empty(table: &Table, tenant: &TenantId) -> Result<bool, StoreError> {
    for shard in 0..OUTBOX_SHARDS {
        let prefix = Some(keys::outbox::outbox_prefix(tenant));
        let range = Range { prefix, limit: Some(1), ..Range::default() };
        if !table.query(&keys::outbox::outbox_shard(shard), &range).await?.items.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the items of a tenant in the outbox; of all tenants for `None`.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn list(table: &Table, tenant: Option<&TenantId>) -> Result<Vec<Item>, StoreError> {
    let prefix = tenant.map(keys::outbox::outbox_prefix);
    let mut items = Vec::new();
    for shard in 0..OUTBOX_SHARDS {
        items.extend(table.query_all(&keys::outbox::outbox_shard(shard), prefix.as_deref()).await?);
    }
    Ok(items)
}

/// The action that tells the sequencer which groups a deleted resource has left. It goes into the
/// transaction in which the resource leaves them, if that writes no change of its own.
pub fn note_departures(tenant: &TenantId, member: Uuid, left: &BTreeSet<Uuid>) -> Action {
    let key = keys::outbox::outbox_note(tenant, member, &Uuid::now_v7().to_string());
    let mut item = Item::from_iter(left_attribute(left));
    item.extend([text(SINCE, clock::timestamp())]);
    Action::put(key, item)
}

/// The action that keeps the departures of one group for a later page. They wait `since` this time. Several such notes
/// are one.
pub(super) fn keep_departures(tenant: &TenantId, group: Uuid, since: Option<&str>) -> Action {
    let key = keys::outbox::outbox_note(tenant, group, "later");
    let mut item = Item::from_iter(left_attribute(&BTreeSet::from([group])));
    item.extend([text(STAMP, Uuid::now_v7().to_string())]);
    item.extend(since.map(|since| text(SINCE, since)));
    Action::put(key, item)
}
