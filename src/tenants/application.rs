//! Application keys: make, list, rotate, revoke. Several may be live, so that a rotation overlaps.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};

use super::actor::Actor;
use super::error::TenantError;
use super::key::{check_name, end_of_overlap};
use crate::auth::application::{ApplicationRecord, ApplicationScope};
use crate::auth::key::{ApplicationKey, KeyHash, random_base62};
use crate::auth::record::{PLANNED_LIFE, PlannedLife, Status};
use crate::clock;
use crate::limits::CHANGE_RETRIES;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event, Subject, SubjectId};
use crate::store::item::{get_text, must_text};
use crate::store::keys::{self, Key, TenantId};
use crate::store::retry::Attempts;
use crate::store::transaction::{Action, Expression};

/// An application key to be made.
#[derive(Clone, Debug)]
pub struct NewApplication {
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: ApplicationScope,
    /// From when on it is refused.
    pub expires: Option<OffsetDateTime>,
}

/// Makes an application key: its item, its place in the list and the event `application.created`, in one
/// transaction. Its text is returned and kept nowhere.
///
/// # Errors
/// [`TenantError::Input`] for a name that is empty or too long, or an expiry that has passed.
pub async fn create(
    table: &Table,
    by: &Actor,
    new: NewApplication,
    now: OffsetDateTime,
) -> Result<(ApplicationKey, ApplicationRecord), TenantError> {
    let name = check_name(&new.name, new.expires, now)?;
    let (key, record) = make_key(NewApplication { name, ..new }, now)?;
    let event = application_event("application.created", &record, by, now);
    let event = event.attributes(["name", "scope", "expires"]);
    let actions = || {
        let [item, listing] = additions(&record);
        vec![item, listing, event::action(&TenantId::deployment(), &event)]
    };
    table.transact(actions).await?;
    Ok((key, record))
}

fn make_key(
    new: NewApplication,
    now: OffsetDateTime,
) -> Result<(ApplicationKey, ApplicationRecord), TenantError> {
    let key = ApplicationKey::generate()?;
    let record = ApplicationRecord {
        hash: key.sha256(),
        id: format!("app_{}", random_base62(12)?),
        name: new.name,
        scope: new.scope,
        status: Status::Active,
        created: now,
        expires: new.expires,
        planned_life: None,
        version: 1,
    };
    Ok((key, record))
}

/// The actions that add a key: its item and its place in the list.
fn additions(record: &ApplicationRecord) -> [Action; 2] {
    let place = keys::application(record.hash.as_str());
    let listing = keys::application_listing(&record.id);
    [Action::put(place, record.to_item()), Action::put(listing, record.to_listing())]
        .map(|action| action.only_if(Expression::absent(), Refusal::Exists))
}

/// Makes a key of the same name and scope, in one transaction with the events of both. The old one expires after the
/// overlap, or when it would have anyway. Returns the new key and when the old one ends. The new key
/// lives as long as the old one was made to live, also if that one has been rotated before.
///
/// # Errors
/// [`TenantError::NoApplication`]; [`TenantError::KeyEnded`] for a key that is revoked or expired.
pub async fn rotate(
    table: &Table,
    by: &Actor,
    id: &str,
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<(ApplicationKey, ApplicationRecord, OffsetDateTime), TenantError> {
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        if let Some(rotated) = try_to_rotate(table, by, id, overlap, now).await? {
            return Ok(rotated);
        }
    }
    Err(StoreError::Conflict.into())
}

/// Rotates a key once. `None`: another caller has changed the key meanwhile.
async fn try_to_rotate(
    table: &Table,
    by: &Actor,
    id: &str,
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<Option<(ApplicationKey, ApplicationRecord, OffsetDateTime)>, TenantError> {
    let old = read(table, id).await?;
    if old.status != Status::Active || old.is_expired(now) {
        return Err(TenantError::KeyEnded(id.to_owned()));
    }
    let until = end_of_overlap(old.expires, overlap, now)?;
    let life = PlannedLife::of(old.planned_life, old.created, old.expires);
    let new = NewApplication { name: old.name.clone(), scope: old.scope, expires: life.end(now) };
    let (key, record) = make_key(new, now)?;
    let made = application_event("application.created", &record, by, now);
    let made = made.attributes(["name", "scope", "expires"]);
    let next = ApplicationRecord { version: old.version + 1, expires: Some(until), ..old.clone() };
    let changed = application_event("application.updated", &next, by, now).attributes(["expires"]);
    let actions = || {
        let update = Expression::update()
            .set("expires", AttributeValue::S(clock::text(until)))
            .set(PLANNED_LIFE, life.value())
            .set("ver", AttributeValue::N(next.version.to_string()));
        let place = keys::application(old.hash.as_str());
        let [item, listing] = additions(&record);
        vec![
            item,
            listing,
            Action::update(place, update).only_if(is_unchanged(&old), Refusal::Changed),
            event::action(&TenantId::deployment(), &made),
            event::action(&TenantId::deployment(), &changed),
        ]
    };
    match table.transact(actions).await {
        Ok(()) => Ok(Some((key, record, until))),
        Err(StoreError::Refused(why)) if why.contains(&Refusal::Changed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Condition: the key is in force, and in the version that was read.
fn is_unchanged(record: &ApplicationRecord) -> Expression {
    Expression::equals("status", AttributeValue::S(Status::Active.name().to_owned()))
        .and(Expression::equals("ver", AttributeValue::N(record.version.to_string())))
}

/// An application key in a list.
#[derive(Clone, Debug)]
pub struct ListedApplication {
    /// The key.
    pub record: ApplicationRecord,
    /// The day of its last request, `yyyy-mm-dd`.
    pub last_used: Option<String>,
}

/// Every application key, the oldest first; never their texts.
///
/// # Errors
/// [`TenantError::Table`] if a call fails.
pub async fn list(table: &Table) -> Result<Vec<ListedApplication>, TenantError> {
    let listing = table.query_all(keys::APPLICATIONS, None).await?;
    let uses = table.query_all(keys::APPLICATION_USES, None).await?;
    let hashes: Vec<&str> =
        listing.iter().map(|entry| must_text(entry, "hash")).collect::<Result<_, StoreError>>()?;
    let places: Vec<Key> = hashes.into_iter().map(keys::application).collect();
    let items = table.batch_get(&places).await?;
    let mut records = items.iter().map(ApplicationRecord::from_item).collect::<Result<Vec<_>, _>>()?;
    records.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let used: HashMap<&str, &str> =
        uses.iter().filter_map(|item| Some((get_text(item, "sk")?, get_text(item, "lastUsed")?))).collect();
    let listed = |record: ApplicationRecord| {
        let last_used = used.get(record.id.as_str()).map(|day| (*day).to_owned());
        ListedApplication { record, last_used }
    };
    Ok(records.into_iter().map(listed).collect())
}

/// Takes a key back for good, with the event `application.revoked`. It acts as soon as the authorizer's
/// cache has forgotten the key. Says whether the key was in force until now.
///
/// # Errors
/// [`TenantError::NoApplication`]; [`TenantError::Table`] if a call fails.
pub async fn revoke(table: &Table, by: &Actor, id: &str, now: OffsetDateTime) -> Result<bool, TenantError> {
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        let record = read(table, id).await?;
        if record.status == Status::Revoked {
            return Ok(false);
        }
        match table.transact(|| revocation(&record, by, now)).await {
            Ok(()) => return Ok(true),
            // Another operator was faster: with a revocation, or with a rotation that goes on as one.
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

/// The actions that revoke a key.
fn revocation(record: &ApplicationRecord, by: &Actor, now: OffsetDateTime) -> Vec<Action> {
    let next = ApplicationRecord { version: record.version + 1, ..record.clone() };
    let event = application_event("application.revoked", &next, by, now).attributes(["status"]);
    let update = Expression::update()
        .set("status", AttributeValue::S(Status::Revoked.name().to_owned()))
        .set("revokedAt", AttributeValue::S(clock::text(now)))
        .set("ver", AttributeValue::N(next.version.to_string()));
    let place = keys::application(record.hash.as_str());
    vec![
        Action::update(place, update).only_if(is_unchanged(record), Refusal::Changed),
        event::action(&TenantId::deployment(), &event),
    ]
}

/// An application key, by its id. The list and the key itself must say the same.
async fn read(table: &Table, id: &str) -> Result<ApplicationRecord, TenantError> {
    let unknown = || TenantError::NoApplication(id.to_owned());
    let digits = id.strip_prefix("app_").unwrap_or_default();
    if !(1..=32).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(unknown());
    }
    let entry = table.get(&keys::application_listing(id)).await?.ok_or_else(unknown)?;
    let hash = KeyHash::from_stored(must_text(&entry, "hash")?);
    let item = table.get(&keys::application(hash.as_str())).await?.ok_or_else(unknown)?;
    let record = ApplicationRecord::from_item(&item)?;
    if record.id == id {
        return Ok(record);
    }
    let problem = format!("the list of application keys leads from {id} to another key: nothing was done");
    Err(StoreError::Broken(problem).into())
}

fn application_event(
    what: &'static str,
    record: &ApplicationRecord,
    by: &Actor,
    now: OffsetDateTime,
) -> Event {
    let subject = Subject { id: SubjectId::Application(record.id.clone()), version: record.version };
    Event { incarnation: TenantId::deployment().to_string(), ..by.event(what, subject, now) }
}
