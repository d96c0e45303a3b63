//! The roles and entitlements of a tenant, as the operator's tool reads them.

use super::error::AdminError;
use super::group_list::store;
use crate::scim::resource_type::DefinedKind;
use crate::store::call::Table;
use crate::store::definition::Definition;
use crate::store::keys::TenantId;

/// The roles or entitlements of a tenant, in the order of their ids.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn list(
    table: &Table,
    tenant: &TenantId,
    kind: DefinedKind,
) -> Result<Vec<Definition>, AdminError> {
    super::tenant::get(table, tenant).await?;
    let listed = store(table, tenant).definitions().list(kind).await;
    listed.map_err(AdminError::table(table.name()))
}
