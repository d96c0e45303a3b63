//! `DELETE /Users/{id}`, `DELETE /Groups/{id}` (RFC 7644 §3.6).

use std::time::Instant;

use futures_util::future::try_join;
use uuid::Uuid;

use super::Changing;
use super::staged_change::still_changing;
use crate::clock;
use crate::limits::{DELETION_RETRIES, MAX_APPLYING_IN_REQUEST};
use crate::provider::answer::not_found;
use crate::provider::failure::{Failure, may_succeed_on_retry, too_many_conflicts};
use crate::provider::precondition::Preconditions;
use crate::scim::policy::DeleteUser;
use crate::scim::resource_type::Kind;
use crate::store::delete::{DeletionFit, Detachment, ResourceDeletion};
use crate::store::error::StoreError;
use crate::store::large_change::pending_change::PendingChange;
use crate::store::large_change::settle::SettledChanges;
use crate::store::members::WholeGroup;
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::retry::Attempts;
use crate::store::transaction::Action;

const SECONDS_A_DAY: u64 = 86_400;

/// What one transaction could not hold at an earlier attempt, few as they are: then it goes after the
/// deletion.
#[derive(Clone, Copy, Default)]
struct TooLarge {
    members: bool,
    groups: bool,
}

/// A resource that is about to be deleted.
struct Doomed {
    record: Record,
    /// The large changes that name it, without it.
    settled: SettledChanges,
    /// Whether its members and its own memberships fit the transaction.
    fit: DeletionFit,
    /// The members that leave in the transaction. `None` if they leave after it.
    members: Option<Vec<Membership>>,
}

impl Changing<'_> {
    /// Deletes a resource and its memberships. Under policies that keep accounts, a user is
    /// deactivated: gone from every answer, and back under the same id when its `userName` is
    /// created again. Memberships too many for one transaction go after it; no answer shows them.
    ///
    /// # Errors
    /// 404, 412. 409 for a resource that changes all the time. 503 while a large change of the resource is
    /// being applied. 400 where a rule of the tenant refuses the deletion.
    pub async fn delete(&self, kind: Kind, id: Uuid, preconditions: &Preconditions) -> Result<(), Failure> {
        let until = Instant::now() + MAX_APPLYING_IN_REQUEST;
        let mut too_large = TooLarge::default();
        let mut attempts = Attempts::new(DELETION_RETRIES);
        while attempts.start_next().await {
            let Some(doomed) = self.read_doomed(kind, id, preconditions, until).await? else { continue };
            let Some(doomed) = self.fit_members(doomed, too_large).await? else { continue };
            match self.commit_deletion(&doomed).await? {
                Ok(left) => {
                    self.forget_groups(&doomed.record);
                    for change in left {
                        self.apply_until(&change, until).await;
                    }
                    return Ok(());
                }
                Err(StoreError::Refused(refusals)) if may_succeed_on_retry(&refusals) => {}
                Err(StoreError::TransactionTooLarge)
                    if doomed.members.is_some_and(|members| !members.is_empty()) =>
                {
                    too_large.members = true;
                }
                Err(StoreError::TransactionTooLarge)
                    if doomed.fit.groups && !doomed.record.groups.is_empty() =>
                {
                    too_large.groups = true;
                }
                Err(failed) => {
                    // Only the table knows whether the deletion took effect. The worker does what it left to do.
                    let is_gone = failed.may_have_taken_effect()
                        && matches!(self.provider.store.is_gone(kind, id).await, Ok(true));
                    if !is_gone {
                        return Err(failed.into());
                    }
                    self.forget_groups(&doomed.record);
                    return Ok(());
                }
            }
        }
        Err(too_many_conflicts().into())
    }

    /// Forgets the groups that a deletion has changed: those that the resource has left are in their next version.
    fn forget_groups(&self, record: &Record) {
        for group in record.groups.iter().chain([&record.id]) {
            self.provider.known_groups.forget(&self.provider.store.tenant, *group);
        }
    }

    /// Reads a resource that is to be deleted, and takes it out of the large changes that name it. `None` if
    /// it must be read again.
    ///
    /// # Errors
    /// 404, 412, 503 if there is no time to finish its large change.
    async fn read_doomed(
        &self,
        kind: Kind,
        id: Uuid,
        preconditions: &Preconditions,
        until: Instant,
    ) -> Result<Option<Doomed>, Failure> {
        let store = &self.provider.store;
        let (record, pending) = try_join(store.fetch(kind, id), store.large_changes().list()).await?;
        let mut record = record.ok_or_else(|| not_found(kind))?;
        preconditions.check(record.version)?;
        if !self.finish_pending(&record, until).await? {
            return Ok(None);
        }
        let mut settled = SettledChanges::default();
        if !pending.is_empty() {
            let Some(done) = store.large_changes().settle(&record, &pending, until).await? else {
                return if Instant::now() >= until { Err(still_changing().into()) } else { Ok(None) };
            };
            settled = done;
            record = store.fetch(kind, id).await?.ok_or_else(|| not_found(kind))?;
        }
        let fit = DeletionFit::of(&record, record.digest.count, &settled, self.provider.ty(kind));
        Ok(Some(Doomed { record, settled, fit, members: None }))
    }

    /// Decides what leaves in the transaction, and reads the members that do. `None` if the group was changed
    /// meanwhile.
    async fn fit_members(&self, mut doomed: Doomed, too_large: TooLarge) -> Result<Option<Doomed>, Failure> {
        doomed.fit.members &= !too_large.members;
        doomed.fit.groups &= !too_large.groups;
        doomed.members = doomed.fit.members.then(Vec::new);
        let record = &doomed.record;
        if !doomed.fit.members || record.digest.count == 0 {
            return Ok(Some(doomed));
        }
        let read = self.provider.store.members().fetch_group(record.id).await?;
        let Some(WholeGroup { members: found, .. }) =
            read.filter(|read| read.record.version == record.version)
        else {
            return Ok(None);
        };
        // Someone who is a member and has this group as a member would be written twice:
        // such members go after it. So do more than were counted.
        let mutual = found.iter().any(|member| record.groups.contains(&member.id));
        let fits = !mutual && found.len() as u64 <= record.digest.count;
        doomed.members = fits.then_some(found);
        Ok(Some(doomed))
    }

    /// Deletes a resource in one transaction. The inner result is that of the transaction: the changes that
    /// are left to apply.
    ///
    /// # Errors
    /// 400 where a rule of the tenant refuses the deletion.
    async fn commit_deletion(
        &self,
        doomed: &Doomed,
    ) -> Result<Result<Vec<PendingChange>, StoreError>, Failure> {
        let Doomed { record, settled, fit, members } = doomed;
        let kind = record.kind;
        let kept = kind == Kind::User && self.provider.model.policy.delete_user == DeleteUser::Deactivate;
        let event_type = match kind {
            Kind::User if kept => "user.deactivated",
            Kind::User => "user.deleted",
            Kind::Group => "group.deleted",
        };
        // The deletion is a version of its own, which a reactivation follows.
        let event = self.provider.store.event_of_version(event_type, record, record.version + 1);
        let retention = u64::from(self.provider.retention_days) * SECONDS_A_DAY;
        let tombstone_until = clock::epoch_seconds() + retention;
        let deletion = ResourceDeletion {
            record,
            members: members.as_deref(),
            groups: if fit.groups { Detachment::Now } else { Detachment::Later },
            settled,
            ty: self.provider.ty(kind),
            event: &event,
            tombstone_until: kept.then_some(tombstone_until),
            extra_actions: &self.rules_of_deletion(record).await?,
        };
        Ok(self.provider.store.delete(&deletion).await)
    }

    /// Returns the actions that the tenant's rules add to a deletion.
    ///
    /// # Errors
    /// The refusals of these rules.
    async fn rules_of_deletion(&self, record: &Record) -> Result<Vec<Action>, Failure> {
        self.refuse_protected_user(record, None).await?;
        let guard = match record.kind {
            Kind::User => self.guard_user(record, None).await?,
            Kind::Group => self.guard_group_deleted(record).await?,
        };
        let count = self.count_deactivation(record, None).await?;
        Ok(guard.into_iter().chain(count).collect())
    }
}
