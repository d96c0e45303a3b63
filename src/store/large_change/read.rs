//! Reading pending changes and their chunks.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::LargeChanges;
use super::chunk::Chunk;
use super::pending_change::{PendingChange, PendingTask};
use crate::store::call::Range;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::side::Side;

impl LargeChanges<'_> {
    /// Reads every pending change of the tenant, in any state.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list(self) -> Result<Vec<PendingChange>, StoreError> {
        let (pk, prefix) =
            (keys::pending_changes(&self.store.tenant), keys::pending_change_prefix(&self.store.tenant));
        let items = self.store.table.query_all(&pk, Some(&prefix)).await?;
        items.iter().map(PendingChange::from_item).collect()
    }

    /// Reads one pending change. `None` if it does not exist, or does not exist any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(self, change: Uuid) -> Result<Option<PendingChange>, StoreError> {
        let item = self.store.table.get(&keys::pending_change(&self.store.tenant, change)).await?;
        item.as_ref().map(PendingChange::from_item).transpose()
    }

    /// Reads one pending change at a moment when no transaction on it is under way. `None` if there is
    /// none of this id, or no longer.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub async fn fetch_at_rest(self, change: Uuid) -> Result<Option<PendingChange>, StoreError> {
        let key = keys::pending_change(&self.store.tenant, change);
        let item = self.store.table.get_together(&[key]).await?.into_iter().flatten().next();
        item.as_ref().map(PendingChange::from_item).transpose()
    }

    /// Reads every chunk of a change, applied or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_chunks(self, change: Uuid) -> Result<Vec<Chunk>, StoreError> {
        let items = self.store.table.query_all(&keys::chunks(&self.store.tenant, change), None).await?;
        items.iter().map(Chunk::from_item).collect()
    }

    /// Reads the chunk of a change that names a member. `None` if no chunk does, or if it lists the
    /// member as deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_chunk_of(self, change: Uuid, member: Uuid) -> Result<Option<Chunk>, StoreError> {
        for side in Side::ALL {
            // The last chunk whose first member is this one or an earlier one.
            let prefix = keys::chunk_prefix(side);
            let range = Range {
                prefix: Some(prefix.to_owned()),
                after: Some(format!("{prefix}{member}~")),
                limit: Some(1),
                backwards: true,
                ..Range::default()
            };
            let page = self.store.table.query(&keys::chunks(&self.store.tenant, change), &range).await?;
            let chunk = page.items.first().map(Chunk::from_item).transpose()?;
            let chunk = chunk.filter(|chunk| chunk.existing_members().any(|found| found.id == member));
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
        Ok(None)
    }

    /// Reads which deleted resources may still have memberships: those that have not left all their
    /// groups, and those that left the last one within
    /// [`SETTLE_GRACE`](crate::limits::SETTLE_GRACE). Readers of groups hide them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_deleted_members(self) -> Result<BTreeSet<Uuid>, StoreError> {
        let pending = self.list().await?;
        let detached =
            pending.iter().filter(|change| matches!(change.task, PendingTask::DetachFromGroups(_)));
        Ok(detached.map(|change| change.resource).collect())
    }
}
