//! Writing a change down before its commit, and taking it back.

use uuid::Uuid;

use super::LargeChanges;
use super::chunk::Chunk;
use super::pending_change::{ChangeState, PendingChange, PendingTask};
use crate::clock;
use crate::limits::MAX_MEMBER_CHANGES_PER_TX;
use crate::store::error::StoreError;
use crate::store::item::{Item, key_of};
use crate::store::keys;
use crate::store::membership::{MemberChanges, Membership};
use crate::store::record::Record;
use crate::store::side::Side;

impl LargeChanges<'_> {
    /// A change by this request, under a new id. It is not written.
    pub fn new_change(self, task: PendingTask, resource: Uuid, state: ChangeState) -> PendingChange {
        PendingChange {
            id: Uuid::now_v7(),
            tenant: self.store.tenant.clone(),
            state,
            task,
            resource,
            version: 0,
            parts: 0,
            actor: self.store.actor.clone(),
            request_id: self.store.request_id.clone(),
            created: clock::epoch_seconds(),
            finished: 0,
        }
    }

    /// Writes down a change of a group's members: the change item, and then its chunks. The change is
    /// not in force.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`]. The change is aborted then.
    pub async fn stage(
        self,
        group: &Record,
        changes: MemberChanges<'_>,
    ) -> Result<PendingChange, StoreError> {
        let mut pending = self.new_change(PendingTask::ChangeMembers, group.id, ChangeState::Staged);
        pending.version = group.version;
        let mut chunks = self.cut_into_chunks(&pending, (Side::Add, 1), changes.add);
        let next = 1 + u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        chunks.extend(self.cut_into_chunks(&pending, (Side::Remove, next), changes.remove));
        pending.parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let staged = async {
            self.store.table.put(&pending.key(), pending.attributes()).await?;
            self.store.table.batch_put(chunks).await
        };
        match staged.await {
            Ok(()) => Ok(pending),
            Err(failed) => {
                self.abort_or_leave_to_worker(&pending).await;
                Err(failed)
            }
        }
    }

    /// Writes the chunks of the members that a staged change adds again. The ids of `members` are the same as
    /// before; what is known of them has changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn rewrite_added(
        self,
        pending: &PendingChange,
        members: &[Membership],
    ) -> Result<(), StoreError> {
        self.store.table.batch_put(self.cut_into_chunks(pending, (Side::Add, 1), members)).await
    }

    /// Cuts the members of one side into chunks, whose numbers begin with `first`.
    fn cut_into_chunks(
        self,
        pending: &PendingChange,
        (side, first): (Side, u32),
        members: &[Membership],
    ) -> Vec<Item> {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|member| member.id);
        let chunks = (first..).zip(sorted.chunks(MAX_MEMBER_CHANGES_PER_TX));
        let chunks =
            chunks.filter_map(|(part, some)| Chunk::new(&self.store.tenant, pending.id, (side, part), some));
        chunks.map(|chunk| chunk.to_item()).collect()
    }

    /// Aborts a staged change and deletes its items. Returns whether the change is aborted; `false`
    /// means that it is committed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub async fn abort(self, pending: &PendingChange) -> Result<bool, StoreError> {
        let abort = || vec![pending.transition(ChangeState::Staged, ChangeState::Aborted)];
        match self.store.table.transact(abort).await {
            Ok(()) => self.delete_items(pending).await.map(|()| true),
            Err(StoreError::Refused(_)) => {
                let now = self.fetch(pending.id).await?.map(|now| now.state);
                match now {
                    Some(ChangeState::Committed | ChangeState::Done) => Ok(false),
                    // Another process aborted it. It may have been stopped before it deleted the items.
                    _ => self.delete_items(pending).await.map(|()| true),
                }
            }
            Err(failed) => Err(failed),
        }
    }

    /// Aborts a staged change after a failure that the caller reports. If that fails too, the worker
    /// aborts the change later.
    pub async fn abort_or_leave_to_worker(self, pending: &PendingChange) {
        if let Err(failed) = self.abort(pending).await {
            tracing::warn!(change = %pending.id, %failed, "a change that is given up is left to the worker");
        }
    }

    /// Finds out whether a change is in force whose commit was not answered. If it is still staged, it
    /// is aborted, so that the answer stays true.
    ///
    /// # Errors
    /// As [`LargeChanges::abort`]. Then it is unknown whether the change is in force.
    pub async fn is_committed(self, pending: &PendingChange) -> Result<bool, StoreError> {
        Ok(!self.abort(pending).await?)
    }

    /// Deletes the items of a change that is aborted or done: the chunks, and then the change item.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`]. The worker deletes the rest later.
    pub async fn delete_items(self, pending: &PendingChange) -> Result<(), StoreError> {
        let table = &self.store.table;
        if pending.task == PendingTask::ChangeMembers {
            let chunks = table.query_all(&keys::chunks(&self.store.tenant, pending.id), None).await?;
            table.batch_delete(chunks.iter().filter_map(key_of)).await?;
        }
        table.batch_delete([pending.key()]).await
    }
}
