//! A tenant's API key in the usage plan: one per tenant, never one per bearer key (an account holds
//! 10,000 in a region). API Gateway counts a tenant's requests by its value, which the authorizer
//! names as `usageIdentifierKey`; a value that no key of the plan has is answered 403.
//!
//! All API keys of an account and region are in one list. The id of the stack's usage plan is in the name of a key,
//! so that two stacks never share one. Version 0.1.0 left it out (`old_name`): a key with such a name belongs to
//! this stack if it is in its usage plan.

use std::fmt;

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_apigateway::types::ApiKey;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::error::{TenantError, explain, one_line};
use super::usage::{MadeUsageKey, UsageKeys, generate};
use crate::auth::plan::RatePlan;
use crate::store::keys::TenantId;

/// A usage plan of API Gateway, which holds the keys of the tenants of one stack.
#[derive(Clone, Debug)]
pub struct PlanUsageKeys {
    /// API Gateway's client.
    pub client: Client,
    /// The id of the usage plan.
    pub plan: String,
}

/// The usage plans of a stack.
#[derive(Clone, Debug)]
pub struct StackUsageKeys {
    /// Holds the keys of the plan `default`.
    pub default: PlanUsageKeys,
    /// Holds the keys of the plan `high`.
    pub high: PlanUsageKeys,
}

impl UsageKeys for StackUsageKeys {
    fn make<'a>(
        &'a self,
        tenant: &'a TenantId,
        plan: RatePlan,
    ) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>> {
        match plan {
            RatePlan::Default => self.default.make(tenant, plan),
            RatePlan::High => self.high.make(tenant, plan),
        }
    }

    fn usage_plan(&self, plan: RatePlan) -> Option<&str> {
        match plan {
            RatePlan::Default => self.default.usage_plan(plan),
            RatePlan::High => self.high.usage_plan(plan),
        }
    }
}

/// Makes keys in this usage plan, whichever plan it is.
impl UsageKeys for PlanUsageKeys {
    fn make<'a>(
        &'a self,
        tenant: &'a TenantId,
        _: RatePlan,
    ) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>> {
        async {
            let value = attach(&self.client, &self.plan, tenant).await?;
            Ok(MadeUsageKey { value, plan: Some(self.plan.clone()) })
        }
        .boxed()
    }

    fn usage_plan(&self, _: RatePlan) -> Option<&str> {
        Some(&self.plan)
    }
}

impl PlanUsageKeys {
    /// Deletes the API keys that were made for a tenant; returns how many. A key that is gone already is no error.
    ///
    /// A key may be in the usage plan of another stack as well: one with the name of version 0.1.0, or one of a table that
    /// was restored while its original still serves requests. Such a key only leaves this plan.
    ///
    /// # Errors
    /// [`TenantError::UsageKey`] with what API Gateway said.
    pub async fn remove(&self, tenant: &TenantId) -> Result<usize, TenantError> {
        let mut removed = 0;
        let (own_name, old_name) = (name(&self.plan, tenant), old_name(tenant));
        for wanted in [&own_name, &old_name] {
            for id in find_all(&self.client, wanted).await?.into_iter().filter_map(|key| key.id) {
                let plans = self.plans_of(&id).await?;
                let is_here = plans.contains(&self.plan);
                let is_elsewhere = plans.iter().any(|plan| *plan != self.plan);
                removed += usize::from(match (is_here, is_elsewhere) {
                    (true, true) => self.detach(&id).await?,
                    (true, false) => self.delete(&id).await?,
                    // An attempt to make it stopped before the plan had it.
                    (false, false) if *wanted == own_name => self.delete(&id).await?,
                    (false, _) => false,
                });
            }
        }
        Ok(removed)
    }

    /// The ids of the usage plans that an API key is in.
    async fn plans_of(&self, id: &str) -> Result<Vec<String>, TenantError> {
        let (mut plans, mut position) = (Vec::new(), None);
        loop {
            let page =
                self.client.get_usage_plans().key_id(id).limit(PAGE).set_position(position).send().await;
            let page = page.map_err(|e| failed(&format!("list the usage plans of API key {id}"), &e))?;
            plans.extend(page.items.unwrap_or_default().into_iter().filter_map(|plan| plan.id));
            position = page.position;
            if position.is_none() {
                return Ok(plans);
            }
        }
    }

    async fn delete(&self, id: &str) -> Result<bool, TenantError> {
        match self.client.delete_api_key().api_key(id).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(failed(&format!("delete API key {id}"), &error)),
        }
    }

    async fn detach(&self, id: &str) -> Result<bool, TenantError> {
        match self.client.delete_usage_plan_key().usage_plan_id(&self.plan).key_id(id).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(failed(&format!("take API key {id} out of usage plan {}", self.plan), &error)),
        }
    }
}

/// How many API keys or usage plans API Gateway lists at once, which is its maximum.
const PAGE: i32 = 500;

/// The name of a tenant's API key in a usage plan. The id of a plan has letters and digits alone.
pub fn name(plan: &str, tenant: &TenantId) -> String {
    format!("rollcall-{plan}-{tenant}")
}

/// The name of a tenant's API key that version 0.1.0 made.
fn old_name(tenant: &TenantId) -> String {
    format!("rollcall-{tenant}")
}

/// Makes the tenant's API key and puts it into the plan; returns its value. What an earlier attempt
/// left is found by its name and used.
///
/// # Errors
/// [`TenantError::UsageKey`] with what API Gateway said.
pub async fn attach(client: &Client, plan: &str, tenant: &TenantId) -> Result<String, TenantError> {
    let name = name(plan, tenant);
    let found = match find_all(client, &name).await?.into_iter().next() {
        Some(found) => Some(found),
        None => find_old(client, plan, tenant).await?,
    };
    let (id, value) = match found {
        Some(found) => whole(found.id, found.value, found.enabled, &name)?,
        None => {
            let made = client
                .create_api_key()
                .name(&name)
                .description(format!("Rollcall: the request limit of tenant {tenant}"))
                .value(generate(RatePlan::Default)?)
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
        // In this plan already, or in another one of the same stage.
        Err(error) if error.code() == Some("ConflictException") && is_in(client, plan, &id).await? => {
            Ok(value)
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

/// The API key that version 0.1.0 made for a tenant of this name and that is in the plan.
async fn find_old(client: &Client, plan: &str, tenant: &TenantId) -> Result<Option<ApiKey>, TenantError> {
    for key in find_all(client, &old_name(tenant)).await? {
        if let Some(id) = key.id()
            && is_in(client, plan, id).await?
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

async fn is_in(client: &Client, plan: &str, id: &str) -> Result<bool, TenantError> {
    match client.get_usage_plan_key().usage_plan_id(plan).key_id(id).send().await {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(failed(&format!("read the keys of usage plan {plan}"), &error)),
    }
}

/// The API keys of exactly this name. Names need not be unique.
async fn find_all(client: &Client, name: &str) -> Result<Vec<ApiKey>, TenantError> {
    let (mut found, mut position) = (Vec::new(), None);
    loop {
        // The query selects names that begin so.
        let page = client
            .get_api_keys()
            .name_query(name)
            .include_values(true)
            .limit(PAGE)
            .set_position(position)
            .send()
            .await
            .map_err(|e| failed("list API keys", &e))?;
        found.extend(page.items.unwrap_or_default().into_iter().filter(|key| key.name() == Some(name)));
        position = page.position;
        if position.is_none() {
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

fn is_absent<E, R>(error: &SdkError<E, R>) -> bool
where
    E: ProvideErrorMetadata,
{
    error.code() == Some("NotFoundException")
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
