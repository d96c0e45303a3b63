//! A table of version 0.1.0, written by that version, is put in order by `rollcall check --repair`. A table of the
//! release before is served as it is.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall::admin::check::feed::check_feed;
use rollcall::admin::check::report::Problem;
use rollcall::admin::key;
use rollcall::auth::app_authorizer::authorize_application;
use rollcall::auth::authorizer::{Decision, authorize};
use rollcall::clock;
use rollcall::store::call::Table;
use rollcall::store::feed::reader::{ChangeQuery, FeedPosition, FeedReader};
use rollcall::store::item::Item;
use rollcall::store::keys::Key;
use serde_json::{Map, Value, json};
use support::client::{Client, user};
use support::feed::sequence;
use support::{assert_consistent, check, embedded};
use uuid::Uuid;

/// When the deactivated account of the table is erased, in the file.
const KEPT_UNTIL: &str = "1827215189";

struct Old {
    client: Client,
    ids: Map<String, Value>,
}

impl Old {
    /// Tenant `demo` under `veza`. It has users whose names the old version compared by full case folding, one of
    /// them deactivated. It also has a group, and two bearer keys in the old list.
    async fn new() -> Self {
        let text = include_str!("fixtures/table-0.1.0-folded-names.json");
        let tomorrow = (clock::epoch_seconds() + 86_400).to_string();
        let mut file: Value = serde_json::from_str(&text.replace(KEPT_UNTIL, &tomorrow)).unwrap();
        let table = load(file["items"].as_array_mut().unwrap()).await;
        let ids = file["ids"].as_object().unwrap().clone();
        Self { client: Client::new(table, "veza").await.of("demo"), ids }
    }

    fn id(&self, name: &str) -> &str {
        self.ids[&format!("{name}@example.com")].as_str().unwrap()
    }

    /// The ids that a filter by `userName` finds.
    async fn named(&self, name: &str) -> Vec<String> {
        let filter = format!("userName eq \"{name}@example.com\"");
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": filter });
        let found = self.client.post("/Users/.search", body).await.expect(200);
        let found = found.body["Resources"].as_array().cloned().unwrap_or_default();
        found.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The items of a file in a new table.
async fn load(items: &mut [Value]) -> Table {
    let table = embedded().await;
    for item in items {
        let mut item = item.as_object_mut().unwrap().clone();
        let mut part = |name: &str| item.remove(name).unwrap()["S"].as_str().unwrap().to_owned();
        let key = Key { pk: part("pk"), sk: part("sk") };
        table.put(&key, attributes(&item)).await.unwrap();
    }
    table
}

fn attributes(values: &Map<String, Value>) -> Item {
    values.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(text(value)).unwrap())),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "SS" => AttributeValue::Ss(value.as_array().unwrap().iter().map(text).collect()),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(attributes(value.as_object().unwrap())),
        other => panic!("the file has a value of type {other}"),
    }
}

#[tokio::test]
async fn user_names_get_the_claims_that_they_have_today() {
    let old = Old::new().await;
    let found: BTreeSet<Problem> =
        check(&old.client, false).await.findings.iter().map(|finding| finding.problem).collect();
    assert!(found.contains(&Problem::MissingClaim) && found.contains(&Problem::OrphanClaim), "{found:?}");

    let report = check(&old.client, true).await;
    let left: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert_consistent(&old.client).await;
    for name in ["ann", "straße", "ΣΊΣΥΦΟΣ", "Ｆull", "ﬁn", "müller", "ohne"] {
        for spelled in [name.to_owned(), name.to_lowercase()] {
            assert_eq!(old.named(&spelled).await, [old.id(name)], "{spelled}");
        }
    }
    assert_eq!(old.named("full").await, [old.id("Ｆull")]);
    for other in ["strasse", "fin", "weiss"] {
        assert!(old.named(other).await.is_empty(), "{other}");
    }

    // Each spelling is a name of its own, and the old one is still taken.
    let strasse = old.client.post("/Users", user("strasse")).await.expect(201).id();
    assert_ne!(strasse, old.id("straße"));
    old.client.post("/Users", user("STRAßE")).await.expect(409);
    // The name that no one could choose today may stay, until it is changed.
    let fin = format!("/Users/{}", old.id("ﬁn"));
    let title = json!([{ "op": "add", "path": "title", "value": "Chief" }]);
    old.client.patch(&fin, title).await.expect(200);
    let renamed = json!([{ "op": "replace", "path": "userName", "value": "fin@example.com" }]);
    old.client.patch(&fin, renamed).await.expect(200);
    assert_eq!(old.named("fin").await, [old.id("ﬁn")]);
    // Who was deactivated comes back by the same name, and by no other.
    let other = old.client.post("/Users", user("weiss")).await.expect(201).id();
    assert_ne!(other, old.id("Weiß"));
    assert_eq!(old.client.post("/Users", user("weiß")).await.expect(201).id(), old.id("Weiß"));
    assert_consistent(&old.client).await;
}

#[tokio::test]
async fn users_with_old_claims_can_be_renamed_and_deleted_before_the_repair() {
    let old = Old::new().await;
    let user_of = |name: &str| format!("/Users/{}", old.id(name));
    let rename = json!([{ "op": "replace", "path": "userName", "value": "other@example.com" }]);
    old.client.patch(&user_of("straße"), rename).await.expect(200);
    old.client.delete(&user_of("ﬁn")).await.expect(204);
    old.client.post("/Users", user("ﬁn")).await.expect(400);
    assert_eq!(old.named("other").await, [old.id("straße")]);
    assert_eq!(old.client.delete(&user_of("straße")).await.expect(204).status, 204);
    assert_eq!(old.client.post("/Users", user("other")).await.expect(201).id(), old.id("straße"));
    let report = check(&old.client, true).await;
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_consistent(&old.client).await;
}

#[tokio::test]
async fn the_keys_of_the_old_list_are_found_and_can_be_revoked() {
    let old = Old::new().await;
    check(&old.client, true).await;
    let (table, demo) = (&old.client.table, "demo".parse().unwrap());
    let keys = key::list(table, &demo).await.unwrap();
    assert_eq!(
        keys.iter().map(|key| key.record.name.as_str()).collect::<BTreeSet<_>>(),
        ["rollcall dev", "second"].into()
    );
    assert!(keys.iter().any(|key| key.last_used.is_some()));
    assert_consistent(&old.client).await;
}

/// The table that the last release before the alarms, the checks of the feed and the canary wrote (commit 02ceb1e, by
/// tests/operations/make_table.py). It needs no repair.
#[tokio::test]
async fn a_table_of_the_release_before_is_served_as_it_is() {
    let text = include_str!("fixtures/table-02ceb1e.json");
    let mut file: Value = serde_json::from_str(text).unwrap();
    // The end of the retention of the deactivated account, which is a date of the file.
    let items = file["items"].as_array().unwrap();
    let kept_until = items.iter().find_map(|item| item["keptUntil"]["N"].as_str()).unwrap();
    let tomorrow = (clock::epoch_seconds() + 86_400).to_string();
    file = serde_json::from_str(&text.replace(kept_until, &tomorrow)).unwrap();
    let table = load(file["items"].as_array_mut().unwrap()).await;
    let kept = file["kept"].clone();
    let text = |name: &str| kept[name].as_str().unwrap().to_owned();
    let client = Client::new(table.fresh(), "veza").await.of("demo");

    let moved = sequence(&table).await;
    assert!(moved.moved > 0, "a change waited in the outbox");
    assert_eq!(check_feed(&table, false).await.unwrap().findings, []);
    assert_consistent(&client).await;
    // Keys, a cursor and a position in the feed.
    for name in ["key", "okta"] {
        let decision = authorize(&table, &format!("Bearer {}", text(name)), clock::now()).await.unwrap();
        assert!(matches!(decision, Decision::Allow(_)), "{name}");
    }
    let header = format!("Bearer {}", text("applicationKey"));
    assert!(authorize_application(&table, &header, clock::now()).await.unwrap().is_ok());
    // The cursor is as old as the file, so it is asked for at that time.
    let late: Uuid = text("late").parse().unwrap();
    let (made, _) = late.get_timestamp().expect("a UUIDv7").to_unix();
    let age = i64::try_from(clock::epoch_seconds() - made).unwrap();
    let path = format!("/Users?count=10&cursor={}", text("cursor"));
    let page = clock::with_seconds_ahead(-age, client.get(&path)).await.expect(200);
    assert_eq!(page.body["Resources"].as_array().unwrap().len(), 10);
    let reader = FeedReader::open(&table).await.unwrap();
    let position = FeedPosition::parse(&text("position")).expect("a position");
    let query = ChangeQuery { limit: 500, tenant: None };
    let after = reader.read(&position, query).await.unwrap().expect("the position holds");
    assert_eq!(after.changes.last().unwrap().resource_id, text("late"));
    // An identity provider goes on.
    let ids: Vec<&str> = kept["users"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let title = json!([{ "op": "add", "path": "title", "value": "Chief" }]);
    client.patch(&format!("/Users/{}", ids[3]), title).await.expect(200);
    assert_eq!(client.post("/Users", user("u2")).await.expect(201).id(), ids[2]);
    client.post("/Users", user("straße")).await.expect(409);
    let team = format!("/Groups/{}", text("team"));
    let members: Value = ids.iter().map(|id| json!({ "value": id })).collect();
    client.patch(&team, json!([{ "op": "replace", "path": "members", "value": members }])).await.expect(200);
    client.delete(&format!("/Users/{}", ids[4])).await.expect(204);
    client.delete(&team).await.expect(204);
    support::work(&client).await;
    sequence(&table).await;
    assert_eq!(check_feed(&table, false).await.unwrap().findings, []);
    assert_consistent(&client).await;
}
