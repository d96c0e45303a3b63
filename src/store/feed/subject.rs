//! The subject of a change: what it is called among those of its tenant, and where its state is.

use crate::scim::resource_type::{DefinedKind, Kind};
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::item::get_text;
use crate::store::keys::{self, Key, TenantId, parse_id};

/// The name of a subject that no other subject of the tenant has. The ids of roles and entitlements are chosen freely,
/// so their names begin with the type.
pub fn unique_name(resource_type: &str, id: &str) -> String {
    match DefinedKind::named(resource_type) {
        Some(kind) => format!("{}:{id}", kind.name()),
        None => id.to_owned(),
    }
}

/// The id in a name that [`unique_name`] made.
pub fn id_of<'n>(resource_type: &str, name: &'n str) -> &'n str {
    match DefinedKind::named(resource_type) {
        Some(kind) => name.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(name),
        None => name,
    }
}

/// The items that tell the state of a subject: the first one that exists. None if the id is not of its type.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn state_keys(
    table: &Table,
    tenant: &TenantId,
    resource_type: &str,
    id: &str,
) -> Result<Vec<Key>, StoreError> {
    let listing = match (resource_type, parse_id(id)) {
        ("User", Some(id)) => {
            return Ok(vec![keys::resource(tenant, Kind::User, id), keys::tombstone(tenant, id)]);
        }
        ("Group", Some(id)) => return Ok(vec![keys::resource(tenant, Kind::Group, id)]),
        ("Key", _) => keys::bearer_listing(tenant, id),
        ("Application", _) => keys::application_listing(id),
        ("Webhook", _) => return Ok(vec![keys::webhook(id)]),
        ("Client", _) => return Ok(vec![keys::oauth::client(id)]),
        ("Tenant", _) => return Ok(vec![keys::tenant(tenant)]),
        (name, _) => {
            let kind = DefinedKind::named(name);
            return Ok(kind.map(|kind| keys::definition::definition(tenant, kind, id)).into_iter().collect());
        }
    };
    // The key itself is found by its hash.
    let listed = table.get(&listing).await?;
    let hash = listed.as_ref().and_then(|item| get_text(item, "hash"));
    Ok(vec![match (hash, resource_type) {
        (Some(hash), "Key") => keys::bearer(hash),
        (Some(hash), _) => keys::application(hash),
        (None, _) => listing,
    }])
}
