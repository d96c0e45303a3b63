//! The loop in which a stored resource is changed: read, compute, write on condition, answer.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value};

use super::Changing;
use super::new_members::group_view;
use super::staged_change::still_changing;
use crate::clock;
use crate::limits::{
    CHANGE_RETRIES, MAX_APPLYING_IN_REQUEST, MAX_MEMBER_CHANGES_PER_TX, MAX_MEMBERS_IN_CHANGE_ANSWER,
};
use crate::provider::ResourceRequest;
use crate::provider::answer::{Answer, Relations, not_found};
use crate::provider::failure::{Failure, may_succeed_on_retry, too_many_conflicts};
use crate::scim::absent::is_active;
use crate::scim::error::ScimError;
use crate::scim::members::{MEMBERS, Member};
use crate::scim::note_texts::NoteKind;
use crate::scim::patch::members::MemberChange;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::username;
use crate::scim::work::document_steps;
use crate::store::error::StoreError;
use crate::store::event::Event;
use crate::store::index;
use crate::store::keys::parse_id;
use crate::store::large_change::detach::DoneDetachment;
use crate::store::members::WholeGroup;
use crate::store::members::view::GroupView;
use crate::store::membership::{MemberChanges, Membership};
use crate::store::record::{Account, Record};
use crate::store::resource::ResourceUpdate;
use crate::store::retry::Attempts;
use crate::store::transaction::Action;

/// How often a change goes through the whole document: it is read, copied, changed, compared, checked and
/// written.
const PASSES: u64 = 10;

const BREAK_GLASS_CONVERTED: &str =
    "an administrator's local account is managed by the identity provider from now on";

/// The members that a change adds to a group and removes from it. No member is in both.
#[derive(Default)]
struct MembershipDelta {
    add: Vec<Membership>,
    remove: Vec<Membership>,
}

impl MembershipDelta {
    fn len(&self) -> usize {
        self.add.len() + self.remove.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn as_changes(&self) -> MemberChanges<'_> {
        MemberChanges { add: &self.add, remove: &self.remove }
    }
}

/// What a change makes of a resource.
struct ComputedChange {
    before: Record,
    after: Record,
    members: MembershipDelta,
    /// Whether the identity provider takes over a local account.
    converts: bool,
}

impl ComputedChange {
    fn is_empty(&self) -> bool {
        self.after.doc == self.before.doc && self.members.is_empty() && !self.converts
    }
}

impl Changing<'_> {
    /// Reads a resource, computes its new document, writes it on the condition that the resource is still
    /// as read, and starts over if it is not. A change of nothing writes nothing.
    ///
    /// # Errors
    /// Those of `compute`. 404, 412. 409 for a unique value that is taken, and for a resource that changes
    /// all the time. 503 while a large change of the resource is being applied.
    pub(super) async fn change_stored(
        &self,
        request: &ResourceRequest<'_>,
        members: Option<MemberChange<'_>>,
        compute: impl Fn(&Record, &Map<String, Value>) -> Result<Map<String, Value>, ScimError>,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + MAX_APPLYING_IN_REQUEST;
        let mut attempts = Attempts::new(CHANGE_RETRIES);
        while attempts.start_next().await {
            let view = self.read_view(request, members.as_ref()).await?;
            if !self.finish_pending(&view.record, until).await? {
                continue;
            }
            let change = self.compute_change(view, members.as_ref(), &compute).await?;
            if let Some(after) = self.write_change(change, until).await? {
                return Ok(self.answer_change(&after, request.projection).await);
            }
        }
        Err(too_many_conflicts().into())
    }

    /// Reads what a change must know of a resource, and checks the preconditions.
    ///
    /// # Errors
    /// 404, 412.
    async fn read_view(
        &self,
        request: &ResourceRequest<'_>,
        members: Option<&MemberChange<'_>>,
    ) -> Result<GroupView, Failure> {
        let view = match request.kind {
            Kind::Group => self.view_group(request.id, members).await?,
            Kind::User => {
                let record = self.provider.store.fetch(request.kind, request.id).await?;
                record.map(|record| group_view(record, Vec::new()))
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

    /// Computes the new document and the members that come and go.
    async fn compute_change(
        &self,
        view: GroupView,
        members: Option<&MemberChange<'_>>,
        compute: impl Fn(&Record, &Map<String, Value>) -> Result<Map<String, Value>, ScimError>,
    ) -> Result<ComputedChange, Failure> {
        let provider = self.provider;
        let before = view.record.clone();
        provider.work.spend(PASSES * document_steps(&before.doc))?;
        let mut after = before.clone();
        after.doc = compute(&before, &provider.represent(&before, &Relations::default()))?;
        if before.kind == Kind::User {
            username::check_change(Some(&before.doc), &after.doc)?;
        }
        index::check(provider.ty(before.kind), &after.doc, &provider.work)?;
        let members = match members {
            Some(members) => self.compute_members(view, members).await?,
            None => MembershipDelta::default(),
        };
        let ids = |members: &[Membership]| members.iter().map(|member| member.id).collect::<Vec<_>>();
        after.digest = before.digest.with(ids(&members.add)).without(ids(&members.remove));
        let converts = before.kind == Kind::User
            && before.account == Account::Local
            && provider.model.policy.converts_local_accounts;
        if converts {
            after.account = Account::Sso;
        }
        Ok(ComputedChange { before, after, members, converts })
    }

    /// Computes the members that come and go.
    ///
    /// # Errors
    /// One `invalidValue` that names all members that do not exist.
    async fn compute_members(
        &self,
        view: GroupView,
        members: &MemberChange<'_>,
    ) -> Result<MembershipDelta, Failure> {
        let current: BTreeMap<String, Member> =
            view.present.values().map(|m| (m.id.to_string(), m.member())).collect();
        let net = members.net(&current, &self.provider.work)?;
        // A group that makes administrators must know at once who is a user.
        let staged = net.len() > MAX_MEMBER_CHANGES_PER_TX && !view.record.guarded;
        let add = match staged {
            true => self.assume_new_members(net.add, view.candidates).await?,
            false => self.resolve_new_members(net.add, view.candidates).await?,
        };
        let remove = net.remove.iter();
        let remove =
            remove.filter_map(|id| parse_id(id).and_then(|id| view.present.get(&id).cloned())).collect();
        Ok(MembershipDelta { add, remove })
    }

    /// Writes a change. `None` if the resource was changed since it was read.
    async fn write_change(
        &self,
        mut change: ComputedChange,
        until: Instant,
    ) -> Result<Option<Record>, Failure> {
        if change.is_empty() {
            self.provider.work.notes.add(NoteKind::Unchanged, "");
            return Ok(Some(change.after));
        }
        change.after.version += 1;
        change.after.modified = clock::timestamp();
        let written = self.commit_change(&mut change, until).await?;
        match written {
            Ok(()) => {
                if change.converts {
                    self.provider.work.notes.add(NoteKind::Converted, "");
                }
                Ok(Some(change.after))
            }
            Err(StoreError::Refused(refusals)) if may_succeed_on_retry(&refusals) => {
                for refusal in refusals {
                    // Someone who is deleted and has not left the group yet is brought to do so.
                    if let Some(id) = refusal.member() {
                        let changes = self.provider.store.large_changes();
                        changes.detach_from_groups(id, DoneDetachment::KeepForReaders, until).await?;
                    }
                }
                Ok(None)
            }
            // Only the table knows whether the write took effect.
            Err(unknown) if unknown.may_have_taken_effect() => {
                match self.provider.store.took_effect(&change.after).await {
                    Ok(true) => Ok(Some(change.after)),
                    Ok(false) | Err(_) => Err(unknown.into()),
                }
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// Writes a change in one transaction, or stages its members and commits them. The inner result is that
    /// of the transaction.
    async fn commit_change(
        &self,
        change: &mut ComputedChange,
        until: Instant,
    ) -> Result<Result<(), StoreError>, Failure> {
        let event = self.change_event(change);
        let extra_actions = &*self.extra_actions(change).await?;
        let store = &self.provider.store;
        let ty = self.provider.ty(change.before.kind);
        let ComputedChange { before, after, members, .. } = change;
        if members.len() <= MAX_MEMBER_CHANGES_PER_TX {
            let update = ResourceUpdate {
                before,
                after,
                members: members.as_changes(),
                ty,
                event: &event,
                extra_actions,
            };
            let updated = store.update(&update).await;
            // Few, but so large that they fit no transaction together.
            let apart = members.len() > 1 && matches!(updated, Err(StoreError::TransactionTooLarge));
            if !apart {
                return Ok(updated);
            }
        }
        let staged = self.stage(after, &mut members.add, &members.remove).await?;
        let event = event.of_commit(staged.parts);
        let members = MemberChanges::default();
        let update = ResourceUpdate { before, after, members, ty, event: &event, extra_actions };
        let committed = store.update(&update).await;
        Ok(self.finish_commit(staged, committed, until).await)
    }

    /// Returns the actions that the tenant's rules add to the transaction of a change: the guard of the
    /// root team, and the count of deactivations.
    ///
    /// # Errors
    /// The refusals of these rules, and those of the table.
    async fn extra_actions(&self, change: &ComputedChange) -> Result<Vec<Action>, Failure> {
        let ComputedChange { before, after, members, .. } = change;
        self.refuse_protected_user(before, Some(after)).await?;
        let guard = match before.kind {
            Kind::User => self.guard_user(before, Some(after)).await?,
            Kind::Group => self.guard_members(before, &members.add, &members.remove).await?,
        };
        let count = self.count_deactivation(before, Some(after)).await?;
        Ok(guard.into_iter().chain(count).collect())
    }

    fn change_event(&self, change: &ComputedChange) -> Event {
        let ComputedChange { before, after, members, converts } = change;
        let (was_active, active) = (is_active(&before.doc), is_active(&after.doc));
        let event_type = match before.kind {
            Kind::Group => "group.updated",
            Kind::User if *converts => "user.converted",
            Kind::User if was_active && !active => "user.deactivated",
            Kind::User if active && !was_active => "user.reactivated",
            Kind::User => "user.updated",
        };
        let mut names: Vec<String> = Vec::new();
        for name in before.doc.keys().chain(after.doc.keys()) {
            if before.doc.get(name) != after.doc.get(name) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        if !members.is_empty() {
            names.push(MEMBERS.to_owned());
        }
        let ids = |members: &[Membership]| members.iter().map(|m| m.id).collect();
        let event = self.provider.store.event(event_type, after);
        let mut event = event.attributes(names).members(ids(&members.add), ids(&members.remove));
        // The account that is kept for the day on which the identity provider does not answer.
        if *converts && before.guarded {
            event.warning = Some(BREAK_GLASS_CONVERTED);
        }
        event
    }

    /// Answers a change that was made. If what the answer shows cannot be read, it has no body.
    async fn answer_change(&self, after: &Record, projection: &Projection) -> Answer {
        let read = match after.kind {
            Kind::User => self.provider.answer_user(after, projection).await,
            Kind::Group if shows_members(after, projection) => self.answer_group(after, projection).await,
            Kind::Group => {
                let silent = projection.wants(MEMBERS) && after.digest.count > 0;
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

/// Whether the answer to a change holds members: those of a group with at most
/// [`MAX_MEMBERS_IN_CHANGE_ANSWER`], or where the client asks for them.
fn shows_members(after: &Record, projection: &Projection) -> bool {
    let count = after.digest.count;
    after.kind == Kind::Group
        && projection.wants(MEMBERS)
        && count > 0
        && (count <= MAX_MEMBERS_IN_CHANGE_ANSWER || projection.names_attribute(MEMBERS))
}
