//! Keys of roles and entitlements.

use super::{Key, TenantId};
use crate::scim::resource_type::DefinedKind;

/// The partition of a tenant's roles and entitlements.
pub fn definitions(tenant: &TenantId) -> String {
    format!("T#{tenant}#R")
}

/// The prefix of the sort keys of a kind, in [`definitions`].
pub fn definition_prefix(kind: DefinedKind) -> String {
    format!("{}#", kind.name())
}

/// A role or an entitlement.
pub fn definition(tenant: &TenantId, kind: DefinedKind, id: &str) -> Key {
    Key::new(definitions(tenant), definition_prefix(kind) + id)
}

/// How many roles and entitlements a tenant has, and what its roles grant.
pub fn definition_index(tenant: &TenantId) -> Key {
    Key::new(definitions(tenant), "INDEX")
}
