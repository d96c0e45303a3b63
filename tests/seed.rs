//! A seeded tenant is what creations one by one would have made.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

use rollcall::dev::seed::{GROUP_NAME, SeedOutcome, Size, group_id, user, user_id, user_name};
use rollcall::scim::policy::POLICIES;
use rollcall::store::call::{ScanPage, ScanSegment};
use serde_json::json;
use support::assert_consistent;
use support::client::Client;

#[tokio::test]
async fn a_seeded_tenant_is_a_tenant_like_any_other() {
    for policy in POLICIES {
        let client = Client::new(support::embedded().await, policy.name).await;
        let before = client.user("before").await;
        let size = Size { users: 300, members: 120 };
        assert_eq!(support::seed(&client, size).await, Ok(SeedOutcome::Seeded));
        assert_consistent(&client).await;
        let list = client.get("/Users?count=0").await.expect(200);
        assert_eq!(list.body["totalResults"], 301, "{}", policy.name);
        let first = client.get("/Users?count=1").await.expect(200);
        assert_eq!(first.body["Resources"][0]["id"], user_id(1).to_string());

        let group = format!("/Groups/{}", group_id());
        let whole = client.get(&group).await.expect(200);
        assert_eq!(whole.body["displayName"], GROUP_NAME);
        assert_eq!(whole.body["members"].as_array().map(Vec::len), Some(120));
        let found =
            client.get(&format!("/Users?filter=userName eq \"{}\"", user_name(300))).await.expect(200);
        assert_eq!(found.body["Resources"][0]["id"], user_id(300).to_string());
        let member = client.get(&format!("/Users/{}", user_id(120))).await.expect(200);
        assert_eq!(member.body["groups"][0]["value"], group_id().to_string());

        let change = json!([
            { "op": "add", "path": "members", "value": [{ "value": before }, { "value": user_id(300).to_string() }] },
            { "op": "remove", "path": format!("members[value eq \"{}\"]", user_id(1)) }
        ]);
        client.patch(&format!("{group}?attributes=displayName"), change).await.expect(200);
        client.post("/Users", user(7)).await.expect(409);
        client.put(&format!("/Users/{}", user_id(8)), user(8)).await.expect(200);
        client.delete(&format!("/Users/{}", user_id(9))).await.expect(204);
        client.delete(&format!("/Users/{}", user_id(200))).await.expect(204);
        assert_consistent(&client).await;
    }
}

/// The items of one seeded user are those that a POST of the same body leaves.
#[tokio::test]
async fn a_seeded_user_has_the_items_of_a_created_one() {
    for policy in POLICIES {
        let seeded = Client::new(support::embedded().await, policy.name).await;
        support::seed(&seeded, Size { users: 1, members: 1 }).await.unwrap();
        let created = Client::new(support::embedded().await, policy.name).await;
        let id = created.post("/Users", user(1)).await.expect(201).id();
        let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": GROUP_NAME, "members": [{ "value": id }] });
        let group = created.post("/Groups", group).await.expect(201).id();
        let (mut by_seed, mut by_requests) = (items(&seeded).await, items(&created).await);
        for (key, _) in by_requests.iter_mut() {
            *key = key.replace(&id, &user_id(1).to_string()).replace(&group, &group_id().to_string());
        }
        by_seed.sort();
        by_requests.sort();
        assert_eq!(by_seed, by_requests, "{}", policy.name);
    }
}

/// Keys and names of attributes of what a tenant has, but for events, counters and page marks.
async fn items(client: &Client) -> Vec<(String, Vec<String>)> {
    let ScanPage { found: items, .. } =
        client.table.scan_items(&["T#acme#"], None, ScanSegment::WHOLE, None).await.unwrap();
    let mut found = Vec::new();
    for item in items {
        let key = format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
        if ["#E#", "#N ", "#P ", "#K "].iter().any(|other| key.contains(other)) {
            continue;
        }
        let mut names: Vec<String> = item.keys().cloned().collect();
        names.sort();
        found.push((key, names));
    }
    found
}

#[tokio::test]
async fn nothing_is_seeded_twice_or_over_others() {
    let client = Client::new(support::embedded().await, "veza").await;
    let size = Size { users: 30, members: 0 };
    let error = support::seed(&client, Size { users: 1, members: 2 }).await.unwrap_err();
    assert!(error.contains("--seed-members 2"), "{error}");
    assert_eq!(support::seed(&client, size).await, Ok(SeedOutcome::Seeded));
    client.delete(&format!("/Users/{}", user_id(2))).await.expect(204);
    assert_eq!(support::seed(&client, size).await, Ok(SeedOutcome::Present));
    assert_eq!(client.get("/Users?count=0").await.body["totalResults"], 29);
    assert_eq!(client.get("/Groups?count=0").await.body["totalResults"], 0);
    client.delete(&format!("/Users/{}", user_id(1))).await.expect(204);
    let error = support::seed(&client, size).await.unwrap_err();
    assert!(error.contains("a part of the users of a seed"), "{error}");
    assert_consistent(&client).await;

    let other = client.of("acme-2");
    other.post("/Users", user(29)).await.expect(201);
    let error = support::seed(&other, size).await.unwrap_err();
    assert!(error.contains("has 1 of the names of a seed"), "{error}");
    assert_eq!(other.get("/Users?count=0").await.body["totalResults"], 1);
}
