//! Names or ids of what a change is about, and of who made it.

use super::resolve::{
    ID_PREFIXES, NamedCredential, Resolver, applications, bearer_keys, choose, clients, definition_id,
    has_form_of_id, read_id, webhook_id,
};
use crate::admin::definition_list;
use crate::admin::error::AdminError;
use crate::scim::resource_type::DefinedKind;
use crate::store::call::Table;
use crate::store::keys::TenantId;

/// Whether a text has the form of an id of a key, client, application key or webhook, which may be gone.
fn may_be_id(text: &str) -> bool {
    ID_PREFIXES.iter().any(|prefix| has_form_of_id(prefix, text))
}

/// The id of the key, client or application key with this id or name, which may have changed something of a tenant.
///
/// # Errors
/// [`AdminError::Input`] if none, or several in force, have this name; [`AdminError::Table`] if a call fails.
pub(in crate::admin) async fn actor_id(
    table: &Table,
    tenant: &TenantId,
    text: &str,
) -> Result<String, AdminError> {
    let mut all = credentials(table, tenant).await?;
    all.extend(applications(table).await?);
    match choose("keys", &all, text)? {
        Some(id) => Ok(id),
        None if may_be_id(text) => Ok(text.to_owned()),
        None => Err(AdminError::Input(format!(
            "no key, client or application key is called {text}: see `rollcall key list {tenant}`, `rollcall client list {tenant}` and `rollcall application list`"
        ))),
    }
}

/// The keys and clients of a tenant.
async fn credentials(table: &Table, tenant: &TenantId) -> Result<Vec<NamedCredential>, AdminError> {
    if *tenant == TenantId::deployment() {
        return Ok(Vec::new());
    }
    let mut all = bearer_keys(table, tenant).await?;
    all.extend(clients(table, tenant).await?);
    Ok(all)
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
    if text == tenant.as_str() {
        return Ok(text.to_owned());
    }
    let is_deployment = *tenant == TenantId::deployment();
    let found = match is_deployment {
        true if text.contains("://") => return webhook_id(table, text).await,
        true => choose("keys", &applications(table).await?, text)?,
        false => named_subject(table, tenant, text).await?,
    };
    match found {
        Some(id) => Ok(id),
        None if may_be_id(text) => Ok(text.to_owned()),
        None if is_deployment => Err(AdminError::NoApplication(text.to_owned())),
        None => Err(AdminError::Input(format!(
            "tenant {tenant} has no user, group, role, entitlement, key or client {text} now: give the id"
        ))),
    }
}

/// What a tenant has with this name now, or the key or client that has it as its id.
async fn named_subject(table: &Table, tenant: &TenantId, text: &str) -> Result<Option<String>, AdminError> {
    let credentials = credentials(table, tenant).await?;
    if credentials.iter().any(|one| one.id == text) {
        return Ok(Some(text.to_owned()));
    }
    if let Some(id) = Resolver::of(table, tenant).await?.user_or_group(text).await? {
        return Ok(Some(id.to_string()));
    }
    for kind in DefinedKind::ALL {
        let all = definition_list::list(table, tenant, kind).await?;
        let id = definition_id(&all, text)?;
        if all.iter().any(|definition| definition.id == id) {
            return Ok(Some(id));
        }
    }
    choose("keys and clients", &credentials, text)
}
