//! Webhooks as applications see them: the resources in messages.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod app_support;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use app_support::App;
use rollcall::deliver::message::{ChangedResource, ResourceReader as _};
use rollcall::deliver::registry::Registry;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::target::TargetRule;
use rollcall::deliver::worker::Worker;
use rollcall::limits::MAX_WEBHOOK_BODY_BYTES;
use rollcall::store::feed::consumer::ConsumerState;
use rollcall::store::item::number;
use rollcall::store::keys;
use rollcall::store::webhook::Webhook;
use rollcall::tenants::message_resources::MessageResources;
use serde_json::{Value, json};
use support::client::{Client, user};
use support::receiver::{Message, Reaction, Receiver};

/// The URL of the application's side, as the functions are told it.
const APP_URL: &str = "http://app.example.com/app/v1";
const USER: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";

/// A worker that reads resources.
fn worker() -> Worker {
    let sender = MessageSender::new(TargetRule::PublicOrLoopback).expect("TLS");
    let resources = MessageResources::new(&[], APP_URL.to_owned()).expect("the schemas");
    Worker { bus: None, sender, resources: Arc::new(resources) }
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

    /// Lets the pause after a failed attempt pass.
    async fn let_time_pass(&self) {
        let key = keys::consumer(&self.webhook.id);
        let mut item = self.app.table.get(&key).await.unwrap().expect("the consumer");
        item.extend([number("retryAt", 0)]);
        self.app.table.put(&key, item).await.unwrap();
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
