//! Removing the members of a group that is deleted.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::LargeChanges;
use super::pending_change::{ChangeState, PendingChange};
use crate::limits::{CHUNKS_AT_ONCE, LARGE_CHANGE_RETRIES, MAX_MEMBER_CHANGES_PER_TX};
use crate::scim::resource_type::Kind;
use crate::store::call::Range;
use crate::store::error::{Refusal, StoreError};
use crate::store::keys;
use crate::store::membership::{Membership, remove_member};
use crate::store::retry::{Attempts, retry_while_busy};

impl LargeChanges<'_> {
    /// Removes every member of a deleted group, at most until `until`. Returns whether all are removed. The
    /// memberships that are still in the table are the list of what is left to do.
    ///
    /// A membership that was written just before the deletion can become visible after this. So the change stays for
    /// [`SETTLE_GRACE`](crate::limits::SETTLE_GRACE) when it is done, and the members are removed once more at its end.
    pub(super) async fn remove_all_members(
        self,
        pending: &PendingChange,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let pk = keys::group(&self.store.tenant, pending.resource);
        let range = Range {
            prefix: Some(keys::MEMBERSHIP.to_owned()),
            limit: i32::try_from(MAX_MEMBER_CHANGES_PER_TX * CHUNKS_AT_ONCE).ok(),
            ..Range::default()
        };
        // An id comes back where a tenant is moved in, or restored: the members are then those of the new group.
        if pending.state == ChangeState::Done && !self.store.is_gone(Kind::Group, pending.resource).await? {
            return self.delete_items(pending).await.map(|()| true);
        }
        loop {
            let page = self.store.table.query(&pk, &range).await?;
            let members: Vec<Membership> = page.items.iter().filter_map(Membership::from_item).collect();
            if members.is_empty() {
                let ended = match pending.state {
                    ChangeState::Done => self.delete_items(pending).await,
                    _ => self.mark_done(pending).await,
                };
                return ended.map(|()| true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            let parts: Vec<Vec<Membership>> =
                members.chunks(MAX_MEMBER_CHANGES_PER_TX).map(<[_]>::to_vec).collect();
            let removed = parts.into_iter().map(|part| {
                retry_while_busy(until, move || {
                    let part = part.clone();
                    async move { self.remove_members(pending.resource, part).await }
                })
            });
            stream::iter(removed).buffer_unordered(CHUNKS_AT_ONCE).try_collect::<Vec<bool>>().await?;
        }
    }

    /// Removes members of a deleted group. If they are too large for one transaction, each half is
    /// removed in its own.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the members changed at every attempt; [`StoreError::TransactionTooLarge`] if
    /// one member alone is too large; [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub(super) async fn remove_members(
        self,
        group: Uuid,
        members: Vec<Membership>,
    ) -> Result<(), StoreError> {
        match self.remove_in_one_transaction(group, &members).await {
            Err(StoreError::TransactionTooLarge) if members.len() > 1 => {
                let (first, second) = members.split_at(members.len() / 2);
                for half in [first, second] {
                    Box::pin(self.remove_members(group, half.to_vec())).await?;
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Removes members in one transaction. The items of members that do not exist are left out.
    async fn remove_in_one_transaction(self, group: Uuid, members: &[Membership]) -> Result<(), StoreError> {
        let mut deleted = BTreeSet::new();
        let mut attempts = Attempts::new(LARGE_CHANGE_RETRIES);
        while attempts.start_next().await {
            let actions = || {
                let mut actions = Vec::with_capacity(2 * members.len());
                for member in members {
                    let [membership, groups] = remove_member(&self.store.tenant, group, member);
                    actions.push(membership.without_condition());
                    actions.extend((!deleted.contains(&member.id)).then_some(groups));
                }
                actions
            };
            let refusals = match self.store.table.transact(actions).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Refused(refusals)) => refusals,
                Err(failed) => return Err(failed),
            };
            deleted.extend(refusals.iter().filter_map(Refusal::member));
        }
        Err(StoreError::Conflict)
    }
}
