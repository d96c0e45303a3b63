//! Deactivated accounts: kept out of sight under their old id until their time has passed, and
//! found again by the claim on their name, which stays.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::error::{Refusal, StoreError};
use super::event::{self, Event};
use super::index::Entry;
use super::item::{Item, get_number, get_text, number};
use super::keys::{self, parse_id};
use super::record::Record;
use super::resource::{Store, version_is};
use super::transaction::{Action, Expression};
use crate::clock;
use crate::scim::resource_type::{Kind, ResourceType};

/// Who holds a unique value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The holder.
    pub id: Uuid,
    /// Whether the holder is deactivated, so that the value can be taken.
    pub gone: bool,
}

impl Store {
    /// Who holds a unique value.
    ///
    /// # Errors
    /// As every call.
    pub async fn holder(&self, entry: &Entry) -> Result<Option<Claim>, StoreError> {
        let item = self.table.get(&keys::claim(&self.tenant, entry.attribute, &entry.value)).await?;
        Ok(item.as_ref().and_then(claim))
    }

    /// The account that a deactivated user was; none once its time has passed, even before the
    /// table has removed it.
    ///
    /// # Errors
    /// As every call.
    pub async fn tombstone(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        let Some(mut item) = self.table.get(&keys::tombstone(&self.tenant, id)).await? else {
            return Ok(None);
        };
        if get_number::<u64>(&item, "ttl").is_some_and(|ttl| ttl <= clock::epoch_seconds()) {
            return Ok(None);
        }
        // The same attributes as when it was a user, under another key.
        let key = keys::resource(&self.tenant, Kind::User, id);
        item.extend(super::item::with_key(&key));
        Record::from_item(&item)
    }

    /// The actions that turn a user into a tombstone, beside the deletion of its item.
    pub(super) fn bury(&self, record: &Record, ty: &ResourceType, expires: u64) -> Vec<Action> {
        let mut item = record.attributes();
        item.extend([number("ttl", expires)]);
        let mut actions = vec![Action::put(keys::tombstone(&self.tenant, record.id), item)];
        if let Some(entry) = record.claim(ty) {
            let gone = Expression::new("SET gone = :gone, #ttl = :ttl")
                .name("#ttl", "ttl")
                .value(":gone", AttributeValue::Bool(true))
                .value(":ttl", AttributeValue::N(expires.to_string()));
            let own = Expression::new("id = :id").value(":id", AttributeValue::S(record.id.to_string()));
            actions.push(
                Action::update(keys::claim(&self.tenant, entry.attribute, &entry.value), gone)
                    .only_if(own, Refusal::Changed),
            );
        }
        actions
    }

    /// Brings a deactivated account, as it was kept, back under its old id with a new document.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with [`Refusal::Changed`] when someone else did, or took the name;
    /// with [`Refusal::Taken`] when it comes back under another name that is taken.
    pub async fn reactivate(
        &self,
        was: &Record,
        record: &Record,
        ty: &ResourceType,
        event: &Event,
    ) -> Result<(), StoreError> {
        // The old name may be another's by now.
        let mut still_its = false;
        if let Some(entry) = was.claim(ty).filter(|old| Some(old) != record.claim(ty).as_ref()) {
            still_its = self.holder(&entry).await?.is_some_and(|holder| holder.id == record.id);
        }
        self.table
            .transact(|| {
                let mut actions = vec![
                    Action::put(record.key(&self.tenant), record.attributes())
                        .only_if(Expression::absent(), Refusal::Changed),
                    // As it was read: since then the account may have been back, and be gone again.
                    Action::delete(keys::tombstone(&self.tenant, record.id))
                        .only_if(version_is(was.version), Refusal::Changed),
                    Action::put(keys::list_entry(&self.tenant, record.kind, record.id), Item::new()),
                    self.count(record.kind, 1),
                    event::action(&self.tenant, event),
                ];
                actions.extend(self.count_inactive(None, Some(record)));
                let own = Expression::new("id = :id AND gone = :gone")
                    .value(":id", AttributeValue::S(record.id.to_string()))
                    .value(":gone", AttributeValue::Bool(true));
                let (old, new) = (was.claim(ty), record.claim(ty));
                if old == new {
                    let claim = |entry| {
                        let action = self.claim(&entry, record.id, own);
                        Action { meaning: Some(Refusal::Changed), ..action }
                    };
                    actions.extend(new.map(claim));
                } else {
                    let free = Expression::new("attribute_not_exists(pk) OR gone = :gone")
                        .value(":gone", AttributeValue::Bool(true));
                    actions.extend(new.map(|entry| self.claim(&entry, record.id, free)));
                    if still_its {
                        actions.extend(old.map(|entry| self.release(&entry, record.id)));
                    }
                }
                actions.extend(record.lookups(ty).iter().map(|entry| self.look_up(record, entry)));
                actions
            })
            .await
    }
}

/// Reads a claim.
pub(super) fn claim(item: &Item) -> Option<Claim> {
    let id = get_text(item, "id").and_then(parse_id)?;
    Some(Claim { id, gone: item.get("gone").and_then(|gone| gone.as_bool().ok()).copied() == Some(true) })
}
