//! Usage keys of tenants whose stack was deleted and made again. The new stack has a new usage plan, without keys.

use std::collections::BTreeMap;

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::types::{ApiKey, Op, PatchOperation};

use super::error::TenantError;
use super::usage_key::{failed, name, whole};
use crate::store::keys::TenantId;

/// Puts tenants that exist into another plan: that of a stack which was made again. Each API key keeps the value that
/// the table has, and gets the name of a key in this plan. A key that is gone is made again.
///
/// # Errors
/// [`TenantError::UsageKey`] with what API Gateway said.
pub async fn attach_again(
    client: &Client,
    plan: &str,
    tenants: &[(TenantId, String)],
) -> Result<(), TenantError> {
    let mut by_value = fetch_all(client).await?;
    for (tenant, value) in tenants {
        let name = name(plan, tenant);
        let found = by_value.remove(value);
        let is_named = found.as_ref().is_some_and(|key| key.name() == Some(&name));
        let id = match found {
            Some(key) => whole(key.id, key.value, key.enabled, &name)?.0,
            None => {
                let make = client.create_api_key().name(&name).value(value).enabled(true);
                let make = make.description(format!("Rollcall: the request limit of tenant {tenant}"));
                let made = make.send().await.map_err(|e| failed("make an API key", &e))?;
                whole(made.id, made.value, made.enabled, &name)?.0
            }
        };
        if !is_named {
            let rename = PatchOperation::builder().op(Op::Replace).path("/name").value(&name).build();
            let renamed = client.update_api_key().api_key(&id).patch_operations(rename).send().await;
            renamed.map_err(|e| failed(&format!("rename API key {id}"), &e))?;
        }
        let put = client.create_usage_plan_key().usage_plan_id(plan).key_id(&id).key_type("API_KEY");
        let Err(error) = put.send().await else { continue };
        // In this plan already, or in another one of the same stage.
        if client.get_usage_plan_key().usage_plan_id(plan).key_id(&id).send().await.is_err() {
            return Err(failed(&format!("put API key {name} into usage plan {plan}"), &error));
        }
    }
    Ok(())
}

/// All API keys of the account and region, by value.
async fn fetch_all(client: &Client) -> Result<BTreeMap<String, ApiKey>, TenantError> {
    let (mut keys, mut position) = (BTreeMap::new(), None);
    loop {
        let page = client.get_api_keys().include_values(true).limit(500).set_position(position);
        let page = page.send().await.map_err(|e| failed("list API keys", &e))?;
        let found = page.items.unwrap_or_default().into_iter();
        keys.extend(found.filter_map(|key| Some((key.value.clone()?, key))));
        position = page.position;
        if position.is_none() {
            return Ok(keys);
        }
    }
}
