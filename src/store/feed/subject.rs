//! Where the state of the subject of a change is: the user, group, key, client, tenant or webhook that it is about.

use crate::scim::resource_type::Kind;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::item::get_text;
use crate::store::keys::{self, Key, TenantId, parse_id};

/// The items that tell the state of a subject: the first one that exists. None if the id is not of its type.
///
/// # Errors
/// Those of the table.
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
        _ => return Ok(Vec::new()),
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
