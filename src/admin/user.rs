//! Local accounts, and accounts that are deactivated and kept.

use std::time::Instant;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::ACTOR;
use super::error::AdminError;
use super::tenant;
use crate::auth::tenant::TenantRecord;
use crate::clock;
use crate::limits::{APPLY_TIMEOUT, RESOURCES_PER_READ};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::{Kind, Model, ResourceType};
use crate::scim::work::WorkBudget;
use crate::scim::{document_rules, username, validate};
use crate::store::Store;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::index;
use crate::store::keys::{self, TenantId};
use crate::store::large_change::detach::DoneDetachment;
use crate::store::list::IdPage;
use crate::store::record::{Account, Record};
use crate::store::resource::ResourceCreation;
use crate::store::tombstone::Tombstone;

/// A tenant with what its users are made with.
struct TenantContext {
    tenant: TenantRecord,
    store: Store,
    model: Model,
}

impl TenantContext {
    fn of(table: &Table, tenant: TenantRecord) -> Result<Self, AdminError> {
        let store = Store {
            table: table.clone(),
            tenant: tenant.id.clone(),
            actor: ACTOR.to_owned(),
            request_id: Uuid::now_v7().to_string(),
        };
        let model = tenant::model(tenant.policy)?;
        Ok(Self { tenant, store, model })
    }

    /// Holds a document to the rules that a client's would be held to. `before` is what the account
    /// was, where there was one.
    fn check(&self, before: Option<&Map<String, Value>>, doc: &Map<String, Value>) -> Result<(), AdminError> {
        let (ty, policy) = (self.model.of(Kind::User), self.tenant.policy);
        let rules = || -> Result<(), ScimError> {
            document_rules::check_required(doc, ty)?;
            document_rules::check_username_and_email(doc, policy)?;
            username::check_change(before, doc)?;
            document_rules::check_size(doc)?;
            index::check(ty, doc, &WorkBudget::new(u64::MAX, ErrorKind::PayloadTooLarge))
        };
        rules().map_err(|refused| AdminError::Input(refused.detail))
    }
}

/// Makes a local account from a SCIM body; the event is `user.created`.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::BeingDeleted`]; [`AdminError::Input`] for a body that the tenant's policy
/// refuses and a `userName` that is taken.
pub async fn create(table: &Table, id: &TenantId, body: &Value) -> Result<Record, AdminError> {
    let place = TenantContext::of(table, tenant::get_lasting(table, id).await?)?;
    let ty = place.model.of(Kind::User);
    let body = body.as_object().cloned().unwrap_or_default();
    let doc = validate::read(&body, ty, place.tenant.policy, &WorkBudget::of_body());
    let mut doc = doc.map_err(|refused| AdminError::Input(refused.detail))?;
    place.check(None, &doc)?;
    document_rules::activate_by_default(&mut doc);
    let mut record = Record::new(Kind::User, Uuid::now_v7(), doc, &clock::timestamp());
    record.account = Account::Local;
    let event = place.store.event("user.created", &record).attributes(record.doc.keys().cloned());
    let creation = ResourceCreation { record: &record, members: &[], ty, event: &event, takes_over: None };
    let mut made = place.store.create(&creation).await;
    if matches!(made, Err(StoreError::Refused(_)))
        && let Some(former) =
            expired_holder(&place.store, &record, ty).await.map_err(AdminError::table(table.name()))?
    {
        made = place.store.create(&ResourceCreation { takes_over: Some(former), ..creation }).await;
    }
    match made {
        Ok(()) => Ok(record),
        Err(StoreError::Refused(_)) => Err(AdminError::Input(format!(
            "another user of {id} has this userName, or a deactivated one: see `rollcall user list-deactivated {id}`"
        ))),
        Err(error) => Err(AdminError::table(table.name())(error)),
    }
}

/// The deactivated account that holds the name of a new user although its time has passed.
async fn expired_holder(
    store: &Store,
    record: &Record,
    ty: &ResourceType,
) -> Result<Option<Uuid>, StoreError> {
    let Some(entry) = record.claim(ty) else { return Ok(None) };
    let Some(holder) = store.fetch_claim(&entry).await?.filter(|holder| holder.gone) else { return Ok(None) };
    let kept = store.tombstones().fetch_kept(holder.id).await?;
    Ok(kept.is_none().then_some(holder.id))
}

/// The first `limit` users, in the order of their ids.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn list(table: &Table, id: &TenantId, limit: usize) -> Result<Vec<Record>, AdminError> {
    let failed = AdminError::table(table.name());
    let store = TenantContext::of(table, tenant::get(table, id).await?)?.store;
    let (mut users, mut after) = (Vec::new(), None);
    while users.len() < limit {
        let some = RESOURCES_PER_READ.min(limit - users.len());
        let IdPage { ids, has_more } = store.list_page(Kind::User, after, some).await.map_err(&failed)?;
        users.extend(store.fetch_many(Kind::User, &ids).await.map_err(&failed)?);
        match ids.last() {
            Some(last) if has_more => after = Some(*last),
            _ => break,
        }
    }
    Ok(users)
}

/// A user, and the groups that it is a direct member of.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::NoUser`]; [`AdminError::Table`] if a call fails.
pub async fn find(table: &Table, id: &TenantId, user: Uuid) -> Result<(Record, Vec<Record>), AdminError> {
    let failed = AdminError::table(table.name());
    let store = TenantContext::of(table, tenant::get(table, id).await?)?.store;
    let found = store.fetch(Kind::User, user).await.map_err(&failed)?;
    let found = found.ok_or_else(|| AdminError::NoUser(id.clone(), user))?;
    let groups: Vec<Uuid> = found.groups.iter().copied().collect();
    let groups = store.fetch_many(Kind::Group, &groups).await.map_err(&failed)?;
    Ok((found, groups))
}

/// The accounts that are deactivated and can come back, with the time until when.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn list_deactivated(
    table: &Table,
    id: &TenantId,
) -> Result<Vec<(Record, Option<String>)>, AdminError> {
    let failed = AdminError::table(table.name());
    tenant::get(table, id).await?;
    let now = clock::epoch_seconds();
    let mut found = Vec::new();
    for item in table.query_all(&keys::tombstones(id), None).await.map_err(&failed)? {
        let kept = Tombstone::from_item(id, item).map_err(&failed)?;
        if let Some(Tombstone { record, kept_until, .. }) = kept.filter(|kept| kept.kept_until > now) {
            let until = i64::try_from(kept_until).ok();
            let until = until.and_then(|until| OffsetDateTime::from_unix_timestamp(until).ok());
            found.push((record, until.map(clock::text)));
        }
    }
    Ok(found)
}

/// Erases a deactivated account at once; the event is `user.purged`. Its id and its version stay.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Input`] for an id of no such account.
pub async fn purge(table: &Table, id: &TenantId, user: Uuid) -> Result<(), AdminError> {
    let failed = AdminError::table(table.name());
    let place = TenantContext::of(table, tenant::get(table, id).await?)?;
    let kept = place.store.tombstones().fetch(user).await.map_err(&failed)?;
    let kept = kept.ok_or_else(|| no_such_account(id, user))?;
    let version = kept.record.version + 1;
    let event = place.store.event_of_version("user.purged", &kept.record, version);
    match place.store.tombstones().purge(&kept, place.model.of(Kind::User), &event).await {
        Ok(()) => Ok(()),
        // It came back, or someone else erased it.
        Err(StoreError::Refused(_)) => Err(no_such_account(id, user)),
        Err(error) => Err(failed(error)),
    }
}

fn no_such_account(tenant: &TenantId, user: Uuid) -> AdminError {
    AdminError::Input(format!(
        "tenant {tenant} keeps no deactivated account {user}: see `rollcall user list-deactivated {tenant}`"
    ))
}

/// Brings a deactivated account back; the event is `user.reactivated`.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Input`] for an id of no such account, and a `userName`
/// that is taken or that the policy refuses.
pub async fn restore(
    table: &Table,
    id: &TenantId,
    user: Uuid,
    user_name: Option<&str>,
) -> Result<Record, AdminError> {
    let failed = AdminError::table(table.name());
    let place = TenantContext::of(table, tenant::get_lasting(table, id).await?)?;
    let ty = place.model.of(Kind::User);
    let was = place.store.tombstones().fetch_kept(user).await.map_err(&failed)?;
    let kept = was.ok_or_else(|| no_such_account(id, user))?;
    let was = &kept.record;
    let mut back = Record { version: was.version + 1, modified: clock::timestamp(), ..was.clone() };
    back.groups.clear();
    back.doc.insert("active".to_owned(), json!(true));
    if let Some(name) = user_name {
        back.doc.insert("userName".to_owned(), json!(name));
        if place.tenant.policy.user_name_is_primary_email {
            rename_primary(&mut back.doc, name);
        }
    }
    place.check(Some(&was.doc), &back.doc)?;
    let until = Instant::now() + APPLY_TIMEOUT;
    if !place
        .store
        .large_changes()
        .detach_from_groups(user, DoneDetachment::Delete, until)
        .await
        .map_err(&failed)?
    {
        let wait = "the account is still leaving its groups: try again in a minute";
        return Err(AdminError::Input(wait.to_owned()));
    }
    let event = place.store.event("user.reactivated", &back).attributes(["active"]);
    match place.store.tombstones().reactivate(&kept, &back, ty, &event).await {
        Ok(()) => Ok(back),
        Err(StoreError::Refused(refusals)) => {
            let taken = refusals.iter().any(|refusal| matches!(refusal, Refusal::Taken(_)));
            let which = if taken { "this" } else { "its" };
            Err(AdminError::Input(format!(
                "another user of {id} has {which} userName by now: choose another with --user-name"
            )))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Gives the primary email another address.
fn rename_primary(doc: &mut Map<String, Value>, address: &str) {
    let emails = doc.get_mut("emails").and_then(Value::as_array_mut);
    for email in emails.into_iter().flatten().filter(|email| email["primary"] == true) {
        email["value"] = json!(address);
    }
}
