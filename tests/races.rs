//! Two requests at once: whatever the order, every answer can be explained and the table adds up.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use rollcall::scim::resource_type::Kind;
use serde_json::json;
use support::client::{Client, user};
use tokio::task::JoinSet;

async fn statuses(tasks: JoinSet<u16>) -> Vec<u16> {
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn sixteen_clients_create_the_same_user() {
    let client = Client::new(support::embedded().await, "veza").await;
    for round in 0..100 {
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
    let list = client.get("/Users").await.expect(200);
    assert_eq!(list.body["totalResults"], 100);
    assert_eq!(list.body["itemsPerPage"], 100);
    assert_eq!(client.store().total(Kind::User).await.unwrap(), 100);
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
    for round in 0..100 {
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
    for round in 0..150 {
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
    for version in 1..=10 {
        let mut tasks = JoinSet::new();
        for at in 0..8 {
            let (client, path) = (client.clone(), format!("/Users/{id}"));
            let body = json!({ "Operations": [
                { "op": "replace", "path": "title", "value": format!("{version}-{at}") }] });
            tasks.spawn(async move {
                let tag = format!("W/\"{version}\"");
                client.send("PATCH", &path, Some(body), &[("If-Match", &tag)]).await.status
            });
        }
        assert_eq!(statuses(tasks).await, [vec![200], vec![412; 7]].concat());
    }
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
