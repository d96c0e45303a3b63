//! The Lambda function of the application's side that makes tenants, keys and webhooks.

use std::path::Path;
use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::app::function::AppFunction;
use rollcall::app::request::Managing;
use rollcall::config::{self, CallSettings, Config};
use rollcall::http::service::LambdaService;
use rollcall::log;
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::keys;
use rollcall::tenants::usage_key::{PlanUsageKeys, StackUsageKeys};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    let config = Config::from_env()?;
    let table = Table::new(config::client()?, &config.table);
    table.connect(&keys::connection_probe()).await;
    let extensions = config.extensions.map(|folder| config::extensions(Path::new(&folder))).transpose()?;
    let (default, high) = (config::required(config::USAGE_PLAN)?, config::required(config::HIGH_USAGE_PLAN)?);
    let client = aws_sdk_apigateway::Client::new(&CallSettings::of_function().in_lambda("API_GATEWAY")?);
    let plan = |plan| PlanUsageKeys { client: client.clone(), plan };
    let usage_keys = Box::new(StackUsageKeys { default: plan(default), high: plan(high) });
    let managing = Managing { usage_keys, target_rule: TargetRule::Public };
    let function = AppFunction::new(table, &extensions.unwrap_or_default(), Some(managing))?;
    lambda_runtime::run(LambdaService::new(Arc::new(function))).await
}
