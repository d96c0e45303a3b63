//! Where the usage keys of new tenants come from.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::error::TenantError;
use crate::auth::key::random_base62;
use crate::auth::plan::RatePlan;
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
    /// Makes the usage key of a tenant in a plan, or finds the one that an earlier attempt made.
    fn make<'a>(
        &'a self,
        tenant: &'a TenantId,
        plan: RatePlan,
    ) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>>;

    /// The id of the usage plan of API Gateway that stands for a plan. `None` if there is none, or it is not known.
    fn usage_plan(&self, plan: RatePlan) -> Option<&str>;
}

/// Usage keys that no API Gateway knows: for a local table.
#[derive(Clone, Copy, Debug)]
pub struct GeneratedUsageKeys;

impl UsageKeys for GeneratedUsageKeys {
    fn make<'a>(
        &'a self,
        _: &'a TenantId,
        plan: RatePlan,
    ) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>> {
        async move { Ok(MadeUsageKey { value: generate(plan)?, plan: None }) }.boxed()
    }

    fn usage_plan(&self, _: RatePlan) -> Option<&str> {
        None
    }
}

/// What begins the value of a generated usage key in the plan `high`, by which the local gateway knows the plan.
pub const HIGH_PREFIX: &str = "high.";

/// A value for a usage key in a plan.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate(plan: RatePlan) -> Result<String, TenantError> {
    let value = random_base62(LENGTH)?;
    Ok(match plan {
        RatePlan::Default => value,
        RatePlan::High => format!("{HIGH_PREFIX}{value}"),
    })
}
