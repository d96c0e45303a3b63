//! Leaving groups: what a resource in more groups than one transaction holds does after its deletion.

use std::collections::BTreeSet;
use std::time::Instant;

use uuid::Uuid;

use super::Store;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{get_text, string_set};
use super::keys::{self, parse_id};
use super::membership::detach_member;
use super::transaction::Action;
use super::work::{Pending, State, Task};
use crate::clock;
use crate::scim::resource_type::Kind;

/// A member leaves so many groups in one transaction: two actions each.
const LEAVING: usize = 40;
/// How often that is tried again because the groups change.
const ATTEMPTS: usize = 10;

impl Store {
    /// Lets a resource that is deleted leave the groups that it has not left yet, and takes it out of
    /// the changes that would still make it a member. Says whether nothing of it is left. Where it
    /// `returns`, nothing is kept of its departure either.
    ///
    /// # Errors
    /// As every call.
    pub async fn finish_leaving(
        &self,
        resource: Uuid,
        returns: bool,
        until: Instant,
    ) -> Result<bool, StoreError> {
        for change in self.pending_changes().await? {
            match (&change.task, change.state) {
                (Task::Leave(_), _) if change.resource == resource && (returns || !change.rests()) => {
                    if !Box::pin(self.carry_out(&change, until)).await? {
                        return Ok(false);
                    }
                    if returns {
                        self.clear(&change).await?;
                    }
                }
                (Task::Members, State::Staged | State::Committed) => {
                    let Some(chunk) = self.chunk_of(change.id, resource).await? else { continue };
                    // In force by now, or in force already: what it finds of the resource is nothing.
                    if change.state == State::Committed || !self.abort(&change).await? {
                        self.apply_chunk(&change, chunk).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(true)
    }

    /// Takes a resource that is deleted out of its groups.
    pub(super) async fn leave_all(
        &self,
        pending: &Pending,
        groups: &BTreeSet<String>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let groups: Vec<Uuid> = groups.iter().filter_map(|id| parse_id(id)).collect();
        for some in groups.chunks(LEAVING) {
            if Instant::now() >= until || !self.leave_window(pending, some, until).await? {
                return Ok(false);
            }
        }
        self.retire(pending).await.map(|()| true)
    }

    /// Leaves some groups. Where they are more than one transaction holds, each half by itself.
    async fn leave_window(
        &self,
        pending: &Pending,
        groups: &[Uuid],
        until: Instant,
    ) -> Result<bool, StoreError> {
        match self.leave_together(pending, groups, until).await {
            Err(StoreError::TransactionTooLarge) if groups.len() > 1 => {
                let (first, second) = groups.split_at(groups.len() / 2);
                Ok(Box::pin(self.leave_window(pending, first, until)).await?
                    && Box::pin(self.leave_window(pending, second, until)).await?)
            }
            outcome => outcome,
        }
    }

    async fn leave_together(
        &self,
        pending: &Pending,
        groups: &[Uuid],
        until: Instant,
    ) -> Result<bool, StoreError> {
        for _ in 0..ATTEMPTS {
            // A group whose members are changing is brought to rest first: the change may be about
            // this very member.
            for group in self.fetch_many(Kind::Group, groups).await? {
                if let Some(change) = group.change
                    && !self.finish_change(change, until).await?
                {
                    return Ok(false);
                }
            }
            let memberships: Vec<_> =
                groups.iter().map(|group| keys::membership(&self.tenant, *group, pending.resource)).collect();
            let still = self.table.batch_get(&memberships).await?;
            let still: Vec<Uuid> = groups
                .iter()
                .zip(&memberships)
                .filter(|(_, key)| still.iter().any(|item| get_text(item, "pk") == Some(&key.pk)))
                .map(|(group, _)| *group)
                .collect();
            let existing = self.fetch_many(Kind::Group, &still).await?;
            let now = clock::timestamp();
            let actions = || {
                let left = string_set(groups.iter().map(Uuid::to_string));
                let update = Expression::update().delete("groups", left);
                let mut actions = vec![
                    Action::update(pending.key(), update).only_if(Expression::exists(), Refusal::Exists),
                ];
                for group in &still {
                    if existing.iter().any(|record| record.id == *group) {
                        actions.extend(detach_member(&self.tenant, *group, pending.resource, &now, None));
                    } else {
                        // The group is deleted as well, and counts nobody any more.
                        actions.push(Action::delete(keys::membership(
                            &self.tenant,
                            *group,
                            pending.resource,
                        )));
                    }
                }
                actions
            };
            match self.table.transact(actions).await {
                Ok(()) => return Ok(true),
                // Another applier has finished it all.
                Err(StoreError::Refused(why)) if why.contains(&Refusal::Exists) => return Ok(true),
                Err(StoreError::Refused(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
        Err(StoreError::Conflict)
    }
}
