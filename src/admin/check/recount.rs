//! Repairs what is derived from many items: counters, a group's digest, the guard.
//!
//! The items that a walk of the table reads are not of one moment. So each value is computed again before it is
//! repaired. If one of its items changes meanwhile, nothing is written.

use uuid::Uuid;

use super::inventory::Inventory;
use crate::limits::COUNTER_SHARDS;
use crate::limits::USERS_PER_READ;
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::admin_guard::{ADMIN, AdminGuard};
use crate::store::counter::add;
use crate::store::digest::MembershipDigest;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::item::get_number;
use crate::store::keys::{self, Key};
use crate::store::list::IdPage;
use crate::store::members::WholeGroup;
use crate::store::record::Role;
use crate::store::transaction::{Action, Expression};

/// The warning in the change of a group whose digest was wrong.
const RECOUNTED: &str = "the group's members were counted again: a reader of the feed must read them again";

/// What counters count.
enum Counted {
    /// The resources of a kind.
    All(Kind),
    /// The users that are not active.
    Inactive,
}

/// Adds to the counters of `key`'s kind what is missing. The counters are read before and after the items that
/// they count. A creation or deletion in between changes a counter, and then nothing is repaired.
pub(super) async fn counter(store: &Store, key: &Key) -> Result<Option<Action>, StoreError> {
    let kind = Kind::ALL.into_iter().find(|kind| *key == keys::counter(&store.tenant, *kind, 0));
    let counted = kind.map_or(Counted::Inactive, Counted::All);
    let shard = |shard| match counted {
        Counted::All(kind) => keys::counter(&store.tenant, kind, shard),
        Counted::Inactive => keys::inactive_counter(&store.tenant, shard),
    };
    let shards: Vec<Key> = (0..COUNTER_SHARDS).filter_map(|at| u8::try_from(at).ok()).map(shard).collect();
    let before = read(store, &shards).await?;
    let there = match counted {
        Counted::All(kind) => store.table.count(&keys::list(&store.tenant, kind)).await?,
        Counted::Inactive => count_inactive(store).await?,
    };
    let by = i64::try_from(there).unwrap_or(i64::MAX) - before.iter().sum::<i64>();
    if by == 0 || read(store, &shards).await? != before {
        return Ok(None);
    }
    Ok(Some(add(key.clone(), by)))
}

async fn read(store: &Store, shards: &[Key]) -> Result<Vec<i64>, StoreError> {
    let items = store.table.get_together(shards).await?;
    Ok(items.iter().map(|item| item.as_ref().and_then(|item| get_number(item, "n")).unwrap_or(0)).collect())
}

async fn count_inactive(store: &Store) -> Result<u64, StoreError> {
    let (mut found, mut after) = (0, None);
    loop {
        let IdPage { ids, has_more } = store.list_page(Kind::User, after, USERS_PER_READ).await?;
        let users = store.fetch_many(Kind::User, &ids).await?;
        found += users.iter().filter(|user| !user.is_active()).count() as u64;
        after = ids.last().copied();
        if !has_more {
            return Ok(found);
        }
    }
}

/// Sets a group's digest to that of its members, who are read in one version of the group. The group gets a new
/// version. So a change that was computed before cannot write the old digest again.
pub(super) async fn digest(store: &Store, group: Uuid) -> Result<Vec<Action>, StoreError> {
    if !store.large_changes().fetch_deleted_members().await?.is_empty() {
        return Ok(Vec::new());
    }
    let Some(WholeGroup { record, members }) = store.members().fetch_group(group).await? else {
        return Ok(Vec::new());
    };
    let digest = MembershipDigest::of(members.iter().map(|member| member.id));
    if digest == record.digest || record.change.is_some() {
        return Ok(Vec::new());
    }
    let mut after = record.clone();
    (after.digest, after.version) = (digest, record.version + 1);
    let event = store.event("group.updated", &after).attributes(["members"]);
    let event = Event { warning: Some(RECOUNTED), ..event };
    Ok(vec![store.replace_unchanged(&record, &after), event::action(&store.tenant, &event)])
}

/// Writes the guard as the groups and users say it must be, also if it is missing. The write fails if the guard has
/// changed since before they were read. Every request that changes an administrator changes the guard. A guard that was
/// missing is not written into a tenant that is being deleted.
pub(super) async fn guard(store: &Store, all: &Inventory) -> Result<Vec<Action>, StoreError> {
    let there = store.admin_guard().fetch().await?;
    let is_missing = there.is_none();
    let new =
        all.root_team.map(|root| AdminGuard { granting: Default::default(), ..AdminGuard::new(root, &[]) });
    let Some(guard) = there.or(new) else { return Ok(Vec::new()) };
    let admin = Role { team: guard.root, role: ADMIN.to_owned() };
    let mut due = AdminGuard { granting: Default::default(), admins: Default::default(), ..guard.clone() };
    let granting = all.resources.iter().filter(|(_, resource)| resource.roles.contains(&admin));
    for group in granting.map(|(id, _)| *id).chain(guard.granting.iter().copied()) {
        let Some(WholeGroup { record, members }) = store.members().fetch_group(group).await? else {
            continue;
        };
        if record.change.is_some() {
            return Ok(Vec::new());
        }
        if !record.assignments().contains(&admin) || !due.granting.insert(group) {
            continue;
        }
        let users: Vec<Uuid> =
            members.iter().filter(|member| member.kind == Kind::User).map(|member| member.id).collect();
        for user in store.fetch_many(Kind::User, &users).await? {
            due.join(group, user.id, user.is_active());
        }
    }
    let mut actions = Vec::new();
    if is_missing {
        let lasts = Expression::exists().and(Expression::lacks("deleting"));
        actions.push(Action::check(keys::tenant(&store.tenant), lasts, Refusal::Changed));
    }
    if is_missing || due != guard {
        actions.push(due.action(&store.tenant));
    }
    Ok(actions)
}
