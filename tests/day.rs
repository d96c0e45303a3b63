//! A day in the life of a tenant, from its making to its move: the whole stack, told by docs/day.md.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use rollcall::admin::audit::{EventReader, plain};
use rollcall::admin::group::{Assignment, assign};
use rollcall::admin::key::{NewKey, create, revoke, rotate};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::record::Scope;
use rollcall::dev::backend::Connection;
use rollcall::dev::gateway::lambda::Clock;
use rollcall::dev::gateway::rest_api::Gateway;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::dev::wiring::connect;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;
use rollcall::store::keys::TenantId;
use serde_json::{Value, json};
use support::client::user;
use time::{Duration, OffsetDateTime};

/// The service behind its gateway.
struct Service {
    gateway: Gateway,
    table: Table,
}

impl Service {
    async fn start(remembers: Option<u32>) -> Self {
        let embedded = support::serve().await;
        let TemplateFacts { mut api, environment, .. } =
            TemplateFacts::parse(TEMPLATE).expect("the template");
        (api.usage_plan, api.stage) = (None, None);
        if let Some(seconds) = remembers {
            api.authorizer.ttl = std::time::Duration::from_secs(seconds.into());
        }
        let client = support::client(&embedded.endpoint);
        let backend = connect(Connection { client, table: support::TABLE.to_owned(), environment }, &[]);
        let gateway = Gateway::new(api, backend.function, backend.authorizer, Clock::system());
        Self { gateway, table: embedded.table }
    }

    async fn send(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/scim/v2{path}"))
            .header("Host", "scim.example.com")
            .header("Authorization", format!("Bearer {key}"))
            .header("Content-Type", "application/scim+json")
            .body(())
            .unwrap();
        let nobody: SocketAddr = ([127, 0, 0, 1], 1).into();
        let body = Bytes::from(body.map(|body| body.to_string()).unwrap_or_default());
        let (parts, ()) = request.into_parts();
        let answer = self.gateway.answer(&parts, Ok(body), nobody, nobody).await;
        let (parts, body) = answer.into_parts();
        (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn done(&self, key: &str, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(key, method, path, Some(body)).await;
        assert_eq!(status / 100, 2, "{method} {path}: {answer}");
        answer
    }
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn patch(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

fn set(attribute: &str, value: Value) -> Value {
    patch(json!([{ "op": "replace", "path": attribute, "value": value }]))
}

async fn key_of(table: &Table) -> (String, String) {
    let new = NewKey {
        tenant: acme(),
        name: "Okta".to_owned(),
        scope: Scope::Provision,
        expires: None,
        user: None,
    };
    let (key, record) = create(table, new, OffsetDateTime::now_utc()).await.expect("a key");
    (key.reveal().to_owned(), record.key_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_the_life() {
    let service = Arc::new(Service::start(None).await);
    let table = service.table.clone();
    let new = NewTenant::new(&acme(), &VEZA, &"u".repeat(40));
    let root = tenant::create(&table, &new, OffsetDateTime::now_utc()).await.unwrap().root_team.unwrap();
    let (key, key_id) = key_of(&table).await;

    // Fifty people and five groups come.
    let mut people = Vec::new();
    for n in 0..50 {
        let filter = format!("/Users?filter=userName%20eq%20%22p{n}@example.com%22");
        assert_eq!(service.send(&key, "GET", &filter, None).await.1["totalResults"], 0);
        let made = service.done(&key, "POST", "/Users", user(&format!("p{n}"))).await;
        people.push(made["id"].as_str().unwrap().to_owned());
    }
    let mut groups = Vec::new();
    for n in 0..5 {
        let schemas = json!(["urn:ietf:params:scim:schemas:core:2.0:Group"]);
        let body = json!({ "schemas": schemas, "displayName": format!("Group {n}"), "members": [] });
        let made = service.done(&key, "POST", "/Groups", body).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let members: Vec<Value> =
            people.iter().skip(n * 10).take(10).map(|id| json!({ "value": id })).collect();
        let add = patch(json!([{ "op": "add", "path": "members", "value": members }]));
        service.done(&key, "PATCH", &format!("/Groups/{id}"), add).await;
        groups.push(id);
    }
    for (group, team, role) in [(0, None, "reviewer"), (1, Some("root".to_owned()), "admin")] {
        let wanted =
            Assignment { tenant: acme(), group: groups[group].parse().unwrap(), team, role: role.to_owned() };
        assign(&table, &wanted, true).await.expect("a role");
    }

    // A name changes; one leaves and returns, under the same id.
    let path = |n: usize| format!("/Users/{}", people[n]);
    service.done(&key, "PATCH", &path(0), set("name.familyName", json!("Married"))).await;
    service.done(&key, "PATCH", &path(5), set("active", json!(false))).await;
    assert_eq!(service.send(&key, "DELETE", &path(5), None).await.0, 204);
    assert_eq!(service.send(&key, "GET", &path(5), None).await.0, 404);
    assert_eq!(service.done(&key, "POST", "/Users", user("p5")).await["id"], people[5].as_str());

    // The key rotates under load, without one failed request.
    let (stop, failed, sent) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let current = std::sync::Mutex::new(key.clone());
    let load = async {
        while !stop.load(Ordering::Relaxed) {
            let key = current.lock().unwrap().clone();
            let (status, _) = service.send(&key, "GET", "/Users?count=1", None).await;
            failed.fetch_add(u32::from(status != 200), Ordering::Relaxed);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let rotation = async {
        let (tenant, now) = (acme(), OffsetDateTime::now_utc());
        let rotated = rotate(&table, (&tenant, &key_id), Duration::hours(1), now).await;
        let (successor, ..) = rotated.expect("a successor");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        *current.lock().unwrap() = successor.reveal().to_owned();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        revoke(&table, &acme(), &key_id, OffsetDateTime::now_utc()).await.expect("an end");
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, rotation);
    assert!(sent.load(Ordering::Relaxed) > 10);
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    let key = current.lock().unwrap().clone();

    // All administrators but one can go.
    let found = service.send(&key, "GET", &format!("/Groups/{root}"), None).await.1;
    let break_glass = found["members"][0]["value"].as_str().unwrap().to_owned();
    service.done(&key, "PATCH", &format!("/Users/{break_glass}"), set("active", json!(false))).await;
    let empty = patch(json!([{ "op": "remove", "path": "members" }]));
    let group = format!("/Groups/{}", groups[1]);
    let (status, refused) = service.send(&key, "PATCH", &group, Some(empty)).await;
    assert_eq!((status, &refused["scimType"]), (400, &json!("mutability")));
    for n in 10..19 {
        assert_eq!(service.send(&key, "DELETE", &path(n), None).await.0, 204);
    }
    let (status, refused) = service.send(&key, "DELETE", &path(19), None).await;
    assert_eq!(status, 400);
    assert!(refused["detail"].as_str().unwrap().contains("p19@example.com"), "{refused}");

    // The audit tells the whole story.
    let (tenant, now) = (acme(), OffsetDateTime::now_utc());
    let mut events =
        EventReader::new(&table, &tenant, (now - Duration::days(1), now + Duration::days(1)), false);
    let mut told = Vec::new();
    while let Some(item) = events.next().await.unwrap() {
        let event = plain(&item);
        told.push(format!("{} {}", event["type"].as_str().unwrap(), event["resourceId"].as_str().unwrap()));
    }
    let times = |wanted: &str| told.iter().filter(|event| event.starts_with(wanted)).count();
    assert_eq!((times("user.created"), times("group.created")), (51, 6));
    assert_eq!((times("user.converted"), times("user.reactivated")), (1, 1));
    assert_eq!((times("key.created"), times("key.revoked")), (2, 1));
    let story: BTreeSet<String> = told.iter().filter(|event| event.ends_with(&people[5])).cloned().collect();
    for what in ["user.created", "user.deactivated", "user.reactivated"] {
        assert!(story.contains(&format!("{what} {}", people[5])), "{what}");
    }
    for person in &people[10..19] {
        assert!(told.contains(&format!("user.deactivated {person}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_once_where_nothing_is_remembered() {
    for (remembers, expected) in [(Some(0), 401), (Some(3600), 200)] {
        let service = Service::start(remembers).await;
        let new = NewTenant::new(&acme(), &VEZA, &"u".repeat(40));
        tenant::create(&service.table, &new, OffsetDateTime::now_utc()).await.unwrap();
        let (key, id) = key_of(&service.table).await;
        assert_eq!(service.send(&key, "GET", "/Users", None).await.0, 200);
        revoke(&service.table, &acme(), &id, OffsetDateTime::now_utc()).await.unwrap();
        assert_eq!(service.send(&key, "GET", "/Users", None).await.0, expected, "{remembers:?}");
    }
}
