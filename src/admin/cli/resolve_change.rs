//! Names or ids of what a change is about, and of who made it.

use super::resolve::{Resolver, application_id, choose, definition_id, is_key_id, read_id, webhook_id};
use crate::admin::definition_list;
use crate::admin::error::AdminError;
use crate::admin::key;
use crate::scim::resource_type::DefinedKind;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::tenants::{application, client};

/// The id of the key, client or application key with this id or name, which may have changed something of a tenant.
///
/// # Errors
/// [`AdminError::Input`] if none, or several in force, have this name; [`AdminError::Table`] if a call fails.
pub(in crate::admin) async fn actor_id(
    table: &Table,
    tenant: &TenantId,
    text: &str,
) -> Result<String, AdminError> {
    if is_key_id(text) {
        return Ok(text.to_owned());
    }
    let mut named = named_credentials(table, tenant, text).await?;
    let applications = application::list(table).await.map_err(AdminError::of(table))?;
    let records = applications.iter().map(|listed| &listed.record).filter(|record| record.name == text);
    named.extend(records.map(|record| (record.id.clone(), record.status.name() == "active")));
    choose("keys", &named, text, || {
        AdminError::Input(format!(
            "no key, client or application key is called {text}: see `rollcall key list {tenant}`, `rollcall client list {tenant}` and `rollcall application list`"
        ))
    })
}

/// The keys and clients of a tenant with this name: their ids, and whether they are in force.
async fn named_credentials(
    table: &Table,
    tenant: &TenantId,
    name: &str,
) -> Result<Vec<(String, bool)>, AdminError> {
    if *tenant == TenantId::deployment() {
        return Ok(Vec::new());
    }
    let keys = key::list(table, tenant).await?;
    let keys = keys.iter().map(|listed| &listed.record).filter(|record| record.name == name);
    let mut named: Vec<_> =
        keys.map(|record| (record.key_id.clone(), record.status.name() == "active")).collect();
    let clients = client::list(table, tenant).await.map_err(AdminError::of(table))?;
    let clients = clients.iter().map(|listed| &listed.record).filter(|record| record.name == name);
    named.extend(clients.map(|record| (record.id.clone(), record.status.name() == "active")));
    Ok(named)
}

/// The id of what changes of a tenant are about: an id as it is, or what has this name now. The tenant may be
/// [`TenantId::deployment`], to which application keys and webhooks belong.
///
/// # Errors
/// [`AdminError::Input`] if nothing, or more than one, has this name; [`AdminError::Table`] if a call fails.
pub(in crate::admin) async fn subject_id(
    table: &Table,
    tenant: &TenantId,
    text: &str,
) -> Result<String, AdminError> {
    if let Some(id) = read_id(text) {
        return Ok(id.to_string());
    }
    if is_key_id(text) || text == tenant.as_str() {
        return Ok(text.to_owned());
    }
    if *tenant == TenantId::deployment() {
        return match text.contains("://") {
            true => webhook_id(table, text).await,
            false => application_id(table, text).await,
        };
    }
    if let Some(id) = Resolver::of(table, tenant).await?.user_or_group(text).await? {
        return Ok(id.to_string());
    }
    for kind in DefinedKind::ALL {
        let all = definition_list::list(table, tenant, kind).await?;
        let id = definition_id(&all, text)?;
        if all.iter().any(|definition| definition.id == id) {
            return Ok(id);
        }
    }
    let named = named_credentials(table, tenant, text).await?;
    choose("keys and clients", &named, text, || {
        AdminError::Input(format!(
            "tenant {tenant} has no user, group, role, entitlement, key or client {text} now: give the id"
        ))
    })
}
