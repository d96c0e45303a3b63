//! The items of a seed.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::names::{GROUP_NAME, group_id, user, user_id};
use crate::limits::{COUNTER_SHARDS, MAX_MEMBER_CHANGES_PER_TX};
use crate::scim::document_rules::{check_required, check_username_and_email};
use crate::scim::resource_type::{Kind, Model};
use crate::scim::validate::read;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::claim::is_free;
use crate::store::counter::count_on_shard;
use crate::store::digest::MembershipDigest;
use crate::store::feed::state::FeedState;
use crate::store::item::{Attributes, Item, with_key};
use crate::store::keys;
use crate::store::membership::{Membership, put_membership};
use crate::store::record::Record;
use crate::store::resource_actions::put_resource;
use crate::store::trail::{PartName, Trail};
use crate::store::transaction::{Action, ActionKind};

/// A seed under way.
pub(super) struct Seeding {
    pub store: Store,
    pub model: Model,
    pub users: usize,
    /// How many of the users are members of the group.
    pub members: usize,
    pub now: String,
    /// Tells the tenant from an earlier one of the same name.
    pub incarnation: String,
}

impl Seeding {
    /// How many parts the creation of the group has: none if one transaction takes all members.
    pub fn parts(&self) -> u32 {
        if self.members <= MAX_MEMBER_CHANGES_PER_TX {
            return 0;
        }
        u32::try_from(self.members.div_ceil(MAX_MEMBER_CHANGES_PER_TX)).unwrap_or(u32::MAX)
    }

    /// A user as it is created, before it is a member.
    ///
    /// # Errors
    /// The `detail` of the rule that the user breaks.
    pub fn user(&self, number: usize) -> Result<Record, String> {
        let (ty, policy) = (self.model.of(Kind::User), self.model.policy);
        let body = user(number).as_object().cloned().unwrap_or_default();
        let doc = read(&body, ty, policy, &WorkBudget::of_body()).map_err(|error| error.detail)?;
        if number == 1 {
            // All have the same form.
            check_required(&doc, ty)
                .and_then(|()| check_username_and_email(&doc, policy))
                .map_err(|error| error.detail)?;
        }
        Ok(Record::new(Kind::User, user_id(number), doc, &self.now))
    }

    /// What there is of these users, and of their memberships.
    ///
    /// # Errors
    /// The `detail` of the rule that a user breaks.
    pub fn items_of_users(&self, users: RangeInclusive<usize>) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        for number in users {
            self.add_user(number, &mut items)?;
        }
        Ok(items)
    }

    fn add_user(&self, number: usize, items: &mut Vec<Item>) -> Result<(), String> {
        let ty = self.model.of(Kind::User);
        let mut record = self.user(number)?;
        let mut named = Attributes::new();
        let is_member = number <= self.members;
        if is_member {
            record.groups.insert(group_id());
            // The item of a member names the part of the large change that made it one.
            let part = (number - 1) / MAX_MEMBER_CHANGES_PER_TX + 1;
            if self.parts() > 0
                && let Ok(part) = u32::try_from(part)
            {
                let name = PartName { group: group_id(), version: record.version, part };
                named = Trail { named: BTreeSet::from([name]), ..Trail::default() }.attributes();
            }
        }
        let mut actions =
            put_resource(&self.store.tenant, &record, ty, &is_free(), self.store.table.email_lookups);
        if is_member {
            let member = Membership { id: record.id, kind: Kind::User, display: None };
            actions.push(put_membership(&self.store.tenant, group_id(), &member, &self.now));
        }
        let own = record.key(&self.store.tenant);
        let last = keys::list_entry(&self.store.tenant, Kind::User, user_id(1));
        for Action { key, kind, .. } in actions {
            let ActionKind::Put(attributes) = kind else { continue };
            if key == last {
                continue;
            }
            let mut item = with_key(&key);
            item.extend(attributes);
            if key == own {
                item.extend(std::mem::take(&mut named));
            }
            items.push(item);
        }
        Ok(())
    }

    /// The group as it is created.
    pub fn group(&self) -> Record {
        let doc = Map::from_iter([("displayName".to_owned(), Value::from(GROUP_NAME))]);
        let mut group = Record::new(Kind::Group, group_id(), doc, &self.now);
        group.digest = MembershipDigest::of((1..=self.members).map(user_id));
        group.parts = self.parts();
        group
    }

    /// What makes the seed whole: the group, the first user's place in the list, the counters. The changes of the seed
    /// have the numbers from `first` to the one before `end`.
    pub fn last(&self, first: u64, end: u64) -> Vec<Action> {
        let (tenant, users) = (&self.store.tenant, self.users as u64);
        let mut actions = vec![Action::put(keys::list_entry(tenant, Kind::User, user_id(1)), [])];
        for shard in 0..COUNTER_SHARDS {
            let share = users / COUNTER_SHARDS + u64::from(shard < users % COUNTER_SHARDS);
            let (shard, share) = (u8::try_from(shard).unwrap_or(0), i64::try_from(share).unwrap_or(0));
            actions.push(count_on_shard(tenant, shard, Kind::User, share));
        }
        if self.members > 0 {
            actions.push(count_on_shard(tenant, 0, Kind::Group, 1));
            let ty = self.model.of(Kind::Group);
            actions.extend(put_resource(
                tenant,
                &self.group(),
                ty,
                &is_free(),
                self.store.table.email_lookups,
            ));
        }
        if keys::feed_bucket(first) != keys::feed_bucket(end) {
            actions.push(FeedState::move_near_end(end));
        }
        actions
    }
}
