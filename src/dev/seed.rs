//! A tenant with many users and a large group, made fast: what creations one by one would leave in
//! the table, but for their events, written in batches.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};
use uuid::{Builder, Uuid};

use crate::clock;
use crate::limits::COUNTER_SHARDS;
use crate::scim::document_rules::{check_required, check_username_and_email};
use crate::scim::resource_type::{Kind, Model};
use crate::scim::validate::read;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::claim::is_free;
use crate::store::counter::count_on_shard;
use crate::store::digest::MembershipDigest;
use crate::store::error::StoreError;
use crate::store::index::{self, Index};
use crate::store::item::{Item, with_key};
use crate::store::keys::{self, TenantId};
use crate::store::membership::{Membership, add_member};
use crate::store::record::Record;
use crate::store::resource_actions::put_resource;
use crate::store::transaction::{Action, ActionKind};
use crate::tenants::actor::Actor;
use crate::tenants::error::TenantError;
use crate::tenants::record::resync;

/// The name of the group.
pub const GROUP_NAME: &str = "Seeded group";
/// Ids are UUIDv7 of this moment and the milliseconds after it (2020-01-01T00:00:00Z), so that the
/// seeded users stand before all others in the list and are recognised.
const FIRST_MILLIS: u64 = 1_577_836_800_000;
/// The users whose items are written one after another.
const LOT: usize = 200;
/// The lots that are written side by side.
const AT_ONCE: usize = 8;

/// How much to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Users.
    pub users: usize,
    /// Members of the one group, the first of the users; no group for 0.
    pub members: usize,
}

impl Size {
    /// Only users can be members.
    ///
    /// # Errors
    /// For more members than users, on one line.
    pub fn check(self) -> Result<Self, String> {
        match self.members <= self.users {
            true => Ok(self),
            false => Err(format!(
                "--seed-members {}: there are only {} seeded users; --seed-users must be as many",
                self.members, self.users
            )),
        }
    }
}

/// What became of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedOutcome {
    /// Everything was written.
    Seeded,
    /// The tenant has users of a seed already: nothing was written.
    Present,
}

/// The id of a seeded user, counted from 1; 0 is the group's.
fn id(number: usize) -> Uuid {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(number as u64).to_be_bytes());
    Builder::from_unix_timestamp_millis(FIRST_MILLIS + number as u64, &random).into_uuid()
}

/// The id of a seeded user, counted from 1.
pub fn user_id(number: usize) -> Uuid {
    id(number)
}

/// The id of the seeded group.
pub fn group_id() -> Uuid {
    id(0)
}

/// The `userName` of a seeded user, counted from 1.
pub fn user_name(number: usize) -> String {
    format!("seed-{number:07}@example.com")
}

/// The body that would create a seeded user, complete under every policy.
pub fn user(number: usize) -> Value {
    let email = user_name(number);
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": email,
        "externalId": format!("seed-{number:07}"),
        "name": { "givenName": "Seed", "familyName": format!("User {number:07}") },
        "displayName": format!("Seed User {number:07}"),
        "active": true,
        "emails": [{ "value": email, "type": "work", "primary": true }]
    })
}

/// Fills a tenant with users and a group, unless it has them already. `progress` is called with the number of
/// users that are written. Nothing else should write to the tenant at the same time.
///
/// # Errors
/// One line of text if the size is wrong, if the tenant has part of another seed, if a name is taken, or if a
/// call fails.
pub async fn seed(
    table: &Table,
    tenant: &TenantId,
    model: &Model,
    size: Size,
    progress: impl Fn(usize),
) -> Result<SeedOutcome, String> {
    let Size { users, members } = size.check()?;
    let store = Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: "operator".to_owned(),
        request_id: String::new(),
    };
    let seeding = Seeding { store, model, members, now: clock::timestamp() };
    let failed = |error: StoreError| format!("cannot seed the tenant {tenant}: {error}");
    // The list entry of the first user is written last, with the counters.
    let first = seeding.store.list_page(Kind::User, Some(group_id()), 1).await.map_err(failed)?;
    match first.ids.first().and_then(number) {
        Some(1) => return Ok(SeedOutcome::Present),
        Some(_) => {
            return Err(format!(
                "the tenant {tenant} has a part of the users of a seed, which was cut short or which has been worked with: take a new --tenant or --data-dir"
            ));
        }
        None if users == 0 => return Ok(SeedOutcome::Seeded),
        None => seeding.refuse_taken(users).await?,
    }
    let written = AtomicUsize::new(0);
    let lots = (1..=users).step_by(LOT).map(|from| from..=users.min(from + LOT - 1));
    stream::iter(lots)
        .map(|lot| async {
            let mut items = Vec::with_capacity(LOT * 6);
            let many = lot.clone().count();
            for number in lot {
                items.extend(seeding.user_items(number)?);
            }
            seeding.store.table.batch_put(items).await.map_err(failed)?;
            progress(written.fetch_add(many, Ordering::Relaxed) + many);
            Ok::<_, String>(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    seeding.store.table.transact(|| seeding.last(users)).await.map_err(failed)?;
    // The users have no changes: mirrors read the tenant again.
    match resync(table, &Actor::operator(), tenant, clock::now(), &[]).await {
        Ok(_) | Err(TenantError::NoTenant(_)) => Ok(SeedOutcome::Seeded),
        Err(TenantError::Table(error)) => Err(failed(error)),
        Err(_) => Err(format!("cannot tell that the tenant {tenant} was filled: try again")),
    }
}

/// The number of a seeded user.
fn number(found: &Uuid) -> Option<usize> {
    let millis = found.get_timestamp()?.to_unix();
    let millis = millis.0 * 1_000 + u64::from(millis.1 / 1_000_000);
    let number = usize::try_from(millis.checked_sub(FIRST_MILLIS)?).ok()?;
    (number > 0 && id(number) == *found).then_some(number)
}

/// A seed under way.
struct Seeding<'a> {
    store: Store,
    model: &'a Model,
    members: usize,
    now: String,
}

impl Seeding<'_> {
    /// Refuses the seed if another user or a deactivated account has a name that it needs.
    async fn refuse_taken(&self, users: usize) -> Result<(), String> {
        let tenant = &self.store.tenant;
        let failed = |error: StoreError| format!("cannot seed the tenant {tenant}: {error}");
        let ty = self.model.of(Kind::User);
        let mut claims = Vec::new();
        for number in 1..=users {
            let name = user_name(number);
            if let Some((Index::Claim, entry)) = index::entry(ty, "userName", &name) {
                claims.push(keys::claim(tenant, entry.attribute, &entry.value));
            }
        }
        let group = self.group().claim(self.model.of(Kind::Group)).filter(|_| self.members > 0);
        claims.extend(group.map(|entry| keys::claim(tenant, entry.attribute, &entry.value)));
        match self.store.table.batch_get(&claims).await.map_err(failed)?.len() {
            0 => Ok(()),
            taken => Err(format!(
                "the tenant {tenant} has {taken} of the names of a seed ({} … or {GROUP_NAME}): take a new --tenant or --data-dir",
                user_name(1)
            )),
        }
    }

    /// What there is of a user, and of its membership.
    fn user_items(&self, number: usize) -> Result<Vec<Item>, String> {
        let (ty, policy) = (self.model.of(Kind::User), self.model.policy);
        let body = user(number).as_object().cloned().unwrap_or_default();
        let doc = read(&body, ty, policy, &WorkBudget::of_body()).map_err(|error| error.detail)?;
        if number == 1 {
            // All have the same form.
            check_required(&doc, ty)
                .and_then(|()| check_username_and_email(&doc, policy))
                .map_err(|error| error.detail)?;
        }
        let record = Record::new(Kind::User, user_id(number), doc, &self.now);
        let mut actions = put_resource(&self.store.tenant, &record, ty, &is_free());
        if number <= self.members {
            let member = Membership { id: record.id, kind: Kind::User, display: None };
            let [membership, _] = add_member(&self.store.tenant, group_id(), &member, &self.now);
            actions.push(membership);
        }
        let own = record.key(&self.store.tenant);
        let last = keys::list_entry(&self.store.tenant, Kind::User, user_id(1));
        let mut items = Vec::with_capacity(actions.len());
        for Action { key, kind, .. } in actions {
            let ActionKind::Put(attributes) = kind else { continue };
            let mut item = with_key(&key);
            item.extend(attributes);
            if key == own && number <= self.members {
                let groups = AttributeValue::Ss(vec![group_id().to_string()]);
                item.insert("groups".to_owned(), groups);
            }
            if key != last {
                items.push(item);
            }
        }
        Ok(items)
    }

    fn group(&self) -> Record {
        let doc = Map::from_iter([("displayName".to_owned(), Value::from(GROUP_NAME))]);
        let mut group = Record::new(Kind::Group, group_id(), doc, &self.now);
        group.digest = MembershipDigest::of((1..=self.members).map(user_id));
        group
    }

    /// What makes the seed whole: the group, the first user's place in the list, the counters.
    fn last(&self, users: usize) -> Vec<Action> {
        let mut actions =
            vec![Action::put(keys::list_entry(&self.store.tenant, Kind::User, user_id(1)), Item::new())];
        for shard in 0..COUNTER_SHARDS {
            let share = users as u64 / COUNTER_SHARDS + u64::from(shard < users as u64 % COUNTER_SHARDS);
            let (shard, share) = (u8::try_from(shard).unwrap_or(0), i64::try_from(share).unwrap_or(0));
            actions.push(count_on_shard(&self.store.tenant, shard, Kind::User, share));
        }
        if self.members > 0 {
            actions.push(count_on_shard(&self.store.tenant, 0, Kind::Group, 1));
            let ty = self.model.of(Kind::Group);
            actions.extend(put_resource(&self.store.tenant, &self.group(), ty, &is_free()));
        }
        actions
    }
}
