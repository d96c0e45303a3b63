//! The limit of deactivations within an hour, from the operator's command to the answer.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use rollcall::store::call::Table;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::Client;
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::{assert_consistent, embedded, serve};

/// A client whose tenant may deactivate `percent` of its users within an hour.
async fn limited(percent: u32) -> Client {
    let client = Client::new(embedded().await, "standard").await;
    client.limited(percent, 0)
}

async fn users(client: &Client, count: usize) -> Vec<String> {
    let mut users = Vec::new();
    for n in 0..count {
        users.push(client.user(&format!("user{n}")).await);
    }
    users
}

fn active(value: bool) -> Value {
    json!([{ "op": "replace", "path": "active", "value": value }])
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_nobody_is_deactivated_or_deleted() {
    let client = limited(20).await;
    let users = users(&client, 10).await;
    let path = |n: usize| format!("/Users/{}", users[n]);
    client.patch(&path(0), active(false)).await.expect(200);
    // These do not count: an inactive user is deactivated, another attribute changes, a user is reactivated.
    client.patch(&path(0), active(false)).await.expect(200);
    client.patch(&path(1), json!([{ "op": "add", "path": "title", "value": "x" }])).await.expect(200);
    client.delete(&path(1)).await.expect(204);
    let refused = client.delete(&path(2)).await.expect(400).body;
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("2 of 10") && detail.contains("rollcall tenant breaker acme --lift"), "{detail}");
    assert_eq!((&refused["status"], refused.get("scimType")), (&json!("400"), None));
    let refused = client.patch(&path(2), active(false)).await.expect(400).body;
    assert!(refused["detail"].as_str().unwrap().contains("20 percent"));
    client.get(&path(2)).await.expect(200);
    // An account that is inactive is deleted without further ado; and one may come back.
    client.patch(&path(0), active(true)).await.expect(200);
    assert_consistent(&client).await;
    // The operator lifts the limit, for a time.
    client.limited(20, u64::MAX / 2).delete(&path(2)).await.expect(204);
    client.limited(20, 1).delete(&path(3)).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_at_once_are_counted_one_by_one() {
    let client = limited(30).await;
    let users = users(&client, 20).await;
    let paths: Vec<String> = users.iter().map(|id| format!("/Users/{id}")).collect();
    let all = paths.iter().map(|path| client.patch(path, active(false)));
    let answers = futures_util::future::join_all(all).await;
    let good = answers.iter().filter(|reply| reply.status == 200).count();
    assert!(good <= 6, "{good} of 20");
    for reply in answers.iter().filter(|reply| reply.status != 200) {
        // Those that met others too often may be sent again.
        assert!([400, 409].contains(&reply.status), "{}", reply.body);
    }
    // What is left of the limit can be used, and no more; the deletion of the inactive is free.
    let mut one_by_one = good;
    for (path, reply) in paths.iter().zip(&answers) {
        if reply.status != 200 {
            one_by_one += usize::from(client.patch(path, active(false)).await.status == 200);
        }
    }
    assert_eq!(one_by_one, 6);
    assert_consistent(&client).await;
}

/// The count of the hour is read late, and the number of active users early: together they never were.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_others_leave_allows_no_more() {
    let served = serve().await;
    let client = Client::new(served.table.fresh(), "standard").await.limited(30, 0);
    let users = users(&client, 20).await;
    let path = |n: usize| format!("/Users/{}", users[n]);
    let proxy = Proxy::before(&served.endpoint).await;
    let mut is_first = true;
    proxy.decide(move |call: &Call| {
        let is_count = call.operation == "TransactGetItems" && call.body.to_string().contains("BREAKER");
        if is_count && std::mem::take(&mut is_first) { Fate::Held } else { Fate::Pass }
    });
    let slow = Table::new(support::client(&proxy.endpoint), support::TABLE);
    let slow = Client::new(slow, "standard").await.limited(30, 0);
    let late_path = path(19);
    let (late, ()) = tokio::join!(slow.patch(&late_path, active(false)), async {
        proxy.held().await;
        for n in 0..6 {
            client.patch(&path(n), active(false)).await.expect(200);
        }
        proxy.release();
    });
    let detail = late.expect(400).body["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("6 of 20 active users"), "{detail}");
}

/// Ten percent of five users are none, but an identity provider must be able to do its daily work.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_tenant_may_deactivate_one() {
    let client = limited(10).await;
    let users = users(&client, 5).await;
    client.delete(&format!("/Users/{}", users[0])).await.expect(204);
    let refused = client.delete(&format!("/Users/{}", users[1])).await.expect(400).body;
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("10 percent allows 1 of 5 active users"), "{detail}");
    client.limited(0, 0).delete(&format!("/Users/{}", users[1])).await.expect(400);
}
