//! What a change makes of a resource: the new document, the members that come and go, and the event.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Changing;
use crate::clock;
use crate::limits::MAX_MEMBER_CHANGES_PER_TX;
use crate::provider::answer::Relations;
use crate::provider::failure::Failure;
use crate::scim::absent::is_active;
use crate::scim::error::ScimError;
use crate::scim::members::{MEMBERS, Member};
use crate::scim::patch::members::{MemberChange, MembersToRead};
use crate::scim::resource_type::Kind;
use crate::scim::username;
use crate::scim::work::document_steps;
use crate::store::event::Event;
use crate::store::index;
use crate::store::keys::parse_id;
use crate::store::members::view::GroupView;
use crate::store::membership::{MemberChanges, Membership};
use crate::store::record::{Account, Record};

/// How often a change goes through the whole document: it is read, copied, changed, compared, checked and
/// written.
const PASSES: u64 = 10;

const BREAK_GLASS_CONVERTED: &str =
    "an administrator's local account is managed by the identity provider from now on";

/// The members that a change adds to a group and removes from it. No member is in both.
#[derive(Default)]
pub(super) struct MembershipDelta {
    pub add: Vec<Membership>,
    pub remove: Vec<Membership>,
}

impl MembershipDelta {
    pub fn len(&self) -> usize {
        self.add.len() + self.remove.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn as_changes(&self) -> MemberChanges<'_> {
        MemberChanges { add: &self.add, remove: &self.remove }
    }
}

/// What a change makes of a resource.
pub(super) struct ComputedChange {
    pub before: Record,
    pub after: Record,
    pub members: MembershipDelta,
    /// Whether the identity provider takes over a local account.
    pub converts: bool,
}

impl ComputedChange {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.after.doc == self.before.doc && self.members.is_empty() && !self.converts
    }

    /// Makes `after` the next version of the resource, changed now.
    pub fn raise_version(&mut self) {
        self.after.version += 1;
        self.after.modified = clock::timestamp();
    }
}

/// Whether every member that a change is about is added or removed in one transaction. Then the conditions of
/// the transaction check what was assumed of the members.
pub(super) fn are_all_conditioned(members: Option<&MemberChange<'_>>, delta: &MembershipDelta) -> bool {
    let touched = members.map_or(MembersToRead::Ids(BTreeSet::new()), MemberChange::members_to_read);
    let MembersToRead::Ids(touched) = touched else { return false };
    touched.len() == delta.len() && delta.len() <= MAX_MEMBER_CHANGES_PER_TX
}

impl Changing<'_> {
    /// Computes the new document and the members that come and go.
    pub(super) async fn compute_change(
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
            && provider.converts_local_accounts
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
        let mut candidates = view.candidates;
        let kinds = self.identify_for_filters(members, &view.present, &mut candidates).await?;
        let net = members.net(&current, &kinds, &self.provider.work)?;
        // A group that makes administrators must know at once who is a user.
        let staged = net.len() > MAX_MEMBER_CHANGES_PER_TX && !view.record.guarded;
        let add = match staged {
            true => self.assume_new_members(net.add, candidates).await?,
            false => self.resolve_new_members(net.add, candidates).await?,
        };
        let remove = net.remove.iter();
        let remove =
            remove.filter_map(|id| parse_id(id).and_then(|id| view.present.get(&id).cloned())).collect();
        Ok(MembershipDelta { add, remove })
    }

    /// The event of a change.
    pub(super) fn change_event(&self, change: &ComputedChange) -> Event {
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
        event.attributes(names).members(ids(&members.add), ids(&members.remove))
    }

    /// What an operator should look at after a change: the local account of an administrator was converted. It is kept for
    /// the day on which the identity provider does not answer.
    ///
    /// # Errors
    /// 503 if the table does not answer; 500 if the guard of the root team cannot be read.
    pub(super) async fn warning_of(&self, change: &ComputedChange) -> Result<Option<&'static str>, Failure> {
        if !change.converts || !change.before.guarded {
            return Ok(None);
        }
        let guard = self.provider.store.admin_guard().fetch().await?;
        let is_admin = guard.is_some_and(|guard| guard.admins.contains_key(&change.before.id));
        Ok(is_admin.then_some(BREAK_GLASS_CONVERTED))
    }
}
