//! Detaching a deleted resource from its groups, if it is in more groups than fit in the transaction of its
//! deletion.

use std::collections::BTreeSet;
use std::time::Instant;

use uuid::Uuid;

use super::LargeChanges;
use super::pending_change::{ChangeState, PendingChange, PendingTask};
use crate::clock;
use crate::limits::{LARGE_CHANGE_RETRIES, MAX_DETACHMENTS_PER_TX};
use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::feed::outbox::note_departures;
use crate::store::item::id_set;
use crate::store::keys;
use crate::store::membership::detach_member;
use crate::store::retry::Attempts;
use crate::store::trail::Departure;
use crate::store::transaction::Action;

/// What becomes of a detachment that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneDetachment {
    /// It is kept for [`SETTLE_GRACE`](crate::limits::SETTLE_GRACE), so that readers which began
    /// before hide the resource.
    KeepForReaders,
    /// It is deleted, because the resource comes back and must be seen.
    Delete,
}

impl LargeChanges<'_> {
    /// Detaches a deleted resource from the groups that it has not left yet. Also removes it from the
    /// pending changes that would make it a member again. Returns whether it is detached everywhere; `false`
    /// means that there was no time left (`until`).
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub async fn detach_from_groups(
        self,
        resource: Uuid,
        done: DoneDetachment,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let delete = done == DoneDetachment::Delete;
        for change in self.list().await? {
            match (&change.task, change.state) {
                (PendingTask::DetachFromGroups(_), _)
                    if change.resource == resource && (delete || !change.in_grace_period()) =>
                {
                    if !Box::pin(self.apply_until(&change, until)).await? {
                        return Ok(false);
                    }
                    if delete {
                        self.delete_items(&change).await?;
                    }
                }
                (PendingTask::ChangeMembers, ChangeState::Staged | ChangeState::Committed) => {
                    let Some(chunk) = self.fetch_chunk_of(change.id, resource).await? else { continue };
                    // If the change is committed, applying the chunk skips the resource for good.
                    if change.state == ChangeState::Committed || !self.abort(&change).await? {
                        self.apply_chunk(&change, chunk).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(true)
    }

    /// Detaches a deleted resource from these groups, and marks the change as done. Returns whether it
    /// is done.
    pub(super) async fn detach_from_all(
        self,
        pending: &PendingChange,
        groups: &BTreeSet<Uuid>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let groups: Vec<Uuid> = groups.iter().copied().collect();
        for some in groups.chunks(MAX_DETACHMENTS_PER_TX) {
            if Instant::now() >= until || !self.detach_from_some(pending, some, until).await? {
                return Ok(false);
            }
        }
        self.mark_done(pending).await.map(|()| true)
    }

    /// Marks a change as done and keeps its item. A reader that read a group's members before the last of them left
    /// finds the detachment, and hides the resource.
    pub(super) async fn mark_done(self, pending: &PendingChange) -> Result<(), StoreError> {
        match self.store.table.transact(|| vec![pending.finish_at(clock::epoch_seconds())]).await {
            // Refused: another applier was faster.
            Ok(()) | Err(StoreError::Refused(_)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Detaches a resource from some groups. If they are too large for one transaction, each half is
    /// written in its own. Returns whether it has left all of them.
    async fn detach_from_some(
        self,
        pending: &PendingChange,
        groups: &[Uuid],
        until: Instant,
    ) -> Result<bool, StoreError> {
        match self.detach_in_one_transaction(pending, groups, until).await {
            Err(StoreError::TransactionTooLarge) if groups.len() > 1 => {
                let (first, second) = groups.split_at(groups.len() / 2);
                Ok(Box::pin(self.detach_from_some(pending, first, until)).await?
                    && Box::pin(self.detach_from_some(pending, second, until)).await?)
            }
            outcome => outcome,
        }
    }

    async fn detach_in_one_transaction(
        self,
        pending: &PendingChange,
        groups: &[Uuid],
        until: Instant,
    ) -> Result<bool, StoreError> {
        let mut attempts = Attempts::new(LARGE_CHANGE_RETRIES);
        while attempts.start_next().await {
            // The pending change of a group may add or remove this very member.
            if !self.finish_changes_of(groups, until).await? {
                return Ok(false);
            }
            let remaining = self.fetch_remaining(pending, groups).await?;
            let existing = self.store.fetch_many(Kind::Group, &remaining).await?;
            let existing: BTreeSet<Uuid> = existing.iter().map(|group| group.id).collect();
            let departure = pending.departure_of(pending.resource);
            let actions = || {
                let left = id_set(groups);
                let update = Expression::update().delete("groups", left);
                let mut actions =
                    vec![Action::update(pending.key(), update).only_if(Expression::exists(), Refusal::Gone)];
                for group in &remaining {
                    actions.extend(self.leave_group(*group, &departure, &existing));
                }
                let left: BTreeSet<Uuid> =
                    remaining.iter().filter(|group| existing.contains(group)).copied().collect();
                actions.extend(
                    (!left.is_empty()).then(|| note_departures(&self.store.tenant, pending.resource, &left)),
                );
                actions
            };
            match self.transact_departures(actions).await {
                Ok(()) => return Ok(true),
                // Another applier has finished the whole change.
                Err(StoreError::Refused(refusals)) if refusals.contains(&Refusal::Gone) => return Ok(true),
                Err(StoreError::Refused(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Finishes the pending changes of groups. Returns whether all are done.
    async fn finish_changes_of(self, groups: &[Uuid], until: Instant) -> Result<bool, StoreError> {
        for group in self.store.fetch_many(Kind::Group, groups).await? {
            if let Some(change) = group.change
                && !self.finish(change, until).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads in which of the groups the resource still has a membership.
    async fn fetch_remaining(
        self,
        pending: &PendingChange,
        groups: &[Uuid],
    ) -> Result<Vec<Uuid>, StoreError> {
        let key = |group: &Uuid| keys::membership(&self.store.tenant, *group, pending.resource);
        let memberships: Vec<_> = groups.iter().map(key).collect();
        // Together: of a transaction that makes the resource a member, the resource can be visible before the membership.
        let found = self.store.table.get_together(&memberships).await?;
        let remaining = groups.iter().zip(found).filter(|(_, membership)| membership.is_some());
        Ok(remaining.map(|(group, _)| *group).collect())
    }

    /// The actions by which a resource leaves one group. A group that is deleted as well has no count
    /// to correct.
    fn leave_group(self, group: Uuid, departure: &Departure, existing: &BTreeSet<Uuid>) -> Vec<Action> {
        if existing.contains(&group) {
            return detach_member(&self.store.tenant, group, departure, None).into();
        }
        vec![Action::delete(keys::membership(&self.store.tenant, group, departure.member))]
    }
}
