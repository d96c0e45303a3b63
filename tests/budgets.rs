//! What each operation may cost: sequential rounds and capacity units, which DynamoDB counts
//! exactly. The table of budgets is in docs/architecture/costs.md.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::auth::authorizer::authorize;
use rollcall::auth::client::Federation;
use rollcall::auth::record::Scope;
use rollcall::config::EmailLookups;
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::scim::resource_type::Kind;
use rollcall::store::feed::outbox;
use rollcall::store::item::text;
use rollcall::store::keys;
use rollcall::store::meter::Usage;
use serde_json::json;

use crate::oauth_support::{Issuer, Service, Signer, assertion_request, client, federated, secret_request};
use crate::support;
use crate::support::client::{Client, user};

/// Asserts the cost of a request: rounds, read units, write units.
#[track_caller]
fn cost(what: &str, usage: Usage, rounds: u32, read: f64, write: f64) {
    let found = (usage.rounds, usage.read_units, usage.write_units);
    assert_eq!(found, (rounds, read, write), "{what}: rounds, read units, write units");
}

/// What one run of the probe costs. `tests/operations/costs.py` has these numbers.
#[tokio::test]
async fn the_probe() {
    let client = Client::new(support::embedded().await, "veza").await.of("rollcall-probe");
    let nobody = client.get("/Users?filter=userName eq \"nobody@probe.invalid\"").await.expect(200);
    cost("GET", nobody.line.usage, 1, 1.0, 0.0);
    let members: Vec<_> = (0..46).map(|_| json!({ "value": uuid::Uuid::now_v7().to_string() })).collect();
    let refused = client.post("/Groups", json!({ "displayName": "Probe", "members": members })).await;
    cost("POST", refused.expect(400).line.usage, 8, 93.0, 8.0);
}

#[tokio::test]
async fn users() {
    let client = Client::new(support::embedded().await, "standard").await;
    let created = client.post("/Users", user("ann")).await.expect(201);
    cost("create", created.line.usage, 1, 0.0, 12.0);
    let mut other_address = user("other");
    other_address["emails"][0]["value"] = json!("other@mail.example.com");
    let created_other = client.post("/Users", other_address).await.expect(201);
    cost("create with an email that is not the userName", created_other.line.usage, 1, 0.0, 14.0);
    let mut table = client.table.fresh();
    table.email_lookups = EmailLookups::All;
    let all_lookups = Client::new(table, "standard").await;
    let created_with_all = all_lookups.post("/Users", user("all")).await.expect(201);
    cost("create with EmailLookups=all", created_with_all.line.usage, 1, 0.0, 14.0);
    let (id, path) = (created.id(), format!("/Users/{}", created.id()));

    cost("retrieve", client.get(&path).await.expect(200).line.usage, 1, 1.0, 0.0);
    let filters = [
        ("userName eq \"ANN@example.com\"", 2, 2.0),
        ("externalId eq \"ext-ann\"", 2, 2.0),
        // The claim on the userName is read before the look-up.
        ("emails.value eq \"ann@example.com\"", 3, 3.0),
        ("emails.value eq \"other@mail.example.com\"", 3, 3.0),
    ];
    for (filter, rounds, read_units) in filters {
        let found = client.get(&format!("/Users?filter={filter}")).await.expect(200);
        assert_eq!(found.body["totalResults"], 1, "{filter}");
        // The look-up's query is charged half its size, rounded up to one unit.
        cost(filter, found.line.usage, rounds, read_units, 0.0);
    }
    let nobody = client.get("/Users?filter=userName eq \"nobody\"").await.expect(200);
    cost("filter that finds nobody", nobody.line.usage, 1, 1.0, 0.0);
    let nobody = client.get("/Users?filter=emails eq \"nobody@example.com\"").await.expect(200);
    cost("filter by email that finds nobody", nobody.line.usage, 2, 2.0, 0.0);

    let title = json!([{ "op": "replace", "path": "title", "value": "Engineer" }]);
    let patched = client.patch(&path, title.clone()).await.expect(200);
    cost("modify", patched.line.usage, 2, 1.0, 4.0);
    let again = client.patch(&path, title).await.expect(200);
    cost("modify that changes nothing", again.line.usage, 1, 1.0, 0.0);
    let mut replacement = user("ann");
    replacement["title"] = json!("Manager");
    cost("replace", client.put(&path, replacement).await.expect(200).line.usage, 2, 1.0, 4.0);

    let group = client.group("Team", std::slice::from_ref(&id)).await;
    let shown = client.get(&path).await.expect(200);
    assert_eq!(shown.body["groups"][0]["value"], group.as_str());
    cost("retrieve with one group", shown.line.usage, 2, 2.0, 0.0);
    let hidden = client.get(&format!("{path}?excludedAttributes=groups")).await.expect(200);
    cost("retrieve without groups", hidden.line.usage, 1, 1.0, 0.0);

    let rename = json!([{ "op": "replace", "path": "userName", "value": "moved@example.com" }]);
    let moved = client.patch(&format!("/Users/{}", created_other.id()), rename.clone()).await.expect(200);
    cost("rename", moved.line.usage, 2, 1.0, 8.0);
    // The email stays, and the claim no longer finds it: a transaction before writes the look-up.
    let rename = json!([{ "op": "replace", "path": "userName", "value": "renamed@example.com" }]);
    let renamed = client.patch(&format!("/Users/{}", created_with_all.id()), rename).await.expect(200);
    cost("rename that leaves the email", renamed.line.usage, 3, 1.0, 12.0);
}

#[tokio::test]
async fn deleting_a_user_costs_more_where_the_account_is_kept() {
    // With a kept account come its tombstone and its date of erasure.
    for (policy, alone, in_group) in [("standard", 14.0, 18.0), ("veza", 18.0, 22.0)] {
        let client = Client::new(support::embedded().await, policy).await;
        let (leaver, member) = (client.user("leaver").await, client.user("member").await);
        client.group("Team", std::slice::from_ref(&member)).await;
        for (id, units) in [(leaver, alone), (member, in_group)] {
            let deleted = client.delete(&format!("/Users/{id}")).await.expect(204);
            cost(policy, deleted.line.usage, 2, 2.0, units);
        }
    }
}

#[tokio::test]
async fn one_member_costs_the_same_in_a_group_of_any_size() {
    let client = Client::new(support::embedded().await, "standard").await;
    let newcomer = client.user("newcomer").await;
    let mut costs = Vec::new();
    for size in [0, 10, 200] {
        let mut members = Vec::new();
        for n in 0..size {
            members.push(client.user(&format!("m{size}-{n}")).await);
        }
        let group = client.group_by_and_by(&format!("Group {size}"), &members).await;
        let path = format!("/Groups/{group}?excludedAttributes=members");
        let member = json!([{ "value": newcomer }]);
        let add = json!([{ "op": "add", "path": "members", "value": member }]);
        let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{newcomer}\"]") }]);
        // Another function does not know the group: it reads the group and the membership, and of who comes,
        // whether there is such a user. From then on it knows the group.
        let other = Client::new(client.table.clone(), "standard").await;
        for (function, change, rounds, read) in [
            (&client, &add, 1, 0.0),
            (&client, &remove, 1, 0.0),
            (&other, &add, 2, 3.0),
            (&other, &remove, 1, 0.0),
        ] {
            let usage = function.patch(&path, change.clone()).await.expect(200).line.usage;
            cost(&format!("{size} members"), usage, rounds, read, 8.0);
        }
        let other = Client::new(client.table.clone(), "standard").await;
        other.patch(&path, add).await.expect(200);
        let other = Client::new(client.table.clone(), "standard").await;
        let removed = other.patch(&path, remove).await.expect(200).line.usage;
        cost("remove a member of a group that is not known", removed, 2, 2.0, 8.0);
        costs.push(removed);
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "the same at every size: {costs:?}");
}

/// Who holds the names of a Bulk request, and who administers the tenant, is read only where operations could meet them.
#[tokio::test]
async fn a_bulk_request() {
    let client = Client::new(support::embedded().await, "standard").await;
    let ids = [client.user("ann").await, client.user("ben").await];
    let bulk = async |operations: Vec<serde_json::Value>, fail_on_errors: Option<u8>| {
        let urn = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
        let body = json!({ "schemas": [urn], "failOnErrors": fail_on_errors, "Operations": operations });
        client.post("/Bulk", body).await.expect(200).line.usage
    };
    let post = |name: &str| json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": user(name) });
    let put = |id: &str, name: &str| {
        let mut data = user(name);
        data["title"] = name.into();
        json!({ "method": "PUT", "path": format!("/Users/{id}"), "data": data })
    };
    // Operations that run side by side take rounds side by side, which are not counted exactly here.
    let made = bulk(vec![post("eve"), post("fay")], None).await;
    assert_eq!((made.read_units, made.write_units), (0.0, 24.0), "creations");
    let both = || ids.iter().zip(["ann", "ben"]).map(|(id, name)| put(id, name)).collect::<Vec<_>>();
    let changed = bulk(both(), None).await;
    assert_eq!(
        (changed.read_units, changed.write_units),
        (5.0, 8.0),
        "two users, two names, the administrators"
    );
    let one_by_one = bulk(vec![put(&ids[0], "ben")], Some(1)).await;
    assert_eq!(one_by_one.read_units, 1.0, "one by one");
    let alone = bulk(vec![json!({ "method": "DELETE", "path": format!("/Users/{}", ids[1]) })], None).await;
    assert_eq!((alone.read_units, alone.write_units), (2.0, 14.0), "a deletion alone");
}

#[tokio::test]
async fn a_changed_group_is_answered_up_to_100_members() {
    let client = Client::new(support::embedded().await, "standard").await;
    let mut ids = Vec::new();
    for n in 0..102 {
        ids.push(client.user(&format!("u{n}")).await);
    }
    let group = client.group_by_and_by("Team", &ids[..99]).await;
    let path = format!("/Groups/{group}");
    let add = |id: &str| json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    let answered = client.patch(&path, add(&ids[99])).await.expect(200);
    assert_eq!(answered.body["members"].as_array().map(Vec::len), Some(100));
    assert_eq!(answered.line.usage.rounds, 2);
    let silent = client.patch(&path, add(&ids[100])).await.expect(204);
    assert_eq!(silent.line.usage.rounds, 1);
    let asked = client.patch(&format!("{path}?attributes=members"), add(&ids[101])).await.expect(200);
    assert_eq!(asked.body["members"].as_array().map(Vec::len), Some(102));
    // The digest shows that members and group are of one version, so the group is not read again.
    let read = client.get(&path).await.expect(200).line.usage;
    // The pending changes of the tenant, and 102 memberships.
    assert_eq!((read.rounds, read.read_units), (2, 6.0));
    // Some time after its last change, the one question is asked beside the other.
    let key = keys::resource(&client.store().tenant, Kind::Group, group.parse().unwrap());
    let mut item = client.table.get(&key).await.unwrap().expect("the group");
    item.extend([text("modified", "2026-01-01T00:00:00.000Z")]);
    client.table.put(&key, item).await.unwrap();
    let read = client.get(&path).await.expect(200).line.usage;
    assert_eq!((read.rounds, read.read_units), (1, 5.0));
    assert_eq!(client.get(&format!("{path}?excludedAttributes=members")).await.line.usage.rounds, 1);
}

#[tokio::test]
async fn a_page_costs_the_same_wherever_the_walk_stands() {
    let client = Client::new(support::embedded().await, "standard").await;
    for n in 0..450 {
        client.user(&format!("u{n}")).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for start in [1, 101, 201, 301, 401] {
        let page = client.get(&format!("/Users?startIndex={start}&count=100")).await.expect(200);
        assert_eq!(page.body["totalResults"], 450);
        assert_eq!(page.body["startIndex"], start);
        for user in page.body["Resources"].as_array().expect("an array") {
            assert!(seen.insert(user["id"].to_string()), "{start} repeats {}", user["id"]);
        }
        let usage = page.line.usage;
        assert_eq!(usage.rounds, 2, "{start}: {usage:?}");
        assert!(usage.read_units <= 110.0, "{start}: {usage:?}");
        assert!(usage.write_units <= 1.0, "{start}: {usage:?}");
    }
    assert_eq!(seen.len(), 450);
    // A process that did not write the checkpoint reads it first.
    let another = Client::new(client.table.clone(), "standard").await;
    let page = another.get("/Users?startIndex=201&count=100").await.expect(200);
    assert_eq!(page.line.usage.rounds, 3);
    assert!(page.line.usage.read_units <= 110.0, "{:?}", page.line.usage);
    // A checkpoint that another process has written since decides, not the one that this process remembers.
    let deleted = client.get("/Users?count=1").await.expect(200).body["Resources"][0]["id"].clone();
    client.delete(&format!("/Users/{}", deleted.as_str().expect("an id"))).await.expect(204);
    let first = another.get("/Users?count=100").await.expect(200);
    let second = client.get("/Users?startIndex=101&count=100").await.expect(200);
    assert_eq!((second.line.usage.rounds, &second.body["totalResults"]), (3, &json!(449)));
    let mut ids: Vec<&str> = Vec::new();
    for page in [&first, &second] {
        ids.extend(
            page.body["Resources"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()),
        );
    }
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 200, "no user is on both pages");
}

#[tokio::test]
async fn groups() {
    let client = Client::new(support::embedded().await, "standard").await;
    let ids = client.users(0..47).await;
    let member = json!([{ "value": ids[0] }]);
    let made = client.post("/Groups", json!({ "displayName": "Team", "members": member })).await.expect(201);
    cost("create with a member", made.line.usage, 2, 1.0, 14.0);
    let path = format!("/Groups/{}", made.id());
    let values: serde_json::Value = ids[1..46].iter().map(|id| json!({ "value": id })).collect();
    let add = json!([{ "op": "add", "path": "members", "value": values }]);
    let added = client.patch(&path, add.clone()).await.expect(200);
    // The group, 45 memberships, 45 users; and to answer, who is leaving, and the group with its members.
    cost("add 45 members", added.line.usage, 3, 94.0, 186.0);
    let again = client.patch(&path, add).await.expect(200);
    cost("add them again", again.line.usage, 2, 94.0, 0.0);
    // A group among the members is looked for as a user first, unless the client calls it a group.
    let other = client.group("Other", &[]).await;
    let without = format!("{path}?excludedAttributes=members");
    let add = |member| json!([{ "op": "add", "path": "members", "value": [member] }]);
    let called = client.patch(&without, add(json!({ "value": other, "type": "Group" }))).await.expect(200);
    cost("add a group", called.line.usage, 1, 0.0, 8.0);
    let another = client.group("Another", &[]).await;
    let found = client.patch(&without, add(json!({ "value": another }))).await.expect(200);
    // An attempt without a read, and then what it takes where the group is not known.
    cost("add what turns out to be a group", found.line.usage, 4, 4.0, 8.0);
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "Renamed" }]);
    let renamed = client.patch(&without, rename).await.expect(200);
    cost("rename", renamed.line.usage, 2, 1.0, 8.0);
}

/// An item takes two write units for each KB that it begins. A usual change takes less than half of the first.
#[tokio::test]
async fn a_usual_change_in_the_outbox_takes_less_than_512_bytes() {
    let client = Client::new(support::embedded().await, "standard").await;
    let id = client.user("ann").await;
    let title = json!([{ "op": "replace", "path": "title", "value": "Engineer" }]);
    client.patch(&format!("/Users/{id}"), title).await.expect(200);
    let group = client.group("Team", &[]).await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    client.patch(&format!("/Groups/{group}"), add).await.expect(200);
    let items = outbox::list(&client.table, None).await.unwrap();
    let mut sizes = Vec::new();
    for item in &items {
        let size = |value: &AttributeValue| match value {
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            other => panic!("the size of {other:?}"),
        };
        sizes.push(item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>());
    }
    println!("bytes of changes in the outbox: {sizes:?}");
    assert_eq!(sizes.len(), 4);
    assert!(sizes.iter().all(|size| *size < 512), "{sizes:?}");
    support::feed::sequence(&client.table).await;
    let page = client.table.query_all("FEED#0", None).await.unwrap();
    let packed: usize = page.iter().map(|page| page["changes"].as_b().unwrap().as_ref().len()).sum();
    println!("bytes of the page: {packed}");
}

#[tokio::test]
async fn tokens() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    let function = TokenFunction::new(service.table.fresh(), None, TargetRule::PublicOrLoopback).unwrap();
    let (_, line) = function.answer_with_line(secret_request(&record.id, &secret)).await;
    assert_eq!(line.status, 200);
    cost("a token for a secret", line.usage, 2, 1.0, 2.0);
    let (_, line) = function.answer_with_line(secret_request(&record.id, "rcs_x")).await;
    cost("a wrong secret", line.usage, 1, 1.0, 0.0);
    let token = service.ask_with_secret(&record.id, &secret).await.token();
    let table = service.table.fresh();
    authorize(&table, &format!("Bearer {token}"), time::OffsetDateTime::now_utc()).await.unwrap();
    cost("the check of a token", table.usage(), 2, 3.0, 0.0);
    let signer = Signer::ec("key");
    let issuer = Issuer::start(&[&signer]).await;
    let federation = Federation {
        issuer: "issuer".to_owned(),
        subject: "subject".to_owned(),
        audience: "audience".to_owned(),
        jwks_url: issuer.jwks_url,
        directory: None,
    };
    let record = federated(&service.table, "acme", federation).await;
    let mut claims = json!({
        "iss": "issuer", "sub": "subject", "aud": "audience", "exp": rollcall::clock::epoch_seconds() + 600,
    });
    let (_, line) = function.answer_with_line(assertion_request(&record.id, &signer.jwt(&claims))).await;
    assert_eq!(line.status, 200);
    cost("a token for an assertion without jti", line.usage, 2, 1.0, 2.0);
    claims["jti"] = json!("1");
    let (_, line) = function.answer_with_line(assertion_request(&record.id, &signer.jwt(&claims))).await;
    assert_eq!(line.status, 200);
    cost("a token for an assertion with an id", line.usage, 2, 1.0, 4.0);
}

#[tokio::test]
async fn deactivations() {
    let client = Client::new(support::embedded().await, "veza").await;
    let id = client.user("ann").await;
    let asleep = json!([{ "op": "replace", "path": "active", "value": false }]);
    let done = client.patch(&format!("/Users/{id}"), asleep).await.expect(200);
    cost("deactivate", done.line.usage, 2, 1.0, 6.0);
}
