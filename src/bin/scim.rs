//! The Lambda function that serves SCIM.

use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::config::{self, Config};
use rollcall::http::function::{Function, LambdaService};
use rollcall::http::log::{self, Form};
use rollcall::store::call::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    config::log_json();
    log::init(Form::Lambda);
    let config = Config::from_env()?;
    let table = Table::new(config::client().await, &config.table);
    let function = Function::new(table, config.public_url)?;
    lambda_runtime::run(LambdaService::new(Arc::new(function))).await
}
