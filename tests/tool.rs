//! What an operator does beyond making tenants and keys: read the events, rotate keys, delete tenants.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use rollcall::admin::definition;
use rollcall::admin::key::{NewKey, create, list, revoke, rotate};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::user;
use rollcall::admin::wipe::wipe;
use rollcall::auth::application::ApplicationScope;
use rollcall::auth::record::{Scope, Status};
use rollcall::deliver::registry::Registry;
use rollcall::outbound::target::TargetRule;
use rollcall::provider::changing::definitions::NewDefinition;
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::DefinedKind;
use rollcall::store::call::{ScanPage, ScanSegment, Table};
use rollcall::store::keys::{self, TenantId};
use rollcall::tenants::actor::Actor;
use rollcall::tenants::application::{self, NewApplication};
use rollcall::tenants::client::{self as oauth_client, NewClient, NewProof};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use crate::support;
use crate::support::client::{self, Client};
use crate::support::feed::changes_of as events;

const SCHEMA: &str = include_str!("../docs/events.schema.json");
const GUIDE: &str = include_str!("../docs/events.md");

fn id(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

async fn made(table: &Table, name: &str) {
    let new = NewTenant::new(&id(name), &VEZA, &"u".repeat(40));
    tenant::create(table, &new, now()).await.expect("a tenant");
}

async fn key(table: &Table, tenant: &str) -> String {
    let new = NewKey {
        tenant: id(tenant),
        name: "Okta".to_owned(),
        scope: Scope::Provision,
        expires: None,
        user: None,
    };
    create(table, new, now()).await.expect("a key").1.key_id
}

/// The events of a tenant, the oldest first.
fn types(events: &[Map<String, Value>]) -> BTreeSet<String> {
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn active(value: bool) -> Value {
    json!([{ "op": "replace", "path": "active", "value": value }])
}

/// Makes every kind of event but the last.
async fn a_busy_tenant(table: &Table) -> Client {
    made(table, "acme").await;
    let old = key(table, "acme").await;
    rotate(table, (&id("acme"), &old), Duration::hours(1), now()).await.expect("a successor");
    revoke(table, &id("acme"), &old, now()).await.expect("an end");
    changed_client(table).await;
    changed_definitions(table).await;
    tenant::set(table, &id("acme"), now(), |settings| settings.breaker_percent = Some(50)).await.unwrap();
    tenant::resync(table, &id("acme"), now()).await.unwrap();
    let client = Client::new(table.clone(), "veza").await;
    let admin = client.get("/Users").await.body["Resources"][0]["id"].as_str().unwrap().to_owned();
    client.patch(&format!("/Users/{admin}"), active(true)).await.expect(200);
    let leaver = client.user("leaver").await;
    client.patch(&format!("/Users/{leaver}"), active(false)).await.expect(200);
    client.patch(&format!("/Users/{leaver}"), active(true)).await.expect(200);
    client.delete(&format!("/Users/{leaver}")).await.expect(204);
    client.post("/Users", client::user("leaver")).await.expect(201);
    client
        .patch(&format!("/Users/{leaver}"), json!([{ "op": "add", "path": "title", "value": "x" }]))
        .await
        .expect(200);
    let mut members = Vec::new();
    for n in 0..60 {
        members.push(client.user(&format!("member{n}")).await);
    }
    let group = client.group("Team", &members).await;
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", members[0]) }]);
    client.patch(&format!("/Groups/{group}?excludedAttributes=members"), remove).await.expect(200);
    client.delete(&format!("/Groups/{group}")).await.expect(204);
    let erased = client.user("erased").await;
    client.delete(&format!("/Users/{erased}")).await.expect(204);
    user::purge(table, &id("acme"), erased.parse().unwrap()).await.expect("an account");
    let strict = Client::new(table.clone(), "strict").await;
    strict.delete(&format!("/Users/{leaver}")).await.expect(204);
    client
}

/// Makes and rotates two clients, and revokes one.
async fn changed_client(table: &Table) {
    for is_revoked in [true, false] {
        let by = Actor::operator();
        let new = NewClient {
            tenant: id("acme"),
            name: "entra".to_owned(),
            scope: Scope::Provision,
            token_hours: 1,
            proof: NewProof::Secret(1),
        };
        let (_, made) = oauth_client::create(table, &by, new, now()).await.expect("a client");
        let which = (&id("acme"), made.id.as_str());
        oauth_client::rotate(table, &by, which, Duration::hours(1), now()).await.expect("a secret");
        if is_revoked {
            oauth_client::revoke(table, &by, which, now()).await.expect("an end");
        }
    }
}

/// Makes, changes and deletes a role and an entitlement.
async fn changed_definitions(table: &Table) {
    let tenant = tenant::get(table, &id("acme")).await.expect("a tenant");
    let named = |name: &str| NewDefinition { name: Some(name.to_owned()), ..NewDefinition::default() };
    for kind in [DefinedKind::Role, DefinedKind::Entitlement] {
        let which = (kind, "billing");
        definition::create(table, &tenant, which, &named("Billing")).await.expect("a definition");
        definition::update(table, &tenant, which, &named("Invoices")).await.expect("a change");
        definition::delete(table, &tenant, which).await.expect("an end");
    }
}

/// Makes, rotates and revokes an application key.
async fn rotated_application(table: &Table) {
    let (by, scope) = (Actor::operator(), ApplicationScope::Read);
    let new = NewApplication { name: "portal".to_owned(), scope, expires: None };
    let (_, made) = application::create(table, &by, new, now()).await.expect("a key");
    application::rotate(table, &by, &made.id, Duration::hours(1), now()).await.expect("a successor");
    application::revoke(table, &by, &made.id, now()).await.expect("an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_as_the_schema_says() {
    let table = support::embedded().await;
    a_busy_tenant(&table).await;
    wipe(&table, &id("acme"), &[], std::time::Duration::ZERO, now()).await.expect("a deletion");
    rotated_application(&table).await;
    let rule = TargetRule::Public;
    let registry = Registry { table: &table, actor: "operator", request_id: "test", rule };
    let (webhook, _) = registry.create("https://app.example/hook", false).await.expect("a webhook");
    registry.rotate(&webhook.id, 60).await.expect("another secret");
    registry.delete(&webhook.id).await.expect("a deletion");
    let mut all = events(&table, "acme").await;
    all.extend(events(&table, TenantId::deployment().as_str()).await);

    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for event in &all {
        let event = Value::Object(event.clone());
        let wrong: Vec<String> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{event}: {}", wrong.join("; "));
        assert!(!event.to_string().contains("@example.com"), "a value: {event}");
    }
    let known: BTreeSet<String> = schema["properties"]["type"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(types(&all), known, "made here, and in the schema");
    for name in known.iter().chain(schema["properties"].as_object().unwrap().keys()) {
        assert!(GUIDE.contains(&format!("`{name}`")), "{name} is not in docs/events.md");
    }
    assert!(validator.validate(&json!({ "type": "user.created" })).is_err(), "the schema refuses");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_keys_work_until_the_overlap_ends() {
    let table = support::embedded().await;
    made(&table, "acme").await;
    let old = key(&table, "acme").await;
    let start = now();
    let (_, new, until) = rotate(&table, (&id("acme"), &old), Duration::hours(2), start).await.unwrap();
    assert_eq!(until, start + Duration::hours(2));
    assert_eq!((new.scope, new.name.as_str()), (Scope::Provision, "Okta"));
    let keys = list(&table, &id("acme")).await.unwrap();
    assert!(keys.iter().all(|key| key.record.status == Status::Active) && keys.len() == 2);
    let expires = |wanted: &str| keys.iter().find(|key| key.record.key_id == wanted).unwrap().record.expires;
    assert!(expires(&new.key_id).is_none());
    let ends = expires(&old).expect("an end");
    assert!((ends - until).abs() < Duration::seconds(1), "{ends}");
    // What is over has no successor.
    revoke(&table, &id("acme"), &old, now()).await.unwrap();
    let refused = rotate(&table, (&id("acme"), &old), Duration::hours(1), now()).await;
    assert!(refused.expect_err("revoked").to_string().contains("rollcall key create"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_leaves_nothing_and_takes_nothing_of_others() {
    let table = support::embedded().await;
    for name in ["ab", "ab-c", "abc"] {
        made(&table, name).await;
        key(&table, name).await;
        let new = NewClient {
            tenant: id(name),
            name: "entra".to_owned(),
            scope: Scope::Read,
            token_hours: 1,
            proof: NewProof::Secret(1),
        };
        oauth_client::create(&table, &Actor::operator(), new, now()).await.expect("a client");
        let client = Client::new(table.clone(), "veza").await.of(name);
        let member = client.user("one").await;
        client.group("Team", &[member]).await;
    }
    let of = async |name: &str| {
        let ScanPage { found, next } =
            table.scan_page(&keys::data(&id(name)), None, ScanSegment::WHOLE).await.unwrap();
        assert!(next.is_none());
        found.into_iter().collect::<BTreeSet<_>>()
    };
    let (before, other) = (of("ab-c").await, of("abc").await);
    // A run that is interrupted, anywhere: some of the items are gone already.
    let some: Vec<_> = of("ab").await.into_iter().step_by(3).collect();
    table.batch_delete(some.into_iter().filter(|key| !key.pk.ends_with("#K"))).await.unwrap();
    wipe(&table, &id("ab"), &[], std::time::Duration::ZERO, now()).await.expect("a deletion");
    assert_eq!((of("ab-c").await, of("abc").await), (before, other));
    assert_eq!(of("ab").await.len(), 0);
    let told = events(&table, "ab").await;
    assert_eq!(told.last().expect("changes")["type"], "tenant.deleted", "{told:?}");
    let ScanPage { found: bearers, .. } = table.scan_page("K#", None, ScanSegment::WHOLE).await.unwrap();
    assert_eq!(bearers.len(), 2, "keys of the others");
    let ScanPage { found: clients, .. } = table.scan_page("C#", None, ScanSegment::WHOLE).await.unwrap();
    assert_eq!(clients.len(), 2, "clients of the others");
    assert!(tenant::get(&table, &id("ab")).await.is_err());
    let tenants = tenant::list(&table).await.unwrap();
    assert_eq!(tenants.iter().map(|tenant| tenant.id.as_str()).collect::<Vec<_>>(), ["ab-c", "abc"]);
    assert!(wipe(&table, &id("ab"), &[], std::time::Duration::ZERO, now()).await.is_err(), "there is none");
}

/// A request that was let in for a deleted tenant must not write into the next one of its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_name_rests_longer_than_any_request_for_it_can_last() {
    let table = support::embedded().await;
    made(&table, "acme").await;
    key(&table, "acme").await;
    let client = Client::new(table.clone(), "veza").await;
    client.user("before").await;
    wipe(&table, &id("acme"), &[], std::time::Duration::ZERO, now()).await.expect("a deletion");
    let again = async |at| {
        let new = NewTenant::new(&id("acme"), &VEZA, &"u".repeat(40));
        tenant::create(&table, &new, at).await
    };
    for at in [now(), now() + Duration::hours(1), now() + Duration::hours(1) + Duration::seconds(29)] {
        let refused = again(at).await.expect_err("the name rests").to_string();
        assert!(refused.contains("acme") && refused.contains("minutes"), "{refused}");
    }
    // API Gateway remembers the key of the old tenant: what it lets in is written, and seen by nobody.
    support::feed::sequence(&table).await;
    client.user("straggler").await;
    let waiting = again(now() + Duration::hours(2)).await.expect_err("the outbox has a change").to_string();
    assert!(waiting.contains("acme") && waiting.contains("minutes"), "{waiting}");
    let told = events(&table, "acme").await;
    assert_eq!(told.last().expect("changes")["type"], "tenant.deleted", "nothing follows it: {told:?}");
    again(now() + Duration::hours(2)).await.expect("a new tenant");
    let found = client.get("/Users").await.expect(200).body;
    assert_eq!(found["totalResults"], 1, "the new tenant has its administrator, and nobody of the old");
    assert_eq!(client.get("/Groups").await.expect(200).body["totalResults"], 1);
    support::assert_consistent(&client).await;
    // Once made, it is a tenant as any other.
    assert!(again(now() + Duration::hours(3)).await.expect_err("it exists").to_string().contains("exists"));
    tenant::set(&table, &id("acme"), now(), |settings| settings.retention_days = 7).await.unwrap();
    let told = events(&table, "acme").await;
    let told: BTreeSet<String> = told
        .iter()
        .filter(|event| event["resourceType"] == "Tenant")
        .map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["version"]))
        .collect();
    let expected = ["tenant.created 1", "tenant.deleted 2", "tenant.updated 2"].map(str::to_owned);
    assert_eq!(told, BTreeSet::from(expected), "the end of the old one, and the new one from its start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_account_comes_back() {
    let table = support::embedded().await;
    made(&table, "acme").await;
    let client = Client::new(table.clone(), "veza").await;
    let leaver = client.user("leaver").await;
    let group = client.group("Team", std::slice::from_ref(&leaver)).await;
    client.delete(&format!("/Users/{leaver}")).await.expect(204);
    let kept = user::list_deactivated(&table, &id("acme")).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].0.id.to_string() == leaver && kept[0].1.is_some());
    user::restore(&table, &id("acme"), leaver.parse().unwrap(), None).await.expect("an account");
    let back = client.get(&format!("/Users/{leaver}")).await.expect(200).body;
    assert_eq!((&back["active"], back.get("groups")), (&json!(true), None));
    assert!(client.get(&format!("/Groups/{group}")).await.body.get("members").is_none());
    assert!(user::list_deactivated(&table, &id("acme")).await.unwrap().is_empty());
    let again = user::restore(&table, &id("acme"), leaver.parse().unwrap(), None).await;
    assert!(again.expect_err("it lives").to_string().contains("list-deactivated"));

    // Another has taken the name: it comes back under a new one, or not at all.
    client.delete(&format!("/Users/{leaver}")).await.expect(204);
    let heir = client.user("heir").await;
    let mut body = client::user("leaver");
    body["externalId"] = json!("heir");
    client.put(&format!("/Users/{heir}"), body).await.expect(200);
    let restore = async |name| user::restore(&table, &id("acme"), leaver.parse().unwrap(), name).await;
    assert!(restore(None).await.expect_err("taken").to_string().contains("--user-name"));
    assert!(
        restore(Some("leaver@example.com")).await.expect_err("taken").to_string().contains("--user-name")
    );
    restore(Some("leaver2@example.com")).await.expect("an account");
    let back = client.get(&format!("/Users/{leaver}")).await.expect(200).body;
    assert_eq!(back["emails"][0]["value"], "leaver2@example.com");
    support::assert_consistent(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_account_is_held_to_the_rules() {
    let table = support::embedded().await;
    made(&table, "acme").await;
    let client = Client::new(table.clone(), "veza").await;
    let made = user::create(&table, &id("acme"), &client::user("ada")).await.expect("an account");
    let urn = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
    let path = format!("/Users/{}?attributes={urn}:account", made.id);
    assert_eq!(client.get(&path).await.expect(200).body[urn]["account"], "local");
    assert!(user::create(&table, &id("acme"), &client::user("ada")).await.is_err(), "taken");
    let mut body = client::user("bob");
    body["emails"] = json!([]);
    let refused = user::create(&table, &id("acme"), &body).await.expect_err("no email").to_string();
    assert!(refused.to_lowercase().contains("email"), "{refused}");
    support::assert_consistent(&client).await;
}
