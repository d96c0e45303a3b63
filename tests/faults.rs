//! A busy table and a bad network: one call in ten fails, in different ways. A provisioning run ends with every
//! change made exactly once.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall::scim::resource_type::Kind;
use rollcall::store::digest::MembershipDigest;
use rollcall::store::item::{number, text};
use rollcall::store::keys;
use rollcall::store::large_change::pending_change::{ChangeState, PendingTask};
use rollcall::store::membership::{Membership, add_member};
use rollcall::store::worker;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, Reply, user};
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::scene;
use crate::support::{assert_consistent, pending};

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

/// What must be there in the end: users with name and title, groups with members.
struct Model {
    users: BTreeMap<String, (String, Option<String>)>,
    groups: BTreeMap<String, BTreeSet<String>>,
    dice: Numbers,
}

impl Model {
    fn pick_user(&mut self) -> String {
        let place = self.dice.below(self.users.len());
        self.users.keys().nth(place).unwrap().clone()
    }

    fn pick_group(&mut self) -> String {
        let place = self.dice.below(self.groups.len());
        self.groups.keys().nth(place).unwrap().clone()
    }

    /// Sends one operation, until it is answered, and notes what it does.
    async fn operate(&mut self, client: &Client, at: usize) {
        let choice = if self.users.len() < 20 { 0 } else { self.dice.below(10) };
        match choice {
            0..=2 => self.create_user(client, at).await,
            3..=4 => self.set_title(client, at).await,
            5 => self.replace_user(client).await,
            6..=7 => self.add_members(client).await,
            8 => self.remove_members(client).await,
            _ => self.delete_user(client).await,
        }
    }

    async fn create_user(&mut self, client: &Client, at: usize) {
        let name = format!("u{at}");
        let (reply, again) = insist(client, "POST", "/Users", Some(user(&name))).await;
        let id = if reply.status == 409 {
            // An earlier attempt took effect without an answer. The client looks for the user and goes on.
            assert!(again, "{}", reply.body);
            let filter = format!("/Users?filter=userName eq \"{name}@example.com\"");
            let (found, _) = insist(client, "GET", &filter, None).await;
            assert_eq!(found.body["totalResults"], 1, "{}", found.body);
            found.body["Resources"][0]["id"].as_str().unwrap().to_owned()
        } else {
            reply.expect(201).id()
        };
        assert!(self.users.insert(id, (name, None)).is_none());
    }

    async fn set_title(&mut self, client: &Client, at: usize) {
        let id = self.pick_user();
        let title = format!("Title {at}");
        let set = operations(json!([{ "op": "replace", "path": "title", "value": title }]));
        made(&insist(client, "PATCH", &format!("/Users/{id}"), set).await.0);
        self.users.get_mut(&id).unwrap().1 = Some(title);
    }

    async fn replace_user(&mut self, client: &Client) {
        let id = self.pick_user();
        let entry = self.users.get_mut(&id).unwrap();
        entry.1 = None;
        let body = user(&entry.0);
        made(&insist(client, "PUT", &format!("/Users/{id}"), Some(body)).await.0);
    }

    async fn add_members(&mut self, client: &Client) {
        let group = self.pick_group();
        let number = 1 + self.dice.below(60);
        let some: BTreeSet<String> = (0..number).map(|_| self.pick_user()).collect();
        change_members(client, &group, "add", some.iter()).await;
        self.groups.get_mut(&group).unwrap().extend(some);
    }

    async fn remove_members(&mut self, client: &Client) {
        let group = self.pick_group();
        let number = 1 + self.dice.below(60);
        let members = self.groups.get_mut(&group).unwrap();
        let some: Vec<String> = members.iter().take(number).cloned().collect();
        if some.is_empty() {
            return;
        }
        members.retain(|id| !some.contains(id));
        change_members(client, &group, "remove", some.iter()).await;
    }

    async fn delete_user(&mut self, client: &Client) {
        let id = self.pick_user();
        let (reply, again) = insist(client, "DELETE", &format!("/Users/{id}"), None).await;
        assert!(reply.status == 204 || (again && reply.status == 404), "{}", reply.body);
        self.users.remove(&id);
        for members in self.groups.values_mut() {
            members.remove(&id);
        }
    }

    /// Asserts that the service has these users and groups, and no others.
    async fn assert_stored(&self, honest: &Client) {
        assert_eq!(honest.store().total(Kind::User).await.unwrap(), self.users.len() as u64);
        for (id, (name, title)) in &self.users {
            let found = honest.get(&format!("/Users/{id}")).await.expect(200).body;
            assert_eq!(found["userName"], format!("{name}@example.com"));
            assert_eq!(found.get("title").and_then(Value::as_str), title.as_deref(), "{name}");
            let groups = self.groups.iter().filter(|(_, members)| members.contains(id));
            let expected: BTreeSet<String> = groups.map(|(group, _)| group.clone()).collect();
            assert_eq!(values(&found["groups"]), expected, "{name}");
        }
        for (id, members) in &self.groups {
            let found = honest.get(&format!("/Groups/{id}")).await.expect(200).body;
            assert_eq!(&values(&found["members"]), members);
        }
    }
}

async fn change_members(client: &Client, group: &str, op: &str, ids: impl Iterator<Item = &String>) {
    let value: Value = ids.map(|id| json!({ "value": id })).collect();
    let change = operations(json!([{ "op": op, "path": "members", "value": value }]));
    made(&insist(client, "PATCH", &format!("/Groups/{group}"), change).await.0);
}

/// The `value` of each element. An attribute that is absent has none.
fn values(elements: &Value) -> BTreeSet<String> {
    let elements = elements.as_array().cloned().unwrap_or_default();
    elements.iter().map(|element| element["value"].as_str().unwrap().to_owned()).collect()
}

/// One call in ten meets a fault. Returns how often each fault was met.
fn inject_faults(proxy: &Proxy) -> Arc<Mutex<BTreeMap<String, usize>>> {
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
    injected
}

#[tokio::test]
async fn two_thousand_operations_under_faults_all_count_once() {
    let (proxy, client, honest) = scene("standard").await;
    let mut model = Model { users: BTreeMap::new(), groups: BTreeMap::new(), dice: Numbers(0xd1ce) };
    for at in 0..10 {
        model.groups.insert(honest.group(&format!("Team {at}"), &[]).await, BTreeSet::new());
    }
    let injected = inject_faults(&proxy);
    for at in 0..2_000 {
        model.operate(&client, at).await;
    }
    let injected = injected.lock().unwrap().clone();
    assert_eq!(injected.len(), FATES.len(), "every kind of fault was met: {injected:?}");
    println!("{} calls, faults: {injected:?}", proxy.calls());
    proxy.decide(|_| Fate::Pass);
    for _ in 0..5 {
        worker::round(&honest.table.fresh()).await.unwrap();
    }
    // A change that was staged and given up without an answer ends after an hour.
    for pending in honest.store().large_changes().list().await.unwrap() {
        honest.store().large_changes().abort(&pending).await.unwrap();
    }
    model.assert_stored(&honest).await;
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
    let digest = MembershipDigest::from_item(&item).with([member]);
    item.extend(digest.attributes());
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
    let unknown = honest.store().large_changes().new_change(
        PendingTask::ChangeMembers,
        uuid::Uuid::now_v7(),
        ChangeState::Committed,
    );
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

/// A few members fit no transaction together, and one of them leaves at any moment of the change: it leaves once.
#[tokio::test]
async fn a_member_that_leaves_beside_a_change_that_is_written_apart_is_counted_once() {
    let (proxy, client, honest) = scene("standard").await;
    let ids = honest.users(0..6).await;
    let values = |ids: &[String]| ids.iter().map(|id| json!({ "value": id })).collect::<Value>();
    let mut at = 0;
    loop {
        let body = json!({ "displayName": format!("Team {at}"), "members": values(&ids) });
        let group = honest.post("/Groups", body).await.expect(201).id();
        let mut count = 0;
        proxy.decide(move |call| {
            count += 1;
            let memberships = |item: &&Value| item.to_string().contains("M#");
            let items = call.body["TransactItems"].as_array();
            match items.map_or(0, |items| items.iter().filter(memberships).count()) {
                _ if count == at + 1 => Fate::Held,
                0 | 1 => Fate::Pass,
                _ => Fate::TooLarge,
            }
        });
        let path = format!("/Groups/{group}");
        let remove = |ids: &[String]| json!([{ "op": "remove", "path": "members", "value": values(ids) }]);
        let change = client.patch(&path, remove(&ids[..4]));
        let mut change = std::pin::pin!(change);
        let reply = tokio::select! {
            // The change has no such call: all its moments were tried.
            reply = &mut change => {
                made(&reply);
                break;
            }
            () = proxy.held() => {
                made(&honest.patch(&path, remove(&ids[..1])).await);
                proxy.release();
                change.await
            }
        };
        made(&reply);
        support::work(&honest).await;
        let members = honest.get(&path).await.expect(200).body["members"].clone();
        assert_eq!(members.as_array().map(Vec::len), Some(2), "before call {at}");
        assert_consistent(&honest).await;
        at += 1;
    }
    assert!(at > 4, "{at} moments");
}

#[tokio::test]
async fn single_writes_that_meet_a_transaction_are_sent_again() {
    let (proxy, client, honest) = scene("standard").await;
    let key = keys::feed_page(1);
    let item = || [text("a", "b")].into();
    let mut left = 4;
    proxy.decide(move |call: &Call| {
        let is_write = ["PutItem", "BatchWriteItem"].contains(&call.operation.as_str()) && left > 0;
        left -= i32::from(is_write);
        if is_write && left % 2 == 1 { Fate::Conflict } else { Fate::Pass }
    });
    client.table.put(&key, item()).await.unwrap();
    assert!(honest.table.get(&key).await.unwrap().is_some());
    client.table.batch_delete([key.clone()]).await.unwrap();
    assert_eq!(honest.table.get(&key).await.unwrap(), None);
    proxy.decide(|_: &Call| Fate::Conflict);
    let failed = client.table.put(&key, item()).await.unwrap_err();
    assert!(!failed.may_have_taken_effect(), "{failed}");
}
