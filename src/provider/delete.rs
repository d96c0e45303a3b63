//! `DELETE /Users/{id}`, `DELETE /Groups/{id}` (RFC 7644 §3.6).

use std::time::Instant;

use futures_util::future::try_join;
use uuid::Uuid;

use super::answer::{Provider, not_found};
use super::failure::{Failure, conflict, may_succeed_on_retry};
use super::large::{APPLYING, still_changing};
use super::precondition::Preconditions;
use crate::clock;
use crate::scim::policy::DeleteUser;
use crate::scim::resource_type::Kind;
use crate::store::delete::{DeletionFit, Detachment, ResourceDeletion};
use crate::store::error::StoreError;
use crate::store::large_change::settle::SettledChanges;
use crate::store::transaction::Action;

/// How often a deletion is begun anew because the resource was changed meanwhile.
const ATTEMPTS: usize = 50;
const SECONDS_A_DAY: u64 = 86_400;

impl Provider<'_> {
    /// Deletes a resource and its memberships. Under policies that keep accounts, a user is
    /// deactivated: gone from every answer, and back under the same id when its `userName` is
    /// created again. Memberships too many for one transaction go after it; no answer shows them.
    ///
    /// # Errors
    /// 404, 412.
    pub async fn delete(&self, kind: Kind, id: Uuid, preconditions: &Preconditions) -> Result<(), Failure> {
        let ty = self.ty(kind);
        let until = Instant::now() + APPLYING;
        // Whether members and groups, few as they are, may be too large for one transaction.
        let (mut members_apart, mut groups_apart) = (false, false);
        for _ in 0..ATTEMPTS {
            let (record, pending) =
                try_join(self.store.fetch(kind, id), self.store.large_changes().list()).await?;
            let mut record = record.ok_or_else(|| not_found(kind))?;
            preconditions.check(record.version)?;
            if let Some(change) = record.change {
                if !self.store.large_changes().finish(change, until).await? {
                    return Err(still_changing().into());
                }
                continue;
            }
            let mut settled = SettledChanges::default();
            if !pending.is_empty() {
                let Some(done) = self.store.large_changes().settle(&record, &pending, until).await? else {
                    if Instant::now() >= until {
                        return Err(still_changing().into());
                    }
                    continue;
                };
                settled = done;
                record = self.store.fetch(kind, id).await?.ok_or_else(|| not_found(kind))?;
            }
            let mut fit = DeletionFit::of(&record, record.digest.count, &settled, ty);
            fit.members &= !members_apart;
            fit.groups &= !groups_apart;
            let mut members = fit.members.then(Vec::new);
            if fit.members && record.digest.count > 0 {
                let Some(read) = self.store.members().fetch_group(id).await? else { continue };
                if read.record.version != record.version {
                    continue;
                }
                // Someone who is a member and has this group as a member would be written twice:
                // such members go after it. So do more than were counted.
                let found = read.members;
                let mutual = found.iter().any(|member| record.groups.contains(&member.id));
                let fits = !mutual && found.len() as u64 <= record.digest.count;
                members = fits.then_some(found);
            }
            let kept = kind == Kind::User && self.model.policy.delete_user == DeleteUser::Deactivate;
            let event_type = match kind {
                Kind::User if kept => "user.deactivated",
                Kind::User => "user.deleted",
                Kind::Group => "group.deleted",
            };
            // The deletion is a version of its own, which a reactivation follows.
            let event = self.store.event_of_version(event_type, &record, record.version + 1);
            let tombstone_until = clock::epoch_seconds() + u64::from(self.retention_days) * SECONDS_A_DAY;
            self.refuse_protected_user(&record, None).await?;
            let guard = match kind {
                Kind::User => self.guard_user(&record, None).await?,
                Kind::Group => self.guard_group_deleted(&record).await?,
            };
            let count = self.count_deactivation(&record, None).await?;
            let extra_actions: Vec<Action> = guard.into_iter().chain(count).collect();
            let deletion = ResourceDeletion {
                record: &record,
                members: members.as_deref(),
                groups: if fit.groups { Detachment::Now } else { Detachment::Later },
                settled: &settled,
                ty,
                event: &event,
                tombstone_until: kept.then_some(tombstone_until),
                extra_actions: &extra_actions,
            };
            match self.store.delete(&deletion).await {
                Ok(left) => {
                    for change in left {
                        self.apply_until(&change, until).await;
                    }
                    return Ok(());
                }
                Err(StoreError::Refused(refusals)) if may_succeed_on_retry(&refusals) => {}
                Err(StoreError::TransactionTooLarge)
                    if members.is_some_and(|members| !members.is_empty()) =>
                {
                    members_apart = true;
                }
                Err(StoreError::TransactionTooLarge) if fit.groups && !record.groups.is_empty() => {
                    groups_apart = true;
                }
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(conflict().into())
    }
}
