//! A function writes a change of a few members without a read of a group that it knows. What it knows may be
//! wrong in every way: then the answer and the table are as if it had read the group.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rollcall::scim::resource_type::Kind;
use rollcall::store::item::{Item, get_number, get_set, text};
use rollcall::store::keys;

use rollcall::store::membership::{Membership, move_members_in};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support;
use crate::support::client::{Client, Reply};
use crate::support::faults::{Fate, Proxy};
use crate::support::torn::Tearing;

fn add(id: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])
}

fn remove(id: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])
}

fn path(group: &str) -> String {
    format!("/Groups/{group}?excludedAttributes=members")
}

/// Rounds, calls and read units of a request.
fn cost(reply: &Reply) -> (u32, u32, f64) {
    (reply.line.usage.rounds, reply.line.usage.calls, reply.line.usage.read_units)
}

const UNREAD: (u32, u32, f64) = (1, 1, 0.0);

/// Two functions over one table, and a group that the first one knows, with the members that it has.
struct Scene {
    knowing: Client,
    other: Client,
    group: String,
    users: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let knowing = Client::new(support::embedded().await, "standard").await;
        let other = Client::new(knowing.table.clone(), "standard").await;
        let users = knowing.users(0..6).await;
        let group = knowing.group("Team", &users[..2]).await;
        let scene = Self { knowing, other, group, users };
        let first = scene.knowing.patch(&path(&scene.group), add(&scene.users[2])).await.expect(200);
        assert_eq!(cost(&first), UNREAD, "the group is known");
        scene
    }

    async fn change(&self, operations: Value) -> Reply {
        self.knowing.patch(&path(&self.group), operations).await
    }

    /// The same change, by a function that knows nothing.
    async fn change_by_other(&self, operations: Value) -> Reply {
        self.other.patch(&path(&self.group), operations).await
    }

    async fn version(&self) -> u64 {
        let tenant = &self.knowing.store().tenant;
        let key = keys::resource(tenant, Kind::Group, self.group.parse().unwrap());
        get_number(&self.knowing.table.get(&key).await.unwrap().expect("the group"), "ver").unwrap()
    }
}

/// What a client sees of a reply, without times.
fn shown(mut reply: Reply) -> (u16, Option<String>, Value) {
    if let Some(meta) = reply.body.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("lastModified");
    }
    let etag = reply.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    (reply.status, etag, reply.body)
}

#[tokio::test]
async fn the_answer_is_that_of_the_group_as_it_is() {
    let scene = Scene::new().await;
    let members = [json!({ "value": scene.users[3], "display": "Dan" }), json!({ "value": scene.users[4] })];
    let both = json!([
        { "op": "Add", "path": "members", "value": members },
        { "op": "remove", "path": "members", "value": [{ "value": scene.users[0] }] },
    ]);
    let reply = scene.change(both).await.expect(200);
    assert_eq!(cost(&reply), UNREAD);
    assert_eq!(reply.headers["etag"], "W/\"3\"");
    let read = scene.other.get(&path(&scene.group)).await.expect(200);
    assert_eq!((reply.headers["etag"].clone(), &reply.body), (read.headers["etag"].clone(), &read.body));
    let whole = scene.other.get(&format!("/Groups/{}", scene.group)).await.expect(200);
    let ids: Vec<&str> =
        whole.body["members"].as_array().unwrap().iter().map(|m| m["value"].as_str().unwrap()).collect();
    assert_eq!(ids, scene.users[1..5].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(whole.body["members"][2]["display"], "Dan");
    support::assert_consistent(&scene.knowing).await;
}

#[tokio::test]
async fn bulk_and_one_object_take_the_same_way() {
    let scene = Scene::new().await;
    let one = json!([{ "op": "Add", "path": "members", "value": { "value": scene.users[3] } }]);
    assert_eq!(cost(&scene.change(one).await.expect(200)), UNREAD);
    let data = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": add(&scene.users[4])
    });
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{ "method": "PATCH", "path": format!("/Groups/{}", scene.group), "data": data }]
    });
    let reply = scene.knowing.post("/Bulk", bulk).await.expect(200);
    assert_eq!(reply.body["Operations"][0]["status"], "200", "{}", reply.body);
    assert_eq!(reply.line.usage.write_units, 8.0);
    assert_eq!(scene.version().await, 4);
    support::assert_consistent(&scene.knowing).await;
}

/// Each change is sent to a function that knows the group, and to one over a twin that does not.
#[tokio::test]
async fn what_cannot_be_written_is_answered_as_after_a_read() {
    let nobody = Uuid::now_v7().to_string();
    let cases = |users: &[String]| {
        vec![
            ("there already", add(&users[1])),
            ("not there", remove(&users[5])),
            (
                "some there",
                json!([{ "op": "add", "path": "members",
                "value": [{ "value": users[1] }, { "value": users[5] }] }]),
            ),
            (
                "unknown members",
                json!([{ "op": "add", "path": "members",
                "value": [{ "value": nobody }, { "value": users[5] }, { "value": "no id" }] }]),
            ),
            (
                "unknown member",
                json!([{ "op": "add", "path": "members",
                "value": [{ "value": nobody }, { "value": users[5] }] }]),
            ),
            (
                "added and removed",
                json!([
                { "op": "add", "path": "members", "value": [{ "value": users[5] }] },
                { "op": "remove", "path": "members", "value": [{ "value": users[5] }] }]),
            ),
            (
                "of another type",
                json!([{ "op": "add", "path": "members",
                "value": [{ "value": users[5], "type": "Group" }] }]),
            ),
            ("a filter", json!([{ "op": "remove", "path": "members[value sw \"0\"]" }])),
        ]
    };
    let count = cases(&vec![String::new(); 6]).len();
    for at in 0..count {
        let scene = Scene::new().await;
        let (what, change) = cases(&scene.users).swap_remove(at);
        let twin = Scene { knowing: scene.other.clone(), ..Scene::new().await };
        // The twin has other ids, so they are replaced in its answer.
        let (what_twin, change_of_twin) = cases(&twin.users).swap_remove(at);
        assert_eq!(what, what_twin);
        let fresh = Client::new(twin.other.table.clone(), "standard").await;
        let expected = shown(fresh.patch(&path(&twin.group), change_of_twin).await);
        let found = shown(scene.change(change).await);
        let mut text = serde_json::to_string(&(expected.0, &expected.1, &expected.2)).unwrap();
        for (of_twin, own) in twin.users.iter().zip(&scene.users).chain([(&twin.group, &scene.group)]) {
            text = text.replace(of_twin.as_str(), own);
        }
        let mut found = serde_json::to_value(&found).unwrap();
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        for answer in [&mut found, &mut expected] {
            if let Some(meta) = answer[2]["meta"].as_object_mut() {
                meta.remove("created");
            }
        }
        assert_eq!(found, expected, "{what}");
        support::assert_consistent(&scene.knowing).await;
    }
}

#[tokio::test]
async fn a_change_of_nothing_has_no_version_and_no_event() {
    let scene = Scene::new().await;
    let outbox = |scene: &Scene| {
        let (table, tenant) = (scene.knowing.table.fresh(), scene.knowing.store().tenant);
        async move { rollcall::store::feed::outbox::list(&table, Some(&tenant)).await.unwrap().len() }
    };
    let before = (scene.version().await, outbox(&scene).await);
    let again = scene.change(add(&scene.users[1])).await.expect(200);
    assert_eq!(again.headers["etag"], format!("W/\"{}\"", before.0));
    assert_eq!(again.line.usage.write_units, 0.0);
    // After that, another change of nothing costs only the read.
    let again = scene.change(add(&scene.users[1])).await.expect(200);
    assert_eq!(cost(&again), (1, 1, 3.0));
    assert_eq!((scene.version().await, outbox(&scene).await), before);
}

#[tokio::test]
async fn changes_of_another_function_cost_a_read() {
    let scene = Scene::new().await;
    scene
        .change_by_other(json!([{ "op": "replace", "path": "displayName", "value": "Renamed" }]))
        .await
        .expect(200);
    let reply = scene.change(add(&scene.users[3])).await.expect(200);
    assert_eq!(
        (&reply.body["displayName"], &reply.body["meta"]["version"]),
        (&json!("Renamed"), &json!("W/\"4\""))
    );
    // The attempt, the group alone, and the change.
    assert_eq!(cost(&reply), (3, 3, 1.0));
    // A group that others change is read first.
    scene.change_by_other(add(&scene.users[4])).await.expect(200);
    let reply = scene.change(remove(&scene.users[3])).await.expect(200);
    assert_eq!(cost(&reply), (2, 2, 2.0));
    support::assert_consistent(&scene.knowing).await;
}

#[tokio::test]
async fn if_match_is_checked_against_the_group_as_it_is() {
    let scene = Scene::new().await;
    let body = |id: &str| {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
        Some(json!({ "schemas": schemas, "Operations": add(id) }))
    };
    let send = async |id: &str, tag: &str| {
        scene.knowing.send("PATCH", &path(&scene.group), body(id), &[("If-Match", tag)]).await
    };
    send(&scene.users[3], "W/\"1\"").await.expect(412);
    assert_eq!(cost(&send(&scene.users[3], "W/\"2\"").await.expect(200)), UNREAD);
    // The version that the function knows is another one than the group has.
    scene.change_by_other(add(&scene.users[4])).await.expect(200);
    send(&scene.users[5], "W/\"3\"").await.expect(412);
    let reply = send(&scene.users[5], "W/\"4\"").await.expect(200);
    assert_eq!(reply.headers["etag"], "W/\"5\"");
}

#[tokio::test]
async fn a_group_or_tenant_that_is_deleted_is_not_found() {
    let scene = Scene::new().await;
    scene.other.delete(&format!("/Groups/{}", scene.group)).await.expect(204);
    scene.change(add(&scene.users[3])).await.expect(404);
    scene.change(add(&scene.users[3])).await.expect(404);
    // What is known of a tenant's group is nothing to another tenant.
    let scene = Scene::new().await;
    scene.knowing.of("other").patch(&path(&scene.group), add(&scene.users[3])).await.expect(404);
    support::assert_consistent(&scene.knowing).await;
}

/// A tenant that is deleted and made again may get a group in a version that the function knows, from a file.
#[tokio::test]
async fn the_same_version_of_another_group_is_told_apart() {
    let scene = Scene::new().await;
    let tenant = scene.knowing.store().tenant;
    let key = keys::resource(&tenant, Kind::Group, scene.group.parse().unwrap());
    let mut item = scene.knowing.table.get(&key).await.unwrap().expect("the group");
    item.extend(Item::from([
        text("doc", "{\"displayName\":\"Another\"}"),
        text("modified", "2026-01-01T00:00:00.000Z"),
    ]));
    scene.knowing.table.put(&key, item).await.unwrap();
    let reply = scene.change(add(&scene.users[3])).await.expect(200);
    assert_eq!(reply.body["displayName"], "Another");
    // Members that are moved in keep the version.
    let group =
        scene.knowing.store().fetch(Kind::Group, scene.group.parse().unwrap()).await.unwrap().unwrap();
    let moved = Membership { id: scene.users[4].parse().unwrap(), kind: Kind::User, display: None };
    let actions = || move_members_in(&tenant, &group, std::slice::from_ref(&moved));
    scene.knowing.table.fresh().transact(actions).await.unwrap();
    scene.change(add(&scene.users[5])).await.expect(200);
    let whole = scene.other.get(&format!("/Groups/{}", scene.group)).await.expect(200);
    assert_eq!(whole.body["members"].as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn the_limit_of_groups_is_a_condition() {
    let scene = Scene::new().await;
    let tenant = scene.knowing.store().tenant;
    let key = keys::resource(&tenant, Kind::User, scene.users[3].parse().unwrap());
    let mut item = scene.knowing.table.get(&key).await.unwrap().expect("the user");
    let fill = |count: usize| {
        aws_sdk_dynamodb::types::AttributeValue::Ss((0..count).map(|_| Uuid::now_v7().to_string()).collect())
    };
    item.insert("groups".to_owned(), fill(1_000));
    scene.knowing.table.put(&key, item.clone()).await.unwrap();
    let refused = scene.change(add(&scene.users[3])).await.expect(400);
    assert!(
        refused.body["detail"].as_str().unwrap().contains("is in 1000 groups already"),
        "{}",
        refused.body
    );
    item.insert("groups".to_owned(), fill(999));
    scene.knowing.table.put(&key, item).await.unwrap();
    scene.change(add(&scene.users[3])).await.expect(200);
    let item = scene.knowing.table.get(&key).await.unwrap().expect("the user");
    assert_eq!(get_set(&item, "groups").len(), 1_000);
}

#[tokio::test]
async fn a_group_with_a_pending_change_is_read() {
    let scene = Scene::new().await;
    let many = scene.other.users(100..150).await;
    let values: Value = many.iter().map(|id| json!({ "value": id })).collect();
    scene.change_by_other(json!([{ "op": "add", "path": "members", "value": values }])).await.expect(200);
    let reply = scene.change(remove(&many[0])).await.expect(200);
    assert_eq!(reply.headers["etag"], "W/\"4\"");
    let own: Value = many[..46].iter().map(|id| json!({ "value": id })).collect();
    scene.change(json!([{ "op": "remove", "path": "members", "value": own }])).await.expect(200);
    scene.change(add(&many[0])).await.expect(200);
    let whole = scene.other.get(&format!("/Groups/{}", scene.group)).await.expect(200);
    assert_eq!(whole.body["members"].as_array().map(Vec::len), Some(3 + 50 - 46 + 1));
    support::work(&scene.knowing).await;
    support::assert_consistent(&scene.knowing).await;
}

#[tokio::test]
async fn a_group_that_the_admin_guard_knows_is_read() {
    let scene = Scene::new().await;
    let tenant = scene.knowing.store().tenant;
    let key = keys::resource(&tenant, Kind::Group, scene.group.parse().unwrap());
    let mut item = scene.knowing.table.get(&key).await.unwrap().expect("the group");
    item.insert("guarded".to_owned(), aws_sdk_dynamodb::types::AttributeValue::Bool(true));
    scene.knowing.table.put(&key, item).await.unwrap();
    for user in &scene.users[3..5] {
        let reply = scene.change(add(user)).await.expect(200);
        assert!(reply.line.usage.read_units > 1.0, "the group and its guard: {:?}", reply.line.usage);
    }
}

/// The answer of the table is lost, or nothing arrives, at the first call or at every call.
#[tokio::test]
async fn a_lost_answer_is_found_out() {
    for fate in [Fate::Lost, Fate::Unanswered, Fate::Failed, Fate::DoneButDenied] {
        for every in [false, true] {
            let embedded = support::serve().await;
            let proxy = Proxy::before(&embedded.endpoint).await;
            let table = rollcall::store::call::Table::new(support::client(&proxy.endpoint), support::TABLE);
            let client = Client::new(table, "standard").await;
            let honest = Client::new(embedded.table.clone(), "standard").await;
            let ann = honest.user("ann").await;
            let group = client.group("Team", &[]).await;
            let lost = AtomicUsize::new(0);
            proxy.decide(move |call| {
                let is_lost = call.operation == "TransactWriteItems"
                    && (every || lost.fetch_add(1, Ordering::SeqCst) == 0);
                if is_lost { fate } else { Fate::Pass }
            });
            let reply = client.patch(&path(&group), add(&ann)).await;
            proxy.decide(|_| Fate::Pass);
            let members = honest.get(&format!("/Groups/{group}")).await.expect(200);
            let is_member = members.body["members"][0]["value"] == ann.as_str();
            assert_eq!(reply.status == 200, is_member, "{fate:?} {every}: {} {}", reply.status, reply.body);
            assert_eq!(members.headers["etag"], if is_member { "W/\"2\"" } else { "W/\"1\"" });
            // The client sends it again.
            let again = client.patch(&path(&group), add(&ann)).await.expect(200);
            assert_eq!(again.headers["etag"], "W/\"2\"", "{fate:?} {every}");
            support::assert_consistent(&honest).await;
        }
    }
}

/// Adds the users to the group, each function a part of them. Returns the calls to the table for each member.
async fn add_at_once(functions: &[Client], group: &str, users: &[String]) -> f64 {
    let mut tasks = JoinSet::new();
    for (some, client) in users.chunks(users.len().div_ceil(functions.len())).zip(functions) {
        let (client, path, some) = (client.clone(), path(group), some.to_vec());
        tasks.spawn(async move {
            let mut calls = 0;
            for user in some {
                // Who lost too often is told so, and sends the request again, as clients do.
                loop {
                    let reply = client.patch(&path, add(&user)).await;
                    calls += reply.line.usage.calls;
                    if reply.status != 409 {
                        reply.expect(200);
                        break;
                    }
                }
            }
            calls
        });
    }
    f64::from(tasks.join_all().await.into_iter().sum::<u32>()) / users.len() as f64
}

/// What 16 clients do to one group: in turn where they share a function, and with cheap attempts where not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_do_not_hold_each_other_up() {
    let embedded = support::serve_torn(None).await;
    let client = Client::new(embedded.table.clone(), "standard").await;
    let users = client.users(0..64).await;
    let groups = [client.group("One", &[]).await, client.group("Many", &[]).await];
    let mut functions = Vec::new();
    for _ in 0..16 {
        functions.push(Client::new(embedded.table.clone(), "standard").await);
    }
    embedded.tear(Tearing::short(1)).await;
    let torn = embedded.torn.clone().expect("a layer");
    let calls = add_at_once(&vec![client.clone(); 16], &groups[0], &users).await;
    assert_eq!((calls, torn.conflicts()), (1.0, 0), "one call for each member, and no conflict");
    let calls = add_at_once(&functions, &groups[1], &users).await;
    // On a quiet machine it is four or five. It is more where transactions take longer than the pauses, as on a machine
    // with ten times the work that it can do.
    assert!(calls < 40.0, "{calls} calls for each member, {} conflicts", torn.conflicts());
    torn.settled().await;
    for group in &groups {
        let group = client.get(&format!("/Groups/{group}")).await.expect(200);
        assert_eq!(
            (group.body["members"].as_array().map(Vec::len), &group.headers["etag"]),
            (Some(64), &"W/\"65\"".parse().unwrap())
        );
    }
    support::assert_consistent(&client).await;
}

/// A transaction that met another one is not sent again as it is: the group alone is read, after a pause.
#[tokio::test]
async fn a_conflict_costs_one_read_unit() {
    let embedded = support::serve().await;
    let proxy = Proxy::before(&embedded.endpoint).await;
    let table = rollcall::store::call::Table::new(support::client(&proxy.endpoint), support::TABLE);
    let client = Client::new(table, "standard").await;
    let ann = client.user("ann").await;
    let group = client.group("Team", &[]).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let left = AtomicUsize::new(3);
    proxy.decide(move |call| {
        seen.lock().unwrap().push(call.operation.clone());
        let is_met = call.operation == "TransactWriteItems"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_met { Fate::Conflict } else { Fate::Pass }
    });
    let reply = client.patch(&path(&group), add(&ann)).await.expect(200);
    assert_eq!(reply.line.usage.read_units, 3.0);
    let (write, read) = ("TransactWriteItems", "GetItem");
    assert_eq!(*calls.lock().unwrap(), [write, read, write, read, write, read, write]);
    // A table that throttles all the time is 503, and one where others always win is 409.
    for (fate, status) in [(Fate::ThrottledTransaction, 503), (Fate::Conflict, 409)] {
        proxy.decide(move |call| if call.operation == "TransactWriteItems" { fate } else { Fate::Pass });
        client.patch(&path(&group), remove(&ann)).await.expect(status);
    }
}
