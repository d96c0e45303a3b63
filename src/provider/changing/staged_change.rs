//! Changes of more members than one transaction takes: written down, committed by the transaction
//! that changes the group, and applied after it.

use std::time::Instant;

use uuid::Uuid;

use super::Changing;
use super::new_members::to_memberships;
use crate::provider::failure::Failure;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::Kind;
use crate::store::error::StoreError;
use crate::store::large_change::pending_change::{ChangeState, PendingChange};
use crate::store::membership::{MemberChanges, Membership};
use crate::store::record::Record;

impl Changing<'_> {
    /// Writes the members to add and to remove into a pending change, and then reads the members to add.
    /// A deletion that happens meanwhile either finds the change, or is found by this read. If the kind
    /// of a member is not the assumed one, the chunks are written again.
    ///
    /// # Errors
    /// One `invalidValue` that names all members that do not exist.
    pub(super) async fn stage(
        &self,
        group: &mut Record,
        add: &mut Vec<Membership>,
        remove: &[Membership],
    ) -> Result<PendingChange, Failure> {
        let pending = self
            .provider
            .store
            .large_changes()
            .stage(group, MemberChanges { add: add.as_slice(), remove })
            .await?;
        if let Err(refused) = self.resolve_staged_members(&pending, add).await {
            self.provider.store.large_changes().abort_or_leave_to_worker(&pending).await;
            return Err(refused);
        }
        (group.change, group.parts) = (Some(pending.id), pending.parts);
        Ok(pending)
    }

    /// Reads the members to add of a pending change. If a kind was assumed wrongly, writes its chunks again.
    ///
    /// # Errors
    /// One `invalidValue` that names all members that do not exist.
    async fn resolve_staged_members(
        &self,
        pending: &PendingChange,
        add: &mut Vec<Membership>,
    ) -> Result<(), Failure> {
        let taken_for: Vec<(Uuid, Kind)> = add.iter().map(|member| (member.id, member.kind)).collect();
        let existing = self.provider.store.members().identify(&taken_for).await?;
        let found = to_memberships(add.iter().map(Membership::member), &existing)?;
        if found != *add {
            self.provider.store.large_changes().rewrite_added(pending, &found).await?;
            *add = found;
        }
        Ok(())
    }

    /// Applies a committed change until the time is over. The request has succeeded with the commit: what
    /// is left, or fails, is the worker's to apply.
    pub(super) async fn apply_until(&self, pending: &PendingChange, until: Instant) {
        // Boxed, since what applies a change is large and every change of a resource would carry it.
        if let Err(failed) = Box::pin(self.provider.store.large_changes().apply_until(pending, until)).await {
            tracing::warn!(change = %pending.id, %failed, "a change is left to the worker");
        }
    }

    /// Reads the result of the commit of a staged change. A change that was committed is applied until the
    /// time is over; one that was refused is removed.
    ///
    /// # Errors
    /// The commit's, when it did not take effect.
    pub(super) async fn finish_commit(
        &self,
        mut pending: PendingChange,
        outcome: Result<(), StoreError>,
        until: Instant,
    ) -> Result<(), StoreError> {
        match outcome {
            Ok(()) => {}
            // The item of the change says whether it was committed.
            Err(unknown) if unknown.may_have_taken_effect() => {
                match self.provider.store.large_changes().is_committed(&pending).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return Err(unknown),
                }
            }
            Err(no) => {
                self.provider.store.large_changes().abort_or_leave_to_worker(&pending).await;
                return Err(no);
            }
        }
        pending.state = ChangeState::Committed;
        self.apply_until(&pending, until).await;
        Ok(())
    }
}

/// A large change of the group is not finished yet, and there is no time to wait for it.
pub(super) fn still_changing() -> ScimError {
    ScimError::new(
        ErrorKind::Busy,
        "A large change of this group is still being applied. Nothing of this request was done; send it again in a minute.",
    )
}
