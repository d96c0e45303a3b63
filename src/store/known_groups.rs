//! The groups that this process changed last, and whose turn it is to change one.
//!
//! A change of a few members need not read the group if this process knows it: it is written on the condition
//! that the group is still so. If it is not, nothing was written, and the group is read. So what is known here
//! saves a read, or costs an attempt. It never decides what is written or answered.
//!
//! Requests of this process that change one group take turns, because two that write at once refuse each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::keys::TenantId;
use super::record::{Record, document};
use super::trail::Trail;
use crate::limits::{MAX_KNOWN_GROUP_BYTES, MAX_KNOWN_GROUP_ROLES, MAX_KNOWN_GROUPS, MAX_WAIT_FOR_TURN};
use crate::scim::resource_type::Kind;

/// The groups of all tenants that this process knows. Clones know the same.
#[derive(Clone, Debug, Default)]
pub struct KnownGroups(Arc<Mutex<Slots>>);

#[derive(Debug, Default)]
struct Slots {
    by_group: HashMap<(TenantId, Uuid), Slot>,
    /// How often a slot was asked for.
    asked: u64,
}

/// The place of one group. Who holds the lock has the turn.
#[derive(Clone, Debug, Default)]
struct Slot {
    group: Arc<tokio::sync::Mutex<Option<KnownGroup>>>,
    /// The value of `asked` when it was asked for last.
    last_asked: u64,
}

/// A group as this process wrote it last.
#[derive(Clone, Debug)]
struct KnownGroup {
    record: Record,
    /// Whether it is probably still so: nobody else changed the group before this process did so last.
    is_likely: bool,
}

/// The turn of one request to change a group. It ends when it is dropped.
#[derive(Debug)]
pub struct GroupTurn {
    /// `None` if the request did not wait any longer.
    group: Option<OwnedMutexGuard<Option<KnownGroup>>>,
    /// Whether the group, or its members, were not as expected.
    missed: bool,
}

impl KnownGroups {
    /// Waits until it is this request's turn to change a group: at most [`MAX_WAIT_FOR_TURN`]. The request may
    /// change the group after that too, without knowing it.
    pub async fn turn(&self, tenant: &TenantId, group: Uuid) -> GroupTurn {
        let locked = tokio::time::timeout(MAX_WAIT_FOR_TURN, self.slot(tenant, group).lock_owned()).await;
        GroupTurn { group: locked.ok(), missed: false }
    }

    /// Notes a group as a request has written it that did not have the turn.
    pub fn note(&self, tenant: &TenantId, written: &Record) {
        if written.kind == Kind::Group
            && let Ok(mut group) = self.slot(tenant, written.id).try_lock_owned()
        {
            *group = KnownGroup::of(written, true);
        }
    }

    /// Forgets a group that a request has changed without reading it, or deleted.
    pub fn forget(&self, tenant: &TenantId, group: Uuid) {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.by_group.get(&(tenant.clone(), group))
            && let Ok(mut group) = slot.group.try_lock()
        {
            *group = None;
        }
    }

    /// The slot of a group. A new one takes the place of the one that was not asked for the longest.
    fn slot(&self, tenant: &TenantId, group: Uuid) -> Arc<tokio::sync::Mutex<Option<KnownGroup>>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.asked += 1;
        let asked = slots.asked;
        let key = (tenant.clone(), group);
        if let Some(slot) = slots.by_group.get_mut(&key) {
            slot.last_asked = asked;
            return slot.group.clone();
        }
        if slots.by_group.len() >= MAX_KNOWN_GROUPS {
            let oldest = slots.by_group.iter().min_by_key(|(_, slot)| slot.last_asked);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                slots.by_group.remove(&oldest);
            }
        }
        let slot = Slot { last_asked: asked, ..Slot::default() };
        slots.by_group.entry(key).or_insert(slot).group.clone()
    }
}

impl KnownGroup {
    /// `None` for a group that is not kept: a large one, one with a pending change, and one that the admin guard
    /// knows.
    fn of(written: &Record, is_likely: bool) -> Option<Self> {
        let is_kept = written.change.is_none()
            && !written.guarded
            && written.roles.as_ref().is_none_or(|roles| roles.len() <= MAX_KNOWN_GROUP_ROLES)
            && document(&written.doc).len() <= MAX_KNOWN_GROUP_BYTES;
        is_kept.then(|| {
            // The change that was written has followed the trail.
            let record = Record { trail: Trail::default(), groups: Default::default(), ..written.clone() };
            Self { record, is_likely }
        })
    }
}

impl GroupTurn {
    /// The group as this process wrote it last, if it is probably still so.
    pub fn recall(&self) -> Option<&Record> {
        let known = self.group.as_ref()?.as_ref()?;
        known.is_likely.then_some(&known.record)
    }

    /// Notes that the group, or its members, are not as expected. So the next change of the group reads it.
    pub fn miss(&mut self) {
        self.missed = true;
        if let Some(Some(known)) = self.group.as_deref_mut() {
            known.is_likely = false;
        }
    }

    /// Notes the group as this request has written it. `before` is the version that it changed.
    pub fn note(&mut self, written: &Record, before: u64) {
        let Some(group) = self.group.as_deref_mut() else { return };
        let was_known = group.as_ref().is_none_or(|known| known.record.version == before);
        *group = KnownGroup::of(written, was_known && !self.missed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::{Map, json};

    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant")
    }

    fn group(id: u128, version: u64) -> Record {
        let group = Record::new(Kind::Group, Uuid::from_u128(id), Map::new(), "2026-01-01T00:00:00.000Z");
        Record { version, ..group }
    }

    async fn recalled(known: &KnownGroups, tenant: &TenantId, id: u128) -> Option<u64> {
        known.turn(tenant, Uuid::from_u128(id)).await.recall().map(|group| group.version)
    }

    #[tokio::test]
    async fn a_group_is_known_to_its_tenant_alone() {
        let (known, acme, other) = (KnownGroups::default(), tenant("acme"), tenant("other"));
        known.note(&acme, &group(1, 7));
        assert_eq!(recalled(&known, &acme, 1).await, Some(7));
        assert_eq!(recalled(&known, &other, 1).await, None);
        known.forget(&acme, Uuid::from_u128(1));
        assert_eq!(recalled(&known, &acme, 1).await, None);
    }

    #[tokio::test]
    async fn a_group_that_others_change_too_is_not_recalled() {
        let (known, acme) = (KnownGroups::default(), tenant("acme"));
        let id = Uuid::from_u128(1);
        known.turn(&acme, id).await.note(&group(1, 2), 1);
        assert_eq!(recalled(&known, &acme, 1).await, Some(2));
        // Somebody else made version 3.
        known.turn(&acme, id).await.note(&group(1, 4), 3);
        assert_eq!(recalled(&known, &acme, 1).await, None);
        known.turn(&acme, id).await.note(&group(1, 5), 4);
        assert_eq!(recalled(&known, &acme, 1).await, Some(5));
        let mut turn = known.turn(&acme, id).await;
        turn.miss();
        turn.note(&group(1, 6), 5);
        drop(turn);
        assert_eq!(recalled(&known, &acme, 1).await, None);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let (known, acme) = (KnownGroups::default(), tenant("acme"));
        for id in 0..MAX_KNOWN_GROUPS as u128 + 1 {
            known.note(&acme, &group(id, 1));
            // The second one is in use all the time.
            assert!(id == 0 || recalled(&known, &acme, 1).await.is_some());
        }
        assert_eq!(known.0.lock().expect("a lock").by_group.len(), MAX_KNOWN_GROUPS);
        assert_eq!(recalled(&known, &acme, 0).await, None, "the oldest");
        let mut large = group(1, 2);
        large.doc.insert("displayName".to_owned(), json!("x".repeat(MAX_KNOWN_GROUP_BYTES)));
        let pending = Record { change: Some(Uuid::nil()), ..group(1, 2) };
        let guarded = Record { guarded: true, ..group(1, 2) };
        for kept_out in [large, pending, guarded] {
            known.note(&acme, &group(1, 1));
            known.note(&acme, &kept_out);
            assert_eq!(recalled(&known, &acme, 1).await, None);
        }
    }

    #[tokio::test]
    async fn a_turn_begins_when_the_one_before_is_over() {
        let (known, acme, id) = (KnownGroups::default(), tenant("acme"), Uuid::from_u128(1));
        let mut first = known.turn(&acme, id).await;
        assert!(Box::pin(known.turn(&acme, id)).now_or_never().is_none());
        assert!(Box::pin(known.turn(&acme, Uuid::from_u128(2))).now_or_never().is_some(), "another group");
        first.note(&group(1, 2), 1);
        drop(first);
        assert_eq!(recalled(&known, &acme, 1).await, Some(2));
    }
}
