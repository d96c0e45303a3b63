//! The Lambda authorizer of the application's side.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::auth::app_authorizer::AppAuthorizer;
use rollcall::config::{self, Config};
use rollcall::store::call::Table;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    config::log_json();
    let config = Config::from_env()?;
    let usage_key = config::required(config::APP_USAGE_KEY)?;
    let authorizer = &AppAuthorizer::new(Table::new(config::client().await, &config.table), usage_key);
    run(service_fn(|event: LambdaEvent<Value>| authorizer.invoke(event.payload))).await
}
