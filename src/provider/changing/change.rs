//! The loop in which a stored resource is changed: read, compute, write on condition, answer.

use std::time::Instant;

use futures_util::future::try_join;
use serde_json::{Map, Value};

use super::Changing;
use super::computed_change::{ComputedChange, are_all_conditioned};
use super::new_members::{ReadOrder, SeenMembers};
use super::staged_change::still_changing;
use super::unread_change::UnreadChange;
use crate::limits::{
    CHANGE_RETRIES, GROUP_CHANGE_RETRIES, MAX_APPLYING_IN_REQUEST, MAX_MEMBER_CHANGES_PER_TX,
    MAX_MEMBERS_IN_ANSWER, MAX_MEMBERS_IN_CHANGE_ANSWER, MAX_TRYING_IN_REQUEST,
};
use crate::provider::ResourceRequest;
use crate::provider::answer::{Answer, Relations, not_found};
use crate::provider::failure::{Failure, may_succeed_on_retry, too_many_conflicts};
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::note_texts::NoteKind;
use crate::scim::patch::members::MemberChange;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::Event;
use crate::store::known_groups::GroupTurn;
use crate::store::large_change::detach::DoneDetachment;
use crate::store::members::WholeGroup;
use crate::store::members::view::GroupView;
use crate::store::membership::MemberChanges;
use crate::store::record::Record;
use crate::store::resource::ResourceUpdate;
use crate::store::retry::Attempts;
use crate::store::transaction::Action;

/// What became of one attempt to write a change.
enum WriteAttempt {
    /// The resource is as the change leaves it.
    Done(Record),
    /// There was nothing to change.
    Unchanged(Record),
    /// The resource or a member is not as it was read.
    Outdated(Vec<Refusal>),
    /// Another transaction on the group was under way, or the table throttled.
    Busy(StoreError),
    /// The change of a few members does not fit a transaction. It can be staged if the group was read before them.
    TooLarge,
}

impl Changing<'_> {
    /// Reads a resource, computes its new document, writes it on the condition that the resource is still
    /// as read, and starts over if it is not. A change of nothing writes nothing. A change of a few members
    /// is first written without a read (`unread_change`): `assumed` is what it assumes of the members. `None`
    /// for any other change.
    ///
    /// # Errors
    /// Those of `compute`. 404, 412. 409 for a unique value that is taken, and for a resource that changes
    /// all the time. 503 while a large change of the resource is being applied.
    pub(super) async fn change_stored(
        &self,
        request: &ResourceRequest<'_>,
        members: Option<MemberChange<'_>>,
        assumed: Option<SeenMembers>,
        compute: impl Fn(&Record, &Map<String, Value>) -> Result<Map<String, Value>, ScimError>,
    ) -> Result<Answer, Failure> {
        let members = members.as_ref();
        let known = &self.provider.known_groups;
        // Without it, a change of many members is overtaken again and again by changes of few.
        let mut turn = match members {
            Some(_) => Some(known.turn(&self.provider.store.tenant, request.id).await),
            None => None,
        };
        let mut unread = UnreadChange::Refused(None);
        if let (Some(members), Some(assumed), Some(turn)) = (members, assumed, turn.as_mut()) {
            unread = self.change_unread(request, (members, assumed), turn, &compute).await?;
        }
        let after = match unread {
            UnreadChange::Written(after) => *after,
            UnreadChange::Refused(seen) => {
                self.change_read(request, members, (&mut turn, seen), &compute).await?
            }
        };
        // The next request need not wait until this one is answered.
        drop(turn);
        Ok(self.answer_change(&after, request.projection).await)
    }

    /// The loop of a change. `seen` is what is known of the members before the first attempt.
    async fn change_read(
        &self,
        request: &ResourceRequest<'_>,
        members: Option<&MemberChange<'_>>,
        (turn, mut seen): (&mut Option<GroupTurn>, Option<SeenMembers>),
        compute: &impl Fn(&Record, &Map<String, Value>) -> Result<Map<String, Value>, ScimError>,
    ) -> Result<Record, Failure> {
        let until = Instant::now() + MAX_APPLYING_IN_REQUEST;
        let limit = if request.kind == Kind::Group { GROUP_CHANGE_RETRIES } else { CHANGE_RETRIES };
        let mut attempts = Attempts::within(limit, MAX_TRYING_IN_REQUEST);
        let mut busy = None;
        let mut order = ReadOrder::Together;
        while attempts.start_next().await {
            let seen_before = seen.take();
            let is_recalled = seen_before.is_some();
            let view = self.read_view(request, members, seen_before, order).await?;
            if !self.finish_pending(&view.record, until).await? {
                continue;
            }
            // The admin guard asks what each member is.
            if is_recalled && view.record.guarded {
                continue;
            }
            let now_seen = SeenMembers::of(&view);
            let change = self.compute_change(view, members, compute).await?;
            let before = change.before.version;
            let is_conditioned = are_all_conditioned(members, &change.members);
            busy = None;
            match self.write_change(change, order, until).await? {
                WriteAttempt::Done(after) => {
                    self.note_written(turn.as_mut(), &after, before);
                    return Ok(after);
                }
                // What was read is not noted: the trail of the group was not followed.
                WriteAttempt::Unchanged(after) => return Ok(after),
                WriteAttempt::Outdated(refusals) => {
                    let is_of_group = refusals.iter().all(|refusal| *refusal == Refusal::Changed);
                    seen = (is_of_group && is_conditioned).then_some(now_seen);
                }
                WriteAttempt::Busy(failed) => {
                    busy = Some(failed);
                    seen = is_conditioned.then_some(now_seen);
                }
                WriteAttempt::TooLarge => order = ReadOrder::GroupFirst,
            }
        }
        Err(busy.map_or_else(|| too_many_conflicts().into(), Failure::from))
    }

    /// Reads what a change must know of a resource, and checks the preconditions. Where it is known what the
    /// members are, only the group is read.
    ///
    /// # Errors
    /// 404, 412.
    async fn read_view(
        &self,
        request: &ResourceRequest<'_>,
        members: Option<&MemberChange<'_>>,
        seen: Option<SeenMembers>,
        order: ReadOrder,
    ) -> Result<GroupView, Failure> {
        // What is staged has no conditions on its members, so they must be read anew.
        let seen = seen.filter(|_| order == ReadOrder::Together);
        let view = match (request.kind, seen) {
            (Kind::Group, None) => self.view_group(request.id, members, order).await?,
            (kind, seen) => {
                let record = self.provider.store.fetch(kind, request.id).await?;
                record.map(|record| seen.unwrap_or_default().into_view(record))
            }
        };
        let view = view.ok_or_else(|| not_found(request.kind))?;
        request.preconditions.check(view.record.version)?;
        Ok(view)
    }

    /// Finishes a large change of the resource that is still being applied. Returns whether there was none:
    /// otherwise the resource must be read again.
    ///
    /// # Errors
    /// 503 if there is no time to finish it.
    pub(super) async fn finish_pending(&self, record: &Record, until: Instant) -> Result<bool, Failure> {
        let Some(change) = record.change else { return Ok(true) };
        if !self.provider.store.large_changes().finish(change, until).await? {
            return Err(still_changing().into());
        }
        Ok(false)
    }

    /// Writes a change.
    ///
    /// # Errors
    /// Those of the tenant's rules and of the table, if another attempt cannot succeed.
    async fn write_change(
        &self,
        mut change: ComputedChange,
        order: ReadOrder,
        until: Instant,
    ) -> Result<WriteAttempt, Failure> {
        if change.is_empty() {
            self.provider.work.notes.add(NoteKind::Unchanged, "");
            return Ok(WriteAttempt::Unchanged(change.after));
        }
        change.raise_version();
        let written = self.commit_change(&mut change, order, until).await?;
        match written {
            Ok(()) => {
                if change.converts {
                    self.provider.work.notes.add(NoteKind::Converted, "");
                }
                Ok(WriteAttempt::Done(change.after))
            }
            Err(StoreError::Refused(refusals)) if may_succeed_on_retry(&refusals) => {
                for refusal in &refusals {
                    // Someone who is deleted and has not left the group yet is brought to do so.
                    if let Some(id) = refusal.member() {
                        let changes = self.provider.store.large_changes();
                        changes.detach_from_groups(id, DoneDetachment::KeepForReaders, until).await?;
                    }
                }
                Ok(WriteAttempt::Outdated(refusals))
            }
            Err(busy @ (StoreError::Conflict | StoreError::Throttled))
                if change.after.kind == Kind::Group =>
            {
                Ok(WriteAttempt::Busy(busy))
            }
            Err(StoreError::TransactionTooLarge)
                if order == ReadOrder::Together && change.members.len() > 1 =>
            {
                Ok(WriteAttempt::TooLarge)
            }
            Err(failed) => Ok(WriteAttempt::Done(self.unless_lost(change.after, failed).await?)),
        }
    }

    /// Finds out whether a write took effect that the table did not answer.
    ///
    /// # Errors
    /// `failed`, if the write has no effect.
    pub(super) async fn unless_lost(&self, after: Record, failed: StoreError) -> Result<Record, Failure> {
        // Only the table knows whether the write took effect.
        if failed.may_have_taken_effect() && matches!(self.provider.store.took_effect(&after).await, Ok(true))
        {
            return Ok(after);
        }
        Err(failed.into())
    }

    /// Writes a change in one transaction, or stages its members and commits them. The inner result is that
    /// of the transaction.
    async fn commit_change(
        &self,
        change: &mut ComputedChange,
        order: ReadOrder,
        until: Instant,
    ) -> Result<Result<(), StoreError>, Failure> {
        let (warning, extra_actions) = try_join(self.warning_of(change), self.extra_actions(change)).await?;
        let event = Event { warning, ..self.change_event(change) };
        let extra_actions = &*extra_actions;
        let store = &self.provider.store;
        let ty = self.provider.ty(change.before.kind);
        let ComputedChange { before, after, members, .. } = change;
        if members.len() <= MAX_MEMBER_CHANGES_PER_TX {
            let update = ResourceUpdate {
                before,
                is_recalled: false,
                after,
                members: members.as_changes(),
                ty,
                event: &event,
                extra_actions,
            };
            // What meets another change of a group is refused for its version afterwards. So the group is read
            // again.
            let updated = match before.kind {
                Kind::Group => store.try_update(&update).await,
                Kind::User => store.update(&update).await,
            };
            // Few, but so large that they fit no transaction together.
            let apart = members.len() > 1 && matches!(updated, Err(StoreError::TransactionTooLarge));
            if !apart || order == ReadOrder::Together {
                return Ok(updated);
            }
        }
        let staged = self.stage(after, &mut members.add, &members.remove).await?;
        let event = event.of_commit(staged.parts);
        let members = MemberChanges::default();
        let update =
            ResourceUpdate { before, is_recalled: false, after, members, ty, event: &event, extra_actions };
        let committed = store.update(&update).await;
        Ok(self.finish_commit(staged, committed, until).await)
    }

    /// Returns the actions that the tenant's rules add to the transaction of a change: the guard of the
    /// root team, and the count of deactivations.
    ///
    /// # Errors
    /// The refusals of these rules; 503 if the table does not answer; 500 if an item cannot be read.
    pub(super) async fn extra_actions(&self, change: &ComputedChange) -> Result<Vec<Action>, Failure> {
        let ComputedChange { before, after, members, .. } = change;
        self.refuse_protected_user(before, Some(after)).await?;
        let guard = match before.kind {
            Kind::User => self.guard_user(before, Some(after)).await?,
            Kind::Group => self.guard_members(before, &members.add, &members.remove).await?,
        };
        let count = self.count_deactivation(before, Some(after)).await?;
        Ok(guard.into_iter().chain(count).collect())
    }

    /// Answers a change that was made. If what the answer shows cannot be read, it has no body.
    async fn answer_change(&self, after: &Record, projection: &Projection) -> Answer {
        let read = match after.kind {
            Kind::User => self.provider.answer_user(after, projection).await,
            Kind::Group if self.shows_members(after, projection) => {
                self.answer_group(after, projection).await
            }
            Kind::Group => {
                let silent =
                    projection.wants(self.provider.ty(Kind::Group), MEMBERS) && after.digest.count > 0;
                let body = || self.provider.write_projected(after, &Relations::default(), projection);
                Ok(self.provider.answer(after, (!silent).then(body)))
            }
        };
        read.unwrap_or_else(|failure| {
            let source = failure.source.unwrap_or(failure.error.detail);
            tracing::warn!(%source, "a change is answered without a body");
            self.provider.answer(after, None)
        })
    }

    /// Whether the answer to a change holds members: those of a group with at most
    /// [`MAX_MEMBERS_IN_CHANGE_ANSWER`], or where the client asks for them and an answer has room for them.
    fn shows_members(&self, after: &Record, projection: &Projection) -> bool {
        let count = after.digest.count;
        let most = match projection.names_attribute(MEMBERS) {
            true => MAX_MEMBERS_IN_ANSWER,
            false => MAX_MEMBERS_IN_CHANGE_ANSWER,
        };
        projection.wants(self.provider.ty(Kind::Group), MEMBERS) && (1..=most).contains(&count)
    }

    async fn answer_group(&self, after: &Record, projection: &Projection) -> Result<Answer, Failure> {
        match self.provider.store.members().fetch_groups(&[after.id], Some(after.version)).await?.pop() {
            Some(WholeGroup { record, members }) => {
                let relations = Relations { members: Some(&members), ..Relations::default() };
                Ok(self
                    .provider
                    .answer(&record, Some(self.provider.write_projected(&record, &relations, projection))))
            }
            // Deleted in the moment after the change.
            None => Ok(self.provider.answer(after, None)),
        }
    }
}
