//! Where the usage keys of new tenants come from.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::error::TenantError;
use crate::auth::key::random_base62;
use crate::store::keys::TenantId;

/// How long a generated value is.
const LENGTH: usize = 40;

/// A usage key that was made for a tenant.
#[derive(Clone)]
pub struct MadeUsageKey {
    /// Its value.
    pub value: String,
    /// The id of the usage plan that it is in. `None` if API Gateway does not know it.
    pub plan: Option<String>,
}

/// Makes the usage keys of tenants.
pub trait UsageKeys: Send + Sync {
    /// Makes the usage key of a tenant, or finds the one that an earlier attempt made.
    fn make<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>>;
}

/// Usage keys that no API Gateway knows: for a local table.
#[derive(Clone, Copy, Debug)]
pub struct GeneratedUsageKeys;

impl UsageKeys for GeneratedUsageKeys {
    fn make<'a>(&'a self, _: &'a TenantId) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>> {
        async { Ok(MadeUsageKey { value: generate()?, plan: None }) }.boxed()
    }
}

/// A value for a usage key.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate() -> Result<String, TenantError> {
    Ok(random_base62(LENGTH)?)
}
