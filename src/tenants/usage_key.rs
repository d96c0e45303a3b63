//! A tenant's API key in the usage plan: one per tenant, never one per bearer key (an account holds
//! 10,000 in a region). API Gateway counts a tenant's requests by its value, which the authorizer
//! names as `usageIdentifierKey`; a value that no key of the plan has is answered 403.

use std::fmt;

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_apigateway::types::ApiKey;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::error::{TenantError, explain, one_line};
use super::usage::{UsageKeys, generate};
use crate::store::keys::TenantId;

/// A usage plan of API Gateway, into which the keys of new tenants go.
#[derive(Clone, Debug)]
pub struct PlanUsageKeys {
    /// API Gateway's client.
    pub client: Client,
    /// The id of the usage plan.
    pub plan: String,
}

impl UsageKeys for PlanUsageKeys {
    fn make<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<String, TenantError>> {
        attach(&self.client, &self.plan, tenant).boxed()
    }
}

/// The name of a tenant's API key.
pub fn name(tenant: &TenantId) -> String {
    format!("rollcall-{tenant}")
}

/// Makes the tenant's API key and puts it into the plan; returns its value. What an earlier attempt
/// left is found by its name and used.
///
/// # Errors
/// [`TenantError::UsageKey`] with what API Gateway said.
pub async fn attach(client: &Client, plan: &str, tenant: &TenantId) -> Result<String, TenantError> {
    let name = name(tenant);
    let (id, value) = match find(client, &name).await? {
        Some(found) => whole(found.id, found.value, found.enabled, &name)?,
        None => {
            let made = client
                .create_api_key()
                .name(&name)
                .description(format!("Rollcall: the request limit of tenant {tenant}"))
                .value(generate()?)
                .enabled(true)
                .send()
                .await
                .map_err(|e| failed("make an API key", &e))?;
            whole(made.id, made.value, made.enabled, &name)?
        }
    };
    let attached =
        client.create_usage_plan_key().usage_plan_id(plan).key_id(&id).key_type("API_KEY").send().await;
    match attached {
        Ok(_) => Ok(value),
        Err(error) if error.code() == Some("ConflictException") => {
            // In this plan already, or in another one of the same stage.
            match client.get_usage_plan_key().usage_plan_id(plan).key_id(&id).send().await {
                Ok(_) => Ok(value),
                Err(_) => Err(failed(&format!("put API key {name} into usage plan {plan}"), &error)),
            }
        }
        Err(error) => Err(failed(&format!("put API key {name} into usage plan {plan}"), &error)),
    }
}

/// The value of an API key that exists.
///
/// # Errors
/// [`TenantError::UsageKey`] with what API Gateway said.
pub async fn fetch(client: &Client, id: &str) -> Result<String, TenantError> {
    let key = client.get_api_key().api_key(id).include_value(true).send().await;
    let key = key.map_err(|e| failed(&format!("read API key {id}"), &e))?;
    whole(key.id, key.value, key.enabled, id).map(|(_, value)| value)
}

async fn find(client: &Client, name: &str) -> Result<Option<ApiKey>, TenantError> {
    let mut position = None;
    loop {
        // The query selects names that begin so.
        let page = client
            .get_api_keys()
            .name_query(name)
            .include_values(true)
            .limit(500)
            .set_position(position)
            .send()
            .await
            .map_err(|e| failed("list API keys", &e))?;
        let found = page.items.unwrap_or_default().into_iter().find(|key| key.name() == Some(name));
        position = page.position;
        if found.is_some() || position.is_none() {
            return Ok(found);
        }
    }
}

pub(super) fn whole(
    id: Option<String>,
    value: Option<String>,
    enabled: bool,
    name: &str,
) -> Result<(String, String), TenantError> {
    match (id, value) {
        (Some(id), Some(value)) if enabled => Ok((id, value)),
        (Some(_), Some(_)) => {
            Err(TenantError::UsageKey(format!("API key {name} is disabled in API Gateway: enable it first")))
        }
        _ => {
            Err(TenantError::UsageKey(format!("API Gateway did not tell the id and value of API key {name}")))
        }
    }
}

pub(super) fn failed<E, R>(what: &str, error: &SdkError<E, R>) -> TenantError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
    let why = match error {
        // The table's advice would speak of a table.
        SdkError::ServiceError(_) => format!("{code} {message}"),
        _ => {
            let source = DisplayErrorContext(error).to_string();
            explain(&source).map_or_else(|| one_line(&source), str::to_owned)
        }
    };
    TenantError::UsageKey(format!("API Gateway refused to {what}: {}", one_line(why.trim())))
}
