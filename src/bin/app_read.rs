//! The Lambda function of the application's side that only reads.

use std::path::Path;
use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::app::function::AppFunction;
use rollcall::config::{self, Config};
use rollcall::http::log::{self, LogFormat};
use rollcall::http::service::LambdaService;
use rollcall::store::call::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    config::log_json();
    log::init(LogFormat::Lambda);
    let config = Config::from_env()?;
    let table = Table::new(config::client().await, &config.table);
    let extensions = config.extensions.map(|folder| config::extensions(Path::new(&folder))).transpose()?;
    let managing = None;
    let function = AppFunction::new(table, &extensions.unwrap_or_default(), managing)?;
    lambda_runtime::run(LambdaService::new(Arc::new(function))).await
}
