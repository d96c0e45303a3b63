//! Webhooks that are changed, rotated or deleted while a message is under way, and what goes on beside an attempt that
//! takes long.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall::clock;
use rollcall::deliver::message::NoResources;
use rollcall::deliver::registry::{Registry, WebhookUpdate};
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::{DeliveryReport, Worker};
use rollcall::limits::{DEFAULT_CHANGE_RETENTION_DAYS, WEBHOOK_FAILURE_SECONDS};
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::feed::consumer::ConsumerState;
use rollcall::store::item::number;
use rollcall::store::keys;
use rollcall::store::webhook::Webhook;
use tokio::task::JoinHandle;

use crate::support;
use crate::support::client::Client;
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::feed::{read_feed, sequence};
use crate::support::receiver::{Reaction, Receiver};

fn registry(table: &Table) -> Registry<'_> {
    Registry { table, actor: "operator", request_id: "test", rule: TargetRule::PublicOrLoopback }
}

/// Begins a run of the worker that takes so long.
fn begin_run(table: Table, time: Duration) -> JoinHandle<DeliveryReport> {
    let worker = Worker {
        bus: None,
        sender: MessageSender::new(TargetRule::PublicOrLoopback).expect("TLS"),
        resources: Arc::new(NoResources),
        retention_days: DEFAULT_CHANGE_RETENTION_DAYS,
    };
    let until = Instant::now() + time;
    tokio::spawn(async move { worker.deliver(&table, until).await })
}

/// A webhook that is to get two changes, in a message each.
struct Scene {
    client: Client,
    endpoint: String,
    receiver: Receiver,
    webhook: Webhook,
    secret: String,
}

impl Scene {
    async fn new() -> Self {
        let embedded = support::serve().await;
        let client = Client::new(embedded.table.fresh(), "standard").await;
        let receiver = Receiver::start().await;
        let (webhook, secret) =
            registry(&client.table).create(&receiver.url, false).await.expect("a webhook");
        client.user("anna").await;
        sequence(&client.table).await;
        let scene = Self { client, endpoint: embedded.endpoint, receiver, webhook, secret: secret.reveal() };
        scene.set([number("batchEnd", 1)]).await;
        scene
    }

    fn table(&self) -> &Table {
        &self.client.table
    }

    /// Changes attributes of the position's item.
    async fn set(
        &self,
        attributes: impl IntoIterator<Item = (String, aws_sdk_dynamodb::types::AttributeValue)>,
    ) {
        let key = keys::consumer(&self.webhook.id);
        let mut item = self.table().get(&key).await.unwrap().expect("the consumer");
        item.extend(attributes);
        self.table().put(&key, item).await.unwrap();
    }

    /// Begins a run in which the receiver holds the first message, and will answer it with this status.
    async fn begin_held(&self, status: u16) -> JoinHandle<DeliveryReport> {
        self.receiver.then([Reaction::Held { status }]);
        let run = begin_run(self.table().fresh(), Duration::from_secs(20));
        self.receiver.wait_for(1).await;
        run
    }

    /// Lets the receiver answer the message that it holds, and waits for the end of the run.
    async fn end_held(&self, run: JoinHandle<DeliveryReport>) -> DeliveryReport {
        self.receiver.release();
        let report = run.await.unwrap();
        assert_eq!(report.failures, Vec::<String>::new());
        report
    }

    async fn update(&self, update: WebhookUpdate) {
        registry(self.table()).update(&self.webhook.id, update).await.unwrap();
    }

    async fn enable(&self, enabled: bool) {
        self.update(WebhookUpdate { enabled: Some(enabled), ..WebhookUpdate::default() }).await;
    }

    async fn state(&self) -> ConsumerState {
        ConsumerState::fetch(self.table(), &self.webhook.id).await.unwrap().expect("the consumer")
    }

    async fn disabled(&self) -> Option<String> {
        Webhook::fetch(self.table(), &self.webhook.id).await.unwrap().expect("the webhook").disabled
    }

    /// Asserts that nothing of the webhook is left.
    async fn assert_gone(&self) {
        let id = &self.webhook.id;
        for key in [keys::webhook(id), keys::consumer(id), keys::webhook_secret(id, 1)] {
            assert_eq!(self.table().get(&key).await.unwrap(), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_webhook_gets_no_message_after_the_one_under_way() {
    let scene = Scene::new().await;
    let run = scene.begin_held(204).await;
    scene.enable(false).await;
    assert_eq!(scene.end_held(run).await.delivered, 0);
    assert_eq!(scene.receiver.numbers(), [1]);
    assert!(scene.disabled().await.unwrap().starts_with("disabled by operator"));
    // The same message comes again when it is enabled.
    scene.enable(true).await;
    let run = begin_run(scene.table().fresh(), Duration::from_secs(20));
    assert_eq!(run.await.unwrap().failures, Vec::<String>::new());
    assert_eq!(scene.receiver.numbers()[..3], [1, 1, 2]);
    let messages = scene.receiver.received();
    assert_eq!((messages[0].id(), &messages[0].body), (messages[1].id(), &messages[1].body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_url_gets_all_messages_after_the_one_under_way() {
    let (scene, elsewhere) = (Scene::new().await, Receiver::start().await);
    let run = scene.begin_held(204).await;
    scene.update(WebhookUpdate { url: Some(elsewhere.url.clone()), ..WebhookUpdate::default() }).await;
    scene.end_held(run).await;
    assert_eq!(scene.receiver.numbers(), [1]);
    assert_eq!(elsewhere.numbers()[..2], [1, 2]);
    assert_eq!(scene.receiver.received()[0].id(), elsewhere.received()[0].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_signs_all_messages_after_the_one_under_way() {
    let scene = Scene::new().await;
    let run = scene.begin_held(204).await;
    let (_, second) = registry(scene.table()).rotate(&scene.webhook.id, 0).await.unwrap();
    let (first, second) = (scene.secret.as_str(), second.reveal());
    scene.end_held(run).await;
    assert_eq!(scene.receiver.numbers()[..3], [1, 1, 2]);
    let messages = scene.receiver.received();
    assert!(messages[0].is_signed_by(first) && !messages[0].is_signed_by(&second));
    for message in &messages[1..] {
        assert!(message.is_signed_by(&second) && !message.is_signed_by(first), "{:?}", message.numbers());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_a_webhook_that_was_changed_meanwhile_is_not_noted() {
    let scene = Scene::new().await;
    let run = scene.begin_held(500).await;
    scene.enable(false).await;
    assert_eq!(scene.end_held(run).await.delivered, 0);
    let state = scene.state().await;
    assert_eq!((state.attempts, state.retry_at, state.lease_end), (0, 0, 0));
    assert_eq!((state.failing_since, state.last_error), (None, None));
    assert!(scene.disabled().await.unwrap().starts_with("disabled by operator"));
}

/// An update without changes says that the receiver was repaired.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_from_before_an_update_does_not_disable_a_webhook() {
    let since = clock::epoch_seconds() - WEBHOOK_FAILURE_SECONDS;
    for status in [410, 500] {
        let scene = Scene::new().await;
        scene.set([number("failingSince", since), number("attempts", 9)]).await;
        let run = scene.begin_held(status).await;
        scene.update(WebhookUpdate::default()).await;
        assert_eq!(scene.end_held(run).await.delivered, 2, "the same run makes the next attempt");
        assert_eq!(scene.disabled().await, None, "status {status}");
        assert_eq!(scene.receiver.numbers(), [1, 1, 2]);
        let state = scene.state().await;
        assert_eq!((state.position.seq, state.attempts, state.retry_at), (2, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_deleted_ends_its_delivery_without_an_error() {
    // While a message is under way.
    for status in [204, 410, 500] {
        let scene = Scene::new().await;
        let run = scene.begin_held(status).await;
        registry(scene.table()).delete(&scene.webhook.id).await.unwrap();
        assert_eq!(scene.end_held(run).await.delivered, 0, "status {status}");
        assert_eq!(scene.receiver.numbers(), [1]);
        scene.assert_gone().await;
    }
    // Between the claim and the first message.
    let scene = Scene::new().await;
    let proxy = Proxy::before(&scene.endpoint).await;
    let mut is_first = true;
    proxy.decide(move |call: &Call| {
        let is_webhook =
            call.operation == "TransactGetItems" && call.body.to_string().contains(keys::WEBHOOKS);
        if is_webhook && std::mem::take(&mut is_first) { Fate::Held } else { Fate::Pass }
    });
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    let run = begin_run(table, Duration::from_secs(20));
    let held = tokio::time::timeout(Duration::from_secs(20), proxy.held()).await;
    held.expect("the webhook is read after the claim");
    registry(scene.table()).delete(&scene.webhook.id).await.unwrap();
    proxy.release();
    let report = run.await.unwrap();
    assert_eq!((report.delivered, report.failures), (0, Vec::new()));
    assert!(scene.receiver.received().is_empty());
    scene.assert_gone().await;
}

/// No other run may be awake to move it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_enters_the_feed_while_an_attempt_outlasts_its_run() {
    let scene = Scene::new().await;
    scene.receiver.then([Reaction::Held { status: 204 }]);
    let time = Duration::from_secs(2);
    let run = begin_run(scene.table().fresh(), time);
    scene.receiver.wait_for(1).await;
    // Until the run has ended, and the last look for changes that began in it.
    tokio::time::sleep(time + Duration::from_secs(1)).await;
    let id = scene.client.user("berta").await;
    let is_in_feed = async || read_feed(scene.table()).await.iter().any(|change| change.resource_id == id);
    for _ in 0..300 {
        if is_in_feed().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_in_feed().await);
    assert!(!run.is_finished(), "the attempt is still under way");
    assert_eq!(scene.end_held(run).await.delivered, 1);
    assert_eq!(scene.receiver.numbers(), [1], "no further attempt begins");
}
