//! Settling the pending changes that name a resource, before the resource is deleted.

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use super::LargeChanges;
use super::chunk::Chunk;
use super::pending_change::{ChangeState, PendingChange, PendingTask};
use crate::limits::MAX_CHUNKS_PER_DELETION;
use crate::store::error::StoreError;
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::side::Side;

/// The pending changes that a deletion must take into account.
#[derive(Clone, Debug, Default)]
pub struct SettledChanges {
    /// The committed changes that the deletion knows of, by the id of their group.
    pub(in crate::store) changes: BTreeMap<Uuid, Uuid>,
    /// The chunks that made the resource a member. The deletion lists it there as deleted.
    pub(in crate::store) chunks: Vec<Chunk>,
}

impl LargeChanges<'_> {
    /// Settles the pending changes that name a resource, before the resource is deleted. A staged change
    /// is aborted. Of a committed change, the chunk that names the resource is applied.
    ///
    /// If `pending` is not empty, the caller must read the resource again afterwards. `None` means that the
    /// caller must read the pending changes again, because one of them was committed or finished.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub async fn settle(
        self,
        record: &Record,
        pending: &[PendingChange],
        until: Instant,
    ) -> Result<Option<SettledChanges>, StoreError> {
        let mut settled = SettledChanges::default();
        for change in pending {
            let is_settled = match &change.task {
                PendingTask::ChangeMembers => self.settle_one(record, change, &mut settled, until).await?,
                PendingTask::RemoveAllMembers if record.groups.contains(&change.resource) => {
                    let member = Membership { id: record.id, kind: record.kind, display: None };
                    self.remove_members(change.resource, vec![member]).await?;
                    true
                }
                PendingTask::RemoveAllMembers | PendingTask::DetachFromGroups(_) => true,
            };
            if !is_settled {
                return Ok(None);
            }
        }
        Ok(Some(settled))
    }

    /// Settles one change of members. `false` means that the pending changes must be read again.
    async fn settle_one(
        self,
        record: &Record,
        change: &PendingChange,
        settled: &mut SettledChanges,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let chunk = self.fetch_chunk_of(change.id, record.id).await?;
        match (change.state, chunk) {
            (ChangeState::Committed, _) if settled.chunks.len() == MAX_CHUNKS_PER_DELETION => {
                self.apply_until(change, until).await?;
                Ok(false)
            }
            (ChangeState::Committed, chunk) => {
                settled.changes.insert(change.resource, change.id);
                if let Some(chunk) = chunk {
                    self.apply_chunk(change, chunk.clone()).await?;
                    settled.chunks.extend(Some(chunk).filter(|chunk| chunk.side == Side::Add));
                }
                Ok(true)
            }
            (ChangeState::Staged, Some(_)) => self.abort(change).await,
            _ => Ok(true),
        }
    }
}
