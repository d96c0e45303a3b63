//! Users and groups in the table: read, create, update. Each write is one transaction. Its conditions keep
//! ids and names unique and versions in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::Store;
use super::claim::{
    delete_lookup, is_free, is_free_or_gone, is_free_or_gone_of, put_lookup, release_claim, take_claim,
};
use super::counter::count_inactive;
use super::error::{Refusal, StoreError};
use super::event::{self, Event, Subject, SubjectId};
use super::expression::Expression;
use super::index::{self, Entry};
use super::item::Item;
use super::keys;
use super::large_change::pending_change::commit_staged;
use super::membership::{MemberChanges, Membership, add_member, change_groups, remove_member};
use super::reader::{Pace, Reader};
use super::record::{Record, Role};
use super::resource_actions::create_resource;
use super::side::Side;
use super::transaction::Action;

use crate::clock;
use crate::limits::TEAMS_READ_AT_ONCE;
use crate::scim::members::MEMBERS;
use crate::scim::resource_type::{Kind, ResourceType};

/// What a user shows of a group that it is in.
#[derive(Clone, Debug)]
pub struct Team {
    /// The group's display name.
    pub name: Option<String>,
    /// The roles that its members have.
    pub roles: BTreeSet<Role>,
}

/// Whether a user is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserActivity {
    /// The id of the user.
    pub id: Uuid,
    /// Whether the user is active.
    pub is_active: bool,
}

impl Store {
    /// Makes an event of this request. `record` is the resource as the change leaves it.
    pub fn event(&self, event_type: &'static str, record: &Record) -> Event {
        self.event_of_version(event_type, record, record.version)
    }

    /// Makes the event of the creation of a resource with these members. It names all that the resource has.
    pub fn event_of_creation(&self, record: &Record, members: Vec<Uuid>) -> Event {
        let event_type = match record.kind {
            Kind::User => "user.created",
            Kind::Group => "group.created",
        };
        let named = (!members.is_empty()).then_some(MEMBERS);
        let attributes = record.doc.keys().map(String::as_str).chain(named);
        self.event(event_type, record).attributes(attributes).members(members, Vec::new())
    }

    /// Makes an event of this request. `version` is the version in which the change leaves the resource.
    pub fn event_of_version(&self, event_type: &'static str, record: &Record, version: u64) -> Event {
        let subject = Subject { id: SubjectId::Resource(record.kind, record.id), version };
        let now = clock::now();
        let event = Event::new(event_type, subject, &self.actor, &self.request_id, now);
        Event { trail: record.trail.clone(), ..event }
    }

    /// Finds out whether an unanswered creation took effect. The id is new, so the creation took effect if
    /// the resource exists, in any version. Waits for a transaction on the resource that is under way.
    ///
    /// # Errors
    /// As [`Store::took_effect`].
    pub async fn exists(&self, created: &Record) -> Result<bool, StoreError> {
        Ok(self.table.get_together(&[created.key(&self.tenant)]).await?.iter().any(Option::is_some))
    }

    /// Finds out whether an unanswered write took effect: whether the resource is as the write leaves it
    /// (`after`). Waits for a transaction on the resource that is under way.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`]. Then it is unknown whether the write took effect.
    pub async fn took_effect(&self, after: &Record) -> Result<bool, StoreError> {
        let items = self.table.get_together(&[after.key(&self.tenant)]).await?;
        let now = items.first().and_then(Option::as_ref).map(Record::from_item).transpose()?.flatten();
        Ok(now.is_some_and(|now| {
            let is_same = now.version == after.version && now.modified == after.modified;
            is_same && now.doc == after.doc && now.digest == after.digest
        }))
    }

    /// Reads a user or a group, without its members. `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(&self, kind: Kind, id: Uuid) -> Result<Option<Record>, StoreError> {
        match self.fetch_item(kind, id).await? {
            Some(item) => Record::from_item(&item),
            None => Ok(None),
        }
    }

    /// Reads the item of a user or a group. `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_item(&self, kind: Kind, id: Uuid) -> Result<Option<Item>, StoreError> {
        self.table.get(&keys::resource(&self.tenant, kind, id)).await
    }

    /// Reads the items of users or groups, at most 100, at a moment when no transaction on them is under
    /// way. Those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`].
    pub async fn fetch_items_at_rest(&self, kind: Kind, ids: &[Uuid]) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| keys::resource(&self.tenant, kind, *id)).collect();
        Ok(self.table.get_together(&keys).await?.into_iter().flatten().collect())
    }

    /// Reads users or groups, in the order of `ids`. Those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_many(&self, kind: Kind, ids: &[Uuid]) -> Result<Vec<Record>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| keys::resource(&self.tenant, kind, *id)).collect();
        let mut found = BTreeMap::new();
        for item in self.table.batch_get(&keys).await? {
            if let Some(record) = Record::from_item(&item)? {
                found.insert(record.id, record);
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// Reads which of these users exist, and whether each is active. It holds only some of the users in
    /// memory at one moment, because users can be large.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_activity(&self, ids: &[Uuid]) -> Result<Vec<UserActivity>, StoreError> {
        let keys = ids.iter().map(|id| keys::resource(&self.tenant, Kind::User, *id));
        let mut reader = Reader::new(&self.table, keys, Pace::default());
        let mut found = Vec::with_capacity(ids.len());
        while let Some(items) = reader.next().await? {
            for item in items {
                let user = Record::from_item(&item)?;
                found.extend(user.map(|user| UserActivity { id: user.id, is_active: user.is_active() }));
            }
        }
        Ok(found)
    }

    /// Reads what users show of their groups, by the id of the group. Groups that do not exist are left
    /// out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_teams(&self, ids: &BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Team>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().copied().collect();
        let name = |group: &Record| group.doc.get("displayName").and_then(Value::as_str).map(str::to_owned);
        let team = |group: &Record| Team { name: name(group), roles: group.assignments() };
        let mut teams = BTreeMap::new();
        // A part of the groups at a time, because a group is larger than what is kept of it.
        for some in ids.chunks(TEAMS_READ_AT_ONCE) {
            let groups = self.fetch_many(Kind::Group, some).await?;
            teams.extend(groups.iter().map(|group| (group.id, team(group))));
        }
        Ok(teams)
    }

    /// Creates a user, or a group with members, in one transaction.
    ///
    /// # Errors
    /// - [`StoreError::Refused`] with [`Refusal::Taken`] if the unique value belongs to another resource.
    /// - [`StoreError::Refused`] with [`Refusal::Member`] if a member does not exist.
    /// - [`StoreError::TransactionTooLarge`].
    /// - The others of [`Table::transact`](super::call::Table::transact).
    pub async fn create(&self, creation: &ResourceCreation<'_>) -> Result<(), StoreError> {
        self.table.transact(|| creation.actions(self)).await
    }

    /// The action that writes a resource as `after` is, if it is as `before` was read. The event of the change
    /// follows the trail of `before`.
    pub fn replace_unchanged(&self, before: &Record, after: &Record) -> Action {
        let unchanged = before.is_unchanged().and(Expression::lacks("change"));
        Action::update(after.key(&self.tenant), after.to_update()).only_if(unchanged, Refusal::Changed)
    }

    /// Replaces the document of a resource and changes a group's members, in one transaction.
    ///
    /// # Errors
    /// - [`StoreError::Refused`] with [`Refusal::Changed`] if the resource is no longer in the version of
    ///   `before`.
    /// - [`StoreError::Refused`] with [`Refusal::Taken`] if the new unique value belongs to another
    ///   resource.
    /// - [`StoreError::Refused`] with [`Refusal::Membership`] if a member to add is one already, or a member
    ///   to remove is none.
    /// - [`StoreError::Refused`] with [`Refusal::Member`] if a member does not exist, or a member to add is in
    ///   too many groups.
    /// - [`StoreError::TransactionTooLarge`].
    /// - The others of [`Table::transact`](super::call::Table::transact).
    pub async fn update(&self, update: &ResourceUpdate<'_>) -> Result<(), StoreError> {
        let no_longer_claimed = update.lookups_instead_of_claim();
        if !no_longer_claimed.is_empty() {
            self.table.transact(|| update.put_lookups_first(self, &no_longer_claimed)).await?;
        }
        self.table.transact(|| update.actions(self)).await
    }

    /// As [`Store::update`], but does not try again after a conflict or while the table throttles.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub async fn try_update(&self, update: &ResourceUpdate<'_>) -> Result<(), StoreError> {
        self.table.transact_once(update.actions(self)).await
    }
}

/// The creation of a resource, and what one transaction writes with it.
#[derive(Clone, Copy, Debug)]
pub struct ResourceCreation<'a> {
    /// The resource to create. A pending change that it names is staged already, and is committed with the
    /// creation.
    pub record: &'a Record,
    /// The members of a new group, at most
    /// [`MAX_MEMBER_CHANGES_PER_TX`](crate::limits::MAX_MEMBER_CHANGES_PER_TX). More members are in the
    /// pending change.
    pub members: &'a [Membership],
    /// Its resource type.
    pub ty: &'a ResourceType,
    /// The event of the creation.
    pub event: &'a Event,
    /// The deactivated account that may hold the unique value. The creation takes the value from it.
    pub takes_over: Option<Uuid>,
}

impl ResourceCreation<'_> {
    fn actions(&self, store: &Store) -> Vec<Action> {
        let (tenant, record) = (&store.tenant, self.record);
        let claim_is_free = self.takes_over.map_or_else(is_free, is_free_or_gone_of);
        let form = store.table.email_lookups;
        let mut actions = create_resource(tenant, record, self.ty, &claim_is_free, form);
        actions.push(event::action(tenant, self.event));
        actions.extend(commit_staged(tenant, None, record));
        for member in self.members {
            actions.extend(add_member(tenant, record.id, member, &record.modified));
        }
        actions
    }
}

/// A change of a resource, and what one transaction writes with it.
#[derive(Clone, Copy, Debug)]
pub struct ResourceUpdate<'a> {
    /// The resource as it was read. It has no pending change.
    pub before: &'a Record,
    /// Whether `before` was not read for this request. Then it is what this process wrote before.
    pub is_recalled: bool,
    /// The resource as the change leaves it. A pending change that it names is staged already, and is
    /// committed with the update.
    pub after: &'a Record,
    /// The members that come and go, at most
    /// [`MAX_MEMBER_CHANGES_PER_TX`](crate::limits::MAX_MEMBER_CHANGES_PER_TX).
    pub members: MemberChanges<'a>,
    /// Its resource type.
    pub ty: &'a ResourceType,
    /// The event of the change.
    pub event: &'a Event,
    /// What the rules of the tenant write in the same transaction.
    pub extra_actions: &'a [Action],
}

impl ResourceUpdate<'_> {
    fn actions(&self, store: &Store) -> Vec<Action> {
        let (tenant, before, after) = (&store.tenant, self.before, self.after);
        let mut actions = vec![self.own_action(store), event::action(tenant, self.event)];
        actions.extend(self.extra_actions.iter().cloned());
        actions.extend(count_inactive(tenant, Some(before), Some(after)));
        actions.extend(commit_staged(tenant, before.change, after));
        actions.extend(self.index_actions(store));
        let add = self.members.add.iter();
        let add = add.map(|member| (member, add_member(tenant, after.id, member, &after.modified)));
        let remove = self.members.remove.iter();
        let remove = remove.map(|member| (member, remove_member(tenant, after.id, member)));
        for (member, [membership, groups]) in add.chain(remove) {
            actions.push(membership);
            // The group's own item is updated above.
            if member.id != after.id {
                actions.push(groups);
            }
        }
        actions
    }

    /// Updates the resource's own item. A transaction names an item once, so a group that joins or
    /// leaves itself does so here.
    fn own_action(&self, store: &Store) -> Action {
        let after = self.after;
        let mut update = if self.is_recalled { after.to_update_of_members() } else { after.to_update() };
        for (members, side) in [(self.members.add, Side::Add), (self.members.remove, Side::Remove)] {
            if members.iter().any(|member| member.id == after.id) {
                update = change_groups(update, side, after.id);
            }
        }
        let unchanged =
            if self.is_recalled { self.before.is_as_written() } else { self.before.is_unchanged() };
        Action::update(after.key(&store.tenant), update).only_if(unchanged, Refusal::Changed)
    }

    /// The values that the resource keeps, and that its claim found until now. They need a look-up from now on.
    fn lookups_instead_of_claim(&self) -> Vec<Entry> {
        let (before, after, ty) = (self.before, self.after, self.ty);
        if index::finds_alike(ty, &before.doc, &after.doc) {
            return Vec::new();
        }
        let needed = before.required_lookups(ty);
        let kept = before.lookups(ty);
        after.required_lookups(ty).into_iter().filter(|e| kept.contains(e) && !needed.contains(e)).collect()
    }

    /// Writes look-ups while the claim is there. So a filter that reads the look-ups after it has found no claim does
    /// not miss the resource. The resource may keep them if the update itself is refused.
    fn put_lookups_first(&self, store: &Store, lookups: &[Entry]) -> Vec<Action> {
        let (tenant, before) = (&store.tenant, self.before);
        let check = Action::check(before.key(tenant), before.is_unchanged(), Refusal::Changed);
        let puts = lookups.iter().map(|entry| put_lookup(tenant, before, entry));
        std::iter::once(check).chain(puts).collect()
    }

    /// Changes the claim and the look-ups. An active user may take the name of a deactivated account.
    fn index_actions(&self, store: &Store) -> Vec<Action> {
        let (tenant, before, after, ty) = (&store.tenant, self.before, self.after, self.ty);
        let mut actions = Vec::new();
        if index::finds_alike(ty, &before.doc, &after.doc) {
            return actions;
        }
        let (old, new) = (before.claim(ty), after.claim(ty));
        if old != new {
            let take = |entry: Entry| take_claim(tenant, &entry, after.id, is_free_or_gone());
            actions.extend(old.map(|entry| release_claim(tenant, &entry, before.id)));
            actions.extend(new.map(take));
        }
        let (old, new) = (before.lookups(ty), after.lookups(ty));
        let written = after.written_entries(ty, store.table.email_lookups).lookups;
        actions.extend(old.difference(&new).map(|entry| delete_lookup(tenant, before, entry)));
        actions.extend(written.difference(&old).map(|entry| put_lookup(tenant, after, entry)));
        actions
    }
}
