//! A table is restored to a moment at which a transaction was under way: some of its items are there, the others are
//! as before. After the steps of docs/runbook.md everything adds up, whichever items these are.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeMap;

use rollcall::admin::check::feed::check_feed;
use rollcall::admin::feed::renew;
use rollcall::admin::key::{self, NewKey};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::record::Scope;
use rollcall::clock;
use rollcall::limits::{MAX_STAGED_SECONDS, SETTLE_GRACE};
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;
use rollcall::store::item::Item;
use rollcall::store::keys::TenantId;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::Proxy;
use crate::support::feed::sequence;
use crate::support::restored::{State, difference, states_of, tear};
use crate::support::{Embedded, assert_consistent, check};

/// How often each transaction is torn. `make test-long` sets TORN_SEEDS=8.
fn seeds() -> u64 {
    std::env::var("TORN_SEEDS").map_or(1, |text| text.parse().expect("TORN_SEEDS is a number"))
}

fn tenant_id() -> TenantId {
    support::client::TENANT.parse().unwrap()
}

/// A tenant with people, teams and a deactivated account.
struct Scene {
    embedded: Embedded,
    proxy: Proxy,
    /// Writes through the proxy.
    client: Client,
    ids: Vec<String>,
    root: String,
    team: String,
    crowd: String,
}

impl Scene {
    async fn new() -> Self {
        let embedded = support::serve().await;
        let honest = Client::new(embedded.table.fresh(), "veza").await;
        let new = NewTenant::new(&tenant_id(), &VEZA, &"u".repeat(40));
        let record = tenant::create(&embedded.table, &new, clock::now()).await.unwrap();
        let ids = honest.users(0..64).await;
        let team = honest.group("Team", &ids[..3]).await;
        let crowd = honest.group("Crowd", &ids[..48]).await;
        let leaver = honest.user("leaver").await;
        honest.delete(&format!("/Users/{leaver}")).await.expect(204);
        support::work(&honest).await;
        sequence(&embedded.table).await;
        let proxy = Proxy::before(&embedded.endpoint).await;
        let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
        let client = Client::new(table, "veza").await;
        Self { embedded, proxy, client, ids, root: record.root_team.unwrap().to_string(), team, crowd }
    }

    /// Sends a request that must succeed, and returns the states of the table meanwhile.
    async fn send(&self, method: &'static str, path: &str, body: Option<Value>) -> Vec<State> {
        let (client, path) = (self.client.clone(), path.to_owned());
        let request = async move {
            let reply = client.send(method, &path, body, &[]).await;
            assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.body);
        };
        states_of(&self.embedded.table, &self.proxy, request).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Vec<State> {
        let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
        self.send("PATCH", path, Some(json!({ "schemas": schemas, "Operations": operations }))).await
    }

    /// Runs the worker's steps, and returns the states of the table meanwhile.
    async fn run_worker(&self) -> Vec<State> {
        let table = self.client.table.fresh();
        let work = async move {
            rollcall::store::worker::round(&table).await.unwrap();
            sequence(&table).await;
        };
        states_of(&self.embedded.table, &self.proxy, work).await
    }

    async fn change_keys(&self) -> Vec<State> {
        let table = self.client.table.fresh();
        let work = async move {
            let now = clock::now();
            let new = NewKey {
                tenant: tenant_id(),
                name: "Okta".to_owned(),
                scope: Scope::Provision,
                expires: None,
                user: None,
            };
            let (_, record) = key::create(&table, new, now).await.unwrap();
            key::revoke(&table, &tenant_id(), &record.key_id, now).await.unwrap();
            tenant::set(&table, &tenant_id(), now, |settings| settings.retention_days = 7).await.unwrap();
        };
        states_of(&self.embedded.table, &self.proxy, work).await
    }
}

fn members(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

fn on_members(op: &str, ids: &[String]) -> Value {
    json!([{ "op": op, "path": "members", "value": members(ids) }])
}

/// A transaction: what it belongs to, and the table before and after it.
type Torn = (String, State, State);

/// Plays what identity providers, operators and the worker do.
async fn play() -> Vec<Torn> {
    let scene = Scene::new().await;
    let Scene { ids, root, team, crowd, .. } = &scene;
    let mut played: Vec<(&str, Vec<State>)> = Vec::new();
    let title = json!([{ "op": "add", "path": "title", "value": "Chief" }]);
    let inactive = json!([{ "op": "replace", "path": "active", "value": false }]);
    let fourth = format!("/Users/{}", ids[4]);
    let group = |name: &str, ids: &[String]| json!({ "displayName": name, "members": members(ids) });
    let small = scene.send("POST", "/Groups", Some(group("New", &ids[..2]))).await;
    played.push(("creation of a group", small));
    played.push(("creation of a user", scene.send("POST", "/Users", Some(user("new"))).await));
    played.push(("change of a user", scene.patch(&fourth, title).await));
    played.push(("new name", scene.send("PUT", &fourth, Some(user("renamed"))).await));
    played.push(("account that comes back", scene.send("POST", "/Users", Some(user("leaver"))).await));
    played.push(("deactivation", scene.patch(&fourth, inactive).await));
    played.push(("deletion of a member", scene.send("DELETE", &format!("/Users/{}", ids[2]), None).await));
    let path = format!("/Groups/{team}");
    played.push(("new members", scene.patch(&path, on_members("add", &ids[5..9])).await));
    played.push(("members who leave", scene.patch(&path, on_members("remove", &ids[5..7])).await));
    played.push(("large change", scene.patch(&path, on_members("add", &ids[..2])).await));
    let all: Vec<String> = ids.iter().filter(|id| **id != ids[2]).cloned().collect();
    played.push(("large change", scene.patch(&path, on_members("add", &all)).await));
    played.push(("the worker", scene.run_worker().await));
    played.push(("large creation", scene.send("POST", "/Groups", Some(group("All", &all))).await));
    played.push((
        "new administrator",
        scene.patch(&format!("/Groups/{root}"), on_members("add", &ids[..1])).await,
    ));
    played.push(("keys and settings", scene.change_keys().await));
    played.push(("deletion of a large group", scene.send("DELETE", &format!("/Groups/{crowd}"), None).await));
    played.push(("the worker", scene.run_worker().await));
    let mut torn = Vec::new();
    for (name, states) in played {
        for (number, pair) in states.windows(2).enumerate() {
            if difference(&pair[0], &pair[1]).len() > 1 {
                torn.push((format!("{name}, write {}", number + 1), pair[0].clone(), pair[1].clone()));
            }
        }
    }
    torn
}

/// The same items in another table.
async fn restore(items: Vec<Item>) -> Client {
    let table = support::embedded().await;
    table.batch_put(items).await.expect("a restore");
    Client::new(table, "veza").await
}

/// Does the steps of docs/runbook.md, and then what follows in an hour. Returns what is still wrong.
async fn recover(items: Vec<Item>) -> Vec<String> {
    let there = restore(items).await;
    let mut wrong = Vec::new();
    renew(&there.table).await.expect("a renewal");
    let report = check(&there, true).await;
    wrong.extend(report.findings.iter().map(|finding| format!("repair: {finding}")));
    let later = i64::try_from(MAX_STAGED_SECONDS + SETTLE_GRACE.as_secs()).unwrap() + 1;
    Box::pin(clock::with_seconds_ahead(later, support::work(&there))).await;
    sequence(&there.table).await;
    let feed = check_feed(&there.table, false).await.unwrap();
    wrong.extend(feed.findings.iter().map(|finding| format!("feed: {finding}")));
    let report = check(&there, false).await;
    wrong.extend(report.findings.iter().map(|finding| format!("later: {finding}")));
    if report.pending > 0 {
        wrong.push(format!("{} changes are pending", report.pending));
    }
    if wrong.is_empty() {
        serve(&there).await;
    }
    wrong
}

/// Requests of identity providers work.
async fn serve(there: &Client) {
    let id = there.user("after").await;
    let groups = there.get("/Groups?excludedAttributes=members").await.expect(200);
    for group in groups.body["Resources"].as_array().unwrap() {
        let path = format!("/Groups/{}", group["id"].as_str().unwrap());
        there.get(&path).await.expect(200);
        there.patch(&path, on_members("add", std::slice::from_ref(&id))).await.expect(200);
    }
    for name in ["u0", "u2", "renamed", "leaver", "new"] {
        let filter = format!("/Users?filter=userName eq \"{name}@example.com\"");
        let found = there.get(&filter).await.expect(200);
        if found.body["totalResults"] == 0 {
            there.post("/Users", user(name)).await.expect(201);
        }
    }
    there.delete(&format!("/Users/{id}")).await.expect(204);
    support::work(there).await;
    sequence(&there.table).await;
    assert_consistent(there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_torn_transaction_is_settled() {
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let torn = Box::pin(play()).await;
    println!("{} transactions", torn.len());
    // How many transactions the worker makes of its work differs.
    assert!(torn.len() > 15, "the work is not seen");
    for (name, before, after) in &torn {
        for seed in 1..=seeds() {
            let problems = Box::pin(recover(tear(before, after, seed))).await;
            if !problems.is_empty() {
                wrong.insert(format!("{name}, seed {seed}"), problems);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
