//! The invariants of the table.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::inventory::{ClaimItem, Inventory, Resource};
use super::report::{Finding, Problem};
use crate::clock;
use crate::limits::MAX_STAGED_SECONDS;
use crate::scim::resource_type::Kind;
use crate::store::admin_guard::{ADMIN, AdminGuard};
use crate::store::definition::DefinitionIndex;
use crate::store::digest::MembershipDigest;
use crate::store::keys::{self, Key, TenantId};
use crate::store::large_change::pending_change::{ChangeState, PendingChange, PendingTask};
use crate::store::record::Role;

/// Returns everything that violates an invariant, in order.
pub fn find_violations(tenant: &TenantId, all: &Inventory) -> Vec<Finding> {
    let mut rules = Rules { tenant, all, moving: Moving::of(all), found: Vec::new() };
    rules.check_pending_changes();
    rules.check_memberships();
    rules.check_resources();
    rules.check_claims();
    rules.check_lookups();
    rules.check_counters();
    rules.check_guard();
    rules.check_definitions();
    rules.check_tombstones();
    rules.check_keys();
    rules.found.sort();
    rules.found
}

/// What the changes in force are about to set right.
#[derive(Default)]
struct Moving {
    /// Groups whose members change, or that are deleted.
    groups: BTreeSet<Uuid>,
    /// Deleted resources that are being removed from their groups.
    members: BTreeSet<Uuid>,
    /// Deleted groups whose members will be removed once more.
    resting: BTreeSet<Uuid>,
}

impl Moving {
    fn of(all: &Inventory) -> Self {
        let mut moving = Self::default();
        let is_in_force = |change: &&PendingChange| {
            change.state == ChangeState::Committed
                || (change.state == ChangeState::Staged && is_named(all, change))
        };
        let is_resting = |change: &&PendingChange| {
            change.task == PendingTask::RemoveAllMembers && change.in_grace_period()
        };
        moving.resting.extend(all.pending.iter().filter(is_resting).map(|change| change.resource));
        for change in all.pending.iter().filter(is_in_force) {
            match change.task {
                PendingTask::ChangeMembers | PendingTask::RemoveAllMembers => {
                    moving.groups.insert(change.resource);
                }
                PendingTask::DetachFromGroups(_) => {
                    moving.members.insert(change.resource);
                }
            }
        }
        moving
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.members.is_empty()
    }
}

/// Whether a group names the change as its pending one.
fn is_named(all: &Inventory, change: &PendingChange) -> bool {
    all.resources.get(&change.resource).is_some_and(|group| group.change == Some(change.id))
}

/// The rules, and what violates them so far. Each method checks one kind of item.
struct Rules<'a> {
    tenant: &'a TenantId,
    all: &'a Inventory,
    moving: Moving,
    found: Vec<Finding>,
}

impl Rules<'_> {
    fn add(&mut self, problem: Problem, key: Key, other: Option<Key>) {
        self.found.push(Finding { problem, key, other });
    }

    /// The key of a resource. One that does not exist is assumed to be a user.
    fn key_of(&self, id: Uuid) -> Key {
        let kind = self.all.resources.get(&id).map_or(Kind::User, |resource| resource.kind);
        keys::resource(self.tenant, kind, id)
    }

    /// A change ends in time, its group names it while it is committed, and chunks belong to a change.
    fn check_pending_changes(&mut self) {
        for change in &self.all.pending {
            let is_named = is_named(self.all, change);
            let is_old = clock::epoch_seconds() >= change.created + MAX_STAGED_SECONDS;
            let problem = match (change.state, &change.task) {
                (ChangeState::Staged, _) if is_named => Some(Problem::ChangeStaged),
                (ChangeState::Staged, _) => is_old.then_some(Problem::ChangeLeft),
                (ChangeState::Committed, PendingTask::ChangeMembers) => {
                    (!is_named).then_some(Problem::ChangeUnknown)
                }
                (ChangeState::Committed, PendingTask::RemoveAllMembers) => {
                    self.all.resources.contains_key(&change.resource).then_some(Problem::ChangeUnknown)
                }
                (ChangeState::Committed, PendingTask::DetachFromGroups(_)) => None,
                (ChangeState::Aborted, _) => Some(Problem::ChangeLeft),
                (ChangeState::Done, _) => (!change.in_grace_period()).then_some(Problem::ChangeLeft),
            };
            if let Some(problem) = problem {
                let group = keys::resource(self.tenant, Kind::Group, change.resource);
                let other = (problem != Problem::ChangeLeft).then_some(group);
                self.add(problem, change.key(), other);
            }
        }
        let pending: BTreeSet<Uuid> = self.all.pending.iter().map(|change| change.id).collect();
        for change in self.all.chunked.difference(&pending) {
            let chunks = Key { pk: keys::chunks(self.tenant, *change), sk: String::new() };
            self.add(Problem::OrphanChunks, chunks, None);
        }
        let is_open =
            |change: &&PendingChange| matches!(change.state, ChangeState::Staged | ChangeState::Committed);
        let open: BTreeSet<Uuid> = self.all.pending.iter().filter(is_open).map(|change| change.id).collect();
        for (id, resource) in &self.all.resources {
            if resource.change.is_some_and(|change| !open.contains(&change)) {
                self.add(Problem::ChangeGone, self.key_of(*id), None);
            }
        }
    }

    /// The group and the member of a membership exist, and the member names the group.
    fn check_memberships(&mut self) {
        for (group, member) in &self.all.memberships {
            if self.moving.groups.contains(group)
                || self.moving.members.contains(member)
                || self.moving.resting.contains(group)
            {
                continue;
            }
            let key = keys::membership(self.tenant, *group, *member);
            match (self.all.resources.get(group), self.all.resources.get(member)) {
                (None, _) => self.add(Problem::GroupGone, key, Some(self.key_of(*member))),
                (_, None) => self.add(Problem::MemberGone, key, None),
                (Some(_), Some(there)) if !there.groups.contains(group) => {
                    self.add(Problem::MemberUnaware, key, Some(self.key_of(*member)));
                }
                _ => {}
            }
        }
    }

    /// A resource has its list entry, its claim, its look-ups and its memberships. A group has the right digest.
    fn check_resources(&mut self) {
        let digests = self.membership_digests();
        for (id, resource) in &self.all.resources {
            let own = keys::resource(self.tenant, resource.kind, *id);
            if self.all.listed.get(id) != Some(&resource.kind) {
                let entry = keys::list_entry(self.tenant, resource.kind, *id);
                self.add(Problem::MissingListEntry, entry, Some(own.clone()));
            }
            if let Some(claim) = &resource.claim {
                let held = self.all.claims.get(claim);
                if !held.is_some_and(|claim| claim.id == Some(*id) && !claim.gone) {
                    self.add(Problem::MissingClaim, claim.clone(), Some(own.clone()));
                }
            }
            for lookup in resource.lookups.iter().filter(|lookup| !self.all.lookups.contains_key(lookup)) {
                self.add(Problem::MissingLookup, lookup.clone(), Some(own.clone()));
            }
            for group in &resource.groups {
                if !self.moving.groups.contains(group) && !self.all.memberships.contains(&(*group, *id)) {
                    let membership = keys::membership(self.tenant, *group, *id);
                    self.add(Problem::GroupUnaware, own.clone(), Some(membership));
                }
            }
            let digest = digests.get(id).copied().unwrap_or_default();
            let at_rest = !self.moving.groups.contains(id) && self.moving.members.is_empty();
            if resource.kind == Kind::Group && at_rest && digest != resource.digest {
                self.add(Problem::MemberCount, own, None);
            }
        }
    }

    /// The digest of each group that has memberships.
    fn membership_digests(&self) -> BTreeMap<Uuid, MembershipDigest> {
        let mut digests: BTreeMap<Uuid, MembershipDigest> = BTreeMap::new();
        for (group, member) in &self.all.memberships {
            let digest = digests.entry(*group).or_default();
            *digest = digest.with([*member]);
        }
        digests
    }

    /// A claim has a holder: a resource or a tombstone.
    fn check_claims(&mut self) {
        for (key, claim) in &self.all.claims {
            if !self.is_held(key, claim) {
                self.add(Problem::OrphanClaim, key.clone(), None);
            }
        }
    }

    fn is_held(&self, key: &Key, claim: &ClaimItem) -> bool {
        if claim.gone {
            let kept = claim.id.and_then(|id| self.all.tombstones.get(&id));
            return claim.expired || kept.is_some_and(|kept| kept.claim.as_ref() == Some(key));
        }
        let holder = claim.id.and_then(|id| self.all.resources.get(&id));
        holder.is_some_and(|holder| holder.claim.as_ref() == Some(key))
    }

    /// A look-up and a list entry lead to a resource.
    fn check_lookups(&mut self) {
        for (key, id) in &self.all.lookups {
            let resource = id.and_then(|id| self.all.resources.get(&id));
            if !resource.is_some_and(|resource| resource.possible_lookups.contains(key)) {
                self.add(Problem::OrphanLookup, key.clone(), id.map(|id| self.key_of(id)));
            }
        }
        for (id, kind) in &self.all.listed {
            if !self.all.resources.contains_key(id) {
                self.add(Problem::OrphanListEntry, keys::list_entry(self.tenant, *kind, *id), None);
            }
        }
    }

    /// The counters are the numbers of list entries and of inactive users.
    fn check_counters(&mut self) {
        let as_counter = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for kind in Kind::ALL {
            let listed = self.all.listed.values().filter(|listed| **listed == kind).count();
            if self.all.counted.get(&kind).copied().unwrap_or(0) != as_counter(listed) {
                self.add(Problem::Counter, keys::counter(self.tenant, kind, 0), None);
            }
        }
        let is_inactive = |resource: &&Resource| resource.kind == Kind::User && !resource.active;
        let inactive = self.all.resources.values().filter(is_inactive).count();
        if self.all.counted_inactive != as_counter(inactive) {
            self.add(Problem::Counter, keys::inactive_counter(self.tenant, 0), None);
        }
    }

    /// The admin guard lists the administrators, and they are marked as guarded. While a change is applied the
    /// guard is ahead of the memberships. Then it is not checked.
    fn check_guard(&mut self) {
        if self.all.is_moving_in {
            self.add(Problem::MoveOpen, keys::move_mark(self.tenant), None);
            return;
        }
        let Some(root) = self.all.guard.as_ref().map(|guard| guard.root).or(self.all.root_team) else {
            return;
        };
        if !self.moving.is_empty() {
            return;
        }
        let due = expected_guard(self.all, root);
        let is_right = |guard: &AdminGuard| (&due.granting, &due.admins) == (&guard.granting, &guard.admins);
        if !self.all.guard.as_ref().is_some_and(is_right) {
            self.add(Problem::Guard, keys::admin_guard(self.tenant), None);
        }
        for id in due.admins.keys().chain(&due.granting) {
            if self.all.resources.get(id).is_some_and(|resource| !resource.guarded) {
                self.add(Problem::Unguarded, self.key_of(*id), None);
            }
        }
    }

    /// The index counts the roles and entitlements, and has what the roles grant.
    fn check_definitions(&mut self) {
        let index = self.all.definition_index.clone().unwrap_or_default();
        if index != DefinitionIndex::of(index.version, &self.all.definitions) {
            self.add(Problem::DefinitionIndex, keys::definition::definition_index(self.tenant), None);
        }
    }

    /// A tombstone is erased in time, and its name stays claimed. A claim of another resource on that
    /// name is no violation.
    fn check_tombstones(&mut self) {
        for (id, kept) in &self.all.tombstones {
            let tombstone = keys::tombstone(self.tenant, *id);
            if self.all.resources.contains_key(id) {
                self.add(Problem::TombstoneLeft, tombstone, Some(self.key_of(*id)));
                continue;
            }
            if !kept.scheduled {
                self.add(Problem::NoExpiry, tombstone.clone(), kept.expiry.clone());
            }
            if let Some(claim) = kept.claim.as_ref().filter(|claim| !self.all.claims.contains_key(claim)) {
                self.add(Problem::MissingClaim, claim.clone(), Some(tombstone));
            }
        }
    }

    /// A bearer key is in the list of keys, a client in that of clients, the tenant in that of tenants. Every item of
    /// the tenant can be read and has a known kind.
    fn check_keys(&mut self) {
        for (key, bearer) in &self.all.bearers {
            if !self.all.listed_keys.contains(&bearer.key_id) {
                let listing = keys::bearer_listing(self.tenant, &bearer.key_id);
                self.add(Problem::KeyUnlisted, key.clone(), Some(listing));
            }
        }
        for id in self.all.clients.difference(&self.all.listed_clients) {
            let listing = keys::oauth::client_listing(self.tenant, id);
            self.add(Problem::KeyUnlisted, keys::oauth::client(id), Some(listing));
        }
        if self.all.is_unlisted {
            let settings = keys::tenant(self.tenant);
            self.add(Problem::TenantUnlisted, keys::tenant_listing(self.tenant), Some(settings));
        }
        for key in &self.all.unreadable {
            self.add(Problem::Unreadable, key.clone(), None);
        }
        for key in &self.all.unknown {
            self.add(Problem::Unknown, key.clone(), None);
        }
    }
}

/// The guard as the groups and users say it must be.
fn expected_guard(all: &Inventory, root: Uuid) -> AdminGuard {
    let admin = Role { team: root, role: ADMIN.to_owned() };
    let granting = all.resources.iter().filter(|(_, resource)| resource.roles.contains(&admin));
    let mut due = AdminGuard {
        version: 0,
        root,
        granting: granting.map(|(id, _)| *id).collect(),
        admins: BTreeMap::new(),
    };
    for (group, member) in &all.memberships {
        let user = all.resources.get(member).filter(|resource| resource.kind == Kind::User);
        if let (true, Some(user)) = (due.granting.contains(group), user) {
            due.join(*group, *member, user.active);
        }
    }
    due
}
