//! The largest changes. They are answered within a request and are in force at once. The worker finishes them.
//! `make test-long` deletes a group of 100,000 members (SCALE_MEMBERS=100000).
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rollcall::dev::seed::{Size, group_id, user_id, user_name};
use serde_json::{Value, json};

use crate::support;
use crate::support::assert_consistent;
use crate::support::client::Client;

/// API Gateway waits no longer for an answer.
const REQUEST: Duration = Duration::from_secs(29);

/// Members of the group that is deleted.
fn members() -> usize {
    let asked = std::env::var("SCALE_MEMBERS").ok();
    asked.map_or(20_000, |text| text.parse().expect("SCALE_MEMBERS is a number"))
}

async fn seeded(size: Size) -> Client {
    let client = Client::new(support::embedded().await, "standard").await;
    support::seed(&client, size).await.expect("a seed");
    client
}

/// The units of one of `count` items.
fn per(units: f64, count: usize) -> f64 {
    units / f64::from(u32::try_from(count).unwrap())
}

async fn total(client: &Client, query: &str) -> Value {
    client.get(query).await.expect(200).body["totalResults"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_10_000_is_made_and_the_largest_is_deleted() {
    let size = members().max(10_000);
    let client = seeded(Size { users: size, members: size }).await;
    let ids: Vec<Value> = (1..=10_000).map(|n| json!({ "value": user_id(n).to_string() })).collect();
    let began = Instant::now();
    let made = client.post("/Groups", json!({ "displayName": "New", "members": ids })).await.expect(201);
    assert!(began.elapsed() < REQUEST, "{:?}", began.elapsed());
    // A member is looked for once; its membership, its own item and its share of a chunk and of an
    // event are written.
    assert!(per(made.line.usage.read_units, 10_000) <= 1.02, "{:?}", made.line.usage);
    assert!(per(made.line.usage.write_units, 10_000) <= 4.3, "{:?}", made.line.usage);
    let new = format!("/Groups/{}", made.id());
    let whole = client.get(&new).await.expect(200);
    assert_eq!(whole.body["members"].as_array().map(Vec::len), Some(10_000));

    let seeded = format!("/Groups/{}", group_id());
    let began = Instant::now();
    let gone = client.delete(&seeded).await.expect(204);
    assert!(began.elapsed() < REQUEST, "{:?}", began.elapsed());
    assert!(per(gone.line.usage.write_units, size) <= 4.1, "{:?}", gone.line.usage);
    client.get(&seeded).await.expect(404);
    assert_eq!(total(&client, "/Groups?count=0").await, 1);
    let of_one = format!("/Groups?filter=members.value eq \"{}\"&excludedAttributes=members", user_id(size));
    assert_eq!(total(&client, &of_one).await, 0);
    for number in [1, size] {
        let user = client.get(&format!("/Users/{}", user_id(number))).await.expect(200);
        let groups = user.body["groups"].as_array().cloned().unwrap_or_default();
        assert!(groups.iter().all(|group| group["value"] != group_id().to_string()), "{groups:?}");
    }

    support::work(&client).await;
    assert_consistent(&client).await;
    assert_eq!(total(&client, "/Users?count=0").await, size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_in_500_groups_is_deleted() {
    let client = seeded(Size { users: 2, members: 2 }).await;
    let member = user_id(1).to_string();
    let mut last = String::new();
    for number in 1..500 {
        last = client.group(&format!("Group {number}"), std::slice::from_ref(&member)).await;
    }
    let user = format!("/Users/{member}");
    let before = client.get(&user).await.expect(200);
    assert_eq!(before.body["groups"].as_array().map(Vec::len), Some(500));
    let began = Instant::now();
    let gone = client.delete(&user).await.expect(204);
    // Its own item and the change hold the ids of its groups: 19 KB each.
    assert!(per(gone.line.usage.write_units, 500) <= 5.0, "{:?}", gone.line.usage);
    assert!(began.elapsed() < REQUEST, "{:?}", began.elapsed());
    client.get(&user).await.expect(404);
    assert_eq!(total(&client, &format!("/Users?filter=userName eq \"{}\"", user_name(1))).await, 0);
    for group in [last, group_id().to_string()] {
        let group = client.get(&format!("/Groups/{group}")).await.expect(200);
        let members = group.body["members"].as_array().cloned().unwrap_or_default();
        assert!(members.iter().all(|found| found["value"] != member.as_str()), "{members:?}");
    }
    support::work(&client).await;
    assert_consistent(&client).await;
}
