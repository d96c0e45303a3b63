//! The Lambda function that serves SCIM.

use std::path::Path;
use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::config::{self, Config};
use rollcall::http::function::Function;
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
    let function = Function::with_extensions(table, config.public_url, &extensions.unwrap_or_default())?;
    let function = Arc::new(function);
    if config.response_streaming {
        lambda_runtime::run(LambdaService::streaming(function)).await
    } else {
        lambda_runtime::run(LambdaService::new(function)).await
    }
}
