//! Users and groups in the table: read, create, update. Each write is one transaction whose
//! conditions keep ids and names unique and versions in order.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::call::{Table, random_below};
use super::error::{Refusal, StoreError};
use super::event::{self, Event, Subject};
use super::guard::still_unguarded;
use super::index::{Entry, Index};
use super::item::{Item, get_text};
use super::keys::{self, Key, TenantId, parse_id};
use super::membership::Membership;
use super::record::{Record, Role};
use super::transaction::{Action, Expression};
use super::{tombstone, work};
use crate::scim::resource_type::{Kind, ResourceType};

/// A counter is spread over so many items, so that creations seldom meet.
pub const COUNTER_SHARDS: u64 = 8;
/// So many groups are read at once for what users show of them.
const TEAMS_AT_ONCE: usize = 1_600;

/// The table as one request of one tenant sees it.
#[derive(Clone, Debug)]
pub struct Store {
    /// The table.
    pub table: Table,
    /// Whose resources.
    pub tenant: TenantId,
    /// Who asks: the key's id, for events and page marks.
    pub actor: String,
    /// The request's id, for events.
    pub request_id: String,
}

/// What a user shows of a group that it is in.
#[derive(Clone, Debug)]
pub struct Team {
    /// The group's display name.
    pub name: Option<String>,
    /// The roles that its members have.
    pub roles: BTreeSet<Role>,
}

impl Store {
    /// An event of this request. `record` is the resource as the change leaves it.
    pub fn event(&self, event_type: &'static str, record: &Record) -> Event {
        self.event_of_version(event_type, record, record.version)
    }

    /// An event of this request, about a change that leaves the resource in this version.
    pub fn event_of_version(&self, event_type: &'static str, record: &Record, version: u64) -> Event {
        let subject = Subject { resource_type: record.kind.name(), id: record.id.to_string(), version };
        Event::new(event_type, subject, &self.actor, &self.request_id, OffsetDateTime::now_utc())
    }

    /// Whether a write took effect whose answer did not say so: whether the resource is as the write
    /// was to leave it. Waits for a transaction on it that is under way.
    ///
    /// # Errors
    /// As every call: then nobody knows yet.
    pub async fn took_effect(&self, after: &Record) -> Result<bool, StoreError> {
        let items = self.table.get_together(&[after.key(&self.tenant)]).await?;
        let now = items.first().and_then(Option::as_ref).map(Record::from_item).transpose()?.flatten();
        Ok(now.is_some_and(|now| {
            now.version == after.version && now.modified == after.modified && now.doc == after.doc
        }))
    }

    /// Reads a user or group, without members.
    ///
    /// # Errors
    /// As every call.
    pub async fn fetch(&self, kind: Kind, id: Uuid) -> Result<Option<Record>, StoreError> {
        match self.table.get(&keys::resource(&self.tenant, kind, id)).await? {
            Some(item) => Record::from_item(&item),
            None => Ok(None),
        }
    }

    /// Reads users or groups, in the order of `ids`; those that do not exist are left out.
    ///
    /// # Errors
    /// As every call.
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

    /// What users show of their groups, by id. Groups that are gone are left out.
    ///
    /// # Errors
    /// As every call.
    pub async fn teams(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Team>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().filter_map(|id| parse_id(id)).collect();
        let name = |group: &Record| group.doc.get("displayName").and_then(Value::as_str).map(str::to_owned);
        let team = |group: &Record| Team { name: name(group), roles: group.assignments() };
        let mut teams = BTreeMap::new();
        // Some at a time: what is kept of a group is less than the group.
        for some in ids.chunks(TEAMS_AT_ONCE) {
            let groups = self.fetch_many(Kind::Group, some).await?;
            teams.extend(groups.iter().map(|group| (group.id.to_string(), team(group))));
        }
        Ok(teams)
    }

    /// The ids of the resources that have an indexed value.
    ///
    /// # Errors
    /// As every call.
    pub async fn find(&self, kind: Kind, index: Index, entry: &Entry) -> Result<Vec<Uuid>, StoreError> {
        match index {
            Index::Claim => {
                let item = self.table.get(&keys::claim(&self.tenant, entry.attribute, &entry.value)).await?;
                let holder = item.as_ref().and_then(tombstone::claim).filter(|claim| !claim.gone);
                Ok(holder.map(|claim| claim.id).into_iter().collect())
            }
            Index::Lookup => {
                let pk = keys::lookups(&self.tenant, kind, entry.attribute, &entry.value);
                let items = self.table.query_all(&pk, None).await?;
                Ok(items.iter().filter_map(|i| get_text(i, "sk")).filter_map(parse_id).collect())
            }
        }
    }

    /// Creates a user, or a group with members, in one transaction. The caller sees to it that the
    /// members are few enough ([`super::membership::WINDOW`]), or staged as the change that `record`
    /// names ([`Store::stage`]), which is committed with it. With `takes_over`, the unique value
    /// may also be that of this deactivated account.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: the unique value is taken, or a member is gone.
    pub async fn create(
        &self,
        record: &Record,
        members: &[Membership],
        ty: &ResourceType,
        event: &Event,
        takes_over: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let free = match takes_over {
            None => Expression::absent(),
            Some(id) => Expression::new("attribute_not_exists(pk) OR (gone = :gone AND id = :gone_id)")
                .value(":gone", AttributeValue::Bool(true))
                .value(":gone_id", AttributeValue::S(id.to_string())),
        };
        self.table
            .transact(|| {
                let mut actions = self.creation(record, ty, &free);
                actions.push(event::action(&self.tenant, event));
                actions.extend(work::commit(&self.tenant, None, record));
                for member in members {
                    actions.extend(self.add_member(record.id, member, &record.modified));
                }
                actions
            })
            .await
    }

    /// The actions that make a resource, without members and event: all of [`Store::presence`], and
    /// the counts.
    pub fn creation(&self, record: &Record, ty: &ResourceType, free: &Expression) -> Vec<Action> {
        let mut actions = self.presence(record, ty, free);
        actions.push(self.count(record.kind, 1));
        actions.extend(self.count_inactive(None, Some(record)));
        actions
    }

    /// The actions that put a new resource where it is found: its item, its place in the list, its
    /// claim, which must be `free`, and its look-ups.
    pub fn presence(&self, record: &Record, ty: &ResourceType, free: &Expression) -> Vec<Action> {
        let mut item = record.attributes();
        if !record.groups.is_empty() {
            let groups = record.groups.iter().cloned().collect();
            item.insert("groups".to_owned(), AttributeValue::Ss(groups));
        }
        let mut actions = vec![
            Action::put(record.key(&self.tenant), item).only_if(Expression::absent(), Refusal::Exists),
            Action::put(keys::list_entry(&self.tenant, record.kind, record.id), Item::new()),
        ];
        actions.extend(record.claim(ty).map(|entry| self.claim(&entry, record.id, free.clone())));
        actions.extend(record.lookups(ty).iter().map(|entry| self.look_up(record, entry)));
        actions
    }

    /// Replaces the document of a resource and changes a group's members, in one transaction that
    /// holds only if the resource is still in the version of `before`. The caller sees to it that
    /// the members are few enough, or staged as the change that `after` names, which is then
    /// committed; and that no other change of the group is pending. `also` is written with it.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: changed meanwhile, the unique value is taken, or a member is gone.
    pub async fn update(
        &self,
        before: &Record,
        after: &Record,
        (add, remove): (&[Membership], &[Membership]),
        ty: &ResourceType,
        event: &Event,
        also: &[Action],
    ) -> Result<(), StoreError> {
        self.table
            .transact(|| {
                // A transaction names an item once: a group that joins or leaves itself does so in
                // the update of its own item.
                let mut own = set_attributes(after);
                for (members, verb) in [(add, "ADD"), (remove, "DELETE")] {
                    if members.iter().any(|member| member.id == after.id) {
                        own.text.push_str(&format!(" {verb} #groups :group"));
                        own = own
                            .name("#groups", "groups")
                            .value(":group", AttributeValue::Ss(vec![after.id.to_string()]));
                    }
                }
                let mut unchanged = version_is(before.version);
                still_unguarded(before, &mut unchanged);
                let mut actions = vec![
                    Action::update(after.key(&self.tenant), own).only_if(unchanged, Refusal::Changed),
                    event::action(&self.tenant, event),
                ];
                actions.extend(also.iter().cloned());
                actions.extend(self.count_inactive(Some(before), Some(after)));
                actions.extend(work::commit(&self.tenant, before.change, after));
                let (old, new) = (before.claim(ty), after.claim(ty));
                if old != new {
                    actions.extend(old.map(|entry| self.release(&entry, before.id)));
                    // A deactivated account does not keep its name from a living one.
                    let free = Expression::new("attribute_not_exists(pk) OR gone = :gone")
                        .value(":gone", AttributeValue::Bool(true));
                    actions.extend(new.map(|entry| self.claim(&entry, after.id, free)));
                }
                let (old, new) = (before.lookups(ty), after.lookups(ty));
                actions.extend(old.difference(&new).map(|e| Action::delete(self.look_up(before, e).key)));
                actions.extend(new.difference(&old).map(|e| self.look_up(after, e)));
                let changes = add.iter().map(|m| (m, self.add_member(after.id, m, &after.modified)));
                let changes = changes.chain(remove.iter().map(|m| (m, self.remove_member(after.id, m))));
                for (member, [membership, back]) in changes {
                    actions.push(membership);
                    if member.id != after.id {
                        actions.push(back);
                    }
                }
                actions
            })
            .await
    }

    /// Adds to the counter of a kind, on a shard that another attempt will choose differently.
    pub(super) fn count(&self, kind: Kind, by: i64) -> Action {
        self.count_on(u8::try_from(random_below(COUNTER_SHARDS)).unwrap_or(0), kind, by)
    }

    /// Adds to one shard of the counter of a kind.
    pub fn count_on(&self, shard: u8, kind: Kind, by: i64) -> Action {
        add(keys::counter(&self.tenant, kind, shard), by)
    }

    /// Adds to the counter of inactive users what a change makes of a user; nothing for a group.
    pub(super) fn count_inactive(&self, before: Option<&Record>, after: Option<&Record>) -> Option<Action> {
        let inactive = |record: Option<&Record>| {
            i64::from(record.is_some_and(|record| record.kind == Kind::User && !record.is_active()))
        };
        let by = inactive(after) - inactive(before);
        let shard = u8::try_from(random_below(COUNTER_SHARDS)).unwrap_or(0);
        (by != 0).then(|| add(keys::inactive_counter(&self.tenant, shard), by))
    }

    pub(super) fn claim(&self, entry: &Entry, id: Uuid, free: Expression) -> Action {
        let item = Item::from([super::item::text("id", &id.to_string())]);
        Action::put(keys::claim(&self.tenant, entry.attribute, &entry.value), item)
            .only_if(free, Refusal::Taken(entry.attribute))
    }

    /// Gives a claim up, if it is still this resource's.
    pub(super) fn release(&self, entry: &Entry, id: Uuid) -> Action {
        let own = Expression::new("id = :id").value(":id", AttributeValue::S(id.to_string()));
        Action::delete(keys::claim(&self.tenant, entry.attribute, &entry.value))
            .only_if(own, Refusal::Changed)
    }

    pub(super) fn look_up(&self, record: &Record, entry: &Entry) -> Action {
        let key = keys::lookup(&self.tenant, record.kind, entry.attribute, &entry.value, record.id);
        Action::put(key, Item::new())
    }
}

fn add(counter: Key, by: i64) -> Action {
    let add = Expression::new("ADD #n :by").name("#n", "n").value(":by", AttributeValue::N(by.to_string()));
    Action::update(counter, add)
}

/// The resource is in this version.
pub fn version_is(version: u64) -> Expression {
    Expression::new("ver = :was").value(":was", AttributeValue::N(version.to_string()))
}

/// Sets every attribute that a record has of its own.
fn set_attributes(record: &Record) -> Expression {
    let mut set = Vec::new();
    let mut update = Expression::default();
    for (at, (name, value)) in record.attributes().into_iter().enumerate() {
        set.push(format!("#a{at} = :a{at}"));
        update = update.name(&format!("#a{at}"), &name).value(&format!(":a{at}"), value);
    }
    update.text = format!("SET {}", set.join(", "));
    update
}
