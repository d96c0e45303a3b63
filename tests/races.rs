//! Two requests at once for users and names. Every answer fits an order of the two, and the table is consistent.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use rollcall::scim::resource_type::Kind;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support;
use crate::support::client::{Client, user};
use crate::support::racing::{race, statuses};
use crate::support::stage::{Stage, play};

async fn sixteen_clients_create_the_same_user(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "veza").await;
    for round in 0..rounds {
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
    assert_eq!(list.body["totalResults"], rounds);
    assert_eq!(list.body["itemsPerPage"], rounds);
    assert_eq!(client.store().total(Kind::User).await.unwrap(), rounds as u64);
    support::assert_consistent(&client).await;
}

async fn twelve_clients_bring_the_same_account_back(stage: Stage) {
    let client = Client::new(stage.table().await, "veza").await;
    let id = client.user("leaver").await;
    // The deletion takes a version, and the return the next.
    for version in (3..23).step_by(2).take(if stage.is_torn() { 2 } else { 10 }) {
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

async fn renames_onto_one_name_leave_one_holder(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "standard").await;
    for round in 0..rounds {
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

async fn if_match_lets_one_of_many_through(stage: Stage) {
    let rounds = stage.rounds();
    let client = Client::new(stage.table().await, "standard").await;
    let id = client.user("ann").await;
    for version in 1..=rounds {
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
    async fn new(kind: Kind, stage: Stage) -> Self {
        let client = Client::new(stage.table().await, "standard").await;
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

    /// Asserts that each user is found by its name, and that no user is found by a free name.
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
async fn two_who_take_each_others_name_keep_their_own(stage: Stage) {
    let rounds = stage.rounds();
    for kind in Kind::ALL {
        let three = Named::new(kind, stage).await;
        let names = ["anna", "bert", "carl"];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(three.rename(at, name).await, 200);
        }
        for round in 0..rounds {
            let answers = race(round, three.rename(0, "bert"), three.rename(1, "Anna")).await;
            assert_eq!(answers, (409, 409), "round {round}");
            assert_eq!(three.names().await, names, "round {round}");
        }
        three.assert_found(names, &[], rounds).await;
        support::assert_consistent(&three.client).await;
    }
}

/// One takes a free name, another at once the name that the first gives up, and a third that of the
/// second: each succeeds if it came after the one before it.
async fn names_go_round_as_they_become_free(stage: Stage) {
    let rounds = stage.rounds();
    for kind in Kind::ALL {
        let three = Named::new(kind, stage).await;
        let mut names = ["anna", "bert", "carl"];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(three.rename(at, name).await, 200);
        }
        let (mut free, mut seen) = ("dora", BTreeMap::new());
        for round in 0..rounds {
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
        assert!(stage.is_torn() || seen.len() > 1, "the order was always the same: {seen:?}");
        println!("{kind:?}: {seen:?}");
        three.assert_found(names, &[free], rounds).await;
        support::assert_consistent(&three.client).await;
    }
}

#[tokio::test]
async fn tenants_share_nothing() {
    let acme = Client::new(support::embedded().await, "standard").await;
    let other = acme.of("other");
    let id = acme.user("ann").await;
    let group = acme.group("Team", std::slice::from_ref(&id)).await;
    // The same names are free in the other tenant.
    other.user("ann").await;
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
    // A cursor is signed with a secret of its tenant.
    acme.user("bob").await;
    let page = acme.get("/Users?cursor=&count=1").await.expect(200);
    let cursor = page.body["nextCursor"].as_str().expect("a cursor");
    let refused = other.get(&format!("/Users?cursor={cursor}&count=10")).await.expect(400);
    assert_eq!(refused.body["scimType"], "invalidCursor");
}

play!(
    sixteen_clients_create_the_same_user,
    twelve_clients_bring_the_same_account_back,
    renames_onto_one_name_leave_one_holder,
    if_match_lets_one_of_many_through,
    two_who_take_each_others_name_keep_their_own,
    names_go_round_as_they_become_free
);
