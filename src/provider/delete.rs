//! `DELETE /Users/{id}`, `DELETE /Groups/{id}` (RFC 7644 §3.6).

use uuid::Uuid;

use super::answer::{Provider, not_found};
use super::failure::{Failure, conflict};
use super::precondition::Preconditions;
use crate::clock;
use crate::scim::policy::DeleteUser;
use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};

/// How often a deletion is begun anew because the resource was changed meanwhile.
const ATTEMPTS: usize = 50;
const SECONDS_A_DAY: u64 = 86_400;

impl Provider<'_> {
    /// Deletes a resource and its memberships. Under policies that keep accounts, a user is
    /// deactivated: gone from every answer, and back under the same id when its `userName` is
    /// created again.
    ///
    /// # Errors
    /// 404, 412.
    pub async fn delete(&self, kind: Kind, id: Uuid, preconditions: &Preconditions) -> Result<(), Failure> {
        let ty = self.ty(kind);
        let mut checked = false;
        for _ in 0..ATTEMPTS {
            let (record, members) = match kind {
                Kind::User => (self.store.fetch(kind, id).await?, Vec::new()),
                Kind::Group => match self.store.fetch_group(id).await? {
                    Some((record, members)) => (Some(record), members),
                    None => (None, Vec::new()),
                },
            };
            let record = record.ok_or_else(|| not_found(kind))?;
            // Only before the first window: what follows is this request's own doing.
            if !checked {
                preconditions.check(record.version)?;
            }
            if self.store.fits(&record, members.len(), ty) {
                let kept = kind == Kind::User && self.model.policy.delete_user == DeleteUser::Deactivate;
                let event_type = match kind {
                    Kind::User if kept => "user.deactivated",
                    Kind::User => "user.deleted",
                    Kind::Group => "group.deleted",
                };
                let event = self.store.event(event_type, &record);
                let until = clock::epoch_seconds() + u64::from(self.retention_days) * SECONDS_A_DAY;
                match self.store.delete(&record, &members, ty, &event, kept.then_some(until)).await {
                    Ok(()) => return Ok(()),
                    Err(StoreError::Refused(refusals)) if changed(&refusals) => continue,
                    Err(failed) => return Err(failed.into()),
                }
            }
            checked = true;
            if !members.is_empty() {
                self.change_members(record, &[], &members).await?;
            } else {
                match self.store.leave_some(&record).await {
                    Err(StoreError::Refused(refusals)) if !changed(&refusals) => {
                        return Err(StoreError::Refused(refusals).into());
                    }
                    Ok(()) | Err(StoreError::Refused(_)) => {}
                    Err(failed) => return Err(failed.into()),
                }
            }
        }
        Err(conflict().into())
    }
}

fn changed(refusals: &[Refusal]) -> bool {
    refusals.iter().all(|refusal| matches!(refusal, Refusal::Changed | Refusal::Member(_)))
}
