//! What only the operator may do: decide which keys there are, who administers a tenant, and when an
//! account is erased.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::admin::check::report::Problem;
use rollcall::admin::group::{Assignment, assign};
use rollcall::admin::key::{self, NewKey};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::user;
use rollcall::auth::key_use::mark_used;
use rollcall::auth::record::{KeyRecord, Scope, Status};
use rollcall::clock;
use rollcall::scim::policy::Policy;
use rollcall::store::call::{ScanPage, ScanSegment, Table};
use rollcall::store::item::{get_number, number, text};
use rollcall::store::keys::{self, TenantId};
use rollcall::store::worker;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support;
use crate::support::client::{self, Client, Reply};
use crate::support::{assert_consistent, check, embedded};

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

async fn tenant_of(policy: &'static str) -> Client {
    let table = embedded().await;
    let new = NewTenant::new(&acme(), Policy::named(policy).unwrap(), &"u".repeat(40));
    tenant::create(&table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    Client::new(table, policy).await
}

async fn make_key(table: &Table, tenant: &str) -> KeyRecord {
    let new = NewKey {
        tenant: tenant.parse().unwrap(),
        name: "Okta".to_owned(),
        scope: Scope::Provision,
        expires: None,
        user: None,
    };
    key::create(table, new, OffsetDateTime::now_utc()).await.expect("a key").1
}

async fn status(table: &Table, record: &KeyRecord) -> Status {
    let item = table.get(&keys::bearer(record.hash.as_str())).await.unwrap().expect("the key");
    KeyRecord::from_item(&item).unwrap().status
}

async fn revoke(table: &Table, key_id: &str) -> Result<bool, String> {
    let revoked = key::revoke(table, &acme(), key_id, OffsetDateTime::now_utc()).await;
    revoked.map_err(|error| error.to_string())
}

/// Everything that the function which serves SCIM can write is below `T#` and `WORK#`.
#[tokio::test]
async fn nothing_that_the_function_can_write_decides_what_is_revoked() {
    let client = tenant_of("veza").await;
    let table = &client.table;
    let new = NewTenant::new(&"other".parse().unwrap(), Policy::named("veza").unwrap(), &"v".repeat(40));
    tenant::create(table, &new, OffsetDateTime::now_utc()).await.unwrap();
    let (leaked, good, foreign) =
        (make_key(table, "acme").await, make_key(table, "acme").await, make_key(table, "other").await);
    // An attacker in the function changes the leaked key's entry so that it leads to another key, as version 0.1.0
    // allowed. The attacker also makes entries of keys that do not exist.
    for (id, hash) in [(&leaked.key_id, &good.hash), (&good.key_id, &foreign.hash)] {
        let forged = [text("hash", hash.as_str()), text("name", "x"), text("lastUsed", "2026-01-01")];
        table.put(&keys::bearer_use(&acme(), id), forged.into()).await.unwrap();
    }
    let forged = [text("hash", foreign.hash.as_str()), text("name", "x")];
    table.put(&keys::bearer_use(&acme(), "key_madeUp"), forged.into()).await.unwrap();
    // A malformed hash is no obstacle either.
    for (id, hash) in [("x", "f".repeat(3_000)), (&good.key_id, String::new()), ("key_none", "g".repeat(64))]
    {
        table.put(&keys::bearer_use(&acme(), id), [text("hash", &hash)].into()).await.unwrap();
    }
    let listed = key::list(table, &acme()).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(revoke(table, "key_madeUp").await.unwrap_err().contains("has no key"));
    assert_eq!(revoke(table, &leaked.key_id).await, Ok(true));
    assert_eq!(status(table, &leaked).await, Status::Revoked);
    assert_eq!((status(table, &good).await, status(table, &foreign).await), (Status::Active, Status::Active));
    // Nor can it make a key that cannot be revoked, by taking everything away that it can.
    table.batch_delete([keys::bearer_use(&acme(), &good.key_id)]).await.unwrap();
    assert_eq!(revoke(table, &good.key_id).await, Ok(true));
    assert_eq!(revoke(table, &good.key_id).await, Ok(false), "it is revoked already");
}

#[tokio::test]
async fn an_entry_that_leads_to_another_key_is_not_followed() {
    let client = tenant_of("veza").await;
    let table = &client.table;
    let (one, two) = (make_key(table, "acme").await, make_key(table, "acme").await);
    let wrong = [text("hash", two.hash.as_str()), text("name", "x")];
    table.put(&keys::bearer_listing(&acme(), &one.key_id), wrong.into()).await.unwrap();
    assert!(revoke(table, &one.key_id).await.unwrap_err().contains("another key"));
    assert_eq!(status(table, &two).await, Status::Active);
}

#[tokio::test]
async fn the_day_of_a_keys_use_is_told_and_keys_of_the_old_list_are_found() {
    let client = tenant_of("veza").await;
    let table = &client.table;
    let (old, new) = (make_key(table, "acme").await, make_key(table, "acme").await);
    // As version 0.1.0 had it.
    table.batch_delete([keys::bearer_listing(&acme(), &old.key_id)]).await.unwrap();
    let entry = [text("hash", old.hash.as_str()), text("name", "Okta"), text("lastUsed", "2026-01-02")];
    table.put(&keys::bearer_use(&acme(), &old.key_id), entry.into()).await.unwrap();
    for day in ["2026-03-01", "2026-02-01"] {
        mark_used(table, &keys::bearer_use(&acme(), &new.key_id), day).await.unwrap();
    }
    let used = |keys: &[key::ListedKey], id: &str| {
        keys.iter().find(|key| key.record.key_id == id).expect("the key").last_used.clone()
    };
    for _ in 0..2 {
        let listed = key::list(table, &acme()).await.unwrap();
        assert_eq!(used(&listed, &old.key_id).as_deref(), Some("2026-01-02"));
        assert_eq!(used(&listed, &new.key_id).as_deref(), Some("2026-03-01"));
    }
    assert_eq!(revoke(table, &old.key_id).await, Ok(true));
    // A key whose entry is gone altogether is found by the checker.
    table.batch_delete([keys::bearer_listing(&acme(), &new.key_id)]).await.unwrap();
    assert!(revoke(table, &new.key_id).await.is_err());
    let report = check(&client, true).await;
    assert_eq!(report.repaired.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::KeyUnlisted]);
    assert_eq!(revoke(table, &new.key_id).await, Ok(true));
}

fn op(op: &str, path: &str, value: Value) -> Value {
    json!([{ "op": op, "path": path, "value": value }])
}

fn is_refused(reply: &Reply) {
    let detail = reply.body["detail"].as_str().unwrap_or_default();
    assert_eq!((reply.status, &reply.body["scimType"]), (400, &json!("mutability")), "{}", reply.body);
    assert!(detail.contains("--protect-root-team"), "{detail}");
}

#[tokio::test]
async fn a_protected_root_team_is_out_of_the_identity_providers_reach() {
    for policy in ["veza", "standard"] {
        let open = tenant_of(policy).await;
        let client = open.protected();
        let users = client.get("/Users").await.expect(200).body;
        let break_glass = users["Resources"][0]["id"].as_str().unwrap().to_owned();
        let root =
            client.get("/Groups").await.expect(200).body["Resources"][0]["id"].as_str().unwrap().to_owned();
        let (ann, bob) = (client.user("ann").await, client.user("bob").await);
        let granting = client.group("Granting", std::slice::from_ref(&ann)).await;
        let wanted = Assignment {
            tenant: acme(),
            group: granting.parse().unwrap(),
            team: Some("root".to_owned()),
            role: "admin".to_owned(),
        };
        assign(&open.table, &wanted, true).await.expect("the operator may");
        let of = |kind: &str, id: &str| format!("/{kind}/{id}");
        let add_bob = op("add", "members", json!([{ "value": bob }]));
        // Who administers it, through any group.
        for group in [&root, &granting] {
            is_refused(&client.patch(&of("Groups", group), add_bob.clone()).await);
            is_refused(
                &client.patch(&of("Groups", group), json!([{ "op": "remove", "path": "members" }])).await,
            );
            let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "New",
                "members": [{ "value": bob }] });
            is_refused(&client.put(&of("Groups", group), body).await);
        }
        is_refused(&client.delete(&of("Groups", &granting)).await);
        // An administrator: gone, asleep, or another person.
        is_refused(&client.delete(&of("Users", &ann)).await);
        is_refused(&client.patch(&of("Users", &ann), op("replace", "active", json!(false))).await);
        let name = op("replace", "userName", json!("eve@example.com"));
        is_refused(&client.patch(&of("Users", &ann), name).await);
        is_refused(&client.patch(&of("Users", &ann), op("replace", "externalId", json!("eve"))).await);
        let mut body = client::user("ann");
        body["emails"] =
            json!([{ "value": "ann@example.com", "primary": true }, { "value": "eve@example.com" }]);
        is_refused(&client.put(&of("Users", &ann), body).await);
        // The break-glass account, in nothing.
        is_refused(&client.patch(&of("Users", &break_glass), op("replace", "title", json!("t"))).await);
        is_refused(&client.patch(&of("Users", &break_glass), op("replace", "active", json!(true))).await);
        is_refused(&client.delete(&of("Users", &break_glass)).await);
        // Bulk is a door as well.
        let bulk = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [{ "method": "DELETE", "path": format!("/Users/{ann}") }],
        });
        let reply = client.post("/Bulk", bulk).await.expect(200);
        assert_eq!(reply.body["Operations"][0]["status"], "400");
        // Everything else goes on as before.
        client.patch(&of("Users", &ann), op("replace", "title", json!("t"))).await.expect(200);
        client.patch(&of("Groups", &root), op("replace", "displayName", json!("Core"))).await.expect(200);
        client.delete(&of("Users", &bob)).await.expect(204);
        assign(&open.table, &wanted, false).await.expect("the operator may");
        client.delete(&of("Groups", &granting)).await.expect(204);
        client.patch(&of("Users", &ann), op("replace", "externalId", json!("a"))).await.expect(200);
        assert_consistent(&client).await;
        // Without the setting the same key may, but for the last administrator.
        open.patch(&of("Users", &ann), op("replace", "active", json!(false))).await.expect(200);
    }
}

/// The tombstones of a tenant, by id.
async fn tombstone(table: &Table, id: &str) -> rollcall::store::item::Item {
    table.get(&keys::tombstone(&acme(), id.parse().unwrap())).await.unwrap().expect("a tombstone")
}

async fn purged_events(table: &Table) -> Vec<(String, u64, String)> {
    let changes = support::feed::changes_of(table, "acme").await;
    let purged = changes.iter().filter(|change| change["type"] == "user.purged");
    let text =
        |change: &serde_json::Map<String, Value>, name: &str| change[name].as_str().unwrap().to_owned();
    let told =
        |change| (text(change, "resourceId"), change["version"].as_u64().unwrap(), text(change, "actor"));
    purged.map(told).collect()
}

/// No item of the table, keys and values, has this text in it.
async fn assert_nowhere(table: &Table, words: &str) {
    let ScanPage { found: items, .. } =
        table.scan_items(&["T#", "WORK#"], None, ScanSegment::WHOLE, None).await.unwrap();
    assert!(!format!("{items:?}").contains(words), "{words} is still there");
}

#[tokio::test]
async fn a_deactivated_account_is_erased_when_the_operator_says_so() {
    let client = tenant_of("veza").await;
    let table = client.table.clone();
    let ann = client.user("ann-the-leaver").await;
    client.delete(&format!("/Users/{ann}")).await.expect(204);
    assert!(user::purge(&table, &acme(), uuid::Uuid::now_v7()).await.is_err(), "there is none");
    user::purge(&table, &acme(), ann.parse().unwrap()).await.expect("an account");
    assert_nowhere(&table, "ann-the-leaver").await;
    let left = tombstone(&table, &ann).await;
    let mut names: Vec<&str> = left.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["pk", "purged", "sk", "ver"], "a tombstone without personal data");
    assert_eq!(purged_events(&table).await, [(ann.clone(), 3, "operator".to_owned())]);
    assert!(user::purge(&table, &acme(), ann.parse().unwrap()).await.is_err(), "it is erased already");
    assert!(user::restore(&table, &acme(), ann.parse().unwrap(), None).await.is_err());
    assert!(user::list_deactivated(&table, &acme()).await.unwrap().is_empty());
    let next = client.user("ann-the-leaver").await;
    assert_ne!(next, ann, "another person, perhaps");
    client.get(&format!("/Users/{ann}")).await.expect(404);
    assert_consistent(&client).await;
    assert_eq!(worker::round(&table).await.unwrap().purged, 0);
}

/// Lets the time of a deactivated account pass: what is stored says that it has.
async fn let_pass(table: &Table, id: &str) {
    let id = id.parse().unwrap();
    let key = keys::tombstone(&acme(), id);
    let mut item = table.get(&key).await.unwrap().expect("a tombstone");
    let until: u64 = get_number(&item, "keptUntil").unwrap();
    assert!((29 * 86_400..=30 * 86_400).contains(&(until - clock::epoch_seconds())), "thirty days");
    let past = clock::epoch_seconds() - 1;
    item.extend([number("keptUntil", past)]);
    table.put(&key, item).await.unwrap();
    table.batch_delete([keys::expiry(&acme(), until, id)]).await.unwrap();
    table.put(&keys::expiry(&acme(), past, id), Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_deactivated_account_is_erased_when_its_retention_ends() {
    let client = tenant_of("veza").await;
    let table = client.table.clone();
    let (gone, kept, back, taken) = (
        client.user("gone-for-good").await,
        client.user("kept").await,
        client.user("back").await,
        client.user("taken").await,
    );
    for id in [&gone, &kept, &back, &taken] {
        client.delete(&format!("/Users/{id}")).await.expect(204);
    }
    assert_eq!(client.user("back").await, back);
    let_pass(&table, &gone).await;
    let_pass(&table, &taken).await;
    // Its time has passed: the name is free before anything is erased.
    let heir = client.user("taken").await;
    assert_ne!(heir, taken);
    let report = worker::round(&table).await.unwrap();
    assert_eq!((report.purged, report.failures), (2, vec![]));
    assert_nowhere(&table, "gone-for-good").await;
    let mut purged = purged_events(&table).await;
    purged.sort();
    let mut expected = vec![(gone.clone(), 3, "worker".to_owned()), (taken.clone(), 3, "worker".to_owned())];
    expected.sort();
    assert_eq!(purged, expected);
    assert_eq!(client.get(&format!("/Users/{heir}")).await.expect(200).body["userName"], "taken@example.com");
    assert_eq!(client.user("kept").await, kept, "it comes back as long as it is kept");
    assert_eq!(worker::round(&table).await.unwrap().purged, 0);
    assert_consistent(&client).await;
}

#[tokio::test]
async fn the_checker_sees_to_it_that_every_account_is_erased() {
    let client = tenant_of("veza").await;
    let table = client.table.clone();
    let ann = client.user("ann").await;
    client.delete(&format!("/Users/{ann}")).await.expect(204);
    // As version 0.1.0 kept it: the table removed it, without an event.
    let id = ann.parse().unwrap();
    let key = keys::tombstone(&acme(), id);
    let mut item = tombstone(&table, &ann).await;
    let until = item.remove("keptUntil").expect("a time");
    let AttributeValue::N(seconds) = &until else { panic!("{until:?}") };
    table.batch_delete([keys::expiry(&acme(), seconds.parse().unwrap(), id)]).await.unwrap();
    item.insert("ttl".to_owned(), until.clone());
    table.put(&key, item).await.unwrap();
    let report = check(&client, true).await;
    assert_eq!(report.repaired.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::NoExpiry]);
    let item = tombstone(&table, &ann).await;
    assert_eq!((item.get("keptUntil"), item.get("ttl")), (Some(&until), None));
    assert_consistent(&client).await;
    assert_eq!(client.user("ann").await, ann);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_keeps_no_other_from_being_erased() {
    let client = tenant_of("veza").await;
    let table = client.table.clone();
    let (broken, good) = (client.user("broken").await, client.user("good").await);
    for id in [&broken, &good] {
        client.delete(&format!("/Users/{id}")).await.expect(204);
        let_pass(&table, id).await;
    }
    let mut item = tombstone(&table, &broken).await;
    item.extend([text("doc", "{")]);
    table.put(&keys::tombstone(&acme(), broken.parse().unwrap()), item).await.unwrap();
    let report = worker::round(&table).await.unwrap();
    assert_eq!((report.purged, report.failures.len()), (1, 1), "{:?}", report.failures);
    assert!(tombstone(&table, &good).await.contains_key("purged"));
}
