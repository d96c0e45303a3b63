//! Bearer keys: make, list, revoke. Several may be live, so that a rotation overlaps.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::AdminError;
use crate::auth::key::{BearerKey, random_base62};
use crate::auth::record::{KeyListing, KeyRecord, Scope, Status};
use crate::clock;
use crate::scim::resource_type::Kind;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::keys::{self, TenantId};
use crate::store::transaction::{Action, Expression};

/// Who makes and revokes keys, in their events.
const ACTOR: &str = "operator";
/// The most characters of a key's name.
const MAX_NAME: usize = 100;

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
/// [`AdminError::NoTenant`], [`AdminError::NoUser`]; [`AdminError::Input`] for a name that is empty
/// or too long, or an expiry that has passed.
pub async fn create(
    table: &Table,
    new: NewKey,
    now: OffsetDateTime,
) -> Result<(BearerKey, KeyRecord), AdminError> {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(AdminError::Input(format!("a key's name has 1 to {MAX_NAME} visible characters")));
    }
    if new.expires.is_some_and(|expires| expires <= now) {
        return Err(AdminError::Input("the key would have expired already: give a later date".to_owned()));
    }
    let key = BearerKey::generate(&new.tenant)?;
    let record = KeyRecord {
        hash: key.sha256(),
        tenant: new.tenant,
        key_id: format!("key_{}", random_base62(12)?),
        name: name.to_owned(),
        scope: new.scope,
        status: Status::Active,
        created: now,
        expires: new.expires,
        user: new.user,
    };
    let tenant = &record.tenant;
    let event = told("key.created", &record, now).attributes(["name", "scope", "expires", "user"]);
    let actions = || {
        let (item, listing) = (record.to_item(), record.to_listing());
        let gone = Refusal::Changed;
        let mut actions = vec![
            Action::check(keys::tenant(tenant), Expression::exists(), gone),
            Action::put(keys::bearer(record.hash.as_str()), item)
                .only_if(Expression::absent(), Refusal::Exists),
            Action::put(keys::bearer_listing(tenant, &record.key_id), listing)
                .only_if(Expression::absent(), Refusal::Exists),
            event::action(tenant, &event),
        ];
        if let Some(user) = record.user {
            let missing = Refusal::Member(user.to_string());
            actions.push(Action::check(
                keys::resource(tenant, Kind::User, user),
                Expression::exists(),
                missing,
            ));
        }
        actions
    };
    match (table.transact(actions).await, record.user) {
        (Ok(()), _) => Ok((key, record)),
        (Err(StoreError::Refused(why)), _) if why.contains(&Refusal::Changed) => {
            Err(AdminError::NoTenant(record.tenant))
        }
        (Err(StoreError::Refused(why)), Some(user)) if why.contains(&Refusal::Member(user.to_string())) => {
            Err(AdminError::NoUser(record.tenant, user))
        }
        (Err(error), _) => Err(AdminError::table(table.name())(error)),
    }
}

/// A tenant's keys, the oldest first; never their texts.
///
/// # Errors
/// [`AdminError::NoTenant`]; as every call.
pub async fn list(table: &Table, tenant: &TenantId) -> Result<Vec<ListedKey>, AdminError> {
    super::tenant::get(table, tenant).await?;
    let failed = AdminError::table(table.name());
    let listing = table.query_all(&keys::bearers(tenant), None).await.map_err(&failed)?;
    let listing: Result<Vec<_>, _> = listing.iter().map(KeyListing::from_item).collect();
    let listing = listing.map_err(&failed)?;
    let places: Vec<_> = listing.iter().map(|entry| keys::bearer(entry.hash.as_str())).collect();
    let items = table.batch_get(&places).await.map_err(&failed)?;
    let records: Result<Vec<_>, _> = items.iter().map(KeyRecord::from_item).collect();
    let mut used: HashMap<String, Option<String>> =
        listing.into_iter().map(|entry| (entry.key_id, entry.last_used)).collect();
    let listed = |record: KeyRecord| {
        let last_used = used.remove(&record.key_id).flatten();
        ListedKey { record, last_used }
    };
    let mut keys: Vec<_> = records.map_err(&failed)?.into_iter().map(listed).collect();
    keys.sort_by(|a, b| (a.record.created, &a.record.key_id).cmp(&(b.record.created, &b.record.key_id)));
    Ok(keys)
}

/// Takes a key back for good, with the event `key.revoked`. It acts as soon as the authorizer's
/// cache has forgotten the key. Says whether the key was in force until now.
///
/// # Errors
/// [`AdminError::NoKey`]; as every call.
pub async fn revoke(
    table: &Table,
    tenant: &TenantId,
    key_id: &str,
    now: OffsetDateTime,
) -> Result<bool, AdminError> {
    let failed = AdminError::table(table.name());
    let unknown = || AdminError::NoKey(tenant.clone(), key_id.to_owned());
    if !is_key_id(key_id) {
        return Err(unknown());
    }
    let entry = table.get(&keys::bearer_listing(tenant, key_id)).await.map_err(&failed)?;
    let entry = KeyListing::from_item(&entry.ok_or_else(unknown)?).map_err(&failed)?;
    let place = keys::bearer(entry.hash.as_str());
    let item = table.get(&place).await.map_err(&failed)?.ok_or_else(unknown)?;
    let record = KeyRecord::from_item(&item).map_err(&failed)?;
    if record.status == Status::Revoked {
        return Ok(false);
    }
    let event = told("key.revoked", &record, now).attributes(["status"]);
    let actions = || {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let update = Expression::new("SET #status = :revoked, revokedAt = :now")
            .name("#status", "status")
            .value(":revoked", text(Status::Revoked.name()))
            .value(":now", text(&clock::text(now)));
        let active = Expression::new("#status = :active AND tenant = :tenant")
            .value(":active", text(Status::Active.name()))
            .value(":tenant", text(tenant.as_str()));
        vec![
            Action::update(place.clone(), update).only_if(active, Refusal::Changed),
            event::action(tenant, &event),
        ]
    };
    match table.transact(actions).await {
        Ok(()) => Ok(true),
        // Another operator was faster.
        Err(StoreError::Refused(_)) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn told(what: &'static str, record: &KeyRecord, now: OffsetDateTime) -> Event {
    Event::new(what, ("Key", record.key_id.clone()), ACTOR, &Uuid::now_v7().to_string(), now)
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
