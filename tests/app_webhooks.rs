//! Webhooks as applications see them: the resources in messages, and the routes that manage webhooks.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall::app::function::AppFunction;
use rollcall::app::request::Managing;
use rollcall::clock;
use rollcall::deliver::message::{ChangedResource, ResourceReader as _};
use rollcall::deliver::registry::Registry;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::Worker;
use rollcall::limits::{DEFAULT_CHANGE_RETENTION_DAYS, MAX_WEBHOOK_BODY_BYTES, SKIPPED_SHOWN_SECONDS};
use rollcall::outbound::target::TargetRule;
use rollcall::scim::resource_type::Kind;
use rollcall::store::feed::consumer::ConsumerState;
use rollcall::store::item::{number, text};
use rollcall::store::keys;
use rollcall::store::webhook::Webhook;
use rollcall::tenants::message_resources::MessageResources;
use rollcall::tenants::usage::GeneratedUsageKeys;
use serde_json::{Value, json};

use crate::app_support::{App, assert_changes_described};
use crate::support;
use crate::support::client::{Client, user};
use crate::support::receiver::{Message, Reaction, Receiver};

/// The URL of the application's side, as the functions are told it.
const APP_URL: &str = "http://app.example.com/app/v1";
const USER: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";

/// A worker that reads resources.
fn worker() -> Worker {
    let sender = MessageSender::new(TargetRule::PublicOrLoopback).expect("TLS");
    let resources = MessageResources::new(&[], APP_URL.to_owned()).expect("the schemas");
    Worker {
        bus: None,
        sender,
        resources: Arc::new(resources),
        retention_days: DEFAULT_CHANGE_RETENTION_DAYS,
    }
}

/// A tenant, and a webhook that wants resources.
struct Scene {
    app: App,
    scim: Client,
    receiver: Receiver,
    webhook: Webhook,
}

impl Scene {
    async fn new() -> Self {
        let app = App::start().await;
        let scim = app.tenant("veza").await;
        app.sequence().await;
        let receiver = Receiver::start().await;
        let rule = TargetRule::PublicOrLoopback;
        let registry = Registry { table: &app.table, actor: "operator", request_id: "test", rule };
        let (webhook, _) = registry.create(&receiver.url, true).await.expect("a webhook");
        Self { app, scim, receiver, webhook }
    }

    async fn deliver(&self) {
        self.app.sequence().await;
        let report = worker().deliver(&self.app.table, Instant::now() + Duration::from_secs(20)).await;
        assert_eq!(report.failures, Vec::<String>::new());
    }

    /// Changes an attribute of the position's item.
    async fn set(&self, attribute: (String, aws_sdk_dynamodb::types::AttributeValue)) {
        let key = keys::consumer(&self.webhook.id);
        let mut item = self.app.table.get(&key).await.unwrap().expect("the consumer");
        item.extend([attribute]);
        self.app.table.put(&key, item).await.unwrap();
    }

    /// Lets the pause after a failed attempt pass.
    async fn let_time_pass(&self) {
        self.set(number("retryAt", 0)).await;
    }

    /// The last error of the webhook, as both routes answer it.
    async fn last_error(&self) -> Option<String> {
        let webhook = self.app.get(&format!("/webhooks/{}", self.webhook.id)).await.expect(200);
        let status = self.app.get("/status").await.expect(200);
        assert_eq!(status["deliveries"][0]["lastError"], webhook["lastError"]);
        webhook["lastError"].as_str().map(str::to_owned)
    }

    /// What the API answers for the changes after a number.
    async fn changes_after(&self, seq: u64) -> Vec<Value> {
        let status = self.app.get("/status").await.expect(200);
        let (feed, _) = status["snapshot"].as_str().unwrap().split_once('-').unwrap();
        let page = self.app.get(&format!("/changes?include=resource&after={feed}-{seq}")).await.expect(200);
        page["changes"].as_array().unwrap().clone()
    }
}

fn changes(message: &Message) -> Vec<Value> {
    message.json()["data"]["changes"].as_array().unwrap().clone()
}

/// The changes that are about this resource.
fn about<'c>(changes: &'c [Value], id: &str) -> Vec<&'c Value> {
    changes.iter().filter(|change| change["resourceId"] == id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_carry_what_the_api_answers() {
    let scene = Scene::new().await;
    let start = ConsumerState::fetch(&scene.app.table, &scene.webhook.id).await.unwrap().unwrap();
    let (app, scim) = (&scene.app, &scene.scim);
    let (person, leaver) = (scim.user("person").await, scim.user("leaver").await);
    let group = scim.group("Team", &[person.clone(), leaver.clone()]).await;
    app.send("POST", "/tenants", Some(json!({ "tenant": "globex" }))).await.expect(201);
    app.send("POST", "/tenants/acme/keys", Some(json!({ "name": "Okta" }))).await.expect(201);
    scim.delete(&format!("/Users/{leaver}")).await.expect(204);
    scene.deliver().await;
    let messages = scene.receiver.received();
    assert_eq!(messages.len(), 1);
    let sent = changes(&messages[0]);
    assert_eq!(sent, scene.changes_after(start.position.seq).await);
    assert_changes_described(&sent);
    let person = about(&sent, &person)[0]["resource"].clone();
    assert_eq!((&person["displayName"], &person[USER]["account"]), (&json!("person"), &json!("sso")));
    let location = format!("{APP_URL}/tenants/acme/Users/{}", person["id"].as_str().unwrap());
    assert_eq!(person["meta"]["location"], location);
    assert!(about(&sent, &leaver).iter().all(|change| change["resource"] == Value::Null));
    let group = about(&sent, &group)[0]["resource"].clone();
    assert_eq!((&group["displayName"], group.get("members")), (&json!("Team"), None));
    let others =
        sent.iter().filter(|change| !["User", "Group"].contains(&change["resourceType"].as_str().unwrap()));
    assert!(others.clone().count() >= 3);
    assert!(others.into_iter().all(|change| change.get("resource").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_message_has_the_same_changes_and_the_state_of_its_attempt() {
    let scene = Scene::new().await;
    let id = scene.scim.user("person").await;
    scene.receiver.then([Reaction::status(500)]);
    scene.deliver().await;
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "Renamed" }]);
    scene.scim.patch(&format!("/Users/{id}"), rename).await.expect(200);
    scene.let_time_pass().await;
    scene.deliver().await;
    let messages = scene.receiver.received();
    assert_eq!(messages.iter().map(Message::id).collect::<Vec<_>>()[0], messages[1].id());
    let plain = |message: &Message| {
        let mut all = changes(message);
        all.iter_mut().for_each(|change| drop(change.as_object_mut().unwrap().remove("resource")));
        all
    };
    assert_eq!(plain(&messages[0]), plain(&messages[1]));
    let names: Vec<_> =
        messages.iter().map(|m| about(&changes(m), &id)[0]["resource"]["displayName"].clone()).collect();
    // A receiver that ignores the second message gets the later state with the later change.
    assert_eq!(names, ["person", "Renamed", "Renamed"]);
    assert_eq!(changes(&messages[2])[0]["type"], "user.updated");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_that_do_not_fit_are_left_out() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for at in 0..8 {
        let mut body = user(&format!("heavy{at}"));
        body["title"] = "x".repeat(60 * 1024).into();
        ids.push(scene.scim.post("/Users", body).await.expect(201).id());
    }
    let small = scene.scim.user("small").await;
    scene.deliver().await;
    let messages = scene.receiver.received();
    let sent: Vec<Value> = messages.iter().flat_map(changes).collect();
    assert!(messages.iter().all(|message| message.body.len() <= MAX_WEBHOOK_BODY_BYTES));
    let with: Vec<bool> = ids.iter().map(|id| about(&sent, id)[0].get("resource").is_some()).collect();
    assert_eq!(with, [true, true, true, true, false, false, false, false]);
    assert_eq!(about(&sent, &small)[0]["resource"]["displayName"], "small");
}

/// 61 changes of one tenant, 60 of them of users and groups. They are looked at 25 at a time.
/// One damaged item, of a resource or of a tenant, keeps back no change.
#[tokio::test(flavor = "multi_thread")]
async fn resources_that_cannot_be_read_are_left_out() {
    let scene = Scene::new().await;
    let start = ConsumerState::fetch(&scene.app.table, &scene.webhook.id).await.unwrap().unwrap();
    let (table, scim) = (&scene.app.table, &scene.scim);
    let (broken, whole) = (scim.user("broken").await, scim.user("whole").await);
    let damage = async |key: keys::Key, attribute: &str| {
        let mut item = table.get(&key).await.unwrap().expect("an item");
        item.extend([text(attribute, "{")]);
        table.put(&key, item).await.unwrap();
    };
    let tenant = scim.store().tenant;
    damage(keys::resource(&tenant, Kind::User, broken.parse().unwrap()), "doc").await;
    scene.deliver().await;
    let sent = changes(&scene.receiver.received()[0]);
    assert_eq!(sent, scene.changes_after(start.position.seq).await);
    assert_eq!(about(&sent, &broken)[0].get("resource"), None, "not null, which would say that it is gone");
    assert_eq!(about(&sent, &whole)[0]["resource"]["displayName"], "whole");
    scim.user("later").await;
    damage(keys::tenant(&tenant), "policy").await;
    scene.deliver().await;
    let later = changes(&scene.receiver.received()[1]);
    assert!(!later.is_empty() && later.iter().all(|change| change.get("resource").is_none()), "{later:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_of_a_message_cost_a_call_for_25_changes() {
    let scene = Scene::new().await;
    let ids = scene.scim.users(0..59).await;
    scene.scim.group("Team", &ids[..20]).await;
    scene.app.sequence().await;
    let changes = support::feed::read_feed(&scene.app.table).await;
    let changes = &changes[changes.len() - 61..];
    let table = scene.app.table.fresh();
    let resources = MessageResources::new(&[], APP_URL.to_owned()).expect("the schemas");
    let read = resources.read(&table, changes).await.unwrap();
    assert_eq!(read.iter().filter(|resource| **resource != ChangedResource::LeftOut).count(), 60);
    let usage = table.usage();
    // Three calls for resources, one for the tenant, and one for the groups of the users.
    assert_eq!((usage.rounds, usage.read_units, usage.write_units), (5, 62.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_changes_are_told_for_a_week_or_until_the_webhook_is_changed() {
    let scene = Scene::new().await;
    scene.scim.user("early").await;
    scene.receiver.then([Reaction::status(500)]);
    scene.deliver().await;
    assert_eq!(scene.last_error().await.as_deref(), Some("status 500"));
    scene.let_time_pass().await;
    scene.set(text("feed", "0123456789abcdef")).await;
    scene.deliver().await;
    assert_eq!(scene.receiver.received().len(), 1, "the position is lost");
    let told = scene.last_error().await.expect("a problem");
    assert!(told.starts_with("changes were skipped"), "it counts more than an error before: {told}");
    // A failure says more about now.
    scene.scim.user("late").await;
    scene.receiver.then([Reaction::status(500)]);
    scene.deliver().await;
    assert_eq!(scene.last_error().await.as_deref(), Some("status 500"));
    // After a success the receiver still lacks what was skipped.
    scene.let_time_pass().await;
    scene.deliver().await;
    assert_eq!(scene.receiver.received().len(), 3);
    let skipped = scene.last_error().await;
    let text = skipped.as_deref().unwrap();
    assert!(text.starts_with("changes were skipped up to number "), "{text}");
    assert!(text.contains("the table was restored from a backup"), "{text}");

    let state = ConsumerState::fetch(&scene.app.table, &scene.webhook.id).await.unwrap().unwrap();
    let week = i64::try_from(SKIPPED_SHOWN_SECONDS).unwrap();
    let told_after = async |seconds| {
        clock::with_seconds_ahead(seconds, async { state.problem().map(str::to_owned) }).await
    };
    assert_eq!(told_after(week - 3_600).await, skipped);
    assert_eq!(told_after(week + 3_600).await, None);
    let path = format!("/webhooks/{}", scene.webhook.id);
    scene.app.send("PATCH", &path, Some(json!({}))).await.expect(200);
    assert_eq!(scene.last_error().await, None);
}

/// Reads a webhook until its test has a result.
async fn tested(app: &App, path: &str) -> Value {
    for _ in 0..500 {
        let test = app.get(path).await.expect(200)["test"].clone();
        if test["state"] != "pending" {
            return test;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("the test has no result")
}

async fn run_worker(app: &App) {
    worker().invoke(&app.table.fresh(), &json!({ "Records": [] })).await.expect("no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_made_listed_changed_and_deleted() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url, "includeResource": true });
    let made = app.send("POST", "/webhooks", Some(body)).await;
    let location = made.headers["location"].to_str().unwrap().to_owned();
    let mut made = made.expect(201);
    let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    assert_eq!(location, format!("{APP_URL}{path}"));
    assert_eq!(app.get(&path).await.expect(200), made);
    assert_eq!((&made["enabled"], &made["version"], &made["seq"]), (&json!(true), &json!(1), &json!(0)));
    assert!(!app.get("/webhooks").await.body.to_string().contains(secret.as_str().unwrap()));

    let other = receiver.url.replace("/hook", "/other");
    let patch = json!({ "url": other, "includeResource": false });
    let changed = app.send("PATCH", &path, Some(patch)).await.expect(200);
    assert_eq!((&changed["url"], &changed["includeResource"]), (&json!(other), &json!(false)));
    let off = app.send("PATCH", &path, Some(json!({ "enabled": false }))).await.expect(200);
    assert!(off["disabledReason"].as_str().unwrap().starts_with("disabled by app_"), "{off}");
    app.sequence().await;
    run_worker(&app).await;
    assert!(receiver.received().is_empty(), "a disabled webhook gets nothing");
    let on = app.send("PATCH", &path, Some(json!({ "enabled": true }))).await.expect(200);
    assert_eq!(
        (&on["enabled"], &on["disabledReason"], &on["version"]),
        (&json!(true), &Value::Null, &json!(4))
    );
    receiver.then([Reaction::status(503)]);
    run_worker(&app).await;
    let failing = app.get(&path).await.expect(200);
    assert_eq!((&failing["lastError"], &failing["failedAttempts"]), (&json!("status 503"), &json!(1)));
    assert!(failing["nextAttempt"].is_string());
    app.send("PATCH", &path, Some(json!({}))).await.expect(200);
    run_worker(&app).await;
    let messages = receiver.received();
    assert_eq!((messages.len(), messages[1].path.as_str()), (2, "/other"));
    assert!(messages.iter().all(|message| message.is_signed_by(secret.as_str().unwrap())));
    let after = app.get(&path).await.expect(200);
    assert_eq!((&after["failedAttempts"], &after["nextAttempt"]), (&json!(0), &Value::Null));
    assert_eq!(after["seq"], *messages[1].numbers().last().unwrap());

    app.send("DELETE", &path, None).await.expect(204);
    app.send("DELETE", &path, None).await.problem(404, "");
    app.get(&path).await.problem(404, "");
    app.sequence().await;
    let feed = app.get("/changes?tenant=deployment").await.expect(200);
    let types: Vec<&str> = about(feed["changes"].as_array().unwrap(), made["id"].as_str().unwrap())
        .iter()
        .map(|change| change["type"].as_str().unwrap())
        .collect();
    let expected =
        ["webhook.created", "webhook.updated", "webhook.updated", "webhook.updated", "webhook.deleted"];
    assert_eq!(types, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages_and_there_are_at_most_20_webhooks() {
    let app = App::start().await;
    let body = json!({ "url": "https://app.example.com/hook" });
    for _ in 0..20 {
        app.send("POST", "/webhooks", Some(body.clone())).await.expect(201);
    }
    let detail = app.send("POST", "/webhooks", Some(body)).await.problem(400, "invalidValue");
    assert!(detail.contains("20"), "{detail}");
    let (mut ids, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/webhooks?limit=8{cursor}")).await.expect(200);
        let some = page["webhooks"].as_array().unwrap();
        sizes.push(some.len());
        ids.extend(some.iter().map(|webhook| webhook["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((sizes, ids.len()), (vec![8, 8, 4], 20));
    let whole = app.get("/webhooks").await.expect(200);
    assert_eq!((whole["webhooks"].as_array().unwrap().len(), &whole["next"]), (20, &Value::Null));
    assert!(ids.is_sorted());
    app.get("/webhooks?cursor=x").await.problem(400, "invalidCursor");
    for limit in ["21", "0", "%2B5", "5.0"] {
        app.get(&format!("/webhooks?limit={limit}")).await.problem(400, "invalidValue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_moment_make_no_more_webhooks_than_there_may_be() {
    let app = App::start().await;
    let rule = TargetRule::PublicOrLoopback;
    let registry = Registry { table: &app.table, actor: "operator", request_id: "test", rule };
    for _ in 0..18 {
        registry.create("https://app.example.com/hook", false).await.expect("a webhook");
    }
    let made = (0..16).map(|_| registry.create("https://app.example.com/hook", false));
    let made = futures_util::future::join_all(made).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2);
    assert_eq!(Webhook::list(&app.table).await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_webhooks_are_problems() {
    let app = App::start().await;
    let url = json!("https://app.example.com/hook");
    for body in [
        json!({}),
        json!({ "url": 1 }),
        json!({ "url": "ftp://app.example.com/" }),
        json!({ "url": "http://app.example.com.nip.io:80:80/" }),
        json!({ "url": "https://10.0.0.1/" }),
        json!({ "url": "https://[::ffff:169.254.169.254]/" }),
        json!({ "url": "https://user:password@app.example.com/" }),
        json!({ "url": format!("https://app.example.com/{}", "x".repeat(2_048)) }),
        json!({ "url": url, "includeResource": "yes" }),
        json!({ "url": url, "secret": "whsec_x" }),
    ] {
        app.send("POST", "/webhooks", Some(body)).await.problem(400, "invalidValue");
    }
    let made = app.send("POST", "/webhooks", Some(json!({ "url": url }))).await.expect(201);
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    for body in [
        json!({ "url": "http://10.0.0.1/" }),
        json!({ "enabled": null }),
        json!({ "url": null }),
        json!({ "version": 2 }),
    ] {
        app.send("PATCH", &path, Some(body)).await.problem(400, "invalidValue");
    }
    app.send("POST", &format!("{path}/rotate"), Some(json!({ "overlapSeconds": -1 })))
        .await
        .problem(400, "invalidValue");
    app.send("POST", &format!("{path}/test"), Some(json!({ "url": url }))).await.problem(400, "invalidValue");
    let none = "wh_00000000000000000000000000000000";
    for id in [none, "x", "wh_", "%2e%2e", &"w".repeat(2_000)] {
        app.get(&format!("/webhooks/{id}")).await.problem(404, "");
        app.send("PATCH", &format!("/webhooks/{id}"), Some(json!({}))).await.problem(404, "");
        app.send("DELETE", &format!("/webhooks/{id}"), None).await.problem(404, "");
        app.send("POST", &format!("/webhooks/{id}/test"), None).await.problem(404, "");
        app.send("POST", &format!("/webhooks/{id}/rotate"), None).await.problem(404, "");
    }
    assert_eq!(app.get("/webhooks").await.expect(200)["webhooks"], json!([app.get(&path).await.expect(200)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_sends_to_public_addresses_only() {
    let app = App::start().await;
    let managing = Managing { usage_keys: Box::new(GeneratedUsageKeys), target_rule: TargetRule::Public };
    let function = Arc::new(AppFunction::new(app.table.fresh(), &[], Some(managing)).expect("a function"));
    let send = async |url: &str| {
        let event = json!({
            "resource": "/app/v1/{proxy+}", "path": "/app/v1/webhooks", "httpMethod": "POST", "headers": {},
            "multiValueHeaders": { "Host": ["app.example.com"], "Content-Type": ["application/json"] },
            "queryStringParameters": null, "multiValueQueryStringParameters": null,
            "pathParameters": { "proxy": "webhooks" }, "stageVariables": null,
            "body": json!({ "url": url }).to_string(), "isBase64Encoded": false,
            "requestContext": {
                "accountId": "123456789012", "apiId": "api", "httpMethod": "POST", "requestId": "r-1",
                "authorizer": { "keyId": "app_test", "scope": "manage" }, "identity": { "sourceIp": "192.0.2.7" },
                "path": "/prod/app/v1/webhooks", "stage": "prod",
            },
        });
        function.clone().invoke(event).await.expect("an answer")["statusCode"].clone()
    };
    for url in
        ["http://127.0.0.1:8000/hook", "http://localhost/", "https://127.0.0.1/", "http://app.example.com/"]
    {
        assert_eq!(send(url).await, 400, "{url}");
    }
    assert_eq!(send("https://app.example.com/hook").await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_sent_by_the_worker_and_its_result_shows() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = app.send("POST", "/webhooks", Some(json!({ "url": receiver.url }))).await.expect(201);
    let (secret, path) =
        (made["secret"].as_str().unwrap(), format!("/webhooks/{}", made["id"].as_str().unwrap()));
    app.send("PATCH", &path, Some(json!({ "enabled": false }))).await.expect(200);
    for (reaction, state, status, error) in [
        (Reaction::status(202), "taken", json!(202), Value::Null),
        (Reaction::status(500), "failed", json!(500), json!("status 500")),
        (
            Reaction::Vanish,
            "failed",
            Value::Null,
            json!("no answer: connection closed before message completed"),
        ),
    ] {
        receiver.then([reaction]);
        let asked = app.send("POST", &format!("{path}/test"), None).await;
        assert_eq!(asked.headers["location"], format!("{APP_URL}{path}"));
        let asked = asked.expect(202);
        assert_eq!((&asked["state"], &app.get(&path).await.expect(200)["test"]), (&json!("pending"), &asked));
        run_worker(&app).await;
        let test = tested(&app, &path).await;
        assert_eq!(test["id"], asked["id"]);
        assert_eq!((&test["state"], &test["status"], &test["error"]), (&json!(state), &status, &error));
        assert!(test["finished"].as_str() >= test["requested"].as_str());
        let sent = receiver.received().pop().unwrap();
        assert!(sent.id().ends_with(asked["id"].as_str().unwrap()) && sent.is_signed_by(secret));
        assert_eq!(sent.json()["type"], "rollcall.test");
    }
    run_worker(&app).await;
    assert_eq!(receiver.received().len(), 3, "each test is sent once");
    // A test that is asked for while another is under way replaces it.
    receiver.then([Reaction::after(Duration::from_millis(600))]);
    app.send("POST", &format!("{path}/test"), None).await.expect(202);
    let (_, second) = tokio::join!(run_worker(&app), async {
        receiver.wait_for(4).await;
        app.send("POST", &format!("{path}/test"), None).await.expect(202)
    });
    run_worker(&app).await;
    assert_eq!(tested(&app, &path).await["id"], second["id"]);
    app.send("DELETE", &path, None).await.expect(204);
    assert!(app.table.get(&keys::webhook_test(made["id"].as_str().unwrap())).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_both_secrets_sign() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = app.send("POST", "/webhooks", Some(json!({ "url": receiver.url }))).await.expect(201);
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let rotated = app.send("POST", &format!("{path}/rotate"), None).await.expect(200);
    assert!(rotated["oldSecretUntil"].as_str() > rotated["created"].as_str());
    app.send("POST", &format!("{path}/test"), None).await.expect(202);
    run_worker(&app).await;
    let test = |messages: Vec<Message>| {
        messages.into_iter().rev().find(|m| m.json()["type"] == "rollcall.test").unwrap()
    };
    let message = test(receiver.received());
    assert!(message.is_signed_by(made["secret"].as_str().unwrap()));
    assert!(message.is_signed_by(rotated["secret"].as_str().unwrap()));
    let last =
        app.send("POST", &format!("{path}/rotate"), Some(json!({ "overlapSeconds": 0 }))).await.expect(200);
    app.send("POST", &format!("{path}/test"), None).await.expect(202);
    run_worker(&app).await;
    let message = test(receiver.received());
    assert!(message.is_signed_by(last["secret"].as_str().unwrap()));
    assert!(!message.is_signed_by(rotated["secret"].as_str().unwrap()));
}
