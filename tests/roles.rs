//! Compares every call that the functions make with the roles in the template. No call is refused, no permission
//! is unused, and no function can write what only the operator's tool writes.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rollcall::admin::key::{self, NewKey};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::app_authorizer::authorize_application;
use rollcall::auth::application::ApplicationScope;
use rollcall::auth::authorizer::authorize;
use rollcall::auth::client::Federation;
use rollcall::auth::record::Scope;
use rollcall::clock;
use rollcall::deliver::bus::EventBus;
use rollcall::deliver::registry::Registry;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::Worker;
use rollcall::limits::{DEFAULT_CHANGE_RETENTION_DAYS, EXPIRING_KEYS_HOUR, WEBHOOK_FAILURE_SECONDS};
use rollcall::log::metrics::Metric;
use rollcall::monitor::Monitor;
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;
use rollcall::store::item::{get_number, number};
use rollcall::store::keys;
use rollcall::tenants::message_resources::MessageResources;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::app_support;
use crate::app_support::App;
use crate::oauth_support::{
    Issuer, Service, Signer, answer, assertion_request, client, federated, secret_request,
};
use crate::roles_support::{Request, assert_fits, is_allowed, is_like, requests, role};
use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::receiver::{Reaction, Receiver};

/// A table whose calls are noted, before a table.
async fn watched(endpoint: &str) -> (Proxy, Table, Arc<Mutex<BTreeSet<Request>>>) {
    let proxy = Proxy::before(endpoint).await;
    proxy.enforce_sizes();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let note = seen.clone();
    proxy.decide(move |call: &Call| {
        note.lock().unwrap().extend(requests(call));
        Fate::Pass
    });
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    (proxy, table, seen)
}

fn members(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

fn add(ids: &[String]) -> Value {
    json!([{ "op": "add", "path": "members", "value": members(ids) }])
}

/// Users that are too large for a transaction together.
async fn heavies(client: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    for at in 0..13 {
        let mut body = user(&format!("heavy{at}"));
        for attribute in ["title", "nickName", "userType", "locale", "timezone", "preferredLanguage"] {
            body[attribute] = "x".repeat(56 * 1024).into();
        }
        ids.push(client.post("/Users", body).await.expect(201).id());
    }
    ids
}

/// Plays every operation of the function, and what its rules do after it.
async fn play(client: &Client) -> (Vec<String>, String) {
    let users = client.get("/Users").await.expect(200).body;
    let admin = users["Resources"][0]["id"].as_str().unwrap().to_owned();
    let root =
        client.get("/Groups").await.expect(200).body["Resources"][0]["id"].as_str().unwrap().to_owned();
    let ids = client.users(0..60).await;
    client.patch(&format!("/Groups/{root}"), add(&ids[..1])).await.expect(200);
    client
        .patch(&format!("/Users/{}", ids[0]), json!([{ "op": "add", "path": "title", "value": "t" }]))
        .await
        .expect(200);
    client
        .patch(&format!("/Users/{admin}"), json!([{ "op": "replace", "path": "active", "value": false }]))
        .await
        .expect(200);
    client.put(&format!("/Users/{}", ids[1]), user("u1-renamed")).await.expect(200);
    let group = client.group("Large", &ids).await;
    let small = client.group("Small", &ids[..3]).await;
    client.patch(&format!("/Groups/{small}"), add(&ids)).await.expect(200);
    client.get(&format!("/Groups/{group}")).await.expect(200);
    for query in [
        "count=5",
        "count=5&startIndex=6",
        "count=5&cursor=",
        "count=5&cursor=&sortBy=userName",
        "filter=userName eq \"u2@example.com\"",
        "filter=externalId eq \"ext-u2\"",
        "filter=title co \"t\"",
    ] {
        let page = client.get(&format!("/Users?{query}")).await.expect(200);
        if let Some(next) = page.body["nextCursor"].as_str() {
            client
                .get(&format!("/Users?{query}{next}").replace("cursor=&", &format!("cursor={next}&")))
                .await;
        }
    }
    client.get(&format!("/Groups?filter=members eq \"{}\"", ids[2])).await.expect(200);
    client.get(&format!("/Users?filter=groups.value eq \"{small}\"")).await.expect(200);
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{ "method": "DELETE", "path": format!("/Groups/{small}") }],
    });
    client.post("/Bulk", bulk).await.expect(200);
    let leaver = client.user("leaver").await;
    client.delete(&format!("/Users/{leaver}")).await.expect(204);
    assert_eq!(client.user("leaver").await, leaver);
    client.group("Heavy", &heavies(client).await).await;
    let limited = client.limited(90, 0);
    limited.delete(&format!("/Users/{leaver}")).await.expect(204);
    (ids, group)
}

#[tokio::test]
async fn the_function_that_serves_scim_has_what_it_needs_and_no_more() {
    let embedded = support::serve().await;
    let new = NewTenant::new(&"acme".parse().unwrap(), &VEZA, &"u".repeat(40));
    tenant::create(&embedded.table, &new, OffsetDateTime::now_utc()).await.unwrap();
    let (_proxy, table, seen) = watched(&embedded.endpoint).await;
    play(&Client::new(table, "veza").await).await;
    assert_fits("ScimRole", &seen.lock().unwrap());
}

#[tokio::test]
async fn the_worker_has_what_it_needs_and_no_more() {
    let embedded = support::serve().await;
    let honest = Client::new(embedded.table, "veza").await;
    let (ids, group) = {
        let ids = honest.users(0..60).await;
        let group = honest.group("Team", &[]).await;
        (ids, group)
    };
    // A change that its request did not apply.
    support::pending::commit(&honest, &group, &ids, &[]).await;
    // A change that was staged and given up.
    let record =
        honest.store().fetch(rollcall::scim::resource_type::Kind::Group, group.parse().unwrap()).await;
    let mut staged =
        honest.store().large_changes().stage(&record.unwrap().unwrap(), Default::default()).await.unwrap();
    staged.created = 0;
    honest.table.put(&staged.key(), staged.attributes()).await.unwrap();
    // A user who leaves more groups than a transaction holds, and a group of more members.
    let leaver = honest.user("leaver").await;
    for at in 0..60 {
        honest.group(&format!("G{at}"), std::slice::from_ref(&leaver)).await;
    }
    let crowd = honest.group("Crowd", &ids).await;
    // Members that are too large for a transaction.
    let heavies = heavies(&honest).await;
    let heavy_group = honest.group("Heavy", &[]).await;
    support::pending::commit(&honest, &heavy_group, &heavies, &[]).await;
    // An account whose retention has ended.
    let gone = honest.user("gone").await;
    honest.delete(&format!("/Users/{gone}")).await.expect(204);
    let (tenant, id) = ("acme".parse().unwrap(), gone.parse().unwrap());
    let key = keys::tombstone(&tenant, id);
    let mut item = honest.table.get(&key).await.unwrap().unwrap();
    let until: u64 = get_number(&item, "keptUntil").unwrap();
    let past = clock::epoch_seconds() - 1;
    item.extend([number("keptUntil", past)]);
    honest.table.put(&key, item).await.unwrap();
    honest.table.batch_delete([keys::expiry(&tenant, until, id)]).await.unwrap();
    honest.table.put(&keys::expiry(&tenant, past, id), Default::default()).await.unwrap();
    // Deletions whose processes stop right after their commit.
    let (proxy, table, _) = watched(&embedded.endpoint).await;
    let stopped = Client::new(table, "veza").await;
    let mut committed = false;
    proxy.decide(move |call: &Call| {
        let fate = if committed { Fate::Denied } else { Fate::Pass };
        committed |= call.operation == "TransactWriteItems" && call.body.to_string().contains("WORK#");
        fate
    });
    stopped.delete(&format!("/Users/{leaver}")).await;
    let mut committed = false;
    proxy.decide(move |call: &Call| {
        let fate = if committed { Fate::Denied } else { Fate::Pass };
        committed |= call.operation == "TransactWriteItems" && call.body.to_string().contains("WORK#");
        fate
    });
    stopped.delete(&format!("/Groups/{crowd}")).await;
    assert!(honest.store().large_changes().list().await.unwrap().len() >= 5);

    let receiver = Receiver::start().await;
    let webhook = failing_webhook(&honest.table, &receiver).await;
    let (_proxy, table, seen) = watched(&embedded.endpoint).await;
    run_worker(&table, &honest.table, &receiver).await;
    support::assert_consistent(&honest).await;
    let disabled = rollcall::store::webhook::Webhook::fetch(&honest.table, &webhook).await.unwrap().unwrap();
    assert!(disabled.disabled.is_some());
    assert_fits("WorkerRole", &seen.lock().unwrap());
}

/// Runs the worker as the stream does and as every minute does. Between two runs the retention of the oldest page
/// of the feed ends. `honest` is the table without a proxy before it.
async fn run_worker(table: &Table, honest: &Table, receiver: &Receiver) {
    let sender = MessageSender::new(TargetRule::PublicOrLoopback).unwrap();
    let resources = MessageResources::new(&[], "http://app.example.com/app/v1".to_owned()).unwrap();
    let bus = Some(EventBus::new(support::bus_client(&receiver.url), "events".to_owned()));
    // Other days than before, so that the worker notes them.
    let worker = Worker { bus, sender, resources: Arc::new(resources), retention_days: 30 };
    for event in [json!({ "Records": [] }), json!({}), json!({}), json!({})] {
        worker.invoke(&table.fresh(), &event).await.unwrap();
        let pages = honest.query_all(&keys::feed_bucket(1), None).await.unwrap();
        assert!(!pages.is_empty());
        let mut oldest = pages[0].clone();
        let ended = (DEFAULT_CHANGE_RETENTION_DAYS + 1) * 86_400;
        oldest.extend([number("written", clock::epoch_seconds() - ended)]);
        honest.put(&keys::feed_page(1), oldest).await.unwrap();
    }
    let put_events = receiver.received().iter().any(|message| {
        message.headers.get("x-amz-target").is_some_and(|target| target == "AWSEvents.PutEvents")
    });
    assert!(put_events, "no call needs the statement Bus");
    furnish_with_keys(honest).await;
    let monitor = Monitor::new(true);
    let now = OffsetDateTime::now_utc();
    let seconds = support::seconds_until(now, EXPIRING_KEYS_HOUR);
    let measured = clock::with_seconds_ahead(seconds, monitor.measure(&table.fresh())).await.unwrap();
    assert!(measured.iter().any(|(metric, _)| *metric == Metric::ExpiringKeys));
}

/// A tenant's key and an application's, for the worker to count.
async fn furnish_with_keys(table: &Table) {
    let tenant: keys::TenantId = "keyed".parse().unwrap();
    let now = OffsetDateTime::now_utc();
    tenant::create(table, &NewTenant::new(&tenant, &VEZA, &"u".repeat(40)), now).await.unwrap();
    let new = NewKey { tenant, name: "Okta".to_owned(), scope: Scope::Provision, expires: None, user: None };
    key::create(table, new, now).await.unwrap();
    client(table, "keyed", Scope::Read).await;
    app_support::application_key(table, ApplicationScope::Read).await;
}

/// A webhook with two secrets that has failed for three days. The receiver refuses its messages, and takes all
/// calls to the event bus.
async fn failing_webhook(table: &Table, receiver: &Receiver) -> String {
    let rule = TargetRule::PublicOrLoopback;
    let registry = Registry { table, actor: "operator", request_id: "test", rule };
    let (webhook, _) = registry.create(&receiver.url, true).await.unwrap();
    registry.rotate(&webhook.id, 3_600).await.unwrap();
    registry.request_test(&webhook.id).await.unwrap();
    let key = keys::consumer(&webhook.id);
    let mut item = table.get(&key).await.unwrap().unwrap();
    item.extend([number("failingSince", clock::epoch_seconds() - WEBHOOK_FAILURE_SECONDS)]);
    table.put(&key, item).await.unwrap();
    receiver.always(|message| match message.headers.get("webhook-id") {
        Some(_) => Reaction::status(500),
        None => Reaction::json(&json!({ "FailedEntryCount": 0, "Entries": [] })),
    });
    webhook.id
}

#[tokio::test]
async fn the_authorizer_has_what_it_needs_and_no_more() {
    let embedded = support::serve().await;
    let tenant: keys::TenantId = "acme".parse().unwrap();
    let now = OffsetDateTime::now_utc();
    tenant::create(&embedded.table, &NewTenant::new(&tenant, &VEZA, &"u".repeat(40)), now).await.unwrap();
    let new = NewKey { tenant, name: "Okta".to_owned(), scope: Scope::Provision, expires: None, user: None };
    let (key, _) = key::create(&embedded.table, new, now).await.unwrap();
    let (_proxy, table, seen) = watched(&embedded.endpoint).await;
    table.connect(&keys::bearer("")).await;
    authorize(&table, &format!("Bearer {}", key.reveal()), now).await.unwrap();
    let service = Service::over(&embedded.endpoint, embedded.table.fresh(), |_| {});
    let (record, secret) = client(&embedded.table, "acme", Scope::Read).await;
    let token = service.ask_with_secret(&record.id, &secret).await.token();
    authorize(&table, &format!("Bearer {token}"), now).await.unwrap();
    assert_fits("AuthorizerRole", &seen.lock().unwrap());
}

#[tokio::test]
async fn the_function_that_gives_tokens_has_what_it_needs_and_no_more() {
    let service = Service::start().await;
    let signer = Signer::ec("key");
    let issuer = Issuer::start(&[&signer]).await;
    let (by_secret, secret) = client(&service.table, "acme", Scope::Read).await;
    let federation = Federation {
        issuer: "https://issuer.example".to_owned(),
        subject: "subject".to_owned(),
        audience: "audience".to_owned(),
        jwks_url: issuer.jwks_url,
        directory: None,
    };
    let by_assertion = federated(&service.table, "acme", federation).await;
    let (_proxy, table, seen) = watched(&service.endpoint).await;
    table.connect(&keys::oauth::client("")).await;
    let function = TokenFunction::new(table, None, TargetRule::PublicOrLoopback).unwrap();
    let claims = json!({
        "iss": "https://issuer.example", "sub": "subject", "aud": "audience", "jti": "1",
        "exp": clock::epoch_seconds() + 600,
    });
    answer(&function, assertion_request(&by_assertion.id, &signer.jwt(&claims))).await.token();
    answer(&function, secret_request(&by_secret.id, &secret)).await.token();
    assert_fits("TokenRole", &seen.lock().unwrap());
    let role = role("TokenRole");
    for (action, key, allowed) in [
        ("PutItem", "O#00", true),
        ("GetItem", "O#00", false),
        ("DeleteItem", "O#00", false),
        ("GetItem", "C#client_1", true),
        ("PutItem", "C#client_1", false),
        ("UpdateItem", "C#client_1", false),
        ("DeleteItem", "J#00", false),
        ("PutItem", "K#00", false),
        ("GetItem", "K#00", false),
        ("PutItem", "A#00", false),
        ("GetItem", "TENANT#acme", false),
        ("PutItem", "TENANT#acme", false),
        ("GetItem", "T#acme#U#1", false),
        ("PutItem", "OUTBOX#0", false),
    ] {
        assert_eq!(is_allowed(&role, &Request::new(action, &[key])), allowed, "{action} {key}");
    }
}

/// A tenant with users, a group with a pending change, and a key; the ids of the root team and of the group.
async fn furnish(app: &App) -> (String, String) {
    let scim = app.tenant("veza").await;
    let root = app.get("/tenants/acme").await.expect(200)["rootTeam"].as_str().unwrap().to_owned();
    let ids = scim.users(0..60).await;
    let group = scim.group("Team", &ids[..3]).await;
    support::pending::commit(&scim, &group, &ids[3..], &ids[..1]).await;
    app.send("POST", "/tenants/acme/keys", Some(json!({ "name": "Okta" }))).await.expect(201);
    app.send("POST", "/tenants/acme/clients", Some(json!({ "name": "Entra" }))).await.expect(201);
    let leaver = scim.user("leaver").await;
    scim.delete(&format!("/Users/{leaver}")).await.expect(204);
    (root, group)
}

#[tokio::test]
async fn the_function_that_applications_read_with_has_what_it_needs_and_no_more() {
    let embedded = support::serve().await;
    let honest = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    let (root, group) = furnish(&honest).await;
    let (proxy, table, seen) = watched(&embedded.endpoint).await;
    let app = App::reading(&proxy.endpoint, table, &honest.reader).await;
    // The feed has no changes at first, and its item is made by the first reader.
    app.get("/status").await.expect(200);
    let hook = json!({ "url": "https://app.example.com/hook" });
    honest.send("POST", "/webhooks", Some(hook)).await.expect(201);
    honest.sequence().await;
    app.get("/changes?include=resource").await.expect(200);
    app.get("/status").await.expect(200);
    let start = app.get("/changes?limit=3").await.expect(200)["next"].as_str().unwrap().to_owned();
    app.get(&format!("/changes?tenant=acme&after={start}")).await.expect(200);
    for path in [
        "/tenants",
        "/tenants/acme",
        "/tenants/acme/keys",
        "/tenants/acme/clients",
        "/tenants/acme/Groups?attributes=members",
        "/tenants/acme/roles",
    ] {
        app.get(path).await.expect(200);
    }
    let hooks = app.get("/webhooks").await.expect(200)["webhooks"].as_array().unwrap().clone();
    app.get(&format!("/webhooks/{}", hooks[0]["id"].as_str().unwrap())).await.expect(200);
    app.get(&format!("/tenants/acme/Groups/{group}")).await.expect(200);
    app.get(&format!("/tenants/acme/Groups/{group}/members?limit=10")).await.expect(200);
    app.get(&format!("/tenants/acme/Groups?filter=members eq \"{root}\"")).await.expect(200);
    for query in
        ["count=5", "count=5&startIndex=6", "sortBy=userName&count=5&cursor=", "filter=title co \"t\""]
    {
        app.get(&format!("/tenants/acme/Users?{query}")).await.expect(200);
    }
    assert_fits("AppReadRole", &seen.lock().unwrap());
}

#[tokio::test]
async fn the_function_that_applications_manage_with_has_what_it_needs_and_no_more() {
    let embedded = support::serve().await;
    let honest = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    let (root, group) = furnish(&honest).await;
    let (proxy, table, seen) = watched(&embedded.endpoint).await;
    let app = App::managing(&proxy.endpoint, table, &honest.key).await;
    app.send("POST", "/tenants", Some(json!({ "tenant": "globex" }))).await.expect(201);
    app.send("POST", "/tenants", Some(json!({ "tenant": "globex" }))).await.expect(200);
    // A name that was given before, long ago.
    let gone = keys::tenant_deleted(&"gone".parse().unwrap());
    honest.table.put(&gone, [number("deleted", 1)].into()).await.unwrap();
    app.send("POST", "/tenants", Some(json!({ "tenant": "gone" }))).await.problem(409, "nameRests");
    app.send("PATCH", "/tenants/acme", Some(json!({ "retentionDays": 7 }))).await.expect(200);
    let user = honest.get("/tenants/acme/Users?count=1").await.expect(200)["Resources"][0]["id"].clone();
    let body = json!({ "name": "portal", "user": user });
    let key = app.send("POST", "/tenants/acme/keys", Some(body)).await.expect(201);
    let path = format!("/tenants/acme/keys/{}", key["id"].as_str().unwrap());
    app.send("POST", &format!("{path}/rotate"), None).await.expect(201);
    app.send("DELETE", &path, None).await.expect(204);
    let client =
        app.send("POST", "/tenants/acme/clients", Some(json!({ "name": "Entra" }))).await.expect(201);
    let path = format!("/tenants/acme/clients/{}", client["id"].as_str().unwrap());
    app.send("POST", &format!("{path}/rotate"), None).await.expect(201);
    app.send("DELETE", &path, None).await.expect(204);
    let role =
        json!({ "id": "billing", "displayName": "Billing", "grants": [{ "team": group, "role": "lead" }] });
    app.send("POST", "/tenants/acme/roles", Some(role)).await.expect(201);
    app.send("PATCH", "/tenants/acme/roles/billing", Some(json!({ "description": "d" }))).await.expect(200);
    app.send("DELETE", "/tenants/acme/roles/billing", None).await.expect(204);
    for plan in ["high", "default"] {
        app.send("PATCH", "/tenants/acme", Some(json!({ "plan": plan }))).await.expect(200);
    }
    // The item of the feed is made by the first webhook, if no reader has made it.
    let made = app
        .send("POST", "/webhooks", Some(json!({ "url": "https://app.example.com/hook" })))
        .await
        .expect(201);
    let hook = format!("/webhooks/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        app.send("POST", &format!("{hook}/rotate"), None).await.expect(200);
    }
    app.send("POST", &format!("{hook}/test"), None).await.expect(202);
    app.send("PATCH", &hook, Some(json!({ "enabled": false }))).await.expect(200);
    app.send("DELETE", &hook, None).await.expect(204);
    let roles =
        json!({ "assignments": [{ "team": root, "role": "admin" }, { "team": group, "role": "lead" }] });
    app.send("PUT", &format!("/tenants/acme/Groups/{group}/assignments"), Some(roles)).await.expect(200);
    assert_fits("AppManageRole", &seen.lock().unwrap());
}

#[tokio::test]
async fn the_authorizer_of_applications_has_what_it_needs_and_no_more() {
    let embedded = support::serve().await;
    let app = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    let (_proxy, table, seen) = watched(&embedded.endpoint).await;
    let header = format!("Bearer {}", app.key);
    let decision = authorize_application(&table, &header, OffsetDateTime::now_utc()).await.unwrap();
    assert!(decision.is_ok());
    assert_fits("AppAuthorizerRole", &seen.lock().unwrap());
}

#[test]
fn applications_reach_what_they_may_and_nothing_else() {
    let (read, manage, authorizer) = (role("AppReadRole"), role("AppManageRole"), role("AppAuthorizerRole"));
    for (role, action, key, allowed) in [
        (&read, "GetItem", "T#acme#U#1", true),
        (&read, "PutItem", "T#acme#U#1", false),
        (&read, "PutItem", "T#acme#P", true),
        (&read, "PutItem", "TENANT#acme", false),
        (&read, "PutItem", "K#00", false),
        (&read, "PutItem", "OUTBOX#0", false),
        (&read, "PutItem", "FEED#000000000000", false),
        (&read, "UpdateItem", "T#acme#U#1", false),
        (&read, "DeleteItem", "OUTBOX#0", false),
        (&read, "GetItem", "A#00", false),
        (&read, "GetItem", "O#00", false),
        (&read, "PutItem", "C#client_1", false),
        (&read, "GetItem", "HOOKSECRET#wh_1", false),
        (&read, "PutItem", "WEBHOOKS", false),
        (&read, "PutItem", "HOOKTESTS", false),
        (&read, "Query", "APPS", false),
        (&manage, "PutItem", "K#00", true),
        (&manage, "DeleteItem", "K#00", false),
        (&manage, "DeleteItem", "TENANT#acme", false),
        (&manage, "PutItem", "OUTBOX#0", true),
        (&manage, "DeleteItem", "OUTBOX#0", false),
        (&manage, "UpdateItem", "OUTBOX#0", false),
        (&manage, "PutItem", "A#00", false),
        (&manage, "PutItem", "C#client_1", true),
        (&manage, "DeleteItem", "C#client_1", false),
        (&manage, "PutItem", "O#00", false),
        (&manage, "PutItem", "APPS", false),
        (&manage, "PutItem", "FEED#000000000000", false),
        (&manage, "PutItem", "HOOKSECRET#wh_1", true),
        (&manage, "GetItem", "HOOKSECRET#wh_1", false),
        (&manage, "Query", "HOOKSECRET#wh_1", false),
        (&manage, "UpdateItem", "HOOKSECRET#wh_1", false),
        (&manage, "Scan", "T#acme#U#1", false),
        (&authorizer, "GetItem", "K#00", false),
        (&authorizer, "PutItem", "A#00", false),
    ] {
        assert_eq!(is_allowed(role, &Request::new(action, &[key])), allowed, "{action} {key}");
    }
    for name in ["ScimRole", "WorkerRole", "AuthorizerRole"] {
        assert!(!is_allowed(&self::role(name), &Request::new("GetItem", &["A#00"])), "{name}");
    }
}

#[test]
fn what_the_operator_writes_is_out_of_reach_and_changes_stay() {
    let (outbox, page) = ("OUTBOX#0", "FEED#000000000000");
    for (name, is_worker) in [("ScimRole", false), ("WorkerRole", true)] {
        let role = role(name);
        for (action, keys, allowed) in [
            ("PutItem", &[outbox][..], true),
            ("GetItem", &[outbox], is_worker),
            ("DeleteItem", &[outbox], is_worker),
            ("UpdateItem", &[outbox], false),
            ("BatchWriteItem", &[outbox], false),
            ("BatchWriteItem", &["T#acme#P", outbox], false),
            ("GetItem", &[page], is_worker),
            ("PutItem", &[page], is_worker),
            ("DeleteItem", &[page], false),
            ("BatchWriteItem", &[page], false),
            ("UpdateItem", &["T#acme#U#1"], true),
            ("BatchWriteItem", &["T#acme#P"], true),
            ("GetItem", &["K#00"], false),
            ("PutItem", &["K#00"], false),
            ("PutItem", &["C#client_1"], false),
            ("GetItem", &["C#client_1"], false),
            ("PutItem", &["O#00"], false),
            ("GetItem", &["O#00"], false),
            ("GetItem", &["TENANT#acme"], is_worker),
            ("PutItem", &["TENANT#acme"], false),
            ("Query", &["TENANTS"], is_worker),
            ("Query", &["K#00"], false),
            ("BatchGetItem", &["K#00"], is_worker),
            ("UpdateItem", &["K#00"], false),
            ("PutItem", &["TENANTS"], false),
            ("Query", &["WEBHOOKS"], is_worker),
            ("Query", &["CONSUMERS"], is_worker),
            ("GetItem", &["HOOKSECRET#wh_1"], is_worker),
            ("PutItem", &["HOOKSECRET#wh_1"], false),
            ("BatchGetItem", &["T#acme#U#1", "K#00"], false),
            ("GetItem", &[], false),
            ("Scan", &["T#acme#U#1"], false),
        ] {
            assert_eq!(is_allowed(&role, &Request::new(action, keys)), allowed, "{name} {action} {keys:?}");
        }
    }
    let authorizer = role("AuthorizerRole");
    for (action, key) in [
        ("PutItem", "K#00"),
        ("PutItem", "O#00"),
        ("PutItem", "C#client_1"),
        ("GetItem", "T#acme#U#1"),
        ("Query", "K#00"),
    ] {
        assert!(!is_allowed(&authorizer, &Request::new(action, &[key])), "{action} {key}");
    }
    for (pattern, text, like) in [
        ("T#*#U#*", "T#acme#U#1", true),
        ("T#*#U#*", "T#acme#G#1", false),
        ("T#*", "TENANT#a", false),
        ("*", "", true),
        ("a*c", "abcc", true),
    ] {
        assert_eq!(is_like(pattern, text), like, "{pattern} {text}");
    }
}
