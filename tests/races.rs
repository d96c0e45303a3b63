//! Two requests at once, most of them hundreds of times: whatever the order, every answer can be
//! explained and the table adds up.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall::scim::resource_type::Kind;
use serde_json::{Value, json};
use support::client::{Client, Reply, user};
use tokio::task::JoinSet;

/// How often each race is run.
const ROUNDS: usize = 200;

async fn statuses(tasks: JoinSet<u16>) -> Vec<u16> {
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    statuses
}

/// Two requests, of which by turns one is some milliseconds ahead of the other, or neither.
async fn race<T>(round: usize, one: impl Future<Output = T>, other: impl Future<Output = T>) -> (T, T) {
    let ahead = [0, 0, 1, 2, 4, 8][round / 2 % 6];
    let (first, second) = if round.is_multiple_of(2) { (0, ahead) } else { (ahead, 0) };
    let late = async |by: u64| {
        if by > 0 {
            tokio::time::sleep(Duration::from_millis(by)).await;
        }
    };
    // Boxed, since requests are large and tests have little stack.
    let one = Box::pin(async {
        late(first).await;
        one.await
    });
    let other = Box::pin(async {
        late(second).await;
        other.await
    });
    tokio::join!(one, other)
}

#[tokio::test]
async fn sixteen_clients_create_the_same_user() {
    let client = Client::new(support::embedded().await, "veza").await;
    for round in 0..ROUNDS {
        let name = format!("same{round}");
        let mut tasks = JoinSet::new();
        for at in 0..16 {
            let client = client.clone();
            // The same name in another case is the same name.
            let mut body = user(&name);
            if at % 2 == 1 {
                body["userName"] = json!(body["userName"].as_str().unwrap().to_uppercase());
            }
            tasks.spawn(async move {
                let reply = client.post("/Users", body).await;
                if reply.status == 409 {
                    assert_eq!(reply.body["scimType"], "uniqueness");
                }
                reply.status
            });
        }
        assert_eq!(statuses(tasks).await, [vec![201], vec![409; 15]].concat());
    }
    let list = client.get("/Users?count=1000").await.expect(200);
    assert_eq!(list.body["totalResults"], ROUNDS);
    assert_eq!(list.body["itemsPerPage"], ROUNDS);
    assert_eq!(client.store().total(Kind::User).await.unwrap(), ROUNDS as u64);
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn twelve_clients_bring_the_same_account_back() {
    let client = Client::new(support::embedded().await, "veza").await;
    let id = client.user("leaver").await;
    for version in 2..12 {
        client.delete(&format!("/Users/{id}")).await.expect(204);
        assert_eq!(client.store().total(Kind::User).await.unwrap(), 0);
        let mut tasks = JoinSet::new();
        for _ in 0..12 {
            let (client, id) = (client.clone(), id.clone());
            tasks.spawn(async move {
                let reply = client.post("/Users", user("leaver")).await;
                if reply.status == 201 {
                    assert_eq!(reply.id(), id);
                    assert_eq!(reply.body["meta"]["version"], format!("W/\"{version}\""));
                }
                reply.status
            });
        }
        assert_eq!(statuses(tasks).await, [vec![201], vec![409; 11]].concat());
        assert_eq!(client.store().total(Kind::User).await.unwrap(), 1);
    }
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn renames_onto_one_name_leave_one_holder() {
    let client = Client::new(support::embedded().await, "standard").await;
    for round in 0..ROUNDS {
        let (a, b) = (client.user(&format!("a{round}")).await, client.user(&format!("b{round}")).await);
        let mut tasks = JoinSet::new();
        for id in [a.clone(), b.clone()] {
            let client = client.clone();
            let rename = json!([{ "op": "replace", "path": "userName", "value": format!("wanted{round}") }]);
            tasks.spawn(async move { client.patch(&format!("/Users/{id}"), rename).await.status });
        }
        assert_eq!(statuses(tasks).await, [200, 409]);
        let found = client.get(&format!("/Users?filter=userName eq \"wanted{round}\"")).await;
        assert_eq!(found.body["totalResults"], 1);
        // The name that was given up is free again.
        let freed = [&a, &b].into_iter().find(|id| found.body["Resources"][0]["id"] == id.as_str()).unwrap();
        let old = if *freed == a { format!("a{round}") } else { format!("b{round}") };
        client.post("/Users", user(&old)).await.expect(201);
    }
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn changes_of_one_group_all_count() {
    let client = Client::new(support::embedded().await, "standard").await;
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
    let (record, members) =
        client.store().fetch_group(group.parse().unwrap()).await.unwrap().expect("the group");
    assert_eq!((record.tally.count, members.len(), record.version), (16, 16, 17));
    for id in ids {
        let user = client.get(&format!("/Users/{id}")).await.expect(200);
        assert_eq!(user.body["groups"][0]["value"], group.as_str());
    }
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn a_member_added_while_deleted_leaves_no_trace() {
    let client = Client::new(support::embedded().await, "standard").await;
    let group = client.group("Team", &[]).await;
    for round in 0..ROUNDS {
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
    let (record, members) =
        client.store().fetch_group(group.parse().unwrap()).await.unwrap().expect("the group");
    assert_eq!((record.tally.count, members.len()), (0, 0));
    assert_eq!(client.store().total(Kind::User).await.unwrap(), 0);
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn if_match_lets_one_of_many_through() {
    let client = Client::new(support::embedded().await, "standard").await;
    let id = client.user("ann").await;
    for version in 1..=ROUNDS {
        let mut tasks = JoinSet::new();
        for at in 0..5 {
            let (client, path) = (client.clone(), format!("/Users/{id}"));
            let body = json!({ "Operations": [
                { "op": "replace", "path": "title", "value": format!("{version}-{at}") }] });
            tasks.spawn(async move {
                let tag = format!("W/\"{version}\"");
                client.send("PATCH", &path, Some(body), &[("If-Match", &tag)]).await.status
            });
        }
        assert_eq!(statuses(tasks).await, [vec![200], vec![412; 4]].concat());
    }
    support::assert_consistent(&client).await;
}

/// Three users or three groups, which have unique names.
struct Named {
    client: Client,
    kind: Kind,
    ids: [String; 3],
}

impl Named {
    async fn new(kind: Kind) -> Self {
        let client = Client::new(support::embedded().await, "standard").await;
        let mut ids = [const { String::new() }; 3];
        for (at, id) in ids.iter_mut().enumerate() {
            *id = match kind {
                Kind::User => client.user(&at.to_string()).await,
                Kind::Group => client.group(&at.to_string(), &[]).await,
            };
        }
        Self { client, kind, ids }
    }

    fn attribute(&self) -> &'static str {
        if self.kind == Kind::User { "userName" } else { "displayName" }
    }

    fn collection(&self) -> &'static str {
        if self.kind == Kind::User { "/Users" } else { "/Groups" }
    }

    async fn rename(&self, at: usize, name: &str) -> u16 {
        let rename = json!([{ "op": "replace", "path": self.attribute(), "value": name }]);
        self.client.patch(&format!("{}/{}", self.collection(), self.ids[at]), rename).await.status
    }

    /// The names that they have.
    async fn names(&self) -> [String; 3] {
        let ids = self.ids.each_ref().map(|id| id.parse().unwrap());
        let records = self.client.store().fetch_many(self.kind, &ids).await.unwrap();
        ids.map(|id| {
            let record = records.iter().find(|record| record.id == id).unwrap();
            record.doc[self.attribute()].as_str().unwrap().to_owned()
        })
    }

    /// Asserts that each is the one that is found by its name, and that nobody is found by the names
    /// that are free.
    async fn assert_found(&self, names: [&str; 3], free: &[&str], round: usize) {
        let found = async |name: &str| {
            let path = format!("{}?filter={} eq \"{name}\"", self.collection(), self.attribute());
            let list = self.client.get(&path).await.expect(200);
            let found = list.body["Resources"].as_array().cloned().unwrap_or_default();
            found.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for (id, name) in self.ids.iter().zip(names) {
            assert_eq!(found(&name.to_uppercase()).await, [id.as_str()], "round {round}, {name}");
        }
        for name in free {
            assert_eq!(found(name).await, Vec::<String>::new(), "round {round}, {name}");
        }
    }
}

/// Whoever comes first is refused, since the other still has the name; so is the other then.
#[tokio::test]
async fn two_who_take_each_others_name_keep_their_own() {
    for kind in Kind::ALL {
        let three = Named::new(kind).await;
        let names = ["anna", "bert", "carl"];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(three.rename(at, name).await, 200);
        }
        for round in 0..ROUNDS {
            let answers = race(round, three.rename(0, "bert"), three.rename(1, "Anna")).await;
            assert_eq!(answers, (409, 409), "round {round}");
            assert_eq!(three.names().await, names, "round {round}");
        }
        three.assert_found(names, &[], ROUNDS).await;
        support::assert_consistent(&three.client).await;
    }
}

/// One takes a free name, another at once the name that the first gives up, and a third that of the
/// second: each succeeds if it came after the one before it.
#[tokio::test]
async fn names_go_round_as_they_become_free() {
    for kind in Kind::ALL {
        let three = Named::new(kind).await;
        let mut names = ["anna", "bert", "carl"];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(three.rename(at, name).await, 200);
        }
        let (mut free, mut seen) = ("dora", BTreeMap::new());
        for round in 0..ROUNDS {
            let [a, b, c] = names;
            let behind = async { race(round, three.rename(1, a), three.rename(2, b)).await };
            let first = async { (three.rename(0, free).await, 0) };
            let ((first, _), (second, third)) = race(round / 12, first, behind).await;
            assert_eq!(first, 200, "round {round}: the name was free");
            (names, free) = match (second, third) {
                (200, 200) => ([free, a, b], c),
                (200, 409) => ([free, a, c], b),
                (409, 409) => ([free, b, c], a),
                other => panic!("round {round}: {other:?}"),
            };
            assert_eq!(three.names().await, names, "round {round}");
            if round % 20 == 0 {
                three.assert_found(names, &[free], round).await;
            }
            *seen.entry((second, third)).or_insert(0) += 1;
        }
        assert!(seen.len() > 1, "the order was always the same: {seen:?}");
        println!("{kind:?}: {seen:?}");
        three.assert_found(names, &[free], ROUNDS).await;
        support::assert_consistent(&three.client).await;
    }
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
#[tokio::test]
async fn two_changes_of_one_group_happen_one_after_the_other() {
    let client = Client::new(support::embedded().await, "standard").await;
    let mut users = Vec::new();
    for n in 0..8 {
        users.push(client.user(&format!("u{n}")).await);
    }
    let group = client.group("Team", &users[..2]).await;
    let path = format!("/Groups/{group}");
    let mut before = Shown::read(&client.get(&path).await.expect(200));
    let mut refused = 0;
    for round in 0..ROUNDS * 3 / 2 {
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
    assert!(refused * 10 < ROUNDS, "{refused} were refused");
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn a_group_deleted_while_a_member_is_added_leaves_no_trace() {
    let client = Client::new(support::embedded().await, "standard").await;
    let (old, new) = (client.user("old").await, client.user("new").await);
    let mut seen = BTreeMap::new();
    for round in 0..ROUNDS {
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
    assert!(seen.contains_key(&404) && seen.len() > 1, "the order was always the same: {seen:?}");
    assert_eq!(client.store().total(Kind::Group).await.unwrap(), 0);
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn a_name_is_taken_while_its_group_is_deleted() {
    let client = Client::new(support::embedded().await, "standard").await;
    let mut seen = BTreeMap::new();
    for round in 0..ROUNDS {
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
    assert_eq!(seen.len(), 2, "the order was always the same: {seen:?}");
    assert_eq!(client.store().total(Kind::Group).await.unwrap(), 2 * ROUNDS as u64);
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn tenants_share_nothing() {
    let acme = Client::new(support::embedded().await, "standard").await;
    let other = acme.of("other");
    let id = acme.user("ann").await;
    let group = acme.group("Team", std::slice::from_ref(&id)).await;
    // The same names are free in the other tenant.
    let twin = other.user("ann").await;
    other.group("Team", &[]).await;
    for path in [format!("/Users/{id}"), format!("/Groups/{group}")] {
        other.get(&path).await.expect(404);
        other.delete(&path).await.expect(404);
        other.patch(&path, json!([{ "op": "remove", "path": "externalId" }])).await.expect(404);
        other.put(&path, user("ann")).await.expect(404);
    }
    let stranger = json!({ "displayName": "Mixed", "members": [{ "value": id }] });
    other.post("/Groups", stranger).await.expect(400);
    let found = other.get(&format!("/Groups?filter=members eq \"{id}\"")).await.expect(200);
    assert_eq!(found.body["totalResults"], 0);
    let ids: BTreeSet<String> = [acme.get("/Users").await, other.get("/Users").await]
        .iter()
        .map(|list| list.body["Resources"][0]["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2);
    // A cursor tells of its query and place, not of its tenant; it opens nothing of another's.
    acme.user("bob").await;
    let page = acme.get("/Users?cursor=&count=1").await.expect(200);
    let cursor = page.body["nextCursor"].as_str().expect("a cursor");
    let page = other.get(&format!("/Users?cursor={cursor}&count=10")).await.expect(200);
    for user in page.body["Resources"].as_array().expect("an array") {
        assert_eq!(user["id"], twin.as_str());
    }
}
