//! Two requests at once for one group. Every answer fits an order of the two, and the table is consistent.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollcall::scim::resource_type::Kind;
use rollcall::store::members::WholeGroup;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support;
use crate::support::client::{Client, Reply};
use crate::support::racing::{race, statuses};
use crate::support::stage::{Stage, play};

async fn changes_of_one_group_all_count(stage: Stage) {
    let client = Client::new(stage.table().await, "standard").await;
    let group = client.group("Team", &[]).await;
    let mut ids = Vec::new();
    for n in 0..16 {
        ids.push(client.user(&format!("u{n}")).await);
    }
    let mut tasks = JoinSet::new();
    for id in ids.clone() {
        let (client, path) = (client.clone(), format!("/Groups/{group}"));
        tasks.spawn(async move {
            let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
            // A request that lost too often says so with 409 and is sent again, as clients do.
            loop {
                match client.patch(&path, add.clone()).await.status {
                    409 => tokio::task::yield_now().await,
                    status => return status,
                }
            }
        });
    }
    assert_eq!(statuses(tasks).await, [200; 16]);
    let WholeGroup { record, members } =
        client.store().members().fetch_group(group.parse().unwrap()).await.unwrap().expect("the group");
    assert_eq!((record.digest.count, members.len(), record.version), (16, 16, 17));
    for id in ids {
        let user = client.get(&format!("/Users/{id}")).await.expect(200);
        assert_eq!(user.body["groups"][0]["value"], group.as_str());
    }
    support::assert_consistent(&client).await;
}

/// A change of many members is not overtaken for ever by changes of few.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_change_gets_its_turn() {
    let client = Client::new(support::serve().await.table, "standard").await;
    let ids = client.users(0..62).await;
    let path = format!("/Groups/{}", client.group("Team", &[]).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for id in &ids[60..] {
        let (client, path, id, is_over) = (client.clone(), path.clone(), id.clone(), is_over.clone());
        writers.spawn(async move {
            let change = |op: &str| json!([{ "op": op, "path": "members", "value": [{ "value": id }] }]);
            while !is_over.load(Ordering::Relaxed) {
                client.patch(&path, change("add")).await.expect(200);
                client.patch(&path, change("remove")).await.expect(200);
            }
        });
    }
    for op in ["add", "remove", "add"] {
        let many: Vec<Value> = ids[..60].iter().map(|id| json!({ "value": id })).collect();
        client.patch(&path, json!([{ "op": op, "path": "members", "value": many }])).await.expect(200);
    }
    is_over.store(true, Ordering::Relaxed);
    writers.join_all().await;
    support::work(&client).await;
    support::assert_consistent(&client).await;
}

async fn a_member_added_while_deleted_leaves_no_trace(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "standard").await;
    let group = client.group("Team", &[]).await;
    for round in 0..rounds {
        let id = client.user(&format!("u{round}")).await;
        let mut tasks = JoinSet::new();
        let (adder, deleter) = (client.clone(), client.clone());
        let (path, user) = (format!("/Groups/{group}"), format!("/Users/{id}"));
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
        tasks.spawn(async move { adder.patch(&path, add).await.status });
        tasks.spawn(async move { deleter.delete(&user).await.status });
        let found = statuses(tasks).await;
        assert!(found == [200, 204] || found == [204, 400], "{found:?}");
    }
    let WholeGroup { record, members } =
        client.store().members().fetch_group(group.parse().unwrap()).await.unwrap().expect("the group");
    assert_eq!((record.digest.count, members.len()), (0, 0));
    assert_eq!(client.store().total(Kind::User).await.unwrap(), 0);
    support::assert_consistent(&client).await;
}

/// A change of a group, as a request and as what it does.
#[derive(Clone, Debug)]
enum Change {
    Add(String),
    Remove(String),
    Replace(Vec<String>),
    Rename(String),
}

/// What a group shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    version: u64,
    name: String,
    members: BTreeSet<String>,
}

impl Change {
    fn operations(&self) -> Value {
        let values = |ids: &[String]| ids.iter().map(|id| json!({ "value": id })).collect::<Value>();
        match self {
            Self::Add(id) => {
                json!([{ "op": "add", "path": "members", "value": values(std::slice::from_ref(id)) }])
            }
            Self::Remove(id) => json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]),
            Self::Replace(ids) => json!([{ "op": "replace", "path": "members", "value": values(ids) }]),
            Self::Rename(name) => json!([{ "op": "replace", "path": "displayName", "value": name }]),
        }
    }

    fn apply(&self, before: &Shown) -> Shown {
        let mut after = before.clone();
        match self {
            Self::Add(id) => _ = after.members.insert(id.clone()),
            Self::Remove(id) => _ = after.members.remove(id),
            Self::Replace(ids) => after.members = ids.iter().cloned().collect(),
            Self::Rename(name) => after.name.clone_from(name),
        }
        // A change of nothing writes nothing.
        after.version += u64::from(after != *before);
        after
    }
}

impl Shown {
    fn read(reply: &Reply) -> Self {
        let version = reply.headers["etag"].to_str().unwrap();
        let members = reply.body["members"].as_array().cloned().unwrap_or_default();
        Self {
            version: version.trim_start_matches("W/\"").trim_end_matches('"').parse().unwrap(),
            name: reply.body["displayName"].as_str().unwrap().to_owned(),
            members: members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect(),
        }
    }
}

/// What is there afterwards is what the changes that were acknowledged make in some order; and
/// each answer shows the group right after its change or after both.
async fn two_changes_of_one_group_happen_one_after_the_other(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "standard").await;
    let mut users = Vec::new();
    for n in 0..8 {
        users.push(client.user(&format!("u{n}")).await);
    }
    let group = client.group("Team", &users[..2]).await;
    let path = format!("/Groups/{group}");
    let mut before = Shown::read(&client.get(&path).await.expect(200));
    let mut refused = 0;
    for round in 0..rounds * 3 / 2 {
        let user = |at: usize| users[(round / 4 + at) % users.len()].clone();
        let pair = match round % 4 {
            0 => [Change::Replace(vec![user(1), user(2)]), Change::Add(user(3))],
            1 => [Change::Add(user(4)), Change::Add(user(5))],
            2 if round % 8 == 2 => [Change::Add(user(6)), Change::Remove(user(6))],
            2 => [Change::Add(user(4)), Change::Remove(user(4))],
            _ => [Change::Add(user(7)), Change::Rename(format!("Team {round}"))],
        };
        let send = |change: &Change| client.patch(&path, change.operations());
        let swapped = round / 8 % 2;
        let (one, other) = race(round / 4, send(&pair[swapped]), send(&pair[1 - swapped])).await;
        let answers = if swapped == 0 { [one, other] } else { [other, one] };
        let mut made = Vec::new();
        for (change, answer) in pair.iter().zip(&answers) {
            match answer.status {
                200 => made.push(change),
                // It lost too often; then it has done nothing.
                409 => refused += 1,
                status => panic!("round {round}: {status} {}", answer.body),
            }
        }
        let after = Shown::read(&client.get(&path).await.expect(200));
        let orders: Vec<Vec<Shown>> = [made.clone(), made.into_iter().rev().collect()]
            .iter()
            .map(|order: &Vec<&Change>| {
                order.iter().scan(before.clone(), |now, change| {
                    *now = change.apply(now);
                    Some(now.clone())
                })
            })
            .map(|states| [before.clone()].into_iter().chain(states).collect())
            .collect();
        let fits = |states: &Vec<Shown>| {
            let seen = |answer: &Reply| answer.status == 409 || states.contains(&Shown::read(answer));
            states.last() == Some(&after) && answers.iter().all(seen)
        };
        assert!(
            orders.iter().any(fits),
            "round {round}, {pair:?}: {after:?} of {before:?}; answered {:?}",
            answers.map(|answer| answer.body)
        );
        before = after;
    }
    assert!(stage.is_torn() || refused * 10 < rounds, "{refused} were refused");
    support::assert_consistent(&client).await;
}

async fn a_group_deleted_while_a_member_is_added_leaves_no_trace(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "standard").await;
    let (old, new) = (client.user("old").await, client.user("new").await);
    let mut seen = BTreeMap::new();
    for round in 0..rounds {
        let group = client.group(&format!("Team {round}"), std::slice::from_ref(&old)).await;
        let path = format!("/Groups/{group}");
        let add = async { client.patch(&path, Change::Add(new.clone()).operations()).await.status };
        let delete = async { client.delete(&path).await.status };
        let (added, deleted) = race(round, add, delete).await;
        assert_eq!(deleted, 204, "round {round}");
        // 204: it was deleted before it could be shown.
        assert!([200, 204, 404].contains(&added), "round {round}: {added}");
        *seen.entry(added).or_insert(0) += 1;
        client.get(&path).await.expect(404);
        for id in [&old, &new] {
            let user = client.store().fetch(Kind::User, id.parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(user.groups, BTreeSet::new(), "round {round}");
        }
    }
    assert!(
        stage.is_torn() || seen.contains_key(&404) && seen.len() > 1,
        "the order was always the same: {seen:?}"
    );
    assert_eq!(client.store().total(Kind::Group).await.unwrap(), 0);
    support::assert_consistent(&client).await;
}

async fn a_name_is_taken_while_its_group_is_deleted(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "standard").await;
    let mut seen = BTreeMap::new();
    for round in 0..rounds {
        let (held, other) = (format!("Held {round}"), format!("Other {round}"));
        let holder = client.group(&held, &[]).await;
        let heir = client.group(&other, &[]).await;
        let rename = Change::Rename(held.to_uppercase()).operations();
        let rename = async { client.patch(&format!("/Groups/{heir}"), rename).await.status };
        let delete = async { client.delete(&format!("/Groups/{holder}")).await.status };
        let (renamed, deleted) = race(round, rename, delete).await;
        assert_eq!(deleted, 204, "round {round}");
        assert!([200, 409].contains(&renamed), "round {round}: {renamed}");
        *seen.entry(renamed).or_insert(0) += 1;
        // Of the two names one is the heir's, and the other is free.
        let (taken, free) = if renamed == 200 { (held, other) } else { (other, held) };
        client.post("/Groups", json!({ "displayName": taken.to_lowercase() })).await.expect(409);
        let found = client.get(&format!("/Groups?filter=displayName eq \"{taken}\"")).await.expect(200);
        assert_eq!(found.body["Resources"][0]["id"], heir.as_str(), "round {round}");
        client.group(&free, &[]).await;
    }
    assert!(stage.is_torn() || seen.len() == 2, "the order was always the same: {seen:?}");
    assert_eq!(client.store().total(Kind::Group).await.unwrap(), 2 * rounds as u64);
    support::assert_consistent(&client).await;
}

play!(
    changes_of_one_group_all_count,
    a_member_added_while_deleted_leaves_no_trace,
    two_changes_of_one_group_happen_one_after_the_other,
    a_group_deleted_while_a_member_is_added_leaves_no_trace,
    a_name_is_taken_while_its_group_is_deleted
);
