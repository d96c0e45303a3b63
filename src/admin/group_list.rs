//! The groups of a tenant, as the operator's tool reads them.

use uuid::Uuid;

use super::actor::ACTOR;
use super::error::AdminError;
use super::tenant;
use crate::limits::GROUPS_PER_READ;
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::store::list::IdPage;
use crate::store::record::Record;

/// A tenant's part of the table, for a command.
pub(super) fn store(table: &Table, tenant: &TenantId) -> Store {
    Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: ACTOR.to_owned(),
        request_id: Uuid::now_v7().to_string(),
    }
}

/// The groups of a tenant, in the order of their ids.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn list(table: &Table, tenant: &TenantId) -> Result<Vec<Record>, AdminError> {
    let failed = AdminError::table(table.name());
    tenant::get(table, tenant).await?;
    let store = store(table, tenant);
    let (mut groups, mut after) = (Vec::new(), None);
    loop {
        let IdPage { ids, has_more } =
            store.list_page(Kind::Group, after, GROUPS_PER_READ).await.map_err(&failed)?;
        groups.extend(store.fetch_many(Kind::Group, &ids).await.map_err(&failed)?);
        match ids.last() {
            Some(last) if has_more => after = Some(*last),
            _ => return Ok(groups),
        }
    }
}
