//! The Lambda authorizer of the application's side.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::auth::app_authorizer::AppAuthorizer;
use rollcall::config::{self, Config};
use rollcall::log;
use rollcall::log::ids::RequestIds;
use rollcall::store::call::Table;
use rollcall::store::keys;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    let config = Config::from_env()?;
    let usage_key = config::required(config::APP_USAGE_KEY)?;
    let table = Table::new(config::client_of_authorizer()?, &config.table);
    table.connect(&keys::application("")).await;
    let authorizer = &AppAuthorizer::new(table, usage_key);
    run(service_fn(|event: LambdaEvent<Value>| {
        RequestIds::of_invocation(&event.context.request_id).scope(authorizer.invoke(event.payload))
    }))
    .await
}
