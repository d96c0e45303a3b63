//! The Lambda function of the token endpoint.

use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::config::{self, Config};
use rollcall::http::service::LambdaService;
use rollcall::log;
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::keys;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    let config = Config::from_env()?;
    let table = Table::new(config::client()?, &config.table);
    table.connect(&keys::oauth::client("")).await;
    let function = TokenFunction::new(table, config.public_url, TargetRule::Public)?;
    lambda_runtime::run(LambdaService::new(Arc::new(function))).await
}
