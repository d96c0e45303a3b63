//! A table of version 0.1.0, written by that version, is put in order by `rollcall check --repair`. A table of the
//! release before is served as it is.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

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
use rollcall::config::EmailLookups;
use rollcall::scim::resource_type::{Kind, Model};
use rollcall::store::call::{ScanSegment, Table};
use rollcall::store::feed::reader::{ChangeQuery, FeedPosition, FeedReader};
use rollcall::store::item::Item;
use rollcall::store::keys::{self, Key};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support;
use crate::support::client::{Client, user};
use crate::support::feed::sequence;
use crate::support::{assert_consistent, check, embedded};

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

/// The ids that filters by an email find. All forms of the filter find the same.
async fn by_email(client: &Client, address: &str) -> BTreeSet<String> {
    let mut answers = BTreeSet::new();
    for filter in [
        format!("emails eq \"{address}\""),
        format!("emails.value eq \"{}\"", address.to_uppercase()),
        format!("emails[value eq \"{address}\"]"),
        format!("emails[type eq \"work\" and value eq \"{address}\"]"),
    ] {
        let search =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": filter });
        let found = client.post("/Users/.search", search).await.expect(200);
        let found = found.body["Resources"].as_array().cloned().unwrap_or_default();
        answers.insert(found.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect());
    }
    assert_eq!(answers.len(), 1, "{address}: {answers:?}");
    answers.pop_first().unwrap()
}

/// A client whose function writes these look-ups of email addresses.
async fn writing(table: &Table, form: EmailLookups, policy: &'static str) -> Client {
    let mut table = table.fresh();
    table.email_lookups = form;
    Client::new(table, policy).await
}

/// How many look-ups of email addresses the tenant has.
async fn email_lookups(client: &Client) -> usize {
    let prefix = format!("T#{}#X#User#emails.value#", client.tenant);
    let (mut found, mut start) = (0, None);
    loop {
        let page = client.table.scan_page(&prefix, start, ScanSegment::WHOLE).await.unwrap();
        found += page.found.len();
        start = page.next;
        if start.is_none() {
            return found;
        }
    }
}

/// Functions that write all look-ups of email addresses and functions that leave some out serve one table. A filter by
/// email finds each person, whoever wrote and whoever changed it. Nothing is left of a deleted user.
#[tokio::test]
async fn a_person_is_found_by_email_in_both_forms() {
    let table = embedded().await;
    let all = writing(&table, EmailLookups::All, "standard").await;
    let unclaimed = writing(&table, EmailLookups::Unclaimed, "standard").await;
    let clients = [&all, &unclaimed];
    let replace = |path: &str, value: &str| json!([{ "op": "replace", "path": path, "value": value }]);
    let address = |name: &str| format!("{name}@example.com");
    for (round, [creator, changer]) in [[0, 0], [0, 1], [1, 0], [1, 1]].into_iter().enumerate() {
        let (creator, changer) = (clients[creator], clients[changer]);
        let (before, after) = (format!("ann{round}"), format!("bob{round}"));
        let id = creator.user(&before).await;
        let path = format!("/Users/{id}");
        let only = BTreeSet::from([id.clone()]);
        let expect = async |addresses: [&str; 2], step: &str| {
            for client in clients {
                let found = [
                    by_email(client, &address(addresses[0])).await,
                    by_email(client, &address(addresses[1])).await,
                ];
                assert_eq!(found, [only.clone(), BTreeSet::new()], "{round}: {step}");
            }
            assert_consistent(creator).await;
        };
        expect([&before, &after], "created").await;
        changer.patch(&path, replace("userName", &address(&after))).await.expect(200);
        expect([&before, &after], "another name, the email stays").await;
        changer.patch(&path, replace("emails[type eq \"work\"].value", &address(&after))).await.expect(200);
        expect([&after, &before], "the email follows").await;
        creator.patch(&path, replace("emails[type eq \"work\"].value", &address(&before))).await.expect(200);
        expect([&before, &after], "another email, the name stays").await;
        changer.patch(&path, replace("userName", &address(&before))).await.expect(200);
        expect([&before, &after], "the name follows").await;
        let emails = json!([
            { "value": address(&before), "type": "work" },
            { "value": address(&after), "type": "work" }
        ]);
        let both = json!([{ "op": "replace", "path": "emails", "value": emails }]);
        changer.patch(&path, both).await.expect(200);
        // Somebody else has the name that is one of these emails.
        let other = creator.user(&after).await;
        assert_eq!(by_email(changer, &address(&after)).await, BTreeSet::from([id.clone(), other.clone()]));
        assert_eq!(by_email(changer, &address(&before)).await, only);
        for id in [id, other] {
            changer.delete(&format!("/Users/{id}")).await.expect(204);
        }
        assert_eq!(by_email(creator, &address(&before)).await, BTreeSet::new());
        assert_eq!(email_lookups(creator).await, 0, "{round}");
        assert_consistent(creator).await;
    }
}

/// A deactivated account is not found, one that comes back is, and whoever takes its name instead is found in its place.
#[tokio::test]
async fn a_deactivated_account_is_not_found_by_its_email() {
    for forms in [
        [EmailLookups::All, EmailLookups::Unclaimed],
        [EmailLookups::Unclaimed, EmailLookups::All],
        [EmailLookups::Unclaimed, EmailLookups::Unclaimed],
    ] {
        let table = embedded().await;
        let first = writing(&table, forms[0], "veza").await;
        let second = writing(&table, forms[1], "veza").await;
        let (ann, address) = (first.user("ann").await, "ann@example.com");
        let only = |id: &String| BTreeSet::from([id.clone()]);
        second.delete(&format!("/Users/{ann}")).await.expect(204);
        assert_eq!((by_email(&first, address).await, email_lookups(&first).await), (BTreeSet::new(), 0));
        assert_eq!(second.user("ann").await, ann, "it comes back");
        assert_eq!(by_email(&first, address).await, only(&ann));
        first.delete(&format!("/Users/{ann}")).await.expect(204);
        let bob = first.user("bob").await;
        let rename = json!([{ "op": "replace", "path": "userName", "value": address }]);
        second.patch(&format!("/Users/{bob}"), rename).await.expect(200);
        assert_eq!(by_email(&first, address).await, only(&bob));
        assert_eq!(by_email(&first, "bob@example.com").await, BTreeSet::new());
        purge(&first, &ann).await;
        assert_eq!(by_email(&first, address).await, only(&bob));
        assert_consistent(&first).await;
        second.delete(&format!("/Users/{bob}")).await.expect(204);
        purge(&first, &bob).await;
        assert_eq!(email_lookups(&first).await, 0);
        assert_consistent(&first).await;
    }
}

/// Erases a deactivated account.
async fn purge(client: &Client, id: &str) {
    let store = client.store();
    let kept = store.tombstones().fetch(id.parse().unwrap()).await.unwrap().expect("an account");
    let event = store.event_of_version("user.purged", &kept.record, kept.record.version + 1);
    let models = Model::all(&[]).expect("the models");
    let model = models.iter().find(|model| model.policy.name == client.policy).expect("a policy");
    store.tombstones().purge(&kept, model.of(Kind::User), &event).await.unwrap();
}

/// The checker finds a look-up that is missing, and none where the claim finds the user. The repair writes it.
#[tokio::test]
async fn the_checker_knows_which_look_ups_a_user_needs() {
    let client = writing(&embedded().await, EmailLookups::Unclaimed, "standard").await;
    let mut other = user("other");
    other["emails"][0]["value"] = json!("other@mail.example.com");
    let (ann, other) = (client.user("ann").await, client.post("/Users", other).await.expect(201).id());
    assert_consistent(&client).await;
    let tenant = client.tenant.parse().unwrap();
    let lookup = |address: &str, id: &str| {
        keys::lookup(&tenant, Kind::User, "emails.value", address, id.parse().unwrap())
    };
    client.table.batch_delete([lookup("other@mail.example.com", &other)]).await.unwrap();
    // This one may be there, that one may not.
    for key in [lookup("ann@example.com", &ann), lookup("ann@mail.example.com", &ann)] {
        client.table.put(&key, Item::new()).await.unwrap();
    }
    let report = check(&client, false).await;
    let found: Vec<Problem> = report.findings.iter().map(|finding| finding.problem).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&Problem::MissingLookup) && found.contains(&Problem::OrphanLookup), "{found:?}");
    check(&client, true).await;
    assert_consistent(&client).await;
    assert_eq!(by_email(&client, "other@mail.example.com").await, BTreeSet::from([other]));
}
