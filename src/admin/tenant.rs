//! Tenants: make, show, list.

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::AdminError;
use super::key::ACTOR;
use crate::auth::tenant::{Settings, TenantRecord, is_usage_key};
use crate::scim::policy::Policy;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::item::Item;
use crate::store::keys::{self, TenantId};
use crate::store::transaction::{Action, Expression};

/// Makes a tenant: its item, its place in the list and the event `tenant.created`, in one
/// transaction.
///
/// # Errors
/// [`AdminError::Exists`] when there is one of this name; [`AdminError::UsageKey`] when API Gateway
/// would not take the usage key.
pub async fn create(
    table: &Table,
    id: &TenantId,
    policy: &'static Policy,
    usage_key: &str,
    now: OffsetDateTime,
) -> Result<TenantRecord, AdminError> {
    if !is_usage_key(usage_key) {
        let problem = "a usage key has 20 to 128 visible ASCII characters, as API Gateway wants them";
        return Err(AdminError::UsageKey(problem.to_owned()));
    }
    let record = TenantRecord {
        id: id.clone(),
        policy,
        usage_key: usage_key.to_owned(),
        created: now,
        root_team: None,
        settings: Settings::default(),
    };
    let failed = AdminError::table(table.name());
    let item = record.to_item().map_err(&failed)?;
    let request = Uuid::now_v7().to_string();
    let event = Event::new("tenant.created", ("Tenant", id.to_string()), ACTOR, &request, now);
    let event = event.attributes(["policy", "settings", "usageKey"]);
    let actions = || {
        vec![
            event::action(id, &event),
            Action::put(keys::tenant(id), item.clone()).only_if(Expression::absent(), Refusal::Exists),
            Action::put(keys::tenant_listing(id), Item::new()),
        ]
    };
    match table.transact(actions).await {
        Ok(()) => Ok(record),
        Err(StoreError::Refused(_)) => Err(AdminError::Exists(id.clone())),
        Err(error) => Err(failed(error)),
    }
}

/// A tenant.
///
/// # Errors
/// [`AdminError::NoTenant`]; as every call.
pub async fn get(table: &Table, id: &TenantId) -> Result<TenantRecord, AdminError> {
    let failed = AdminError::table(table.name());
    let item = table.get(&keys::tenant(id)).await.map_err(&failed)?;
    let item = item.ok_or_else(|| AdminError::NoTenant(id.clone()))?;
    TenantRecord::from_item(&item).map_err(&failed)
}

/// Every tenant, by name.
///
/// # Errors
/// As every call.
pub async fn list(table: &Table) -> Result<Vec<TenantRecord>, AdminError> {
    let failed = AdminError::table(table.name());
    let listing = table.query_all(keys::TENANTS, None).await.map_err(&failed)?;
    let mut keys = Vec::with_capacity(listing.len());
    for entry in &listing {
        let name = crate::store::item::must_text(entry, "sk").map_err(&failed)?;
        let id: TenantId = name.parse().map_err(|_| {
            failed(StoreError::Broken("the list of tenants holds what is no name".to_owned()))
        })?;
        keys.push(keys::tenant(&id));
    }
    let items = table.batch_get(&keys).await.map_err(&failed)?;
    let records: Result<Vec<_>, _> = items.iter().map(TenantRecord::from_item).collect();
    let mut records = records.map_err(&failed)?;
    records.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(records)
}
