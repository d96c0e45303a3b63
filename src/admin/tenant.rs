//! Tenants: make, show, list, as the operator does it.

use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use super::error::AdminError;
use super::progress::Progress;
use super::sweep::sweep;
use super::usage_key::UsageKeys;
use crate::auth::plan::RatePlan;
use crate::auth::tenant::{Deletion, Settings, TenantRecord};
use crate::limits::OUTBOX_WAIT_SECONDS;
use crate::scim::policy::Policy;
use crate::scim::resource_type::Model;
use crate::store::call::Table;
use crate::store::error::Refusal;
use crate::store::feed::outbox;
use crate::store::keys::{self, TenantId};
use crate::store::transaction::{Action, Expression};
use crate::tenants::actor::Actor;
use crate::tenants::error::TenantError;
use crate::tenants::record;

pub use crate::tenants::record::NewTenant;

/// Makes a tenant with its root team and the local break-glass administrator in it.
///
/// What came into the table for a deleted tenant of this name, after it was emptied, is removed first.
///
/// # Errors
/// - [`AdminError::Exists`]: there is a tenant of this name.
/// - [`AdminError::BeingDeleted`]: a tenant of this name is being deleted.
/// - [`AdminError::NameRests`]: a tenant of this name was deleted not long ago.
/// - [`AdminError::UsageKey`]: API Gateway would refuse the usage key.
/// - [`AdminError::Input`]: the administrator's address is not an email address.
pub async fn create(table: &Table, new: &NewTenant, now: OffsetDateTime) -> Result<TenantRecord, AdminError> {
    let free = free_name(table, &new.id, now).await?;
    match record::create(table, &Actor::operator(), new, &free, now).await {
        Err(TenantError::Exists(id)) => Err(explain_taken(table, &id, now).await),
        made => made.map_err(AdminError::of(table)),
    }
}

/// Says why a name cannot be given: there is a tenant of this name, or its deletion is under way or is visible in part.
pub async fn explain_taken(table: &Table, id: &TenantId, now: OffsetDateTime) -> AdminError {
    let items = match table.get_resting(&[keys::tenant(id), keys::tenant_deleted(id)]).await {
        Ok(items) => items,
        Err(error) => return AdminError::table(table.name())(error),
    };
    let now = now.unix_timestamp().unsigned_abs();
    match items.as_slice() {
        [Some(Some(tenant)), _] if !tenant.contains_key("deleting") => AdminError::Exists(id.clone()),
        [Some(None), Some(Some(deleted))] => {
            let rests = Deletion::from_item(deleted, now).grace_seconds_left(now);
            AdminError::NameRests(id.clone(), rests.max(1))
        }
        // One of the items is part of a transaction: of the end of a deletion, or of a creation.
        _ => AdminError::BeingDeleted(id.clone()),
    }
}

/// Checks that no tenant of this name was deleted so recently that a request of it may still run. Returns an
/// action for the transaction that creates the new tenant. The action fails if this has changed.
async fn free_name(table: &Table, id: &TenantId, now: OffsetDateTime) -> Result<Action, AdminError> {
    let failed = AdminError::table(table.name());
    let key = keys::tenant_deleted(id);
    let Some(item) = table.get(&key).await.map_err(&failed)? else {
        return Ok(Action::check(key, Expression::absent(), Refusal::Exists));
    };
    let now = now.unix_timestamp().unsigned_abs();
    let deletion = Deletion::from_item(&item, now);
    let rests = deletion.grace_seconds_left(now);
    if rests > 0 {
        return Err(AdminError::NameRests(id.clone(), rests));
    }
    // Its last changes are not in the feed yet.
    if !outbox::is_empty(table, id).await.map_err(&failed)? {
        return Err(AdminError::NameRests(id.clone(), OUTBOX_WAIT_SECONDS));
    }
    sweep(table, id, &Progress::hidden()).await.map_err(&failed)?;
    let same = Expression::new("deleted = :at").value(":at", AttributeValue::N(deletion.at.to_string()));
    Ok(Action::delete(key).only_if(same, Refusal::Exists))
}

/// The resource types under a policy, as an operator's commands need them.
///
/// # Errors
/// Never for the built-in types.
pub fn model(policy: &'static Policy) -> Result<Model, AdminError> {
    Model::new(policy, &[]).map_err(|error| AdminError::Input(error.detail))
}

/// Changes what is set for a tenant; the event `tenant.updated` goes with it.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn set(
    table: &Table,
    id: &TenantId,
    now: OffsetDateTime,
    change: impl Fn(&mut Settings),
) -> Result<TenantRecord, AdminError> {
    record::set(table, &Actor::operator(), id, now, change).await.map_err(AdminError::of(table))
}

/// Moves a tenant to another plan; the event `tenant.updated` goes with it.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::UsageKey`] if its usage key in the plan cannot be made;
/// [`AdminError::Table`] if a call fails.
pub async fn set_plan(
    table: &Table,
    id: &TenantId,
    plan: RatePlan,
    usage_keys: &dyn UsageKeys,
) -> Result<TenantRecord, AdminError> {
    let moved = record::set_plan(table, &Actor::operator(), id, plan, usage_keys).await;
    moved.map_err(AdminError::of(table))
}

/// Notes in which usage plan the API key of a tenant is now; the event `tenant.updated` goes with it.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn note_usage_plan(
    table: &Table,
    id: &TenantId,
    key: (RatePlan, &str),
    usage_plan: &str,
) -> Result<TenantRecord, AdminError> {
    let noted = record::note_usage_plan(table, &Actor::operator(), id, key, usage_plan).await;
    noted.map_err(AdminError::of(table))
}

/// Tells mirrors to take the snapshot of a tenant again, with the event `tenant.resync`.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn resync(table: &Table, id: &TenantId, now: OffsetDateTime) -> Result<TenantRecord, AdminError> {
    record::resync(table, &Actor::operator(), id, now, &[]).await.map_err(AdminError::of(table))
}

/// A tenant.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn get(table: &Table, id: &TenantId) -> Result<TenantRecord, AdminError> {
    record::get(table, id).await.map_err(AdminError::of(table))
}

/// The same, for a command that would make something in the tenant.
///
/// # Errors
/// As [`get`]; [`AdminError::BeingDeleted`].
pub async fn get_lasting(table: &Table, id: &TenantId) -> Result<TenantRecord, AdminError> {
    record::get_lasting(table, id).await.map_err(AdminError::of(table))
}

/// Every tenant, by name.
///
/// # Errors
/// [`AdminError::Table`] if a call fails.
pub async fn list(table: &Table) -> Result<Vec<TenantRecord>, AdminError> {
    record::list(table).await.map_err(AdminError::of(table))
}
