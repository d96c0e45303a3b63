//! Writes whose answer is lost or wrong, writes that are too large for one transaction, and writes that
//! race with a deletion.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;
use rollcall::http::function::Function;
use rollcall::scim::extension;
use rollcall::scim::resource_type::Kind;
use rollcall::store::keys;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::feed::{read_feed, sequence};
use crate::support::pending::of_kind;
use crate::support::scene;
use crate::support::{assert_consistent, work};

/// The same tenant, as a function with this extension schema serves it.
fn with_extension(client: &Client, schema: &Value) -> Client {
    let extension = extension::read(&schema.to_string()).unwrap();
    let function = Function::with_extensions(client.table.clone(), None, &[extension]);
    Client { function: Arc::new(function.unwrap()), ..client.clone() }
}

/// The first transaction that writes an item whose key begins so has this fate.
fn once(proxy: &Proxy, prefix: &'static str, fate: Fate) -> Arc<AtomicBool> {
    let met = Arc::new(AtomicBool::new(false));
    let note = met.clone();
    proxy.decide(move |call: &Call| {
        let writes = call.operation == "TransactWriteItems" && call.body.to_string().contains(prefix);
        if writes && !note.swap(true, Ordering::SeqCst) { fate } else { Fate::Pass }
    });
    met
}

fn members(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

/// A user whose item has some 340 KB.
fn heavy(name: &str) -> Value {
    let mut body = user(name);
    let text = "x".repeat(56 * 1024);
    for attribute in ["title", "nickName", "userType", "locale", "timezone", "preferredLanguage"] {
        body[attribute] = text.as_str().into();
    }
    body
}

async fn heavies(client: &Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for at in 0..count {
        ids.push(client.post("/Users", heavy(&format!("heavy{at}"))).await.expect(201).id());
    }
    ids
}

#[tokio::test]
async fn a_creation_that_took_effect_is_201_whatever_the_answer_of_the_table() {
    for fate in [Fate::DoneButDenied, Fate::Unanswered] {
        let (proxy, client, honest) = scene("strict").await;
        let ids = honest.users(0..50).await;
        for (path, body, marker) in [
            ("/Users", user("ann"), "#U#"),
            ("/Groups", json!({ "displayName": "Few", "members": members(&ids[..3]) }), "#G#"),
            ("/Groups", json!({ "displayName": "Many", "members": members(&ids) }), "WORK#"),
        ] {
            let mut body = body;
            let urn = if path == "/Users" { "User" } else { "Group" };
            body["schemas"] = json!([format!("urn:ietf:params:scim:schemas:core:2.0:{urn}")]);
            let met = once(&proxy, marker, fate);
            let made = client.post(path, body).await.expect(201);
            assert!(met.load(Ordering::SeqCst), "{fate:?} {path}");
            proxy.decide(|_| Fate::Pass);
            let read = honest.get(&format!("{path}/{}", made.id())).await.expect(200);
            assert_eq!(read.body["displayName"], made.body["displayName"], "{fate:?}");
        }
        work(&honest).await;
        let groups = honest.get("/Groups?excludedAttributes=members").await.expect(200);
        assert_eq!(groups.body["totalResults"], 2, "none is there twice");
        assert_consistent(&honest).await;
    }
}

#[tokio::test]
async fn a_return_and_a_change_that_took_effect_are_answered_so() {
    let (proxy, client, honest) = scene("veza").await;
    let id = honest.user("ann").await;
    honest.delete(&format!("/Users/{id}")).await.expect(204);
    let met = once(&proxy, "#D", Fate::DoneButDenied);
    assert_eq!(client.post("/Users", user("ann")).await.expect(201).id(), id);
    assert!(met.load(Ordering::SeqCst));
    let met = once(&proxy, "#U#", Fate::DoneButDenied);
    let title = json!([{ "op": "replace", "path": "title", "value": "t" }]);
    let changed = client.patch(&format!("/Users/{id}"), title).await.expect(200);
    assert!(met.load(Ordering::SeqCst));
    assert_eq!(changed.body["title"], "t");
    proxy.decide(|_| Fate::Pass);
    let read = honest.get(&format!("/Users/{id}")).await.expect(200);
    assert_eq!(read.headers["etag"], changed.headers["etag"]);
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn a_deletion_that_took_effect_is_204_whatever_the_answer_of_the_table() {
    for (policy, fate) in [("standard", Fate::DoneButDenied), ("veza", Fate::Unanswered)] {
        let (proxy, client, honest) = scene(policy).await;
        let ids = honest.users(0..60).await;
        let group = honest.group("Many", &ids).await;
        for (path, marker) in [(format!("/Users/{}", ids[0]), "#U#"), (format!("/Groups/{group}"), "#G#")] {
            let met = once(&proxy, marker, fate);
            client.delete(&path).await.expect(204);
            assert!(met.load(Ordering::SeqCst), "{fate:?} {path}");
            proxy.decide(|_| Fate::Pass);
            honest.get(&path).await.expect(404);
        }
        // One that did not take effect says so.
        proxy.decide(|call| if call.operation == "TransactWriteItems" { Fate::Denied } else { Fate::Pass });
        client.delete(&format!("/Users/{}", ids[1])).await.expect(500);
        proxy.decide(|_| Fate::Pass);
        work(&honest).await;
        assert_consistent(&honest).await;
    }
}

#[tokio::test]
async fn what_is_denied_is_500_and_leaves_nothing_behind() {
    let (proxy, client, honest) = scene("standard").await;
    let ids = honest.users(0..60).await;
    let group = honest.group("Team", &ids[..2]).await;
    let path = format!("/Groups/{group}");
    let add = |ids: &[String]| json!([{ "op": "add", "path": "members", "value": members(ids) }]);
    proxy.decide(|call| match call.operation.as_str() {
        "TransactWriteItems" => Fate::Denied,
        _ => Fate::Pass,
    });
    for count in [3, 10, 60] {
        let body = json!({ "displayName": "New", "members": members(&ids[..count]) });
        client.post("/Groups", body).await.expect(500);
        client.patch(&path, add(&ids[..count])).await.expect(500);
    }
    // What was written down before the refusal of a larger change cannot be taken back either,
    // since that is denied as well: the worker does it. Of the small ones nothing was written down.
    let pending = honest.store().large_changes().list().await.unwrap();
    assert_eq!(pending.len(), 2, "only the changes of 60 members are staged");
    // Denied from the first write on, nothing is there at all.
    for change in &pending {
        honest.store().large_changes().abort(change).await.unwrap();
    }
    proxy.decide(|call| match call.operation.as_str() {
        "BatchWriteItem" if call.body.to_string().contains("PutRequest") => Fate::Denied,
        _ => Fate::Pass,
    });
    client.patch(&path, add(&ids)).await.expect(500);
    client.post("/Groups", json!({ "displayName": "New", "members": members(&ids) })).await.expect(500);
    assert_eq!(honest.store().large_changes().list().await.unwrap(), []);
    assert_eq!(honest.get("/Groups").await.expect(200).body["totalResults"], 1);
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn groups_of_large_members_are_made_changed_and_deleted() {
    let (proxy, client, honest) = scene("standard").await;
    proxy.enforce_sizes();
    let ids = heavies(&honest, 50).await;
    for count in [12, 50] {
        let group = client.group("Heavy", &ids[..count]).await;
        work(&client).await;
        let path = format!("/Groups/{group}");
        let remove = json!([{ "op": "remove", "path": "members", "value": members(&ids[..count]) }]);
        client.patch(&path, remove).await.expect(200);
        work(&client).await;
        let add = json!([{ "op": "add", "path": "members", "value": members(&ids[..count]) }]);
        client.patch(&path, add).await.expect(200);
        work(&client).await;
        client.delete(&path).await.expect(204);
        client.get(&path).await.expect(404);
        work(&client).await;
        let first = client.get(&format!("/Users/{}?attributes=groups", ids[0])).await.expect(200);
        assert_eq!(first.body.get("groups"), None, "{count}");
        assert_consistent(&honest).await;
    }
}

#[tokio::test]
async fn a_user_of_large_groups_is_deleted() {
    let extension = json!({ "id": "urn:x:2.0:Group", "name": "X", "attributes":
        (0..6).map(|at| json!({ "name": format!("t{at}"), "type": "string", "multiValued": false })).collect::<Vec<_>>() });
    let (proxy, client, honest) = scene("standard").await;
    let (client, honest) = (with_extension(&client, &extension), with_extension(&honest, &extension));
    proxy.enforce_sizes();
    let id = honest.user("ann").await;
    let text = "x".repeat(56 * 1024);
    let heavy: serde_json::Map<String, Value> =
        (0..6).map(|at| (format!("t{at}"), text.as_str().into())).collect();
    for at in 0..14 {
        let body = json!({ "displayName": format!("G{at}"), "urn:x:2.0:Group": heavy, "members": [{ "value": id }] });
        honest.post("/Groups", body).await.expect(201);
    }
    // Departures from groups that cannot be read stand before those from the large groups.
    let other = honest.user("zed").await;
    let mut broken = Vec::new();
    for name in ["Broken", "Also broken"] {
        let group = honest.group(name, std::slice::from_ref(&other)).await;
        let key = keys::resource(&honest.store().tenant, Kind::Group, group.parse().unwrap());
        broken.push(key);
    }
    honest.delete(&format!("/Users/{other}")).await.expect(204);
    let mut items = Vec::new();
    for key in &broken {
        let item = honest.table.get(key).await.unwrap().expect("a group");
        let mut unreadable = item.clone();
        unreadable.remove("ver");
        honest.table.put(key, unreadable).await.unwrap();
        items.push(item);
    }
    assert!(sequence(&client.table).await.left);
    client.delete(&format!("/Users/{id}")).await.expect(204);
    client.get(&format!("/Users/{id}")).await.expect(404);
    work(&client).await;
    let departures = async |id: &str| {
        let changes = read_feed(&honest.table).await;
        changes.iter().filter(|change| change.removed.iter().any(|removed| removed == id)).count()
    };
    // They are more than one page of the feed can write.
    assert!(sequence(&client.table).await.left);
    assert_eq!((departures(&id).await, departures(&other).await), (14, 0));
    for (key, item) in broken.iter().zip(items) {
        honest.table.put(key, item).await.unwrap();
    }
    assert!(!sequence(&client.table).await.left);
    assert_eq!(departures(&other).await, 2);
    let groups = honest.get("/Groups?attributes=members").await.expect(200);
    assert!(!groups.body.to_string().contains(&id), "it has left them all");
}

/// A process that was started without an extension schema shows nothing of its values, and loses nothing: some of them
/// may be values that are never returned.
#[tokio::test]
async fn values_of_a_schema_that_is_not_loaded_are_kept_and_hidden() {
    const URN: &str = "urn:x:badge:1.0:User";
    let attribute = |name: &str, returned: &str| json!({ "name": name, "type": "string", "multiValued": false, "returned": returned });
    let attributes = [attribute("badge", "default"), attribute("secret", "never")];
    let schema = json!({ "id": URN, "name": "Badge", "attributes": attributes });
    let without = Client::new(support::serve().await.table, "standard").await;
    let with = with_extension(&without, &schema);
    let mut ann = user("ann");
    ann[URN] = json!({ "badge": "7", "secret": "hunter2" });
    let id = with.post("/Users", ann).await.expect(201).id();
    let path = format!("/Users/{id}");
    let rename = |name: &str| json!([{ "op": "replace", "path": "displayName", "value": name }]);
    let mut replaced = user("ann");
    replaced["displayName"] = json!("Replaced");
    for reply in [
        without.get(&path).await,
        without.get("/Users?filter=userName eq \"ann@example.com\"").await,
        without.get(&format!("{path}?excludedAttributes=name")).await,
        without.patch(&path, rename("Patched")).await,
        without.put(&path, replaced).await,
    ] {
        let shown = reply.expect(200).body.to_string();
        assert!(!shown.contains("hunter2") && !shown.contains("badge"), "{shown}");
    }
    let shown = with.get(&path).await.expect(200).body;
    assert_eq!((&shown["displayName"], &shown[URN]), (&json!("Replaced"), &json!({ "badge": "7" })));
    // What is never returned cannot be read out by filters or by the order either.
    for query in [
        format!("filter={URN}:secret sw \"h\""),
        format!("filter=userName pr and {URN}:secret pr"),
        format!("sortBy={URN}:secret"),
    ] {
        let refused = with.get(&format!("/Users?{query}")).await.expect(400).body;
        assert!(refused["detail"].as_str().unwrap().contains("never returned"), "{refused}");
    }
    let stored = with.store().fetch(Kind::User, id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(stored.doc[URN], json!({ "badge": "7", "secret": "hunter2" }));
}

#[tokio::test]
async fn large_administrators_are_marked() {
    let (proxy, client, honest) = scene("standard").await;
    proxy.enforce_sizes();
    let ids = heavies(&honest, 13).await;
    let ids: Vec<_> = ids.iter().map(|id| id.parse().unwrap()).collect();
    client.store().admin_guard().mark_users(&ids).await.unwrap();
    let marked = honest.store().fetch_many(rollcall::scim::resource_type::Kind::User, &ids).await.unwrap();
    assert!(marked.iter().all(|user| user.guarded));
}

/// A large group is written down, and before it is committed one of its members is deleted.
#[tokio::test]
async fn a_large_creation_that_meets_a_deletion_names_who_is_gone() {
    let (proxy, client, honest) = scene("standard").await;
    let ids = honest.users(0..60).await;
    let committing = |call: &Call| {
        let text = call.body.to_string();
        call.operation == "TransactWriteItems" && text.contains("WORK#") && text.contains("memberCount")
    };
    let held = AtomicBool::new(false);
    proxy.decide(move |call: &Call| {
        if committing(call) && !held.swap(true, Ordering::SeqCst) { Fate::Held } else { Fate::Pass }
    });
    let body = json!({ "displayName": "Team", "members": members(&ids) });
    let (reply, ()) = join(client.post("/Groups", body.clone()), async {
        proxy.held().await;
        honest.delete(&format!("/Users/{}", ids[7])).await.expect(204);
        proxy.release();
    })
    .await;
    let reply = reply.expect(400);
    assert_eq!(reply.body["scimType"], "invalidValue");
    assert!(reply.body["detail"].as_str().unwrap().contains(&ids[7]), "{}", reply.body);
    work(&honest).await;
    assert_eq!(honest.get("/Groups").await.expect(200).body["totalResults"], 0);
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn every_event_has_the_version_that_its_change_made() {
    let (_, _, honest) = scene("veza").await;
    let ids = honest.users(0..60).await;
    let ann = &ids[0];
    let group = honest.group("Team", &ids[..2]).await;
    let add = json!([{ "op": "add", "path": "members", "value": members(&ids) }]);
    honest.patch(&format!("/Groups/{group}"), add).await.expect(200);
    work(&honest).await;
    let title = json!([{ "op": "replace", "path": "title", "value": "t" }]);
    honest.patch(&format!("/Users/{ann}"), title).await.expect(200);
    honest.delete(&format!("/Users/{ann}")).await.expect(204);
    let back = honest.post("/Users", user("u0")).await.expect(201);
    assert_eq!((back.id(), &back.body["meta"]["version"]), (ann.clone(), &json!("W/\"4\"")));
    let changes = support::feed::changes_of(&honest.table, "acme").await;
    let of = |resource: &str| {
        let own = changes.iter().filter(|change| change["resourceId"] == resource);
        let told = own.map(|change| format!("{} {}", change["version"], change["type"].as_str().unwrap()));
        let mut told: Vec<String> = told.collect();
        told.dedup();
        told
    };
    assert_eq!(of(ann), ["1 user.created", "2 user.updated", "3 user.deactivated", "4 user.reactivated"]);
    // The large change and its parts have the version that the commit made.
    assert_eq!(of(&group), ["1 group.created", "2 group.updated", "3 group.updated"], "3: Ann left");
}

/// The answer to a creation is lost, and before anyone looks whether it took effect, a member goes.
#[tokio::test]
async fn a_creation_that_took_effect_is_201_although_it_was_changed_since() {
    let (proxy, client, honest) = scene("strict").await;
    let ids = honest.users(0..3).await;
    let (written, looked) = (AtomicBool::new(false), AtomicBool::new(false));
    proxy.decide(move |call: &Call| match call.operation.as_str() {
        "TransactWriteItems" if !written.swap(true, Ordering::SeqCst) => Fate::DoneButDenied,
        "TransactGetItems" if !looked.swap(true, Ordering::SeqCst) => Fate::Held,
        _ => Fate::Pass,
    });
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Team",
        "members": members(&ids),
    });
    let (made, ()) = join(client.post("/Groups", body), async {
        proxy.held().await;
        honest.delete(&format!("/Users/{}", ids[1])).await.expect(204);
        proxy.release();
    })
    .await;
    let id = made.expect(201).id();
    let groups = honest.get("/Groups").await.expect(200).body;
    assert_eq!((&groups["totalResults"], groups["Resources"][0]["id"].as_str()), (&json!(1), Some(&*id)));
    assert_consistent(&honest).await;
}

/// Another user gets the name of an account in the moment in which the account is erased.
#[tokio::test]
async fn an_account_is_erased_although_its_name_is_taken_meanwhile() {
    let (proxy, client, honest) = scene("veza").await;
    let (ann, bob) = (honest.user("ann").await, honest.user("bob").await);
    honest.delete(&format!("/Users/{ann}")).await.expect(204);
    let id = ann.parse().unwrap();
    let store = client.store();
    let kept = store.tombstones().fetch(id).await.unwrap().expect("an account");
    let event = store.event_of_version("user.purged", &kept.record, kept.record.version + 1);
    let held = AtomicBool::new(false);
    proxy.decide(move |call: &Call| {
        let erases = call.operation == "TransactWriteItems" && call.body.to_string().contains("purged");
        if erases && !held.swap(true, Ordering::SeqCst) { Fate::Held } else { Fate::Pass }
    });
    let ty = of_kind(Kind::User);
    let (erased, ()) = join(store.tombstones().purge(&kept, &ty, &event), async {
        proxy.held().await;
        let rename = json!([{ "op": "replace", "path": "userName", "value": "ann@example.com" }]);
        honest.patch(&format!("/Users/{bob}"), rename).await.expect(200);
        proxy.release();
    })
    .await;
    erased.expect("it did not come back");
    assert!(honest.store().tombstones().fetch(id).await.unwrap().is_none(), "it is erased");
    let found = honest.get("/Users?filter=userName eq \"ann@example.com\"").await.expect(200).body;
    assert_eq!(found["Resources"][0]["id"], bob);
    assert_consistent(&honest).await;
}

const CARS: &str = "urn:x:car:1.0:User";

/// An extension with required and immutable attributes, and with parts that are so.
fn car_extension() -> Value {
    let text = |name: &str| json!({ "name": name, "type": "string", "multiValued": false });
    let with = |name: &str, characteristic: &str, value: Value| {
        let mut attribute = text(name);
        attribute[characteristic] = value;
        attribute
    };
    let fixed = || with("vin", "mutability", json!("immutable"));
    let needed = || with("plate", "required", json!(true));
    let complex = |name: &str, multi: bool, subs: Value| json!({ "name": name, "type": "complex", "multiValued": multi, "subAttributes": subs });
    let attributes = json!([
        with("must", "required", json!(true)),
        with("badge", "mutability", json!("immutable")),
        complex("cars", true, json!([needed(), fixed(), text("color")])),
        complex("first", false, json!([needed(), fixed()])),
    ]);
    json!({ "id": CARS, "name": "Cars", "attributes": attributes })
}

/// What a custom extension announces of its attributes holds by every way to change them.
#[tokio::test]
async fn required_and_immutable_parts_of_an_extension_are_kept() {
    let plain = Client::new(support::serve().await.table, "standard").await;
    let client = with_extension(&plain, &car_extension());
    let car = json!({ "plate": "P1", "vin": "V1", "color": "red" });
    let first = json!({ "plate": "F1", "vin": "W1" });
    let whole = json!({ "must": "m", "badge": "7", "cars": [car], "first": first });
    let mut ann = user("ann");
    ann[CARS] = whole.clone();
    let id = client.post("/Users", ann.clone()).await.expect(201).id();
    let path = format!("/Users/{id}");
    let shown = async || client.get(&path).await.expect(200).body[CARS].clone();

    for (op, at, value) in [
        ("replace", "cars[plate eq \"P1\"].vin", json!("V2")),
        ("remove", "cars[plate eq \"P1\"].vin", Value::Null),
        ("remove", "cars[plate eq \"P1\"].plate", Value::Null),
        ("replace", "cars[plate eq \"P1\"]", json!({ "plate": "P1", "vin": "V2" })),
        ("add", "cars[plate eq \"P1\"]", json!({ "vin": "V3" })),
        ("replace", "cars.vin", json!("V2")),
        ("remove", "first", Value::Null),
        ("replace", "first", Value::Null),
        ("replace", "first.vin", json!("W2")),
        ("remove", "first.plate", Value::Null),
        ("remove", "must", Value::Null),
        ("remove", "badge", Value::Null),
    ] {
        let step = json!([{ "op": op, "path": format!("{CARS}:{at}"), "value": value }]);
        let refused = client.patch(&path, step).await.expect(400).body;
        let detail = refused["detail"].as_str().unwrap();
        assert!(refused["scimType"] == "mutability" && detail.contains(CARS), "{op} {at} {value}: {refused}");
    }
    assert_eq!(shown().await, whole);
    for put in [
        json!({ "must": "m", "badge": "8" }),
        json!({ "must": "m", "first": { "plate": "F1", "vin": "W2" } }),
    ] {
        ann[CARS] = put;
        let refused = client.put(&path, ann.clone()).await.expect(400).body;
        assert_eq!(refused["scimType"], "mutability", "{refused}");
    }
    let allowed =
        json!([{ "op": "replace", "path": format!("{CARS}:cars[plate eq \"P1\"].color"), "value": "blue" }]);
    client.patch(&path, allowed).await.expect(200);
    // Without the extension a PUT takes away what may go.
    client.put(&path, user("ann")).await.expect(200);
    let kept = json!({ "badge": "7", "first": first, "must": "m" });
    assert_eq!(shown().await, kept);
    let leave = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
    client.patch(&path, leave).await.expect(200);
}

/// An attribute can become required while resources lack it.
#[tokio::test]
async fn who_lacks_an_attribute_that_became_required_can_still_be_deactivated() {
    const URN: &str = "urn:x:badge:1.0:User";
    let of = |required: bool| {
        let badge = json!({ "name": "badge", "type": "string", "multiValued": false, "required": required });
        let note = json!({ "name": "note", "type": "string", "multiValued": false });
        json!({ "id": URN, "name": "Badge", "attributes": [badge, note] })
    };
    let plain = Client::new(support::serve().await.table, "standard").await;
    let with = |required: bool| with_extension(&plain, &of(required));
    let mut ann = user("ann");
    ann[URN] = json!({ "note": "n" });
    let path = format!("/Users/{}", with(false).post("/Users", ann).await.expect(201).id());
    let client = with(true);
    let patch = async |step: Value| client.patch(&path, json!([step])).await;
    patch(json!({ "op": "replace", "path": "active", "value": false })).await.expect(200);
    patch(json!({ "op": "replace", "path": format!("{URN}:badge"), "value": "7" })).await.expect(200);
    let refused = patch(json!({ "op": "remove", "path": format!("{URN}:badge") })).await.expect(400).body;
    assert_eq!(refused["scimType"], "mutability", "{refused}");
    client.patch(&path, json!([{ "op": "replace", "path": "userName", "value": " " }])).await.expect(400);
}

/// What is returned on request is in the answer to the write that set it (RFC 7643 §2.4), and in no other.
#[tokio::test]
async fn what_is_returned_on_request_is_answered_to_who_writes_it() {
    const URN: &str = "urn:x:desk:1.0:User";
    let attribute = |name: &str, returned: &str| json!({ "name": name, "type": "string", "multiValued": false, "returned": returned });
    let desk = json!({ "name": "desk", "type": "complex", "multiValued": false,
        "subAttributes": [attribute("floor", "default"), attribute("door", "request")] });
    let schema = json!({ "id": URN, "name": "Desk", "attributes": [attribute("code", "request"), attribute("pin", "never"), desk] });
    let plain = Client::new(support::serve().await.table, "standard").await;
    let client = with_extension(&plain, &schema);
    let mut ann = user("ann");
    let desk = json!({ "floor": "1", "door": "2" });
    ann[URN] = json!({ "code": "c", "pin": "p", "desk": desk });
    let written = json!({ "code": "c", "desk": desk });
    let made = client.post("/Users", ann.clone()).await.expect(201);
    assert_eq!(made.body[URN], written);
    let path = format!("/Users/{}", made.id());
    let by_default = json!({ "desk": { "floor": "1" } });
    assert_eq!(client.get(&path).await.expect(200).body[URN], by_default);
    assert_eq!(client.put(&path, ann.clone()).await.expect(200).body[URN], written);

    let patch = async |query: &str, operations: Value| {
        client.patch(&format!("{path}{query}"), operations).await.expect(200).body[URN].clone()
    };
    let code = || json!([{ "op": "replace", "path": format!("{URN}:code"), "value": "c" }]);
    assert_eq!(patch("", code()).await, json!({ "code": "c", "desk": { "floor": "1" } }));
    let of_desk = json!([{ "op": "replace", "value": { URN: { "desk": { "door": "3" } } } }]);
    assert_eq!(patch("", of_desk).await, json!({ "desk": { "floor": "1", "door": "3" } }));
    let other = json!([{ "op": "replace", "path": "title", "value": "T" }]);
    assert_eq!(patch("", other).await, by_default);
    // What the client asks to see comes before it.
    assert_eq!(patch("?attributes=title", code()).await, Value::Null);
    let without = format!("?excludedAttributes={URN}:code");
    assert_eq!(patch(&without, code()).await, by_default);
    let removed = json!([{ "op": "remove", "path": format!("{URN}:code") }]);
    assert_eq!(patch("", removed).await, by_default);
}
