//! Changes of more members than one transaction takes: written down, committed by the transaction
//! that changes the group, and applied after it.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::answer::Provider;
use super::failure::Failure;
use super::members::memberships;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::Kind;
use crate::store::error::StoreError;
use crate::store::large_change::pending_change::{ChangeState, PendingChange};
use crate::store::membership::{MemberChanges, Membership};
use crate::store::record::Record;
use crate::store::side::Side;

/// How long a request goes on applying what is committed. The worker does the rest; the answer
/// must come within API Gateway's 29 seconds.
pub(super) const APPLYING: Duration = Duration::from_secs(8);

impl Provider<'_> {
    /// Writes down who comes and goes, and then looks for those who come: in this order, whoever
    /// deletes one of them meanwhile either is seen here or sees the change. Those who are not what
    /// they were taken for are written down again.
    ///
    /// # Errors
    /// One `invalidValue` that names those that do not exist.
    pub(super) async fn stage(
        &self,
        group: &mut Record,
        add: &mut Vec<Membership>,
        remove: &[Membership],
    ) -> Result<PendingChange, Failure> {
        let pending =
            self.store.large_changes().stage(group, MemberChanges { add: add.as_slice(), remove }).await?;
        if let Err(refused) = self.resolve_staged_members(&pending, add).await {
            self.store.large_changes().abort_or_leave_to_worker(&pending).await;
            return Err(refused);
        }
        group.change = Some(pending.id);
        Ok(pending)
    }

    async fn resolve_staged_members(
        &self,
        pending: &PendingChange,
        add: &mut Vec<Membership>,
    ) -> Result<(), Failure> {
        let taken_for: Vec<(Uuid, Kind)> = add.iter().map(|member| (member.id, member.kind)).collect();
        let existing = self.store.members().identify(&taken_for).await?;
        let found = memberships(add.iter().map(Membership::member), &existing)?;
        if found != *add {
            self.store.large_changes().rewrite_chunks(pending, Side::Add, &found).await?;
            *add = found;
        }
        Ok(())
    }

    /// Applies a committed change as far as the time goes. What fails or is left is no failure of
    /// the request, which has succeeded with the commit: the worker goes on.
    pub(super) async fn apply_until(&self, pending: &PendingChange, until: Instant) {
        // Boxed, since what applies a change is large and every change of a resource would carry it.
        if let Err(failed) = Box::pin(self.store.large_changes().apply_until(pending, until)).await {
            tracing::warn!(change = %pending.id, %failed, "a change is left to the worker");
        }
    }

    /// What became of the commit of a staged change.
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
            // The change item knows.
            Err(unknown) if unknown.may_have_taken_effect() => {
                match self.store.large_changes().is_committed(&pending).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return Err(unknown),
                }
            }
            Err(no) => {
                self.store.large_changes().abort_or_leave_to_worker(&pending).await;
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
        ErrorKind::Unavailable,
        "A large change of this group is still being applied. Nothing of this request was done; send it again in a minute.",
    )
}
