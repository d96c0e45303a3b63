//! The Lambda function that serves SCIM.

use std::path::Path;
use std::sync::Arc;

use lambda_runtime::Error;
use rollcall::config::{self, Config};
use rollcall::http::function::Function;
use rollcall::http::service::{LambdaService, StreamingLambdaService};
use rollcall::log;
use rollcall::store::call::Table;
use rollcall::store::keys;

/// A request allocates many small values. This allocator takes less processor time than that of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    let config = Config::from_env()?;
    let mut table = Table::new(config::client()?, &config.table);
    table.email_lookups = config.email_lookups;
    table.connect(&keys::connection_probe()).await;
    let extensions = config.extensions.map(|folder| config::extensions(Path::new(&folder))).transpose()?;
    let function = Function::with_extensions(table, config.public_url, &extensions.unwrap_or_default())?;
    let function = Arc::new(function);
    if config.response_streaming {
        lambda_runtime::run(StreamingLambdaService::new(function)).await
    } else {
        lambda_runtime::run(LambdaService::new(function)).await
    }
}
