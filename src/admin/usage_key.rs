//! A tenant's API key in the usage plan, as the operator makes it.

use aws_sdk_apigateway::Client;

use super::error::AdminError;
use crate::auth::plan::RatePlan;
use crate::store::keys::TenantId;
use crate::tenants::error::TenantError;
use crate::tenants::{usage, usage_key, usage_key_again};

pub use crate::tenants::usage::{GeneratedUsageKeys, UsageKeys};
pub use crate::tenants::usage_key::{PlanUsageKeys, name};

/// Where a tenant's usage key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A new API key in the usage plan of this id.
    Plan(String),
    /// The API key of this id, which is in a usage plan already.
    ApiKey(String),
    /// A value alone, without API Gateway.
    Generated,
}

/// A value for a usage key in a plan.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate(plan: RatePlan) -> Result<String, AdminError> {
    usage::generate(plan).map_err(failed)
}

/// Makes the tenant's API key and puts it into the plan; returns its value. What an earlier attempt
/// left is found by its name and used.
///
/// # Errors
/// [`AdminError::UsageKey`] with what API Gateway said.
pub async fn attach(client: &Client, plan: &str, tenant: &TenantId) -> Result<String, AdminError> {
    usage_key::attach(client, plan, tenant).await.map_err(failed)
}

/// Puts tenants that exist into the plan of a stack that was made again. Each API key keeps the value that the table
/// has.
///
/// # Errors
/// [`AdminError::UsageKey`] with what API Gateway said.
pub async fn attach_again(
    client: &Client,
    plan: &str,
    tenants: &[(TenantId, String)],
) -> Result<(), AdminError> {
    usage_key_again::attach_again(client, plan, tenants).await.map_err(failed)
}

/// The value of an API key that exists.
///
/// # Errors
/// [`AdminError::UsageKey`] with what API Gateway said.
pub async fn fetch(client: &Client, id: &str) -> Result<String, AdminError> {
    usage_key::fetch(client, id).await.map_err(failed)
}

/// Deletes the API keys that were made for a tenant in a usage plan; returns how many.
///
/// # Errors
/// [`AdminError::UsageKey`] with what API Gateway said.
pub async fn remove(keys: &PlanUsageKeys, tenant: &TenantId) -> Result<usize, AdminError> {
    keys.remove(tenant).await.map_err(failed)
}

fn failed(error: TenantError) -> AdminError {
    match error {
        TenantError::UsageKey(problem) => AdminError::UsageKey(problem),
        other => AdminError::Input(format!("{other:?}")),
    }
}
