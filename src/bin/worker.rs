//! The Lambda function that runs every minute and after each write to the outbox.

use std::path::Path;
use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rollcall::config::{self, CallSettings, Config};
use rollcall::deliver::bus::EventBus;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::Worker;
use rollcall::log;
use rollcall::log::ids::RequestIds;
use rollcall::monitor::Monitor;
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::keys;
use rollcall::tenants::message_resources::MessageResources;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start_function();
    let config = Config::from_env()?;
    let table = &Table::new(config::client()?, &config.table);
    table.connect(&keys::connection_probe()).await;
    let aws = CallSettings::of_function().in_lambda("EVENTBRIDGE")?;
    let bus = config.event_bus.map(|name| EventBus::new(aws_sdk_eventbridge::Client::new(&aws), name));
    let sender = MessageSender::new(TargetRule::Public)?;
    let monitor = &Monitor::new(bus.is_some());
    let extensions = config.extensions.map(|folder| config::extensions(Path::new(&folder))).transpose()?;
    let app_url = config::required(config::APP_URL)?;
    let resources = MessageResources::new(&extensions.unwrap_or_default(), app_url)?;
    let retention_days = config.change_retention_days;
    let worker = &Worker { bus, sender, resources: Arc::new(resources), retention_days };
    run(service_fn(|event: LambdaEvent<Value>| {
        RequestIds::of_invocation(&event.context.request_id).scope(async move {
            let outcome = worker.invoke(&table.fresh(), &event.payload).await;
            monitor.measure_after(&table.fresh(), &event.payload).await;
            outcome
        })
    }))
    .await
}
