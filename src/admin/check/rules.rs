//! The invariants of the table.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::inventory::{Inventory, Resource};
use super::report::{Finding, Problem};
use crate::clock;
use crate::limits::MAX_STAGED_SECONDS;
use crate::scim::resource_type::Kind;
use crate::store::admin_guard::{ADMIN, AdminGuard};
use crate::store::digest::MembershipDigest;
use crate::store::keys::{self, Key, TenantId};
use crate::store::large_change::pending_change::{ChangeState, PendingTask};
use crate::store::record::Role;

/// What a pending change is about to set right.
#[derive(Default)]
struct Moving {
    /// Groups whose members change or go.
    groups: BTreeSet<Uuid>,
    /// Deleted resources that leave their groups.
    members: BTreeSet<Uuid>,
}

/// Everything that does not hold, in order.
pub fn find_violations(tenant: &TenantId, all: &Inventory) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |problem, key: Key, other: Option<Key>| found.push(Finding { problem, key, other });
    let own = |id: Uuid| {
        let kind = all.resources.get(&id).map_or(Kind::User, |resource| resource.kind);
        keys::resource(tenant, kind, id)
    };

    let mut moving = Moving::default();
    for change in &all.pending {
        let is_over = match change.state {
            ChangeState::Staged => clock::epoch_seconds() >= change.created + MAX_STAGED_SECONDS,
            ChangeState::Committed => false,
            ChangeState::Aborted => true,
            ChangeState::Done => !change.in_grace_period(),
        };
        if is_over {
            add(Problem::ChangeLeft, change.key(), None);
        }
        match (&change.task, change.state) {
            (PendingTask::ChangeMembers, ChangeState::Committed) => {
                moving.groups.insert(change.resource);
                let named = all.resources.get(&change.resource).and_then(|group| group.change);
                if named != Some(change.id) {
                    add(Problem::ChangeUnknown, change.key(), Some(own(change.resource)));
                }
            }
            (PendingTask::RemoveAllMembers, ChangeState::Committed) => {
                moving.groups.insert(change.resource);
            }
            (PendingTask::DetachFromGroups(_), ChangeState::Committed) => {
                moving.members.insert(change.resource);
            }
            _ => {}
        }
    }
    let pending: BTreeSet<Uuid> = all.pending.iter().map(|change| change.id).collect();
    for change in all.chunked.difference(&pending) {
        add(Problem::OrphanChunks, Key { pk: keys::chunks(tenant, *change), sk: String::new() }, None);
    }

    let mut digests: BTreeMap<Uuid, MembershipDigest> = BTreeMap::new();
    for (group, member) in &all.memberships {
        let digest = digests.entry(*group).or_default();
        *digest = digest.with([*member]);
        if moving.groups.contains(group) || moving.members.contains(member) {
            continue;
        }
        let key = keys::membership(tenant, *group, *member);
        match (all.resources.get(group), all.resources.get(member)) {
            (None, _) => add(Problem::GroupGone, key, Some(own(*member))),
            (_, None) => add(Problem::MemberGone, key, None),
            (Some(_), Some(there)) if !there.groups.contains(group) => {
                add(Problem::MemberUnaware, key, Some(own(*member)));
            }
            _ => {}
        }
    }

    for (id, resource) in &all.resources {
        if resource.change.is_some_and(|change| !pending.contains(&change)) {
            add(Problem::ChangeGone, own(*id), None);
        }
        if all.listed.get(id) != Some(&resource.kind) {
            add(Problem::MissingListEntry, keys::list_entry(tenant, resource.kind, *id), Some(own(*id)));
        }
        if let Some(claim) = &resource.claim {
            let held = all.claims.get(claim).is_some_and(|claim| claim.id == Some(*id) && !claim.gone);
            if !held {
                add(Problem::MissingClaim, claim.clone(), Some(own(*id)));
            }
        }
        for lookup in resource.lookups.iter().filter(|lookup| !all.lookups.contains_key(lookup)) {
            add(Problem::MissingLookup, lookup.clone(), Some(own(*id)));
        }
        for group in resource.groups.iter().filter(|group| !moving.groups.contains(group)) {
            if !all.memberships.contains(&(*group, *id)) {
                add(Problem::GroupUnaware, own(*id), Some(keys::membership(tenant, *group, *id)));
            }
        }
        let digest = digests.get(id).copied().unwrap_or_default();
        let at_rest =
            resource.kind == Kind::Group && !moving.groups.contains(id) && moving.members.is_empty();
        if at_rest && digest != resource.digest {
            add(Problem::MemberCount, own(*id), None);
        }
    }

    for (key, claim) in &all.claims {
        let holder = claim.id.and_then(|id| all.resources.get(&id));
        let holds = if claim.gone {
            claim.expired
                || claim
                    .id
                    .and_then(|id| all.tombstones.get(&id))
                    .is_some_and(|kept| kept.claim.as_ref() == Some(key))
        } else {
            holder.is_some_and(|holder| holder.claim.as_ref() == Some(key))
        };
        if !holds {
            add(Problem::OrphanClaim, key.clone(), None);
        }
    }
    for (key, id) in &all.lookups {
        let leads = id.and_then(|id| all.resources.get(&id)).is_some_and(|r| r.lookups.contains(key));
        if !leads {
            add(Problem::OrphanLookup, key.clone(), id.map(own));
        }
    }
    for (id, kind) in &all.listed {
        if !all.resources.contains_key(id) {
            add(Problem::OrphanListEntry, keys::list_entry(tenant, *kind, *id), None);
        }
    }
    for kind in Kind::ALL {
        let listed = all.listed.values().filter(|listed| **listed == kind).count();
        if all.counted.get(&kind).copied().unwrap_or(0) != i64::try_from(listed).unwrap_or(i64::MAX) {
            add(Problem::Counter, keys::counter(tenant, kind, 0), None);
        }
    }
    let is_inactive = |resource: &&Resource| resource.kind == Kind::User && !resource.active;
    let inactive = all.resources.values().filter(is_inactive).count();
    if all.counted_inactive != i64::try_from(inactive).unwrap_or(i64::MAX) {
        add(Problem::Counter, keys::inactive_counter(tenant, 0), None);
    }
    // While memberships are on their way, the guard is ahead of them.
    if let Some(guard) = all.guard.as_ref().filter(|_| moving.groups.is_empty() && moving.members.is_empty())
    {
        let due = due(all, guard);
        if (&due.granting, &due.admins) != (&guard.granting, &guard.admins) {
            add(Problem::Guard, keys::admin_guard(tenant), None);
        }
        let known = due.admins.keys().chain(&due.granting);
        for id in known.filter(|id| all.resources.get(id).is_some_and(|resource| !resource.guarded)) {
            add(Problem::Unguarded, own(*id), None);
        }
    }
    for (id, kept) in &all.tombstones {
        let tombstone = keys::tombstone(tenant, *id);
        if !kept.scheduled {
            add(Problem::NoExpiry, tombstone.clone(), kept.expiry.clone());
        }
        // Without its claim nobody can bring it back by its name; another's name is another's.
        if let Some(claim) = kept.claim.as_ref().filter(|claim| !all.claims.contains_key(claim)) {
            add(Problem::MissingClaim, claim.clone(), Some(tombstone));
        }
    }
    for (key, bearer) in &all.bearers {
        if !all.listed_keys.contains(&bearer.key_id) {
            add(Problem::KeyUnlisted, key.clone(), Some(keys::bearer_listing(tenant, &bearer.key_id)));
        }
    }
    for key in &all.unknown {
        add(Problem::Unknown, key.clone(), None);
    }
    found.sort();
    found
}

/// The guard as the groups and users say it must be.
pub(super) fn due(all: &Inventory, guard: &AdminGuard) -> AdminGuard {
    let admin = Role { team: guard.root, role: ADMIN.to_owned() };
    let granting = all.resources.iter().filter(|(_, resource)| resource.roles.contains(&admin));
    let mut due = AdminGuard {
        version: guard.version,
        root: guard.root,
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
