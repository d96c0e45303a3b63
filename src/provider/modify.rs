//! `PATCH /Users/{id}`, `PATCH /Groups/{id}` (RFC 7644 §3.5.2), and the loop that every change of
//! a stored resource runs in.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::{Answer, Provider, Relations, not_found};
use super::failure::{Failure, conflict, may_succeed_on_retry};
use super::large::{APPLYING, still_changing};
use super::members::group_view;
use super::precondition::Preconditions;
use crate::clock;
use crate::limits::MAX_MEMBER_CHANGES_PER_TX;
use crate::scim::absent::is_active;
use crate::scim::document_rules::{check_required, check_size, check_username_and_email};
use crate::scim::error::ScimError;
use crate::scim::members::{MEMBERS, Member};
use crate::scim::patch::apply::apply;
use crate::scim::patch::group_attributes::check_group_attributes;
use crate::scim::patch::members::MemberChange;
use crate::scim::patch::request::{PatchStep, parse};
use crate::scim::patch::sync_username_and_email::sync_username_and_email;
use crate::scim::projection::Projection;
use crate::scim::resource::document;
use crate::scim::resource_type::Kind;
use crate::scim::work::document_steps;
use crate::scim::{urn, username};
use crate::store::call::back_off;
use crate::store::error::StoreError;
use crate::store::event::Event;
use crate::store::index;
use crate::store::keys::parse_id;
use crate::store::large_change::detach::DoneDetachment;
use crate::store::members::view::GroupView;
use crate::store::membership::{MemberChanges, Membership};
use crate::store::record::{Account, Record};
use crate::store::resource::{ResourceUpdate, Team};
use crate::store::transaction::Action;

/// How often a change goes through the whole document: it is read, copied, changed, compared, checked and
/// written.
const PASSES: u64 = 10;
/// How often a change is computed anew because the resource was changed meanwhile.
const ATTEMPTS: u32 = 12;
/// Up to so many members a changed group is answered whole; above, 204.
const MEMBERS_ANSWERED: u64 = 100;

const BREAK_GLASS_CONVERTED: &str =
    "an administrator's local account is managed by the identity provider from now on";

/// What a change makes of a resource: its attributes, and who comes and goes.
struct ComputedChange {
    record: Record,
    add: Vec<Membership>,
    remove: Vec<Membership>,
}

impl Provider<'_> {
    /// Modifies a resource.
    ///
    /// # Errors
    /// 400 for the body and its operations, 404, 409 for a unique value that is taken, 412.
    pub async fn modify(
        &self,
        kind: Kind,
        id: Uuid,
        body: &Map<String, Value>,
        projection: &Projection,
        preconditions: &Preconditions,
    ) -> Result<Answer, Failure> {
        let (ty, policy) = (self.ty(kind), self.model.policy);
        let steps = parse(body, ty, policy)?;
        let of_members = |step: &PatchStep| kind == Kind::Group && step.attribute() == Some(MEMBERS);
        let (member_steps, steps): (Vec<PatchStep>, Vec<PatchStep>) = steps.into_iter().partition(of_members);
        let mut members = None;
        if !member_steps.is_empty() {
            members = Some(MemberChange::read(&member_steps, ty, policy, &self.work)?);
        }
        let teams = self.teams_named(kind, id, &steps).await?;
        let names_groups = kind == Kind::User && steps.iter().any(|step| step.attribute() == Some("groups"));
        self.change(kind, id, members, projection, preconditions, |record, whole| {
            let mut after = match &teams {
                Some(_) => self.whole(record, &Relations { teams: teams.as_ref(), ..Relations::default() }),
                None => whole.clone(),
            };
            if names_groups {
                let groups: Value = record.groups.iter().map(|id| json!({ "value": id })).collect();
                after.insert("groups".to_owned(), groups);
            }
            apply(&mut after, &steps, ty, policy, &self.work)?;
            check_group_attributes(whole, &after, ty, policy)?;
            if kind == Kind::User {
                sync_username_and_email(whole, &mut after, policy)?;
            }
            let doc = document(&after, ty);
            if doc != record.doc {
                check_required(&doc, ty)?;
                if kind == Kind::User {
                    check_username_and_email(&doc, policy)?;
                }
                check_size(&doc)?;
            }
            Ok(doc)
        })
        .await
    }

    /// The groups of a user whose roles a step names, so that a client may send back the roles that
    /// it has read. No other step needs them.
    async fn teams_named(
        &self,
        kind: Kind,
        id: Uuid,
        steps: &[PatchStep],
    ) -> Result<Option<BTreeMap<String, Team>>, Failure> {
        let is_of_roles = |step: &PatchStep| {
            step.extension.as_deref() == Some(urn::ROLLCALL_USER) && step.attribute == "roles"
        };
        if kind != Kind::User || !steps.iter().any(is_of_roles) {
            return Ok(None);
        }
        let record = self.store.fetch(kind, id).await?.ok_or_else(|| not_found(kind))?;
        if record.groups.is_empty() {
            return Ok(Some(BTreeMap::new()));
        }
        Ok(Some(self.store.teams(&record.groups).await?))
    }

    /// Reads a resource, computes the change, writes it on the condition that the resource is
    /// still as read, and starts over if it is not. A change of nothing writes nothing.
    pub(super) async fn change(
        &self,
        kind: Kind,
        id: Uuid,
        members: Option<MemberChange<'_>>,
        projection: &Projection,
        preconditions: &Preconditions,
        compute: impl Fn(&Record, &Map<String, Value>) -> Result<Map<String, Value>, ScimError>,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + APPLYING;
        for attempt in 0..ATTEMPTS {
            if attempt > 1 {
                // Back off so that one writer cannot starve us.
                back_off(attempt).await;
            }
            let view = self.read_view(kind, id, members.as_ref()).await?.ok_or_else(|| not_found(kind))?;
            preconditions.check(view.record.version)?;
            if let Some(change) = view.record.change {
                if !self.store.large_changes().finish(change, until).await? {
                    return Err(still_changing().into());
                }
                continue;
            }
            self.work.spend(PASSES * document_steps(&view.record.doc))?;
            let whole = self.whole(&view.record, &Relations::default());
            let before = &view.record;
            let mut outcome = ComputedChange { record: before.clone(), add: Vec::new(), remove: Vec::new() };
            outcome.record.doc = compute(before, &whole)?;
            if kind == Kind::User {
                username::check_change(Some(&before.doc), &outcome.record.doc)?;
            }
            index::check(self.ty(kind), &outcome.record.doc, &self.work)?;
            if let Some(members) = &members {
                let current: BTreeMap<String, Member> =
                    view.present.values().map(|m| (m.id.to_string(), m.member())).collect();
                let net = members.net(&current, &self.work)?;
                // A group that makes administrators must know at once who is a user.
                let staged = net.len() > MAX_MEMBER_CHANGES_PER_TX && !before.guarded;
                outcome.add = match staged {
                    true => self.assume_new_members(net.add, view.candidates).await?,
                    false => self.resolve_new_members(net.add, view.candidates).await?,
                };
                outcome.remove = net
                    .remove
                    .iter()
                    .filter_map(|id| parse_id(id).and_then(|id| view.present.get(&id).cloned()))
                    .collect();
            }
            let ids = |members: &[Membership]| members.iter().map(|member| member.id).collect::<Vec<_>>();
            outcome.record.digest = before.digest.with(ids(&outcome.add)).without(ids(&outcome.remove));
            if let Some(after) = self.write_change(before, outcome, until).await? {
                return Ok(self.answer_change(&after, projection).await);
            }
        }
        Err(conflict().into())
    }

    /// Reads what a change must know of a resource. `None` if there is no such resource.
    async fn read_view(
        &self,
        kind: Kind,
        id: Uuid,
        members: Option<&MemberChange<'_>>,
    ) -> Result<Option<GroupView>, Failure> {
        if kind == Kind::Group {
            return self.view_group(id, members).await;
        }
        let record = self.store.fetch(kind, id).await?;
        Ok(record.map(|record| group_view(record, Vec::new())))
    }

    /// Writes a change. `None` if the resource was changed since it was read.
    async fn write_change(
        &self,
        before: &Record,
        outcome: ComputedChange,
        until: Instant,
    ) -> Result<Option<Record>, Failure> {
        let ComputedChange { record: mut after, mut add, remove } = outcome;
        let policy = self.model.policy;
        let converted =
            before.kind == Kind::User && before.account == Account::Local && policy.converts_local_accounts;
        if converted {
            after.account = Account::Sso;
        }
        let same_members = add.is_empty() && remove.is_empty();
        if after.doc == before.doc && same_members && !converted {
            return Ok(Some(after));
        }
        after.version += 1;
        after.modified = clock::timestamp();
        let event = self.change_event(before, &after, converted, (&add, &remove));
        let extra_actions = &*self.extra_actions(before, &after, &add, &remove).await?;
        let ty = self.ty(before.kind);
        let count = add.len() + remove.len();
        let mut written = None;
        if count <= MAX_MEMBER_CHANGES_PER_TX {
            let members = MemberChanges { add: &add, remove: &remove };
            let update = ResourceUpdate { before, after: &after, members, ty, event: &event, extra_actions };
            let update = self.store.update(&update).await;
            // Few, but so large that they fit no transaction together.
            let apart = count > 1 && matches!(update, Err(StoreError::TransactionTooLarge));
            written = (!apart).then_some(update);
        }
        let written = match written {
            Some(written) => written,
            None => {
                let staged = self.stage(&mut after, &mut add, &remove).await?;
                let event = event.of_change(staged.id);
                let members = MemberChanges::default();
                let update =
                    ResourceUpdate { before, after: &after, members, ty, event: &event, extra_actions };
                let update = self.store.update(&update).await;
                self.finish_commit(staged, update, until).await
            }
        };
        match written {
            Ok(()) => Ok(Some(after)),
            Err(StoreError::Refused(refusals)) if may_succeed_on_retry(&refusals) => {
                for refusal in refusals {
                    // Someone who is deleted and has not left the group yet is brought to do so.
                    if let Some(id) = refusal.member() {
                        self.store
                            .large_changes()
                            .detach_from_groups(id, DoneDetachment::KeepForReaders, until)
                            .await?;
                    }
                }
                Ok(None)
            }
            // Only the table knows whether the write took effect.
            Err(unknown) if unknown.may_have_taken_effect() => match self.store.took_effect(&after).await {
                Ok(true) => Ok(Some(after)),
                Ok(false) | Err(_) => Err(unknown.into()),
            },
            Err(failed) => Err(failed.into()),
        }
    }

    /// Returns the actions that the tenant's rules add to the transaction of a change: the guard of the
    /// root team, and the count of deactivations.
    ///
    /// # Errors
    /// The refusals of these rules, and those of the table.
    async fn extra_actions(
        &self,
        before: &Record,
        after: &Record,
        add: &[Membership],
        remove: &[Membership],
    ) -> Result<Vec<Action>, Failure> {
        self.refuse_protected_user(before, Some(after)).await?;
        let guard = match before.kind {
            Kind::User => self.guard_user(before, Some(after)).await?,
            Kind::Group => self.guard_members(before, add, remove).await?,
        };
        let count = self.count_deactivation(before, Some(after)).await?;
        Ok(guard.into_iter().chain(count).collect())
    }

    fn change_event(
        &self,
        before: &Record,
        after: &Record,
        converted: bool,
        (add, remove): (&[Membership], &[Membership]),
    ) -> Event {
        let (was_active, active) = (is_active(&before.doc), is_active(&after.doc));
        let event_type = match before.kind {
            Kind::Group => "group.updated",
            Kind::User if converted => "user.converted",
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
        if !(add.is_empty() && remove.is_empty()) {
            names.push(MEMBERS.to_owned());
        }
        let ids = |members: &[Membership]| members.iter().map(|m| m.id.to_string()).collect();
        let mut event = self.store.event(event_type, after).attributes(names).members(ids(add), ids(remove));
        // The account that is kept for the day on which the identity provider does not answer.
        if converted && before.guarded {
            event.warning = Some(BREAK_GLASS_CONVERTED);
        }
        event
    }

    /// Answers a change that was made. If what the answer shows cannot be read, it has no body.
    async fn answer_change(&self, after: &Record, projection: &Projection) -> Answer {
        let read = match after.kind {
            Kind::User => self.answer_user(after, projection).await,
            Kind::Group if shows_members(after, projection) => self.answer_group(after, projection).await,
            Kind::Group => {
                let silent = projection.wants(MEMBERS) && after.digest.count > 0;
                let body = || self.project(after, &Relations::default(), projection);
                Ok(self.answer(after, (!silent).then(body)))
            }
        };
        read.unwrap_or_else(|failure| {
            let source = failure.source.unwrap_or(failure.error.detail);
            tracing::warn!(%source, "a change is answered without a body");
            self.answer(after, None)
        })
    }

    async fn answer_group(&self, after: &Record, projection: &Projection) -> Result<Answer, Failure> {
        match self.store.members().fetch_groups(&[after.id], Some(after.version)).await?.pop() {
            Some((record, members)) => {
                let relations = Relations { members: Some(&members), ..Relations::default() };
                Ok(self.answer(&record, Some(self.project(&record, &relations, projection))))
            }
            // Deleted in the moment after the change.
            None => Ok(self.answer(after, None)),
        }
    }
}

/// Whether the answer to a change holds members: a group is answered whole up to 100 members or
/// where the client says what it wants to see, and above not at all.
fn shows_members(after: &Record, projection: &Projection) -> bool {
    let count = after.digest.count;
    after.kind == Kind::Group
        && projection.wants(MEMBERS)
        && count > 0
        && (count <= MEMBERS_ANSWERED || projection.names_attribute(MEMBERS))
}
