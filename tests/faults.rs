//! A busy table and a bad network: one call in ten goes wrong, in every way there is, and a
//! provisioning run ends with every change present exactly once.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall::scim::resource_type::Kind;
use rollcall::store::call::Table;
use rollcall::store::item::{number, text};
use rollcall::store::keys;
use rollcall::store::membership::{Membership, add_member};
use rollcall::store::tally::Tally;
use rollcall::store::work::{State, Task};
use rollcall::store::worker;
use serde_json::{Value, json};
use support::client::{Client, Reply, user};
use support::faults::{Call, Fate, Proxy};
use support::{assert_consistent, pending};

const FATES: [Fate; 7] = [
    Fate::Lost,
    Fate::Unanswered,
    Fate::Throttled,
    Fate::Failed,
    Fate::Conflict,
    Fate::ThrottledTransaction,
    Fate::Half,
];

/// A small generator of numbers that are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

async fn scene(policy: &'static str) -> (Proxy, Client, Client) {
    let embedded = support::serve().await;
    let proxy = Proxy::before(&embedded.endpoint).await;
    let honest = Client::new(embedded.table, policy).await;
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    (proxy, Client::new(table, policy).await, honest)
}

/// Sends a request as identity providers do: again, until it is neither 5xx, 429 nor 409 for a
/// conflict. Says whether an earlier attempt was not answered properly.
async fn insist(client: &Client, method: &str, path: &str, body: Option<Value>) -> (Reply, bool) {
    let mut again = false;
    for _ in 0..50 {
        let reply = client.send(method, path, body.clone(), &[]).await;
        let conflict = reply.status == 409 && reply.body["scimType"] != "uniqueness";
        if reply.status < 500 && reply.status != 429 && !conflict {
            return (reply, again);
        }
        again = true;
    }
    panic!("{method} {path} never succeeds");
}

fn operations(operations: Value) -> Option<Value> {
    let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
    Some(json!({ "schemas": schemas, "Operations": operations }))
}

/// The change is made: with a body, or without one where what it shows could not be read.
fn made(reply: &Reply) {
    assert!([200, 204].contains(&reply.status), "{}", reply.body);
}

/// What must be there in the end.
#[derive(Default)]
struct Model {
    users: BTreeMap<String, (String, Option<String>)>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

#[tokio::test]
async fn two_thousand_operations_under_faults_all_count_once() {
    let (proxy, client, honest) = scene("standard").await;
    let mut model = Model::default();
    for at in 0..10 {
        model.groups.insert(honest.group(&format!("Team {at}"), &[]).await, BTreeSet::new());
    }
    let injected = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let count = injected.clone();
    let mut dice = Numbers(0x5eed);
    proxy.decide(move |_| {
        if dice.below(10) > 0 {
            return Fate::Pass;
        }
        let fate = FATES[dice.below(FATES.len())];
        *count.lock().unwrap().entry(format!("{fate:?}")).or_default() += 1;
        fate
    });
    let mut dice = Numbers(0xd1ce);
    let pick = |dice: &mut Numbers, from: Vec<&String>| from[dice.below(from.len())].clone();
    for at in 0..2_000 {
        let choice = if model.users.len() < 20 { 0 } else { dice.below(10) };
        match choice {
            0..=2 => {
                let name = format!("u{at}");
                let (reply, again) = insist(&client, "POST", "/Users", Some(user(&name))).await;
                let id = if reply.status == 409 {
                    // Its own earlier attempt took effect without an answer: it looks and goes on.
                    assert!(again, "{}", reply.body);
                    let filter = format!("/Users?filter=userName eq \"{name}@example.com\"");
                    let (found, _) = insist(&client, "GET", &filter, None).await;
                    assert_eq!(found.body["totalResults"], 1, "{}", found.body);
                    found.body["Resources"][0]["id"].as_str().unwrap().to_owned()
                } else {
                    reply.expect(201).id()
                };
                assert!(model.users.insert(id, (name, None)).is_none());
            }
            3..=4 => {
                let id = pick(&mut dice, model.users.keys().collect());
                let title = format!("Title {at}");
                let set = operations(json!([{ "op": "replace", "path": "title", "value": title }]));
                let (reply, _) = insist(&client, "PATCH", &format!("/Users/{id}"), set).await;
                made(&reply);
                model.users.get_mut(&id).unwrap().1 = Some(title);
            }
            5 => {
                let id = pick(&mut dice, model.users.keys().collect());
                let entry = model.users.get_mut(&id).unwrap();
                entry.1 = None;
                let body = user(&entry.0);
                made(&insist(&client, "PUT", &format!("/Users/{id}"), Some(body)).await.0);
            }
            6..=7 => {
                let group = pick(&mut dice, model.groups.keys().collect());
                let some: BTreeSet<String> =
                    (0..1 + dice.below(60)).map(|_| pick(&mut dice, model.users.keys().collect())).collect();
                let value: Value = some.iter().map(|id| json!({ "value": id })).collect();
                let add = operations(json!([{ "op": "add", "path": "members", "value": value }]));
                let (reply, _) = insist(&client, "PATCH", &format!("/Groups/{group}"), add).await;
                made(&reply);
                model.groups.get_mut(&group).unwrap().extend(some);
            }
            8 => {
                let group = pick(&mut dice, model.groups.keys().collect());
                let members = model.groups.get_mut(&group).unwrap();
                let some: Vec<String> = members.iter().take(1 + dice.below(60)).cloned().collect();
                let value: Value = some.iter().map(|id| json!({ "value": id })).collect();
                if some.is_empty() {
                    continue;
                }
                members.retain(|id| !some.contains(id));
                let remove = operations(json!([{ "op": "remove", "path": "members", "value": value }]));
                let (reply, _) = insist(&client, "PATCH", &format!("/Groups/{group}"), remove).await;
                made(&reply);
            }
            _ => {
                let id = pick(&mut dice, model.users.keys().collect());
                let (reply, again) = insist(&client, "DELETE", &format!("/Users/{id}"), None).await;
                assert!(reply.status == 204 || (again && reply.status == 404), "{}", reply.body);
                model.users.remove(&id);
                for members in model.groups.values_mut() {
                    members.remove(&id);
                }
            }
        }
    }
    let injected = injected.lock().unwrap().clone();
    assert_eq!(injected.len(), FATES.len(), "every kind of fault was met: {injected:?}");
    println!("{} calls, faults: {injected:?}", proxy.calls());
    proxy.decide(|_| Fate::Pass);
    for _ in 0..5 {
        worker::round(&honest.table.fresh()).await.unwrap();
    }
    // What was staged and given up without an answer waits for its hour.
    for pending in honest.store().pending_changes().await.unwrap() {
        honest.store().abort(&pending).await.unwrap();
    }
    assert_eq!(honest.store().total(Kind::User).await.unwrap(), model.users.len() as u64);
    for (id, (name, title)) in &model.users {
        let found = honest.get(&format!("/Users/{id}")).await.expect(200).body;
        assert_eq!(found["userName"], format!("{name}@example.com"));
        assert_eq!(found.get("title").and_then(Value::as_str), title.as_deref(), "{name}");
        let groups = found["groups"].as_array().cloned().unwrap_or_default();
        let groups: BTreeSet<String> =
            groups.iter().map(|group| group["value"].as_str().unwrap().to_owned()).collect();
        let expected: BTreeSet<String> =
            model.groups.iter().filter(|(_, m)| m.contains(id)).map(|(group, _)| group.clone()).collect();
        assert_eq!(groups, expected, "{name}");
    }
    for (id, members) in &model.groups {
        let found = honest.get(&format!("/Groups/{id}")).await.expect(200).body;
        let found = found["members"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<String> = found.iter().map(|m| m["value"].as_str().unwrap().to_owned()).collect();
        assert_eq!(&found, members);
    }
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_token() {
    let (proxy, client, honest) = scene("standard").await;
    let sent = Arc::new(Mutex::new(Vec::<Value>::new()));
    let note = sent.clone();
    proxy.decide(move |call: &Call| {
        if call.operation != "TransactWriteItems" {
            return Fate::Pass;
        }
        let mut sent = note.lock().unwrap();
        sent.push(call.body.clone());
        if sent.len() == 1 { Fate::Unanswered } else { Fate::Pass }
    });
    client.post("/Users", user("ann")).await.expect(201);
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 2);
    assert!(sent[0]["ClientRequestToken"].is_string());
    assert_eq!(sent[0], sent[1]);
    assert_eq!(honest.store().total(Kind::User).await.unwrap(), 1);
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn a_cancelled_transaction_is_sent_anew_with_another_token() {
    for fate in [Fate::Conflict, Fate::ThrottledTransaction] {
        let (proxy, client, honest) = scene("standard").await;
        let tokens = Arc::new(Mutex::new(BTreeSet::<String>::new()));
        let note = tokens.clone();
        proxy.decide(move |call: &Call| {
            let Some(token) = call.body["ClientRequestToken"].as_str() else { return Fate::Pass };
            let mut tokens = note.lock().unwrap();
            tokens.insert(token.to_owned());
            if tokens.len() < 4 { fate } else { Fate::Pass }
        });
        client.post("/Users", user("ann")).await.expect(201);
        assert_eq!(tokens.lock().unwrap().len(), 4);
        assert_consistent(&honest).await;
    }
}

#[tokio::test]
async fn a_table_that_does_not_answer_is_503_and_nothing_is_lost() {
    let (proxy, client, honest) = scene("standard").await;
    let id = honest.user("ann").await;
    for fate in [Fate::Lost, Fate::Failed, Fate::Throttled] {
        proxy.decide(move |_| fate);
        for (method, path, body) in [
            ("GET", format!("/Users/{id}"), None),
            ("POST", "/Users".to_owned(), Some(user("bob"))),
            ("DELETE", format!("/Users/{id}"), None),
        ] {
            let reply = client.send(method, &path, body, &[]).await.expect(503);
            assert_eq!(reply.body["status"], "503");
        }
    }
    assert_eq!(honest.store().total(Kind::User).await.unwrap(), 1);
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn a_change_that_is_made_succeeds_whatever_can_be_read_after_it() {
    let (proxy, client, honest) = scene("standard").await;
    let (ann, group) = (honest.user("ann").await, honest.group("Team", &[]).await);
    let mut written = false;
    proxy.decide(move |call| {
        written |= call.operation == "TransactWriteItems";
        if written && call.operation == "Query" { Fate::Failed } else { Fate::Pass }
    });
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
    let reply = client.patch(&format!("/Groups/{group}"), add).await.expect(204);
    assert_eq!(reply.headers["etag"], "W/\"2\"");
    assert_eq!(honest.get(&format!("/Users/{ann}")).await.body["groups"][0]["value"], group.as_str());
    assert_consistent(&honest).await;
}

/// A transaction becomes visible item by item. A reader who meets a group of the new version and
/// memberships of the old waits for the rest.
#[tokio::test]
async fn a_transaction_that_is_half_visible_is_waited_for() {
    let (proxy, client, honest) = scene("standard").await;
    let (ann, ben) = (honest.user("ann").await, honest.user("ben").await);
    let group = honest.group("Team", std::slice::from_ref(&ann)).await;
    let store = honest.store();
    let (id, member) = (group.parse().unwrap(), ben.parse().unwrap());
    let key = keys::resource(&store.tenant, Kind::Group, id);
    // Ben comes: the group's own item shows it, and nothing else.
    let mut item = honest.table.get(&key).await.unwrap().expect("the group");
    let tally = Tally::from_item(&item).with([member]);
    item.extend(tally.attributes());
    item.extend([number("ver", 2)]);
    honest.table.put(&key, item).await.unwrap();
    let looks = Arc::new(Mutex::new(0));
    let count = looks.clone();
    proxy.decide(move |call| {
        if call.operation == "TransactGetItems" {
            *count.lock().unwrap() += 1;
            return Fate::Conflict;
        }
        Fate::Pass
    });
    let path = format!("/Groups/{group}");
    let reader = client.clone();
    let reading = tokio::spawn(async move { reader.get(&path).await });
    while *looks.lock().unwrap() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!reading.is_finished());
    let ben_comes = Membership { id: member, kind: Kind::User, display: None };
    let rest = || add_member(&store.tenant, id, &ben_comes, "2026-01-01T00:00:00.000Z").to_vec();
    honest.table.transact(rest).await.unwrap();
    proxy.decide(|_| Fate::Pass);
    let read = reading.await.unwrap().expect(200);
    assert_eq!(read.body["meta"]["version"], "W/\"2\"");
    assert_eq!(read.body["members"].as_array().map(Vec::len), Some(2));
    assert_consistent(&honest).await;
}

#[tokio::test]
async fn a_change_that_nobody_can_read_keeps_no_other_from_its_end() {
    let (_, _, honest) = scene("standard").await;
    let ids = honest.users(0..60).await;
    let group = honest.group("Team", &[]).await;
    pending::commit(&honest, &group, &ids, &[]).await;
    let unknown = honest.store().pending(Task::Members, uuid::Uuid::now_v7(), State::Committed);
    let mut item = unknown.attributes();
    item.extend([text("kind", "unheard of")]);
    honest.table.put(&unknown.key(), item).await.unwrap();
    let report = worker::round(&honest.table.fresh()).await.unwrap();
    assert_eq!((report.finished, report.left, report.failures.len()), (1, 1, 1), "{report:?}");
}

#[tokio::test]
async fn members_that_fit_no_transaction_together_are_written_apart() {
    let (proxy, client, honest) = scene("standard").await;
    let ids = honest.users(0..110).await;
    let all: BTreeSet<String> = ids.iter().cloned().collect();
    proxy.decide(|call| {
        let memberships = |item: &&Value| item.to_string().contains("M#");
        let items = call.body["TransactItems"].as_array();
        match items.map_or(0, |items| items.iter().filter(memberships).count()) {
            0 | 1 => Fate::Pass,
            _ => Fate::TooLarge,
        }
    });
    let values = |ids: &[String]| ids.iter().map(|id| json!({ "value": id })).collect::<Value>();
    let group = client.post("/Groups", json!({ "displayName": "Few", "members": values(&ids[..5]) })).await;
    let few = group.expect(201).id();
    let group = client.post("/Groups", json!({ "displayName": "Many", "members": values(&ids) })).await;
    let many = group.expect(201).id();
    let patch = async |group: &str, op: &str, ids: &[String]| {
        let operations = json!([{ "op": op, "path": "members", "value": values(ids) }]);
        made(&client.patch(&format!("/Groups/{group}"), operations).await);
        support::work(&honest).await;
        let group = honest.get(&format!("/Groups/{group}")).await.expect(200);
        let members = group.body["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|m| m["value"].as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    assert_eq!(patch(&few, "add", &ids[5..30]).await.len(), 30);
    assert_eq!(patch(&few, "remove", &ids[..29]).await, BTreeSet::from([ids[29].clone()]));
    assert_eq!(patch(&many, "add", &ids).await, all);
    assert_eq!(patch(&many, "remove", &ids[1..]).await, BTreeSet::from([ids[0].clone()]));
    assert_consistent(&honest).await;
}
