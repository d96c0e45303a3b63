//! A day in the life of a tenant, from its making to its move: the whole stack, told by docs/day.md.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
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
use time::{Duration, OffsetDateTime};

use crate::support;
use crate::support::client::user;
use crate::support::feed::changes_of;

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
        (api.usage_plan, api.high_usage_plan, api.stage) = (None, None, None);
        if let Some(seconds) = remembers {
            api.authorizer.as_mut().expect("an authorizer").ttl =
                std::time::Duration::from_secs(seconds.into());
        }
        let client = support::client(&embedded.endpoint);
        let (table, app_url) = (support::TABLE.to_owned(), "http://app.example.com/app/v1".to_owned());
        let backend = connect(Connection { client, loader: None, table, environment, app_url }, &[]);
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

/// The tenant of the day: its service, the ids of its users and groups.
struct Day {
    service: Service,
    people: Vec<String>,
    groups: Vec<String>,
}

impl Day {
    fn path(&self, person: usize) -> String {
        format!("/Users/{}", self.people[person])
    }

    /// Fifty people and five groups of ten come. Two groups grant a role.
    async fn provision(&mut self, key: &str) {
        for n in 0..50 {
            let filter = format!("/Users?filter=userName%20eq%20%22p{n}@example.com%22");
            assert_eq!(self.service.send(key, "GET", &filter, None).await.1["totalResults"], 0);
            let made = self.service.done(key, "POST", "/Users", user(&format!("p{n}"))).await;
            self.people.push(made["id"].as_str().unwrap().to_owned());
        }
        for n in 0..5 {
            let schemas = json!(["urn:ietf:params:scim:schemas:core:2.0:Group"]);
            let body = json!({ "schemas": schemas, "displayName": format!("Group {n}"), "members": [] });
            let made = self.service.done(key, "POST", "/Groups", body).await;
            let id = made["id"].as_str().unwrap().to_owned();
            let members: Vec<Value> =
                self.people.iter().skip(n * 10).take(10).map(|id| json!({ "value": id })).collect();
            let add = patch(json!([{ "op": "add", "path": "members", "value": members }]));
            self.service.done(key, "PATCH", &format!("/Groups/{id}"), add).await;
            self.groups.push(id);
        }
        for (group, team, role) in [(0, None, "reviewer"), (1, Some("root".to_owned()), "admin")] {
            let group = self.groups[group].parse().unwrap();
            let wanted = Assignment { tenant: acme(), group, team, role: role.to_owned() };
            assign(&self.service.table, &wanted, true).await.expect("a role");
        }
    }

    /// A name changes. One person leaves and returns, under the same id.
    async fn change_people(&self, key: &str) {
        let service = &self.service;
        service.done(key, "PATCH", &self.path(0), set("name.familyName", json!("Married"))).await;
        service.done(key, "PATCH", &self.path(5), set("active", json!(false))).await;
        assert_eq!(service.send(key, "DELETE", &self.path(5), None).await.0, 204);
        assert_eq!(service.send(key, "GET", &self.path(5), None).await.0, 404);
        let returned = service.done(key, "POST", "/Users", user("p5")).await;
        assert_eq!(returned["id"], self.people[5].as_str());
    }

    /// The key rotates under load, without one failed request. Returns the new key.
    async fn rotate_key(&self, key: String, key_id: &str) -> String {
        let (stop, failed, sent) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        let current = Mutex::new(key);
        let load = async {
            while !stop.load(Ordering::Relaxed) {
                let key = current.lock().unwrap().clone();
                let (status, _) = self.service.send(&key, "GET", "/Users?count=1", None).await;
                failed.fetch_add(u32::from(status != 200), Ordering::Relaxed);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        };
        let rotation = async {
            let (table, tenant, now) = (&self.service.table, acme(), OffsetDateTime::now_utc());
            let rotated = rotate(table, (&tenant, key_id), Duration::hours(1), now).await;
            let (successor, ..) = rotated.expect("a successor");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            *current.lock().unwrap() = successor.reveal().to_owned();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            revoke(table, &tenant, key_id, OffsetDateTime::now_utc()).await.expect("an end");
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(load, rotation);
        assert!(sent.load(Ordering::Relaxed) > 10);
        assert_eq!(failed.load(Ordering::Relaxed), 0);
        current.into_inner().unwrap()
    }

    /// All administrators but one can go.
    async fn remove_administrators(&self, key: &str, root: &str) {
        let service = &self.service;
        let found = service.send(key, "GET", &format!("/Groups/{root}"), None).await.1;
        let break_glass = found["members"][0]["value"].as_str().unwrap().to_owned();
        let deactivate = set("active", json!(false));
        service.done(key, "PATCH", &format!("/Users/{break_glass}"), deactivate).await;
        let empty = patch(json!([{ "op": "remove", "path": "members" }]));
        let group = format!("/Groups/{}", self.groups[1]);
        let (status, refused) = service.send(key, "PATCH", &group, Some(empty)).await;
        assert_eq!((status, &refused["scimType"]), (400, &json!("mutability")));
        for n in 10..19 {
            assert_eq!(service.send(key, "DELETE", &self.path(n), None).await.0, 204);
        }
        let (status, refused) = service.send(key, "DELETE", &self.path(19), None).await;
        assert_eq!(status, 400);
        assert!(refused["detail"].as_str().unwrap().contains("p19@example.com"), "{refused}");
    }

    /// The audit tells the whole day.
    async fn read_audit(&self) {
        let mut told = Vec::new();
        for event in changes_of(&self.service.table, acme().as_str()).await {
            let (kind, id) = (event["type"].as_str().unwrap(), event["resourceId"].as_str().unwrap());
            told.push(format!("{kind} {id}"));
        }
        let times = |wanted: &str| told.iter().filter(|event| event.starts_with(wanted)).count();
        assert_eq!((times("user.created"), times("group.created")), (51, 6));
        assert_eq!((times("user.converted"), times("user.reactivated")), (1, 1));
        assert_eq!((times("key.created"), times("key.revoked")), (2, 1));
        for what in ["user.created", "user.deactivated", "user.reactivated"] {
            assert!(told.contains(&format!("{what} {}", self.people[5])), "{what}");
        }
        for person in &self.people[10..19] {
            assert!(told.contains(&format!("user.deactivated {person}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_the_life() {
    let service = Service::start(None).await;
    let new = NewTenant::new(&acme(), &VEZA, &"u".repeat(40));
    let made = tenant::create(&service.table, &new, OffsetDateTime::now_utc()).await.unwrap();
    let (key, key_id) = key_of(&service.table).await;
    let mut day = Day { service, people: Vec::new(), groups: Vec::new() };
    day.provision(&key).await;
    day.change_people(&key).await;
    let key = day.rotate_key(key, &key_id).await;
    day.remove_administrators(&key, &made.root_team.unwrap().to_string()).await;
    day.read_audit().await;
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
