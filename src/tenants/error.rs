//! Why a tenant or a key was not made or changed.

use uuid::Uuid;

use crate::store::error::StoreError;
use crate::store::keys::TenantId;

/// A refused or failed change of a tenant or a key.
#[derive(Debug)]
pub enum TenantError {
    /// There is a tenant of this name.
    Exists(TenantId),
    /// There is no tenant of this name.
    NoTenant(TenantId),
    /// A tenant of this name was deleted not long ago: in so many seconds the name can be given again.
    NameRests(TenantId, u64),
    /// The tenant has no key of this id.
    NoKey(TenantId, String),
    /// There is no application key of this id.
    NoApplication(String),
    /// The tenant has no such user.
    NoUser(TenantId, Uuid),
    /// The key of this id is revoked or expired, so it can have no successor.
    KeyEnded(String),
    /// Something given cannot be used.
    Input(String),
    /// The usage plan or its API key cannot be used.
    UsageKey(String),
    /// The table failed.
    Table(StoreError),
}

impl From<StoreError> for TenantError {
    fn from(error: StoreError) -> Self {
        Self::Table(error)
    }
}

impl From<getrandom::Error> for TenantError {
    fn from(error: getrandom::Error) -> Self {
        Self::Input(format!("the operating system gives no randomness: {error}"))
    }
}
