//! Deactivated accounts. Each is kept as a tombstone until its retention ends. No answer shows it.
//! The claim on its name stays, so that the account can come back. Then the account is erased: its
//! document and the claim are deleted, and a tombstone without personal data stays.

use uuid::Uuid;

use super::Store;
use super::claim::{
    KEPT_UNTIL, is_free_or_gone, is_gone_of, mark_claim_gone, put_lookup, release_claim, take_claim,
};
use super::counter::{count_inactive, count_resource};
use super::error::{Refusal, StoreError};
use super::event::{self, Event};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, number, text, with_key};
use super::keys::{self, TenantId, parse_id};
use super::record::Record;
use super::retry::Attempts;
use super::transaction::Action;
use crate::clock;
use crate::limits::ERASURE_RETRIES;
use crate::scim::resource_type::{Kind, ResourceType};

/// The pending change that takes a deactivated account out of its groups.
const DETACHMENT: &str = "detachment";

/// The attribute with the time of an erasure.
const PURGED: &str = "purged";

/// Reads until when a tombstone or a claim is kept, in seconds since 1970. `None` for a claim of a user
/// who is not deactivated.
pub fn kept_until(item: &Item) -> Option<u64> {
    get_number(item, KEPT_UNTIL).or_else(|| get_number(item, "ttl"))
}

/// A deactivated account that is kept and can come back.
#[derive(Clone, Debug)]
pub struct Tombstone {
    /// The user as it was deactivated. Its version is that of the deactivation.
    pub record: Record,
    /// Until when it is kept, in seconds since 1970.
    pub kept_until: u64,
    /// The pending change that takes it out of its groups, if the deactivation left that to one.
    pub detachment: Option<Uuid>,
}

impl Tombstone {
    /// Reads the item `T#t#D`/`<id>`. `None` for an account that is erased.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the item is not a tombstone.
    pub fn from_item(tenant: &TenantId, mut item: Item) -> Result<Option<Self>, StoreError> {
        if !item.contains_key("doc") {
            return Ok(None);
        }
        let broken = || StoreError::Broken("a deactivated account cannot be read".to_owned());
        let id = get_text(&item, "sk").and_then(parse_id).ok_or_else(broken)?;
        let kept_until = kept_until(&item).unwrap_or(u64::MAX);
        let detachment = get_text(&item, DETACHMENT).and_then(parse_id);
        // A tombstone has the attributes of the user's item, under another key.
        item.extend(with_key(&keys::resource(tenant, Kind::User, id)));
        let record = Record::from_item(&item)?.ok_or_else(broken)?;
        Ok(Some(Self { record, kept_until, detachment }))
    }
}

/// The deactivated accounts of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Tombstones<'a> {
    store: &'a Store,
}

impl Store {
    /// The tenant's deactivated accounts.
    pub fn tombstones(&self) -> Tombstones<'_> {
        Tombstones { store: self }
    }
}

impl Tombstones<'_> {
    /// Reads the tombstone of a deactivated user. `None` after its retention, even if it is not erased yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_kept(self, id: Uuid) -> Result<Option<Tombstone>, StoreError> {
        let found = self.fetch(id).await?;
        Ok(found.filter(|tombstone| tombstone.kept_until > clock::epoch_seconds()))
    }

    /// Reads the tombstone of a deactivated user, even after its retention. `None` if it is erased.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(self, id: Uuid) -> Result<Option<Tombstone>, StoreError> {
        match self.store.table.get(&keys::tombstone(&self.store.tenant, id)).await? {
            Some(item) => Tombstone::from_item(&self.store.tenant, item),
            None => Ok(None),
        }
    }

    /// Reads what [`Tombstones::fetch_kept`] reads, at a moment when no transaction on the account is
    /// under way. The items of a transaction become visible one by one, so the claim of an account may be
    /// marked as gone before the tombstone is seen.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub async fn fetch_kept_at_rest(self, id: Uuid) -> Result<Option<Tombstone>, StoreError> {
        let key = keys::tombstone(&self.store.tenant, id);
        let item = self.store.table.get_together(&[key]).await?.into_iter().flatten().next();
        let found = item.map(|item| Tombstone::from_item(&self.store.tenant, item)).transpose()?.flatten();
        Ok(found.filter(|tombstone| tombstone.kept_until > clock::epoch_seconds()))
    }

    /// Brings a deactivated account back under its old id, with a new document.
    ///
    /// # Errors
    /// - [`StoreError::Refused`] with [`Refusal::Changed`] if the account was brought back or erased since
    ///   it was read, or if another resource took its name.
    /// - [`StoreError::Refused`] with [`Refusal::Taken`] if it comes back under a new name that belongs to
    ///   another resource.
    /// - The others of [`Table::transact`](super::call::Table::transact).
    pub async fn reactivate(
        self,
        tombstone: &Tombstone,
        record: &Record,
        ty: &ResourceType,
        event: &Event,
    ) -> Result<(), StoreError> {
        let was = &tombstone.record;
        // Another resource may have taken the old name.
        let mut still_holds_old = false;
        if let Some(entry) = was.claim(ty).filter(|old| Some(old) != record.claim(ty).as_ref()) {
            still_holds_old =
                self.store.fetch_claim(&entry).await?.is_some_and(|holder| holder.id == record.id);
        }
        self.store
            .table
            .transact(|| {
                let mut actions = vec![
                    Action::put(record.key(&self.store.tenant), record.attributes())
                        .only_if(Expression::absent(), Refusal::Changed),
                    // The account may have come back since it was read, and have been deactivated again.
                    Action::delete(keys::tombstone(&self.store.tenant, record.id))
                        .only_if(Expression::version_is(was.version), Refusal::Changed),
                    Action::delete(keys::expiry(&self.store.tenant, tombstone.kept_until, record.id)),
                    Action::put(keys::list_entry(&self.store.tenant, record.kind, record.id), []),
                    count_resource(&self.store.tenant, record.kind, 1),
                    event::action(&self.store.tenant, event),
                ];
                actions.extend(count_inactive(&self.store.tenant, None, Some(record)));
                let (old, new) = (was.claim(ty), record.claim(ty));
                if old == new {
                    let claim = |entry| {
                        let action = take_claim(&self.store.tenant, &entry, record.id, is_gone_of(record.id));
                        Action { meaning: Some(Refusal::Changed), ..action }
                    };
                    actions.extend(new.map(claim));
                } else {
                    let take = |entry| take_claim(&self.store.tenant, &entry, record.id, is_free_or_gone());
                    actions.extend(new.map(take));
                    if still_holds_old {
                        actions.extend(old.map(|entry| release_claim(&self.store.tenant, &entry, record.id)));
                    }
                }
                let lookups = record.written_entries(ty, self.store.table.email_lookups).lookups;
                actions.extend(lookups.iter().map(|entry| put_lookup(&self.store.tenant, record, entry)));
                actions
            })
            .await
    }

    /// Erases a deactivated account: its document and the claim on its name are deleted. Its id, its
    /// version and the time of the erasure stay.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the account was brought back or erased since it was read.
    /// [`StoreError::Conflict`] if the claim on its name changed at every attempt.
    pub async fn purge(
        self,
        tombstone: &Tombstone,
        ty: &ResourceType,
        event: &Event,
    ) -> Result<(), StoreError> {
        let mut attempts = Attempts::new(ERASURE_RETRIES);
        while attempts.start_next().await {
            match self.try_purge(tombstone, ty, event).await {
                // The account came back, or another resource took its name.
                Err(StoreError::Refused(refusals)) => {
                    let now = self.fetch(tombstone.record.id).await?;
                    if now.is_none_or(|now| now.record.version != tombstone.record.version) {
                        return Err(StoreError::Refused(refusals));
                    }
                }
                outcome => return outcome,
            }
        }
        Err(StoreError::Conflict)
    }

    async fn try_purge(
        self,
        tombstone: &Tombstone,
        ty: &ResourceType,
        event: &Event,
    ) -> Result<(), StoreError> {
        let (was, now) = (&tombstone.record, clock::timestamp());
        let mut claim = None;
        if let Some(entry) = was.claim(ty) {
            // Another resource may have taken the name.
            let still_holds = self
                .store
                .fetch_claim(&entry)
                .await?
                .is_some_and(|holder| holder.id == was.id && holder.gone);
            claim = Some(entry).filter(|_| still_holds);
        }
        self.store
            .table
            .transact(|| {
                let erased = ErasedAccount { id: was.id, version: was.version + 1, purged: now.clone() };
                let mut actions = vec![
                    Action::put(keys::tombstone(&self.store.tenant, was.id), erased.attributes())
                        .only_if(Expression::version_is(was.version), Refusal::Changed),
                    Action::delete(keys::expiry(&self.store.tenant, tombstone.kept_until, was.id)),
                    event::action(&self.store.tenant, event),
                ];
                actions.extend(claim.iter().map(|entry| release_claim(&self.store.tenant, entry, was.id)));
                actions
            })
            .await
    }
}

/// The actions that make a deleted user a tombstone, without the deletion of its item. `kept_until` is in
/// seconds since 1970. `detachment` is the pending change that takes the user out of its groups.
pub(super) fn put_tombstone(
    tenant: &TenantId,
    record: &Record,
    ty: &ResourceType,
    kept_until: u64,
    detachment: Option<Uuid>,
) -> Vec<Action> {
    let mut item = Item::from_iter(record.attributes());
    // The deactivation is a version of its own.
    item.extend([number("ver", record.version + 1), number(KEPT_UNTIL, kept_until)]);
    item.extend(detachment.map(|change| text(DETACHMENT, change.to_string())));
    let mut actions = vec![
        Action::put(keys::tombstone(tenant, record.id), item),
        Action::put(keys::expiry(tenant, kept_until, record.id), []),
    ];
    let claim = record.claim(ty);
    actions.extend(claim.map(|entry| mark_claim_gone(tenant, &entry, record.id, kept_until)));
    actions
}

/// The actions that put the tombstone of a deactivated account from another deployment into the table, in the
/// version that it had there. They take the claim on its name if `takes_claim`. They are refused as
/// [`Refusal::Exists`] if the account has a tombstone, and as [`Refusal::Changed`] if another resource holds the
/// name.
pub fn move_tombstone_in(
    tenant: &TenantId,
    kept: &Tombstone,
    ty: &ResourceType,
    takes_claim: bool,
) -> Vec<Action> {
    let (record, kept_until) = (&kept.record, kept.kept_until);
    let mut item = record.attributes();
    item.extend([number(KEPT_UNTIL, kept_until)]);
    let mut actions = vec![
        Action::put(keys::tombstone(tenant, record.id), item).only_if(Expression::absent(), Refusal::Exists),
        Action::put(keys::expiry(tenant, kept_until, record.id), []),
    ];
    let claim = record.claim(ty).filter(|_| takes_claim);
    actions.extend(claim.map(|entry| mark_claim_gone(tenant, &entry, record.id, kept_until)));
    actions
}

/// What stays of an erased account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedAccount {
    /// Its id.
    pub id: Uuid,
    /// Its version, which is that of the erasure.
    pub version: u64,
    /// When it was erased, in RFC 3339.
    pub purged: String,
}

impl ErasedAccount {
    /// Reads the item `T#t#D`/`<id>`. `None` for an account that is not erased.
    pub fn from_item(item: &Item) -> Option<Self> {
        let purged = get_text(item, PURGED)?.to_owned();
        let id = get_text(item, "sk").and_then(parse_id)?;
        Some(Self { id, version: get_number(item, "ver")?, purged })
    }

    fn attributes(&self) -> Item {
        Item::from([number("ver", self.version), text(PURGED, &self.purged)])
    }

    /// The action that puts it into the table. It is refused as [`Refusal::Exists`] if the account has a
    /// tombstone.
    pub fn move_in(&self, tenant: &TenantId) -> Action {
        let put = Action::put(keys::tombstone(tenant, self.id), self.attributes());
        put.only_if(Expression::absent(), Refusal::Exists)
    }
}
