//! The Lambda function of the application's side that only reads.

use std::path::Path;
use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::app::function::AppFunction;
use rollcall::config::{self, Config};
use rollcall::http::service::LambdaService;
use rollcall::log;
use rollcall::store::call::Table;
use rollcall::store::keys;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    let config = Config::from_env()?;
    let table = Table::new(config::client()?, &config.table);
    table.connect(&keys::connection_probe()).await;
    let extensions = config.extensions.map(|folder| config::extensions(Path::new(&folder))).transpose()?;
    let managing = None;
    let function = AppFunction::new(table, &extensions.unwrap_or_default(), managing)?;
    lambda_runtime::run(LambdaService::new(Arc::new(function))).await
}
