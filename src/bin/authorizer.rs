//! The Lambda authorizer of the API.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::auth::authorizer::Authorizer;
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
    let table = Table::new(config::client_of_authorizer()?, &config.table);
    table.connect(&keys::bearer("")).await;
    let authorizer = &Authorizer::new(table);
    run(service_fn(|event: LambdaEvent<Value>| {
        RequestIds::of_invocation(&event.context.request_id).scope(authorizer.invoke(event.payload))
    }))
    .await
}
