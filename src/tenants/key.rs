//! Bearer keys: make, list, rotate, revoke. Several may be live, so that a rotation overlaps.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::actor::Actor;
use super::error::TenantError;
use crate::auth::key::{BearerKey, random_base62};
use crate::auth::record::{KeyListing, KeyRecord, PLANNED_LIFE, PlannedLife, Scope, Status};
use crate::clock;
use crate::limits::{CHANGE_RETRIES, MAX_KEY_NAME_CHARS};
use crate::scim::resource_type::Kind;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event, Subject, SubjectId};
use crate::store::item::{Item, get_text};
use crate::store::keys::{self, Key, TenantId};
use crate::store::retry::Attempts;
use crate::store::transaction::{Action, Expression};

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whose data it opens.
    pub tenant: TenantId,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires: Option<OffsetDateTime>,
    /// The user that `/Me` stands for.
    pub user: Option<Uuid>,
}

/// A key in a list.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// The key.
    pub record: KeyRecord,
    /// The day of its last request, `yyyy-mm-dd`.
    pub last_used: Option<String>,
}

/// Makes a key: its item, its place in the tenant's list and the event `key.created`, in one
/// transaction. Its text is returned and kept nowhere.
///
/// # Errors
/// [`TenantError::NoTenant`], [`TenantError::BeingDeleted`], [`TenantError::NoUser`]; [`TenantError::Input`] for a name
/// that is empty or too long, or an expiry that has passed.
pub async fn create(
    table: &Table,
    by: &Actor,
    new: NewKey,
    now: OffsetDateTime,
) -> Result<(BearerKey, KeyRecord), TenantError> {
    let name = check_name(&new.name, new.expires, now)?;
    let (key, record) = make_key(new, name, now)?;
    let tenant = &record.tenant;
    let event = key_event("key.created", &record, by, now).attributes(["name", "scope", "expires", "user"]);
    let actions = || {
        let mut actions = additions(&record);
        actions.push(event::action(tenant, &event));
        actions
    };
    match table.transact(actions).await {
        Ok(()) => Ok((key, record)),
        Err(error) => Err(not_made(table, &record, error).await),
    }
}

/// Checks the name and the expiry of a new key. Returns the name without blanks around it.
///
/// # Errors
/// [`TenantError::Input`] for a name that is empty or too long, or an expiry that has passed.
pub(super) fn check_name(
    name: &str,
    expires: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<String, TenantError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_KEY_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(TenantError::Input(format!("the name has 1 to {MAX_KEY_NAME_CHARS} visible characters")));
    }
    if expires.is_some_and(|expires| expires <= now) {
        return Err(TenantError::Input("the key would have expired already: give a later date".to_owned()));
    }
    Ok(name.to_owned())
}

/// When a key that has a successor ends: after the overlap, or when it would have anyway.
///
/// # Errors
/// [`TenantError::Input`] for an overlap that no date can name.
pub(super) fn end_of_overlap(
    expires: Option<OffsetDateTime>,
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, TenantError> {
    let end = now.checked_add(overlap).filter(|end| end.year() <= 9999);
    let end = end.ok_or_else(|| TenantError::Input("that overlap ends after the year 9999".to_owned()))?;
    Ok(expires.map_or(end, |expires| expires.min(end)))
}

/// A new key and its record.
fn make_key(new: NewKey, name: String, now: OffsetDateTime) -> Result<(BearerKey, KeyRecord), TenantError> {
    let key = BearerKey::generate(&new.tenant)?;
    let record = KeyRecord {
        hash: key.sha256(),
        tenant: new.tenant,
        key_id: format!("key_{}", random_base62(12)?),
        name,
        scope: new.scope,
        status: Status::Active,
        created: now,
        expires: new.expires,
        planned_life: None,
        user: new.user,
        version: 1,
    };
    Ok((key, record))
}

/// The actions that add a key: its item and its place in the list, if the tenant and the user are
/// there.
fn additions(record: &KeyRecord) -> Vec<Action> {
    let tenant = &record.tenant;
    let (item, listing) = (record.to_item(), record.to_listing());
    let there = Expression::new("attribute_exists(pk) AND attribute_not_exists(deleting)");
    let mut actions = vec![
        Action::check(keys::tenant(tenant), there, Refusal::Changed),
        Action::put(keys::bearer(record.hash.as_str()), item).only_if(Expression::absent(), Refusal::Exists),
        Action::put(keys::bearer_listing(tenant, &record.key_id), listing)
            .only_if(Expression::absent(), Refusal::Exists),
    ];
    actions.extend(record.user.map(|user| {
        let place = keys::resource(tenant, Kind::User, user);
        Action::check(place, Expression::exists(), Refusal::Member(user))
    }));
    actions
}

async fn not_made(table: &Table, record: &KeyRecord, error: StoreError) -> TenantError {
    match (&error, record.user) {
        (StoreError::Refused(why), _) if why.contains(&Refusal::Changed) => {
            super::record::why_not_made(table, &record.tenant).await
        }
        (StoreError::Refused(why), Some(user)) if why.contains(&Refusal::Member(user)) => {
            TenantError::NoUser(record.tenant.clone(), user)
        }
        _ => TenantError::Table(error),
    }
}

/// Makes a key of the same name, scope and user, in one transaction with the events of both. The old one
/// expires after the overlap, or when it would have anyway. Returns the new key and when the old one ends. The new key lives as long as the old one was made to live, also if that one has been
/// rotated before.
///
/// # Errors
/// [`TenantError::NoKey`], [`TenantError::BeingDeleted`]; [`TenantError::KeyEnded`] for a key that is revoked or expired;
/// [`TenantError::UserGone`] for a key that is bound to a user who is gone.
pub async fn rotate(
    table: &Table,
    by: &Actor,
    (tenant, key_id): (&TenantId, &str),
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<(BearerKey, KeyRecord, OffsetDateTime), TenantError> {
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        if let Some(rotated) = try_to_rotate(table, by, (tenant, key_id), overlap, now).await? {
            return Ok(rotated);
        }
    }
    Err(StoreError::Conflict.into())
}

/// Rotates a key once. `None`: another caller has changed the key meanwhile.
async fn try_to_rotate(
    table: &Table,
    by: &Actor,
    (tenant, key_id): (&TenantId, &str),
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<Option<(BearerKey, KeyRecord, OffsetDateTime)>, TenantError> {
    let old = read(table, tenant, key_id).await?;
    if old.status != Status::Active || old.is_expired(now) {
        return Err(TenantError::KeyEnded(key_id.to_owned()));
    }
    let until = end_of_overlap(old.expires, overlap, now)?;
    let life = PlannedLife::of(old.planned_life, old.created, old.expires);
    let new = NewKey {
        tenant: tenant.clone(),
        name: old.name.clone(),
        scope: old.scope,
        expires: life.end(now),
        user: old.user,
    };
    let (key, record) = make_key(new, old.name.clone(), now)?;
    let made = key_event("key.created", &record, by, now).attributes(["name", "scope", "expires", "user"]);
    let next = KeyRecord { version: old.version + 1, ..old.clone() };
    let changed = key_event("key.updated", &next, by, now).attributes(["expires"]);
    let actions = || {
        let update = Expression::update()
            .set("expires", AttributeValue::S(clock::text(until)))
            .set(PLANNED_LIFE, life.value())
            .set("ver", AttributeValue::N(next.version.to_string()));
        let mut actions = additions(&record);
        let place = keys::bearer(old.hash.as_str());
        actions.push(Action::update(place, update).only_if(unchanged_condition(&old), Refusal::Taken("key")));
        actions.push(event::action(tenant, &made));
        actions.push(event::action(tenant, &changed));
        actions
    };
    match table.transact(actions).await {
        Ok(()) => Ok(Some((key, record, until))),
        Err(StoreError::Refused(why)) if why.contains(&Refusal::Taken("key")) => Ok(None),
        Err(StoreError::Refused(why)) if why.iter().any(|refusal| refusal.member().is_some()) => {
            Err(TenantError::UserGone(key_id.to_owned()))
        }
        Err(error) => Err(not_made(table, &record, error).await),
    }
}

/// The key is in force, and is the one that was read.
fn unchanged_condition(record: &KeyRecord) -> Expression {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let same = "#status = :active AND tenant = :tenant AND keyId = :id AND (attribute_not_exists(ver) OR ver = :was)";
    Expression::new(same)
        .name("status")
        .value(":active", text(Status::Active.name()))
        .value(":tenant", text(record.tenant.as_str()))
        .value(":id", text(&record.key_id))
        .value(":was", AttributeValue::N(record.version.to_string()))
}

/// A tenant's key, by its id. The list and the key itself must say the same.
async fn read(table: &Table, tenant: &TenantId, key_id: &str) -> Result<KeyRecord, TenantError> {
    let unknown = || TenantError::NoKey(tenant.clone(), key_id.to_owned());
    if !is_key_id(key_id) {
        return Err(unknown());
    }
    let listing = keys::bearer_listing(tenant, key_id);
    let mut entry = table.get(&listing).await?;
    if entry.is_none() {
        // Only here, so that nothing which the function can write stands between a key and its revocation.
        let old = table.get(&keys::bearer_use(tenant, key_id)).await?;
        adopt(table, tenant, old.as_slice()).await?;
        entry = table.get(&listing).await?;
    }
    let entry = KeyListing::from_item(&entry.ok_or_else(unknown)?)?;
    let place = keys::bearer(entry.hash.as_str());
    let item = table.get(&place).await?.ok_or_else(unknown)?;
    let record = KeyRecord::from_item(&item)?;
    if entry.names_record(&record, tenant) { Ok(record) } else { Err(listing_disagrees(&entry).into()) }
}

fn listing_disagrees(entry: &KeyListing) -> StoreError {
    StoreError::Broken(format!(
        "the list of keys leads from {} to another key: nothing was done",
        entry.key_id
    ))
}

/// Lists the keys that version 0.1.0 listed where the function that serves SCIM can write: the items
/// `old` of `T#t#K`. A key is listed only if it says itself that it is this one.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
async fn adopt(table: &Table, tenant: &TenantId, old: &[Item]) -> Result<(), StoreError> {
    let entries: Vec<KeyListing> = old.iter().filter_map(KeyListing::of_0_1_0).collect();
    let places: Vec<Key> = entries.iter().map(|entry| keys::bearer(entry.hash.as_str())).collect();
    for item in table.batch_get(&places).await? {
        let record = KeyRecord::from_item(&item)?;
        if !entries.iter().any(|entry| entry.names_record(&record, tenant)) {
            continue;
        }
        list_key(table, &record).await?;
        let rest = Expression::update().remove("hash").remove("name");
        let place = keys::bearer_use(tenant, &record.key_id);
        let forget = || {
            vec![Action::update(place.clone(), rest.clone()).only_if(Expression::exists(), Refusal::Changed)]
        };
        match table.transact(forget).await {
            Ok(()) | Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a key into its tenant's list, where it is not in it.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn list_key(table: &Table, record: &KeyRecord) -> Result<(), StoreError> {
    let place = keys::bearer_listing(&record.tenant, &record.key_id);
    let put = || {
        vec![Action::put(place.clone(), record.to_listing()).only_if(Expression::absent(), Refusal::Exists)]
    };
    match table.transact(put).await {
        Ok(()) | Err(StoreError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A tenant's list of keys, in no order.
///
/// # Errors
/// [`TenantError::Table`] if a call fails.
pub async fn listing(table: &Table, tenant: &TenantId) -> Result<Vec<KeyListing>, TenantError> {
    let old = table.query_all(&keys::bearer_uses(tenant), None).await?;
    adopt(table, tenant, &old).await?;
    let listing = table.query_all(&keys::tenant_partition(tenant), Some(keys::BEARER_LISTING)).await;
    Ok(listing?.iter().map(KeyListing::from_item).collect::<Result<_, _>>()?)
}

/// A tenant's keys, the oldest first; never their texts. Writes nothing, so that a function which only reads
/// can list keys of version 0.1.0 too.
///
/// # Errors
/// [`TenantError::NoTenant`]; [`TenantError::Table`] if a call fails.
pub async fn list(table: &Table, tenant: &TenantId) -> Result<Vec<ListedKey>, TenantError> {
    super::record::get(table, tenant).await?;
    let uses = table.query_all(&keys::bearer_uses(tenant), None).await?;
    let listed = table.query_all(&keys::tenant_partition(tenant), Some(keys::BEARER_LISTING)).await?;
    let mut listing = listed.iter().map(KeyListing::from_item).collect::<Result<Vec<_>, _>>()?;
    listing.extend(uses.iter().filter_map(KeyListing::of_0_1_0));
    let places: Vec<_> = listing.iter().map(|entry| keys::bearer(entry.hash.as_str())).collect();
    let items = table.batch_get(&places).await?;
    let records: Result<Vec<_>, _> = items.iter().map(KeyRecord::from_item).collect();
    let mut records = records?;
    records.retain(|record| listing.iter().any(|entry| entry.names_record(record, tenant)));
    let mut used: HashMap<&str, &str> =
        uses.iter().filter_map(|item| Some((get_text(item, "sk")?, get_text(item, "lastUsed")?))).collect();
    let listed = |record: KeyRecord| {
        let last_used = used.remove(record.key_id.as_str()).map(str::to_owned);
        ListedKey { record, last_used }
    };
    let mut keys: Vec<_> = records.into_iter().map(listed).collect();
    keys.sort_by(|a, b| (a.record.created, &a.record.key_id).cmp(&(b.record.created, &b.record.key_id)));
    Ok(keys)
}

/// Takes a key back for good, with the event `key.revoked`. It acts as soon as the authorizer's
/// cache has forgotten the key. Says whether the key was in force until now.
///
/// # Errors
/// [`TenantError::NoKey`]; [`TenantError::Table`] if a call fails.
pub async fn revoke(
    table: &Table,
    by: &Actor,
    (tenant, key_id): (&TenantId, &str),
    now: OffsetDateTime,
) -> Result<bool, TenantError> {
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        let record = read(table, tenant, key_id).await?;
        if record.status == Status::Revoked {
            return Ok(false);
        }
        match table.transact(|| revocation(&record, tenant, by, now)).await {
            Ok(()) => return Ok(true),
            // Another operator was faster: with a revocation, or with a rotation that goes on as one.
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

/// The actions that revoke a key.
fn revocation(record: &KeyRecord, tenant: &TenantId, by: &Actor, now: OffsetDateTime) -> Vec<Action> {
    let next = KeyRecord { version: record.version + 1, ..record.clone() };
    let event = key_event("key.revoked", &next, by, now).attributes(["status"]);
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let update = Expression::new("SET #status = :revoked, revokedAt = :now, ver = :ver")
        .value(":revoked", text(Status::Revoked.name()))
        .value(":now", text(&clock::text(now)))
        .value(":ver", AttributeValue::N(next.version.to_string()));
    let place = keys::bearer(record.hash.as_str());
    vec![
        Action::update(place, update).only_if(unchanged_condition(record), Refusal::Changed),
        event::action(tenant, &event),
    ]
}

fn key_event(what: &'static str, record: &KeyRecord, by: &Actor, now: OffsetDateTime) -> Event {
    let subject = Subject { id: SubjectId::Key(record.key_id.clone()), version: record.version };
    by.event(what, subject, now)
}

/// Whether a text may stand in the sort key of a key's listing.
fn is_key_id(text: &str) -> bool {
    let digits = text.strip_prefix("key_").unwrap_or_default();
    (1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_id_is_looked_up() {
        for good in ["key_1", "key_AbC123xyz789"] {
            assert!(is_key_id(good), "{good}");
        }
        for bad in ["", "key_", "1", "key_a#b", "key_a_b", "rc_acme_x", &format!("key_{}", "a".repeat(33))] {
            assert!(!is_key_id(bad), "{bad}");
        }
    }
}
