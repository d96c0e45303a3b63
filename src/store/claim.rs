//! How a resource is found by its values: claims on unique values, and look-ups of the others.
//!
//! A claim is one item for each unique value. It holds the id of the resource that has the value. A
//! deactivated account keeps its claim, marked as `gone`, so that it can come back under its name.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::Store;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::index::{Entry, Index};
use super::item::{Item, get_text, key_of, text};
use super::keys::{self, Key, TenantId, parse_id};
use super::record::Record;
use super::transaction::Action;
use crate::scim::resource_type::Kind;

/// Until when a deactivated account, or the claim on its name, is kept, in seconds since 1970. Version
/// 0.1.0 let the table remove them at the time in `ttl`, without an event.
pub(super) const KEPT_UNTIL: &str = "keptUntil";

/// The claim on a unique value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// The id of the resource that holds the value.
    pub id: Uuid,
    /// Whether the holder is a deactivated account. Another resource may take the value then.
    pub gone: bool,
}

impl NameClaim {
    /// Reads a claim item. `None` for an item that names no holder.
    pub fn from_item(item: &Item) -> Option<Self> {
        let id = get_text(item, "id").and_then(parse_id)?;
        let gone = item.get("gone").and_then(|gone| gone.as_bool().ok()).copied() == Some(true);
        Some(Self { id, gone })
    }
}

/// Condition: the claim does not exist, so the value is free.
pub fn is_free() -> Expression {
    Expression::absent()
}

/// Condition: the claim does not exist, or belongs to a deactivated account.
pub(super) fn is_free_or_gone() -> Expression {
    Expression::absent().or(Expression::equals("gone", AttributeValue::Bool(true)))
}

/// Condition: the claim does not exist, or belongs to this deactivated account.
pub(super) fn is_free_or_gone_of(holder: Uuid) -> Expression {
    Expression::absent().or(is_gone_of(holder))
}

/// Condition: the claim belongs to this deactivated account.
pub(super) fn is_gone_of(holder: Uuid) -> Expression {
    Expression::equals("gone", AttributeValue::Bool(true)).and(is_of(holder))
}

/// Condition: the claim belongs to this resource.
fn is_of(holder: Uuid) -> Expression {
    Expression::equals("id", AttributeValue::S(holder.to_string()))
}

fn key_of_claim(tenant: &TenantId, entry: &Entry) -> Key {
    keys::claim(tenant, entry.attribute, &entry.value)
}

/// The action that takes a unique value for a resource. It is refused as [`Refusal::Taken`] unless the
/// condition is fulfilled.
pub(super) fn take_claim(tenant: &TenantId, entry: &Entry, id: Uuid, condition: Expression) -> Action {
    Action::put(key_of_claim(tenant, entry), [text("id", id.to_string())])
        .only_if(condition, Refusal::Taken(entry.attribute))
}

/// Condition: this resource holds the claim, or the claim does not exist. Version 0.1.0 kept the claims of
/// some user names under other keys.
fn is_of_or_absent(holder: Uuid) -> Expression {
    Expression::absent().or(is_of(holder))
}

/// The action that deletes the claim of a resource. It is refused as [`Refusal::Changed`] if the claim
/// belongs to another resource.
pub(super) fn release_claim(tenant: &TenantId, entry: &Entry, id: Uuid) -> Action {
    Action::delete(key_of_claim(tenant, entry)).only_if(is_of_or_absent(id), Refusal::Changed)
}

/// The action that marks the claim of a resource as that of a deactivated account. `kept_until` is in
/// seconds since 1970.
pub(super) fn mark_claim_gone(tenant: &TenantId, entry: &Entry, id: Uuid, kept_until: u64) -> Action {
    let gone = Expression::update()
        .set("id", AttributeValue::S(id.to_string()))
        .set("gone", AttributeValue::Bool(true))
        .set(KEPT_UNTIL, AttributeValue::N(kept_until.to_string()));
    Action::update(key_of_claim(tenant, entry), gone).only_if(is_of_or_absent(id), Refusal::Changed)
}

/// The action that writes a look-up: the resource can be found by this value, which is not unique.
pub(super) fn put_lookup(tenant: &TenantId, record: &Record, entry: &Entry) -> Action {
    Action::put(key_of_lookup(tenant, record, entry), [])
}

/// The action that deletes a look-up.
pub(super) fn delete_lookup(tenant: &TenantId, record: &Record, entry: &Entry) -> Action {
    Action::delete(key_of_lookup(tenant, record, entry))
}

fn key_of_lookup(tenant: &TenantId, record: &Record, entry: &Entry) -> Key {
    keys::lookup(tenant, record.kind, entry.attribute, &entry.value, record.id)
}

/// Who may have a value that look-ups or a claim find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundByEither {
    /// The resources that have a look-up.
    pub by_lookup: Vec<Uuid>,
    /// The resource that holds the claim.
    pub by_claim: Option<Uuid>,
}

impl Store {
    /// Reads which resource holds a unique value. `None` if the value is free.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_claim(&self, entry: &Entry) -> Result<Option<NameClaim>, StoreError> {
        let item = self.table.get(&key_of_claim(&self.tenant, entry)).await?;
        Ok(item.as_ref().and_then(NameClaim::from_item))
    }

    /// Reads which resources hold unique values, one for each entry: `None` if the value is free.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_claims(&self, entries: &[Entry]) -> Result<Vec<Option<NameClaim>>, StoreError> {
        let keys: Vec<Key> = entries.iter().map(|entry| key_of_claim(&self.tenant, entry)).collect();
        let items = self.table.batch_get(&keys).await?;
        let found: BTreeMap<Key, NameClaim> =
            items.iter().filter_map(|item| Some((key_of(item)?, NameClaim::from_item(item)?))).collect();
        Ok(keys.iter().map(|key| found.get(key).copied()).collect())
    }

    /// Reads the ids of the resources that have an indexed value. Deactivated accounts are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn find(&self, kind: Kind, index: Index, entry: &Entry) -> Result<Vec<Uuid>, StoreError> {
        match index {
            Index::Claim => {
                let holder = self.fetch_claim(entry).await?.filter(|claim| !claim.gone);
                Ok(holder.map(|claim| claim.id).into_iter().collect())
            }
            Index::Lookup => {
                let pk = keys::lookups(&self.tenant, kind, entry.attribute, &entry.value);
                let items = self.table.query_all(&pk, None).await?;
                Ok(items.iter().filter_map(|i| get_text(i, "sk")).filter_map(parse_id).collect())
            }
        }
    }

    /// Reads the ids of the resources that may have a value which a look-up or a claim finds.
    ///
    /// A resource whose unique value changes gets the look-up before it loses the claim. So the claim is read first:
    /// whoever has lost it by then has the look-up.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn find_by_either(
        &self,
        kind: Kind,
        lookup: &Entry,
        claim: &Entry,
    ) -> Result<FoundByEither, StoreError> {
        let by_claim = self.find(kind, Index::Claim, claim).await?.pop();
        let by_lookup = self.find(kind, Index::Lookup, lookup).await?;
        Ok(FoundByEither { by_lookup, by_claim })
    }
}
