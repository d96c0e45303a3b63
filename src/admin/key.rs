//! Bearer keys: make, list, rotate, revoke, as the operator does it.

use time::{Duration, OffsetDateTime};

use super::error::AdminError;
use crate::auth::key::BearerKey;
use crate::auth::record::{KeyListing, KeyRecord};
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::tenants::actor::Actor;
use crate::tenants::key;

pub use crate::tenants::key::{ListedKey, NewKey, list_key};

/// Makes a key. Its text is returned and kept nowhere.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::NoUser`]; [`AdminError::Input`] for a name that is empty
/// or too long, or an expiry that has passed.
pub async fn create(
    table: &Table,
    new: NewKey,
    now: OffsetDateTime,
) -> Result<(BearerKey, KeyRecord), AdminError> {
    key::create(table, &Actor::operator(), new, now).await.map_err(AdminError::of(table))
}

/// Makes a key of the same name, scope and user, and lets the old one expire after the overlap.
/// Returns the new key and when the old one ends.
///
/// # Errors
/// [`AdminError::NoKey`]; [`AdminError::Input`] for a key that is revoked or expired.
pub async fn rotate(
    table: &Table,
    which: (&TenantId, &str),
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<(BearerKey, KeyRecord, OffsetDateTime), AdminError> {
    let rotated = key::rotate(table, &Actor::operator(), which, overlap, now).await;
    rotated.map_err(AdminError::of(table))
}

/// A tenant's list of keys, in no order.
///
/// # Errors
/// [`AdminError::Table`] if a call fails.
pub async fn listing(table: &Table, tenant: &TenantId) -> Result<Vec<KeyListing>, AdminError> {
    key::listing(table, tenant).await.map_err(AdminError::of(table))
}

/// A tenant's keys, the oldest first; never their texts.
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] if a call fails.
pub async fn list(table: &Table, tenant: &TenantId) -> Result<Vec<ListedKey>, AdminError> {
    key::list(table, tenant).await.map_err(AdminError::of(table))
}

/// Takes a key back for good. Says whether the key was in force until now.
///
/// # Errors
/// [`AdminError::NoKey`]; [`AdminError::Table`] if a call fails.
pub async fn revoke(
    table: &Table,
    tenant: &TenantId,
    key_id: &str,
    now: OffsetDateTime,
) -> Result<bool, AdminError> {
    key::revoke(table, &Actor::operator(), (tenant, key_id), now).await.map_err(AdminError::of(table))
}
