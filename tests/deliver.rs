//! Webhooks: what receivers get, whatever they answer and whatever stops.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall::clock;
use rollcall::deliver::message::NoResources;
use rollcall::deliver::registry::{Registry, WebhookUpdate};
use rollcall::deliver::sender::{MessageSender, SignedMessage};
use rollcall::deliver::worker::{DeliveryReport, Worker};
use rollcall::limits::{
    DEFAULT_CHANGE_RETENTION_DAYS, MAX_WEBHOOK_CHANGES, PROMPT_ATTEMPT, WEBHOOK_FAILURE_SECONDS,
};
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::feed::consumer::{ClaimOutcome, ClaimedConsumer, ConsumerState};
use rollcall::store::feed::reader::FeedReader;
use rollcall::store::item::{number, text};
use rollcall::store::keys;
use rollcall::store::transaction::Action;
use rollcall::store::webhook::Webhook;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support;
use crate::support::client::Client;
use crate::support::feed::{read_feed, sequence};
use crate::support::receiver::{Reaction, Receiver};

fn worker_with(rule: TargetRule) -> Worker {
    let sender = MessageSender::new(rule).expect("TLS");
    Worker {
        bus: None,
        sender,
        resources: Arc::new(NoResources),
        retention_days: DEFAULT_CHANGE_RETENTION_DAYS,
    }
}

fn worker() -> Worker {
    worker_with(TargetRule::PublicOrLoopback)
}

fn registry(table: &Table) -> Registry<'_> {
    Registry { table, actor: "operator", request_id: "test", rule: TargetRule::PublicOrLoopback }
}

/// A table with a webhook that leads to a receiver.
struct Scene {
    client: Client,
    receiver: Receiver,
    webhook: Webhook,
    secret: String,
}

impl Scene {
    async fn new() -> Self {
        let client = Client::new(support::embedded().await, "standard").await;
        let receiver = Receiver::start().await;
        let (webhook, secret) =
            registry(&client.table).create(&receiver.url, false).await.expect("a webhook");
        Self { client, receiver, webhook, secret: secret.reveal() }
    }

    fn table(&self) -> &Table {
        &self.client.table
    }

    /// Makes a user, and moves the change into the feed.
    async fn change(&self, name: &str) {
        self.client.user(name).await;
        sequence(self.table()).await;
    }

    async fn deliver(&self) -> DeliveryReport {
        let report = worker().deliver(self.table(), Instant::now() + Duration::from_secs(20)).await;
        assert_eq!(report.failures, Vec::<String>::new());
        report
    }

    async fn state(&self) -> ConsumerState {
        ConsumerState::fetch(self.table(), &self.webhook.id).await.unwrap().expect("the consumer")
    }

    async fn webhook(&self) -> Webhook {
        Webhook::fetch(self.table(), &self.webhook.id).await.unwrap().expect("the webhook")
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

    /// Lets the time pass that a claim or a pause takes.
    async fn let_time_pass(&self) {
        self.set([number("leaseEnd", 0), number("retryAt", 0)]).await;
    }

    /// Asserts that the receiver has got every change of the feed, once, in order.
    async fn assert_complete(&self) {
        let all: Vec<u64> = read_feed(self.table()).await.iter().map(|change| change.seq).collect();
        assert_eq!(self.receiver.numbers(), all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_signed_in_order_and_complete() {
    let scene = Scene::new().await;
    scene.client.users(0..230).await;
    sequence(scene.table()).await;
    let delivered = scene.deliver().await.delivered;
    let messages = scene.receiver.received();
    assert_eq!((delivered, messages.len()), (231, 3), "the webhook itself is a change, too");
    let feed = FeedReader::open(scene.table()).await.unwrap().state.id;
    for message in &messages {
        assert!(message.is_signed_by(&scene.secret));
        assert!(!message.is_signed_by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert!(message.numbers().len() <= MAX_WEBHOOK_CHANGES);
        assert_eq!(message.path, "/hook");
        assert_eq!(message.headers["content-type"], "application/json");
        let json = message.json();
        assert_eq!(json["type"], "rollcall.changes");
        assert_eq!(json["data"]["next"], format!("{feed}-{}", message.numbers().last().unwrap()));
    }
    scene.assert_complete().await;
    let json = messages[0].json();
    let feed = serde_json::to_value(read_feed(scene.table()).await).unwrap();
    assert_eq!(json["data"]["changes"].as_array().unwrap()[..], feed.as_array().unwrap()[..100]);
    assert_eq!(scene.deliver().await.delivered, 0, "nothing is left");
    assert!(scene.state().await.last_success.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_position_moves_repeats_the_same_message() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    // The receiver has the message, and the process stops before it notes that.
    scene.receiver.then([Reaction::after(Duration::from_secs(60))]);
    let table = scene.table().fresh();
    let stopped = tokio::spawn(async move {
        worker().deliver(&table, Instant::now() + Duration::from_secs(20)).await;
    });
    scene.receiver.wait_for(1).await;
    stopped.abort();
    scene.change("berta").await;
    assert_eq!(scene.deliver().await.delivered, 0, "the claim of the process holds for a time");
    scene.let_time_pass().await;
    assert_eq!(scene.deliver().await.delivered, 3);
    let messages = scene.receiver.received();
    assert_eq!(messages.iter().map(|m| m.numbers()).collect::<Vec<_>>(), [vec![1, 2], vec![1, 2], vec![3]]);
    assert_eq!((messages[0].id(), &messages[0].body), (messages[1].id(), &messages[1].body));
    assert_ne!(messages[1].id(), messages[2].id());
    assert!(messages.iter().all(|message| message.is_signed_by(&scene.secret)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_repeated_after_a_pause_until_it_succeeds() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    let elsewhere = Receiver::start().await;
    let redirect = Reaction::head(302, &format!("Location: {}", elsewhere.url));
    let failures = [
        (Reaction::status(500), "status 500"),
        (Reaction::status(404), "status 404"),
        (redirect, "status 302: redirects are not followed"),
        (Reaction::Vanish, "no answer"),
    ];
    let mut pauses = Vec::new();
    for (attempt, (reaction, why)) in (1..).zip(failures) {
        scene.receiver.then([reaction]);
        assert_eq!(scene.deliver().await.delivered, 0);
        let state = scene.state().await;
        assert_eq!((state.attempts, state.position.seq), (attempt, 0));
        assert!(state.last_error.as_deref().unwrap().starts_with(why), "{state:?}");
        assert!(state.failing_since.is_some());
        pauses.push(state.retry_at - clock::epoch_seconds());
        assert_eq!(scene.deliver().await.delivered, 0);
        assert_eq!(scene.receiver.received().len(), attempt as usize, "not before its time");
        scene.let_time_pass().await;
    }
    assert!(pauses.windows(2).all(|two| two[0] < two[1]), "{pauses:?}");
    assert_eq!(scene.deliver().await.delivered, 2);
    let messages = scene.receiver.received();
    assert!(
        messages.iter().all(|message| message.id() == messages[0].id() && message.body == messages[0].body)
    );
    assert!(elsewhere.received().is_empty());
    let state = scene.state().await;
    assert_eq!((state.attempts, state.failing_since, state.last_error), (0, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_many_headers_is_an_answer() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    let headers: Vec<String> = (0..300).map(|number| format!("X-Header-{number}: a")).collect();
    scene.receiver.then([Reaction::head(200, &headers.join("\r\n"))]);
    assert_eq!(scene.deliver().await.delivered, 2);
    assert_eq!(scene.state().await.last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    scene.receiver.then([Reaction::head(503, "Retry-After: 7200")]);
    let before = clock::epoch_seconds();
    scene.deliver().await;
    // A part of the second is over already: the pause is not shorter than the receiver asked for.
    let pause = scene.state().await.retry_at - before;
    assert!((7_201..=7_211).contains(&pause), "{pause}");
    // An operator who has repaired the receiver need not wait.
    registry(scene.table()).update(&scene.webhook.id, WebhookUpdate::default()).await.unwrap();
    assert_eq!(scene.deliver().await.delivered, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_for_three_days_is_disabled_until_it_is_enabled() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    scene.receiver.then([Reaction::status(500), Reaction::status(500), Reaction::status(410)]);
    let (id, since) = (&scene.webhook.id, clock::epoch_seconds() - WEBHOOK_FAILURE_SECONDS);
    scene.deliver().await;
    assert_eq!(scene.webhook().await.disabled, None);
    scene.set([number("failingSince", since), number("retryAt", 0)]).await;
    scene.deliver().await;
    assert!(scene.webhook().await.disabled.unwrap().starts_with("status 500"));
    scene.let_time_pass().await;
    assert_eq!(scene.deliver().await.delivered, 0);
    assert_eq!(scene.receiver.received().len(), 2, "a disabled webhook gets nothing");
    let enable = WebhookUpdate { enabled: Some(true), ..WebhookUpdate::default() };
    registry(scene.table()).update(id, enable.clone()).await.unwrap();
    scene.deliver().await;
    assert!(scene.webhook().await.disabled.unwrap().starts_with("status 410"), "at once");
    registry(scene.table()).update(id, enable).await.unwrap();
    scene.deliver().await;
    sequence(scene.table()).await;
    scene.deliver().await;
    registry(scene.table()).delete(id).await.unwrap();
    sequence(scene.table()).await;
    let changes = read_feed(scene.table()).await;
    let own = changes.iter().filter(|change| change.resource_id == *id);
    let own: Vec<_> = own.map(|c| (c.version, c.event_type.as_str(), c.actor.as_str())).collect();
    let expected = [
        (1, "webhook.created", "operator"),
        (2, "webhook.updated", "worker"),
        (3, "webhook.updated", "operator"),
        (4, "webhook.updated", "worker"),
        (5, "webhook.updated", "operator"),
        (6, "webhook.deleted", "operator"),
    ];
    assert_eq!(own, expected);
    for key in [keys::webhook(id), keys::consumer(id), keys::webhook_secret(id, 1)] {
        assert_eq!(scene.table().get(&key).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_webhook_does_not_delay_another() {
    let scene = Scene::new().await;
    let slow = Receiver::start().await;
    slow.always(|_| Reaction::after(Duration::from_secs(5)));
    registry(scene.table()).create(&slow.url, false).await.unwrap();
    scene.change("anna").await;
    let table = scene.table().fresh();
    let began = Instant::now();
    let run =
        tokio::spawn(async move { worker().deliver(&table, Instant::now() + Duration::from_secs(4)).await });
    slow.wait_for(1).await;
    scene.receiver.wait_for(1).await;
    // What is committed while the slow receiver still holds its connection.
    scene.client.user("berta").await;
    let messages = scene.receiver.wait_for(2).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(messages[1].numbers(), [4]);
    let report = run.await.unwrap();
    assert_eq!((report.delivered, report.failures.len()), (4 + 3, 0));
    assert_eq!(slow.numbers(), [1, 2, 3]);
}

/// A message cannot be made because an item of the webhook is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_cannot_be_read_holds_up_neither_the_feed_nor_another() {
    let scene = Scene::new().await;
    let other = Receiver::start().await;
    registry(scene.table()).create(&other.url, false).await.unwrap();
    scene.change("anna").await;
    let secret = keys::webhook_secret(&scene.webhook.id, 1);
    scene.table().transact(|| vec![Action::delete(secret.clone())]).await.unwrap();
    let table = scene.table().fresh();
    // A receiver that keeps the run awake.
    let slow = Receiver::start().await;
    slow.always(|_| Reaction::after(Duration::from_secs(3)));
    registry(scene.table()).create(&slow.url, false).await.unwrap();
    scene.change("berta").await;
    let run =
        tokio::spawn(async move { worker().deliver(&table, Instant::now() + Duration::from_secs(9)).await });
    slow.wait_for(1).await;
    scene.client.user("carl").await;
    other.wait_for(2).await;
    let report = run.await.unwrap();
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    let state = scene.state().await;
    let error = state.last_error.expect("an error");
    assert!(error.contains("its operator finds the cause in the log"), "{error}");
    assert_eq!(state.attempts, 1, "it waits for the next attempt");
    assert!(state.retry_at > 0);
    assert_eq!(scene.receiver.numbers(), Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_have_the_signatures_of_both_secrets_for_a_time() {
    let scene = Scene::new().await;
    let registry = registry(scene.table());
    let (_, second) = registry.rotate(&scene.webhook.id, 3_600).await.unwrap();
    scene.change("anna").await;
    scene.deliver().await;
    let (_, third) = registry.rotate(&scene.webhook.id, 0).await.unwrap();
    scene.change("berta").await;
    scene.deliver().await;
    let messages = scene.receiver.received();
    let signed = |message: usize| {
        [scene.secret.clone(), second.reveal(), third.reveal()]
            .map(|secret| messages[message].is_signed_by(&secret))
    };
    assert_eq!(signed(0), [true, true, false]);
    assert_eq!(signed(1), [false, false, true], "without an overlap the old secret ends at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_public_gets_no_connection() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    let port = scene.receiver.url.split(':').nth(2).unwrap().to_owned();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001", "169.254.169.254"] {
        let mut webhook = scene.webhook().await;
        webhook.url = format!("https://{host}:{port}");
        webhook.version += 1;
        scene.table().transact(|| vec![webhook.write()]).await.unwrap();
        let worker = worker_with(TargetRule::Public);
        worker.deliver(scene.table(), Instant::now() + Duration::from_secs(5)).await;
        let error = scene.state().await.last_error.unwrap();
        let is_refused = error == "the host has an address that is not public"
            || error.starts_with("the host of the URL must be a name");
        assert!(is_refused || error.starts_with("the name cannot be resolved"), "{host}: {error}");
        scene.let_time_pass().await;
    }
    assert!(scene.receiver.received().is_empty());
    let strict = Registry { rule: TargetRule::Public, ..registry(scene.table()) };
    for url in [scene.receiver.url.as_str(), "https://user@example.com/", "ftp://example.com/", ""] {
        assert!(strict.create(url, false).await.is_err(), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_claim_was_taken_over_moves_nothing() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    let id = &scene.webhook.id;
    let mut first = ClaimedConsumer::claim(scene.table(), id).await.unwrap().expect("a claim");
    assert!(ClaimedConsumer::claim(scene.table(), id).await.unwrap().is_none(), "one at a time");
    scene.set([number("leaseEnd", 0)]).await;
    let mut second = ClaimedConsumer::claim(scene.table(), id).await.unwrap().expect("a claim");
    assert_eq!(second.advance(1).await.unwrap(), ClaimOutcome::Held);
    assert_eq!(first.advance(2).await.unwrap(), ClaimOutcome::Lost);
    assert_eq!(first.fix_batch(2).await.unwrap(), ClaimOutcome::Lost);
    assert_eq!(first.fail("late", 0).await.unwrap(), None);
    let state = scene.state().await;
    assert_eq!((state.position.seq, state.attempts, state.last_error), (1, 0, None));
    second.release().await.unwrap();
    assert!(ClaimedConsumer::claim(scene.table(), id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_deliver_each_change_once() {
    let scene = Scene::new().await;
    let until = Instant::now() + Duration::from_secs(6);
    let workers = (0..3).map(|_| {
        let table = scene.table().fresh();
        tokio::spawn(async move {
            while Instant::now() < until {
                // Another worker may win every race for the feed.
                let _ = worker().deliver(&table.fresh(), until).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut made = 0;
    while Instant::now() < until {
        scene.change(&format!("u{made}")).await;
        made += 1;
    }
    for worker in workers {
        worker.await.unwrap();
    }
    scene.deliver().await;
    assert!(made > 3, "{made}");
    scene.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_whose_position_is_lost_goes_on_at_the_end_and_says_so() {
    let scene = Scene::new().await;
    scene.change("anna").await;
    scene.set([text("feed", "0123456789abcdef"), number("batchEnd", 1)]).await;
    assert_eq!(scene.deliver().await.delivered, 0);
    let state = scene.state().await;
    assert_eq!((state.position.seq, state.batch_end), (2, None));
    let skipped = state.problem().unwrap();
    assert!(skipped.starts_with("changes were skipped up to number 2: the table was restored"), "{skipped}");
    scene.change("berta").await;
    scene.deliver().await;
    assert_eq!(scene.receiver.numbers(), [3]);
}

/// A receiver behind TLS, with the certificate in `tests/tls`, which is for `localhost`.
async fn receiver_behind_tls() -> Receiver {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = Receiver::at(format!("https://localhost:{port}/hook"));
    let own = receiver.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                own.clone().serve(stream).await;
            }
        }
    });
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_receiver_is_checked() {
    let receiver = receiver_behind_tls().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(include_bytes!("tls/certificate.pem")).unwrap()).unwrap();
    let rule = TargetRule::PublicOrLoopback;
    let trusting = MessageSender::with_roots(rule, roots).unwrap();
    let message = SignedMessage { id: "msg_1", body: "{}".into(), secrets: &[] };
    assert_eq!(trusting.send(&receiver.url, &message).await, Ok(204));
    assert_eq!(receiver.received().len(), 1);
    let by_address = receiver.url.replace("localhost", "127.0.0.1");
    for (sender, url) in [(MessageSender::new(rule).unwrap(), &receiver.url), (trusting, &by_address)] {
        let failed = sender.send(url, &message).await.unwrap_err();
        assert!(failed.why.starts_with("TLS: "), "{}", failed.why);
    }
    assert_eq!(receiver.received().len(), 1, "another name, or an unknown issuer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_makes_tests_rotates_and_deletes_webhooks() {
    let receiver = Receiver::start().await;
    let dev = support::dev::Dev::start(&["--forward-to", &receiver.url]);
    let of_dev = dev.shown["webhook_secret"].as_str().unwrap().to_owned();
    let body = support::client::user("anna").to_string();
    assert_eq!(
        dev.send("POST", "/Users", &[("Content-Type", "application/scim+json")], body.as_bytes()).status,
        201
    );
    let has_anna = |receiver: &Receiver| {
        receiver.received().iter().any(|message| {
            message.is_signed_by(&of_dev) && String::from_utf8_lossy(&message.body).contains("user.created")
        })
    };
    for _ in 0..500 {
        if has_anna(&receiver) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(has_anna(&receiver), "rollcall dev delivers");

    let endpoint = dev.shown["dynamodb_endpoint"].as_str().unwrap().to_owned();
    let tool = |arguments: &[&str]| -> serde_json::Value {
        let mut command = std::process::Command::new(support::dev::TOOL);
        command.args(["webhook"]).args(arguments);
        command.args(["--table", "rollcall", "--endpoint-url", &endpoint, "--json"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let second = Receiver::start().await;
    let made = tool(&["create", &second.url]);
    let id = made["id"].as_str().unwrap();
    assert_eq!(tool(&["list"]).as_array().unwrap().len(), 2);
    tool(&["test", id]);
    let messages = second.received();
    let test = messages.iter().find(|message| message.json()["type"] == "rollcall.test").unwrap();
    assert!(test.is_signed_by(made["secret"].as_str().unwrap()));
    assert_ne!(tool(&["rotate", id])["secret"], made["secret"]);
    assert_eq!(tool(&["enable", id])["status"], "enabled");
    assert_eq!(tool(&["delete", id])["status"], "deleted");
    assert_eq!(tool(&["list"]).as_array().unwrap().len(), 1);

    let third = Receiver::start().await;
    let mut listen = std::process::Command::new(support::dev::TOOL);
    listen.args(["webhook", "listen", "--forward-to", &third.url]);
    listen.args(["--table", "rollcall", "--endpoint-url", &endpoint]).stdout(std::process::Stdio::piped());
    let mut listen = listen.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(listen.stdout.take().unwrap()));
    let first = lines.next().unwrap().unwrap();
    let secret = first.rsplit(' ').next().unwrap().to_owned();
    assert!(lines.next().unwrap().unwrap().starts_with("Waiting"));
    let body = support::client::user("berta").to_string();
    dev.send("POST", "/Users", &[("Content-Type", "application/scim+json")], body.as_bytes());
    // The deletion of the webhook may enter the feed only now.
    assert!(lines.any(|line| line.unwrap().contains("user.created")));
    assert!(lines.next().unwrap().unwrap().ends_with(": taken"));
    assert!(third.wait_for(1).await.iter().all(|message| message.is_signed_by(&secret)));
    listen.kill().unwrap();
    listen.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_webhook_is_left_to_the_run_of_the_minute() {
    let scene = Scene::new().await;
    let (after_write, every_minute) = (serde_json::json!({ "Records": [] }), serde_json::json!({}));
    let run = async |event: &serde_json::Value| {
        let began = Instant::now();
        worker().invoke(&scene.table().fresh(), event).await.expect("no failure");
        (began.elapsed(), scene.receiver.received().len())
    };
    scene.change("anna").await;
    let slow = || Reaction::after(PROMPT_ATTEMPT + Duration::from_millis(500));
    scene.receiver.then([slow(), slow()]);
    let (took, requests) = run(&after_write).await;
    assert!(took < PROMPT_ATTEMPT + Duration::from_secs(1), "{took:?}");
    let state = scene.state().await;
    assert_eq!((requests, state.is_slow, state.position.seq, state.attempts), (1, true, 0, 0));
    let (took, requests) = run(&after_write).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(requests, 1, "runs after writes leave it out");
    assert_eq!(run(&every_minute).await.1, 2);
    let state = scene.state().await;
    assert_eq!((state.is_slow, state.position.seq), (true, 2), "it took the message, slowly");
    scene.change("berta").await;
    assert_eq!(run(&after_write).await.1, 2);
    assert_eq!(run(&every_minute).await.1, 3);
    assert!(!scene.state().await.is_slow);
    scene.change("carla").await;
    assert_eq!(run(&after_write).await.1, 4);
    let messages = scene.receiver.received();
    assert_eq!(messages[0].id(), messages[1].id());
    assert_eq!(
        messages.iter().map(|m| m.numbers()).collect::<Vec<_>>(),
        [vec![1, 2], vec![1, 2], vec![3], vec![4]]
    );
}

/// With --json each change is a line of JSON. The command ends when its reader is gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_tool_listens_as_json() {
    let dev = support::dev::Dev::start(&["--in-memory"]);
    let endpoint = dev.shown["dynamodb_endpoint"].as_str().unwrap().to_owned();
    let mut listen = std::process::Command::new(support::dev::TOOL);
    listen.args(["webhook", "listen", "--json", "--table", "rollcall", "--endpoint-url", &endpoint]);
    listen.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut listen = listen.spawn().unwrap();
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(listen.stderr.take().unwrap()));
    assert!(said.next().unwrap().unwrap().starts_with("Waiting"));
    let post = |name: &str| {
        let body = support::client::user(name).to_string();
        dev.send("POST", "/Users", &[("Content-Type", "application/scim+json")], body.as_bytes())
    };
    post("carla");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(listen.stdout.take().unwrap()));
    // What was done at the start of `rollcall dev` may enter the feed only now.
    let mut changes = lines.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    assert!(changes.any(|change: serde_json::Value| change["type"] == "user.created"));
    drop(lines);
    post("dora");
    assert!(listen.wait().unwrap().success());
}
