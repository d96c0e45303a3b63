//! A seeded tenant is what creations one by one would have made.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall::admin::check::feed::check_feed;
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::clock;
use rollcall::config::EmailLookups;
use rollcall::dev::embedded::Embedded;
use rollcall::dev::seed::target::SeedTarget;
use rollcall::dev::seed::{GROUP_NAME, SeedOutcome, Size, group_id, seed, user, user_id, user_name};
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::scim::policy::{POLICIES, VEZA};
use rollcall::store::call::{ScanPage, ScanSegment, Table};
use rollcall::store::feed::change::FeedChange;
use serde_json::{Value, json};

use crate::support;
use crate::support::assert_consistent;
use crate::support::client::Client;
use crate::support::feed::{read_feed, sequence};

#[tokio::test]
async fn a_seeded_tenant_is_a_tenant_like_any_other() {
    for policy in POLICIES {
        let client = Client::new(support::embedded().await, policy.name).await;
        let before = client.user("before").await;
        let size = Size { users: 300, members: 120 };
        assert_eq!(support::seed(&client, size).await, Ok(SeedOutcome::Seeded));
        assert_consistent(&client).await;
        let list = client.get("/Users?count=0").await.expect(200);
        assert_eq!(list.body["totalResults"], 301, "{}", policy.name);
        let first = client.get("/Users?count=1").await.expect(200);
        assert_eq!(first.body["Resources"][0]["id"], user_id(1).to_string());

        let group = format!("/Groups/{}", group_id());
        let whole = client.get(&group).await.expect(200);
        assert_eq!(whole.body["displayName"], GROUP_NAME);
        assert_eq!(whole.body["members"].as_array().map(Vec::len), Some(120));
        let found =
            client.get(&format!("/Users?filter=userName eq \"{}\"", user_name(300))).await.expect(200);
        assert_eq!(found.body["Resources"][0]["id"], user_id(300).to_string());
        let member = client.get(&format!("/Users/{}", user_id(120))).await.expect(200);
        assert_eq!(member.body["groups"][0]["value"], group_id().to_string());

        let change = json!([
            { "op": "add", "path": "members", "value": [{ "value": before }, { "value": user_id(300).to_string() }] },
            { "op": "remove", "path": format!("members[value eq \"{}\"]", user_id(1)) }
        ]);
        client.patch(&format!("{group}?attributes=displayName"), change).await.expect(200);
        client.post("/Users", user(7)).await.expect(409);
        client.put(&format!("/Users/{}", user_id(8)), user(8)).await.expect(200);
        client.delete(&format!("/Users/{}", user_id(9))).await.expect(204);
        client.delete(&format!("/Users/{}", user_id(200))).await.expect(204);
        assert_consistent(&client).await;
    }
}

/// The items of one seeded user are those that a POST of the same body leaves.
#[tokio::test]
async fn a_seeded_user_has_the_items_of_a_created_one() {
    for policy in POLICIES {
        let seeded = Client::new(support::embedded().await, policy.name).await;
        support::seed(&seeded, Size { users: 1, members: 1 }).await.unwrap();
        let created = Client::new(support::embedded().await, policy.name).await;
        let id = created.post("/Users", user(1)).await.expect(201).id();
        let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": GROUP_NAME, "members": [{ "value": id }] });
        let group = created.post("/Groups", group).await.expect(201).id();
        let (mut by_seed, mut by_requests) = (items(&seeded).await, items(&created).await);
        for (key, _) in by_requests.iter_mut() {
            *key = key.replace(&id, &user_id(1).to_string()).replace(&group, &group_id().to_string());
        }
        by_seed.sort();
        by_requests.sort();
        assert_eq!(by_seed, by_requests, "{}", policy.name);
    }
}

/// Keys and names of attributes of what a tenant has, but for events, counters and page marks.
async fn items(client: &Client) -> Vec<(String, Vec<String>)> {
    let ScanPage { found: items, .. } =
        client.table.scan_items(&["T#acme#"], None, ScanSegment::WHOLE, None).await.unwrap();
    let mut found = Vec::new();
    for item in items {
        let key = format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
        if ["#E#", "#N ", "#P ", "#K "].iter().any(|other| key.contains(other)) {
            continue;
        }
        let mut names: Vec<String> = item.keys().cloned().collect();
        names.sort();
        found.push((key, names));
    }
    found
}

#[tokio::test]
async fn nothing_is_seeded_twice_or_over_others() {
    let client = Client::new(support::embedded().await, "veza").await;
    let size = Size { users: 30, members: 0 };
    let error = support::seed(&client, Size { users: 1, members: 2 }).await.unwrap_err();
    assert!(error.contains("--seed-members 2"), "{error}");
    assert_eq!(support::seed(&client, size).await, Ok(SeedOutcome::Seeded));
    client.delete(&format!("/Users/{}", user_id(2))).await.expect(204);
    assert_eq!(support::seed(&client, size).await, Ok(SeedOutcome::Present));
    assert_eq!(client.get("/Users?count=0").await.body["totalResults"], 29);
    assert_eq!(client.get("/Groups?count=0").await.body["totalResults"], 0);
    client.delete(&format!("/Users/{}", user_id(1))).await.expect(204);
    let error = support::seed(&client, size).await.unwrap_err();
    assert!(error.contains("a part of the users of a seed"), "{error}");
    assert_consistent(&client).await;

    let other = client.of("acme-2");
    other.post("/Users", user(29)).await.expect(201);
    let error = support::seed(&other, size).await.unwrap_err();
    assert!(error.contains("has 1 of the names of a seed"), "{error}");
    assert_eq!(other.get("/Users?count=0").await.body["totalResults"], 1);
}

/// A change without what no two changes have in common; the ids of members are counted.
fn outline(change: &FeedChange) -> Value {
    let mut change = serde_json::to_value(change).unwrap();
    for name in ["seq", "id", "time", "incarnation", "requestId", "resourceId", "actor"] {
        change[name] = Value::Null;
    }
    for name in ["added", "removed"] {
        change[name] = change[name].as_array().map_or(0, Vec::len).into();
    }
    change
}

/// How much is compared: a group that is a large change.
const COMPARED: Size = Size { users: 110, members: 100 };

/// Makes the tenant with its root team, and the user `before`.
async fn make_tenant(table: &Table) -> Client {
    let new = NewTenant::new(&"acme".parse().unwrap(), &VEZA, "0123456789012345678901234567890123456789");
    tenant::create(table, &new, clock::now()).await.unwrap();
    let client = Client::new(table.clone(), "veza").await;
    client.user("before").await;
    client
}

/// Names for the ids that are not of the seed: those of the root team, its administrator and the user `before`.
async fn other_ids(client: &Client) -> BTreeMap<String, String> {
    let filter = "filter=userName eq \"before@example.com\" or userName sw \"break-glass\"";
    let users = client.get(&format!("/Users?{filter}")).await.expect(200).body;
    let groups = client.get("/Groups?filter=displayName eq \"Root\"").await.expect(200).body;
    let all = [users, groups].into_iter().flat_map(|list| list["Resources"].as_array().cloned().unwrap());
    let text = |resource: &Value, name: &str| resource[name].as_str().unwrap().to_owned();
    all.map(|found| (text(&found, "id"), text(&found, "displayName"))).collect()
}

/// The items of a tenant with other names for ids.
async fn renamed_items(client: &Client, names: &BTreeMap<String, String>) -> Vec<(String, Vec<String>)> {
    let mut found = items(client).await;
    for (key, names_of_attributes) in &mut found {
        // When the last large change was finished. A seed is none.
        names_of_attributes.retain(|name| name != "settled");
        for (id, name) in names {
            *key = key.replace(id, name);
        }
    }
    found.sort();
    found
}

/// A tenant that is seeded below the wire.
async fn seed_below_the_wire(embedded: &Embedded) -> Client {
    let facts = TemplateFacts::parse(TEMPLATE).unwrap().table;
    embedded.ensure_table("rollcall", &facts).await.unwrap();
    let mut table = Table::new(embedded.client.clone(), "rollcall");
    // As the tables of tests are.
    table.email_lookups = EmailLookups::Unclaimed;
    let seeded = make_tenant(&table).await;
    let loader = embedded.loader("rollcall");
    let target = SeedTarget { table: &table, loader: Some(&loader) };
    let tenant = seeded.tenant.parse().unwrap();
    let done = AtomicUsize::new(0);
    let progress = |count| done.store(count, Ordering::Relaxed);
    assert_eq!(seed(&target, &tenant, &VEZA, COMPARED, progress).await, Ok(SeedOutcome::Seeded));
    assert_eq!(done.into_inner(), COMPARED.users);
    seeded
}

/// A tenant that requests fill with the same. Returns the ids that a seed would have given for its ids too.
async fn create_by_requests() -> (Client, BTreeMap<String, String>) {
    let created = make_tenant(&support::embedded().await).await;
    let mut ids = BTreeMap::new();
    for number in 1..=COMPARED.users {
        let id = created.post("/Users", user(number)).await.expect(201).id();
        ids.insert(id, user_id(number).to_string());
    }
    let members: Vec<Value> = ids.keys().take(COMPARED.members).map(|id| json!({ "value": id })).collect();
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": GROUP_NAME, "members": members });
    let group = created.post("/Groups", body).await.expect(201).id();
    ids.insert(group, group_id().to_string());
    (created, ids)
}

/// Below the wire, a large group included: items and changes are those of requests.
#[tokio::test]
async fn a_seed_below_the_wire_is_what_requests_leave() {
    let embedded = Embedded::start(None, 0).await.unwrap();
    let seeded = seed_below_the_wire(&embedded).await;
    assert_consistent(&seeded).await;
    assert_eq!(check_feed(&seeded.table, false).await.unwrap().findings, []);

    let (created, mut ids) = create_by_requests().await;
    sequence(&created.table).await;
    let outlines = |changes: Vec<FeedChange>| {
        let mut all: Vec<String> = changes.iter().map(|change| outline(change).to_string()).collect();
        all.sort();
        all
    };
    let by_seed = read_feed(&seeded.table).await;
    let named = by_seed.iter().map(|change| change.added.len()).sum::<usize>();
    // The root team has a member too.
    assert_eq!(named, COMPARED.members + 1);
    assert_eq!(outlines(by_seed), outlines(read_feed(&created.table).await));

    ids.extend(other_ids(&created).await);
    let expected = renamed_items(&created, &ids).await;
    assert_eq!(renamed_items(&seeded, &other_ids(&seeded).await).await, expected);

    // What comes after the seed is numbered after it.
    seeded.post("/Users", support::client::user("after")).await.expect(201);
    sequence(&seeded.table).await;
    assert_eq!(check_feed(&seeded.table, false).await.unwrap().findings, []);
    assert_consistent(&seeded).await;
    embedded.stop().await;
}
