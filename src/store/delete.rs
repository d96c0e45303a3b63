//! Deleting a user or a group, with every item that belongs to it.

use uuid::Uuid;

use super::Store;
use super::claim::{delete_lookup, release_claim};
use super::counter::{count_inactive, count_resource};
use super::error::{Refusal, StoreError};
use super::event::{self, Event};
use super::expression::Expression;
use super::item::id_set;
use super::keys;
use super::large_change::pending_change::{ChangeState, PendingChange, PendingTask};
use super::large_change::settle::SettledChanges;
use super::membership::{Membership, detach_member, remove_member};
use super::record::Record;
use super::tombstone::put_tombstone;
use super::trail::Departure;
use super::transaction::Action;
use crate::clock;
use crate::limits::{DELETION_OWN_ACTIONS, MAX_ACTIONS_PER_TX};
use crate::scim::resource_type::{Kind, ResourceType};

/// The deletion of a resource, and what one transaction writes with it.
#[derive(Clone, Copy, Debug)]
pub struct ResourceDeletion<'a> {
    /// The resource as it was read. It has no pending change.
    pub record: &'a Record,
    /// The members of a group, as they were read. `None` leaves them to a pending change.
    pub members: Option<&'a [Membership]>,
    /// When the resource leaves its groups.
    pub groups: Detachment,
    /// The pending changes that name the resource.
    pub settled: &'a SettledChanges,
    /// Its resource type.
    pub ty: &'a ResourceType,
    /// The event of the deletion.
    pub event: &'a Event,
    /// Until when the account is kept and can come back, in seconds since 1970. `None` keeps nothing.
    pub tombstone_until: Option<u64>,
    /// What the rules of the tenant write in the same transaction.
    pub extra_actions: &'a [Action],
}

/// When a deleted resource leaves its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detachment {
    /// In the transaction that deletes it.
    Now,
    /// After it, by a pending change.
    Later,
}

/// Which memberships fit in the transaction that deletes a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionFit {
    /// Whether its members fit.
    pub members: bool,
    /// Whether its memberships in groups fit.
    pub groups: bool,
}

impl DeletionFit {
    /// Computes which memberships fit. `members` is the number of the resource's members.
    pub fn of(record: &Record, members: u64, settled: &SettledChanges, ty: &ResourceType) -> Self {
        let own = DELETION_OWN_ACTIONS + record.lookups(ty).len() + settled.chunks.len();
        // Each membership takes two actions.
        let room = MAX_ACTIONS_PER_TX.saturating_sub(own) / 2;
        let groups = record.groups.len() <= room;
        let room = if groups { room - record.groups.len() } else { room };
        Self { members: usize::try_from(members).is_ok_and(|members| members <= room), groups }
    }
}

impl Store {
    /// Deletes a resource in one transaction: its item, claim, look-ups, list entry, its part of the
    /// counters, and its memberships. Returns the pending changes that end the other memberships. The
    /// caller applies them
    /// ([`LargeChanges::apply_until`](super::large_change::LargeChanges::apply_until)); if it does not,
    /// the worker does.
    ///
    /// # Errors
    /// - [`StoreError::Refused`] with [`Refusal::Changed`] if the resource, its members or its groups have
    ///   changed since they were read.
    /// - [`StoreError::TransactionTooLarge`].
    /// - The others of [`Table::transact`](super::call::Table::transact).
    pub async fn delete(&self, deletion: &ResourceDeletion<'_>) -> Result<Vec<PendingChange>, StoreError> {
        let record = deletion.record;
        let mut left = Vec::new();
        let mut leave =
            |task| left.push(self.large_changes().new_change(task, record.id, ChangeState::Committed));
        if deletion.members.is_none() {
            leave(PendingTask::RemoveAllMembers);
        }
        if deletion.groups == Detachment::Later {
            leave(PendingTask::DetachFromGroups(record.groups.clone()));
        }
        self.large_changes().transact_departures(|| deletion.actions(self, &left)).await?;
        Ok(left)
    }

    /// Whether a resource does not exist, read when no transaction on it is under way.
    ///
    /// # Errors
    /// As [`Table::get_together`](super::call::Table::get_together).
    pub async fn is_gone(&self, kind: Kind, id: Uuid) -> Result<bool, StoreError> {
        let items = self.table.get_together(&[keys::resource(&self.tenant, kind, id)]).await?;
        Ok(items.iter().all(Option::is_none))
    }
}

impl ResourceDeletion<'_> {
    fn actions(&self, store: &Store, left: &[PendingChange]) -> Vec<Action> {
        let (tenant, record, ty) = (&store.tenant, self.record, self.ty);
        let unchanged = record.is_unchanged().and(match record.groups.is_empty() {
            true => Expression::lacks("groups"),
            false => Expression::equals("groups", id_set(&record.groups)),
        });
        let mut actions = vec![
            Action::delete(record.key(tenant)).only_if(unchanged, Refusal::Changed),
            Action::delete(keys::list_entry(tenant, record.kind, record.id)),
            count_resource(tenant, record.kind, -1),
            event::action(tenant, &self.event_with_departures()),
        ];
        actions.extend(self.extra_actions.iter().cloned());
        actions.extend(count_inactive(tenant, Some(record), None));
        match self.tombstone_until {
            Some(until) => {
                let detachment =
                    left.iter().find(|left| matches!(left.task, PendingTask::DetachFromGroups(_)));
                let detachment = detachment.map(|left| left.id);
                actions.extend(put_tombstone(tenant, record, ty, until, detachment));
            }
            None => actions.extend(record.claim(ty).map(|entry| release_claim(tenant, &entry, record.id))),
        }
        actions.extend(record.lookups(ty).iter().map(|entry| delete_lookup(tenant, record, entry)));
        actions.extend(left.iter().map(|left| Action::put(left.key(), left.attributes())));
        actions.extend(self.settled.chunks.iter().map(|chunk| chunk.mark_gone(record.id)));
        actions.extend(self.membership_actions(store));
        actions
    }

    /// The groups that the resource leaves in the transaction of its deletion. Its own group is not among
    /// them.
    fn groups_left(&self) -> impl Iterator<Item = Uuid> {
        let groups = match self.groups {
            Detachment::Now => Some(&self.record.groups),
            Detachment::Later => None,
        };
        groups.into_iter().flatten().copied().filter(|group| *group != self.record.id)
    }

    fn event_with_departures(&self) -> Event {
        Event { left: self.groups_left().collect(), ..self.event.clone() }
    }

    /// Ends the memberships that go with the resource. A transaction names an item once, so a group
    /// that is its own member ends that membership as one of its members.
    fn membership_actions(&self, store: &Store) -> Vec<Action> {
        let (tenant, record) = (&store.tenant, self.record);
        let mut actions = Vec::new();
        let departure = Departure {
            member: record.id,
            time: clock::text(self.event.time),
            actor: self.event.actor.clone(),
            request_id: self.event.request_id.clone(),
        };
        for group in self.groups_left() {
            let known_change = self.settled.changes.get(&group).copied();
            actions.extend(detach_member(tenant, group, &departure, known_change));
        }
        for member in self.members.unwrap_or_default() {
            let [membership, groups] = remove_member(tenant, record.id, member);
            actions.push(membership);
            if member.id != record.id {
                actions.push(groups);
            }
        }
        actions
    }
}
