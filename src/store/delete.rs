//! Taking a user or group out of the table, with every trace of it.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::error::{Refusal, StoreError};
use super::event::{self, Event};
use super::keys::{self, parse_id};
use super::membership::{MAX_GROUPS, Membership, WINDOW};
use super::record::Record;
use super::resource::{Store, version_is};
use super::transaction::{Action, Expression, MAX_ACTIONS};
use crate::clock;
use crate::scim::resource_type::{Kind, ResourceType};

impl Store {
    /// Deletes a resource: its item, claim, look-ups, list entry and count, and its memberships,
    /// in one transaction that holds only if nothing changed since `record` and `members` were
    /// read. `members` are a group's; the caller has brought both kinds of membership down to what
    /// fits ([`Store::fits`]). With `tombstone_until`, in seconds since 1970, the account is kept
    /// until then and can come back ([`Store::reactivate`]).
    ///
    /// # Errors
    /// [`StoreError::Refused`] with [`Refusal::Changed`]: read again.
    pub async fn delete(
        &self,
        record: &Record,
        members: &[Membership],
        ty: &ResourceType,
        event: &Event,
        tombstone_until: Option<u64>,
    ) -> Result<(), StoreError> {
        let now = clock::timestamp();
        self.table
            .transact(|| {
                let mut unchanged = version_is(record.version);
                if record.groups.is_empty() {
                    unchanged.text.push_str(" AND attribute_not_exists(#groups)");
                    unchanged = unchanged.name("#groups", "groups");
                } else {
                    unchanged.text.push_str(" AND #groups = :groups");
                    let groups = AttributeValue::Ss(record.groups.iter().cloned().collect());
                    unchanged = unchanged.name("#groups", "groups").value(":groups", groups);
                }
                let mut actions = vec![
                    Action::delete(record.key(&self.tenant)).only_if(unchanged, Refusal::Changed),
                    Action::delete(keys::list_entry(&self.tenant, record.kind, record.id)),
                    self.count(record.kind, -1),
                    event::action(&self.tenant, event),
                ];
                match tombstone_until {
                    Some(until) => actions.extend(self.bury(record, ty, until)),
                    None => actions.extend(record.claim(ty).map(|entry| self.release(&entry, record.id))),
                }
                actions
                    .extend(record.lookups(ty).iter().map(|e| Action::delete(self.look_up(record, e).key)));
                for group in group_ids(&record.groups) {
                    if group != record.id {
                        actions.extend(self.leave(group, record.id, &now));
                    }
                }
                for member in members {
                    let [membership, back] = self.remove_member(record.id, member);
                    actions.push(membership);
                    // A group that is its own member is deleted above.
                    if member.id != record.id {
                        actions.push(back);
                    }
                }
                actions
            })
            .await
    }

    /// Whether a deletion with so many memberships fits in one transaction.
    pub fn fits(&self, record: &Record, members: usize, ty: &ResourceType) -> bool {
        6 + record.lookups(ty).len() + 2 * (record.groups.len() + members) <= MAX_ACTIONS
    }

    /// Takes a resource out of some of its groups, as many as fit in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with [`Refusal::Changed`]: read again.
    pub async fn leave_some(&self, record: &Record) -> Result<(), StoreError> {
        debug_assert!(record.groups.len() <= MAX_GROUPS);
        let now = clock::timestamp();
        let leaving: Vec<Uuid> = group_ids(&record.groups).into_iter().take(WINDOW).collect();
        self.table
            .transact(|| {
                let ids = leaving.iter().map(Uuid::to_string).collect();
                let update = Expression::new("DELETE #groups :leaving")
                    .name("#groups", "groups")
                    .value(":leaving", AttributeValue::Ss(ids));
                let mut actions = vec![
                    Action::update(record.key(&self.tenant), update)
                        .only_if(version_is(record.version), Refusal::Changed),
                ];
                for group in &leaving {
                    if *group != record.id {
                        actions.extend(self.leave(*group, record.id, &now));
                    }
                }
                actions
            })
            .await
    }

    /// The two actions by which a member that is about to go leaves a group.
    fn leave(&self, group: Uuid, member: Uuid, now: &str) -> [Action; 2] {
        let update = Expression::new("SET ver = ver + :one, modified = :now ADD memberCount :less")
            .value(":one", AttributeValue::N("1".to_owned()))
            .value(":now", AttributeValue::S(now.to_owned()))
            .value(":less", AttributeValue::N("-1".to_owned()));
        [
            Action::delete(keys::membership(&self.tenant, group, member))
                .only_if(Expression::exists(), Refusal::Changed),
            Action::update(keys::resource(&self.tenant, Kind::Group, group), update)
                .only_if(Expression::exists(), Refusal::Changed),
        ]
    }
}

fn group_ids(groups: &BTreeSet<String>) -> Vec<Uuid> {
    groups.iter().filter_map(|id| parse_id(id)).collect()
}
