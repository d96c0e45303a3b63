//! The Lambda function that runs every minute and after each write to the outbox.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::config::{self, Config};
use rollcall::store::call::Table;
use rollcall::store::worker;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    config::log_json();
    let config = Config::from_env()?;
    let table = &Table::new(config::client().await, &config.table);
    run(service_fn(|event: LambdaEvent<Value>| async move {
        worker::invoke(&table.fresh(), &event.payload).await
    }))
    .await
}
