//! The Lambda authorizer of the API.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::auth::authorizer::Authorizer;
use rollcall::config::{self, Config};
use rollcall::store::call::Table;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    config::log_json();
    let config = Config::from_env()?;
    let authorizer = &Authorizer::new(Table::new(config::client().await, &config.table));
    run(service_fn(|event: LambdaEvent<Value>| authorizer.invoke(event.payload))).await
}
