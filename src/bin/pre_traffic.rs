//! The Lambda function that tries the scim function: the hook of a deployment in steps, and the probe of every minute.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::log;
use rollcall::log::ids::RequestIds;
use rollcall::probe::prober;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    run(service_fn(|event: LambdaEvent<Value>| {
        RequestIds::of_invocation(&event.context.request_id)
            .scope(async move { prober::handle(&event.payload).await.map_err(Error::from) })
    }))
    .await
}
