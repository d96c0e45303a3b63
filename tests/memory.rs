//! How much memory the function takes for its largest answers. The function is the real binary. Its
//! table is in this process.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use rollcall::dev::seed::Size;
use rollcall::scim::resource_type::Kind;
use rollcall::store::item::{Item, get_text, text};
use rollcall::store::keys;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::Client;
use crate::support::lambda::Lambda;

/// The users, each with an item of almost 350 KB. The memory of a scan does not depend on their number: 400 and
/// 1,000 users had the same peaks. A debug build cannot read 1,000 of them within the 20 seconds of a scan.
const USERS: usize = 210;
/// The function has 512 MB on AWS; this is what a request may take of it, in KB.
const MOST: f64 = 200.0 * 1024.0;
/// What a GET of a group of 100,000 members may take, in KB.
const MOST_OF_GROUP: f64 = 100.0 * 1024.0;

/// Makes the users of a tenant as large as they can be: many small values take more memory than one text.
async fn grow(client: &Client) {
    let tenant = client.store().tenant;
    let page = client.store().list_page(Kind::User, None, 10_000).await.expect("a list");
    for ids in page.ids.chunks(20) {
        let keys: Vec<_> = ids.iter().map(|id| keys::resource(&tenant, Kind::User, *id)).collect();
        let items = client.table.batch_get(&keys).await.expect("users");
        let large = items.into_iter().enumerate().map(|(at, item)| large(item, at)).collect();
        client.table.batch_put(large).await.expect("users");
    }
}

fn large(mut item: Item, at: usize) -> Item {
    let mut doc: Value = serde_json::from_str(get_text(&item, "doc").expect("a document")).expect("JSON");
    let roles = (0..3_200).map(|role| json!({ "value": format!("role {at} {role}"), "type": "T" }));
    doc["roles"] = roles.collect();
    doc["title"] = format!("{}{at}", "x".repeat(60_000)).into();
    doc["nickName"] = "y".repeat(60_000).into();
    doc["locale"] = "z".repeat(60_000).into();
    item.extend([text("doc", doc.to_string())]);
    item
}

/// Sends a request to a function that has served none, and gives the status and its peak in KB.
async fn peak(endpoint: &str, client: &Client, method: &str, path: &str, body: Option<Value>) -> (u64, f64) {
    let mut function = Lambda::start(endpoint, None).await;
    let event = client.event(method, path, body, &[("Accept-Encoding", "gzip")]);
    let began = Instant::now();
    let posted = function.invoke(event).await;
    let answer: Value = serde_json::from_slice(&posted.body).expect("JSON");
    let peak = function.peak().expect("the peak of a process");
    let status = answer["statusCode"].as_u64().expect("a status");
    println!("{method} {path}: {status}, {:.0} MB, {:?}", peak / 1024.0, began.elapsed());
    (status, peak)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_large_users_takes_less_than_200_mb() {
    let embedded = support::serve().await;
    let client = Client::new(embedded.table, "standard").await;
    support::seed(&client, Size { users: USERS, members: 0 }).await.expect("a seed");
    grow(&client).await;
    let search = |of: Value| {
        let mut body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"] });
        body.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        Some(body)
    };
    let found = |(status, peak): (u64, f64), expected: &[u64], what: &str| {
        assert!(expected.contains(&status), "{what}: {status}");
        assert!(peak < MOST, "{what}: {:.0} MB", peak / 1024.0);
    };
    for (path, expected) in [
        ("/Users?filter=title co \"nobody\"", &[200][..]),
        ("/Users?filter=roles.value ew \" 77\"&sortBy=title&startIndex=9&attributes=userName", &[200]),
        ("/Users?count=200&attributes=userName", &[200]),
        // More than any transfer passes on.
        ("/Users?count=200", &[400]),
    ] {
        found(peak(&embedded.endpoint, &client, "GET", path, None).await, expected, path);
    }
    let root = search(json!({ "filter": "displayName co \"nobody\"", "sortBy": "title" }));
    found(peak(&embedded.endpoint, &client, "POST", "/.search", root).await, &[200], "a search at the root");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_100_000_members_takes_less_than_100_mb() {
    let embedded = support::serve().await;
    let client = Client::new(embedded.table, "standard").await;
    let group = client.group("Everyone", &[]).await;
    // With 200,000, the most that are answered, the list took 189 MB.
    support::fill(&client, &group, 0, 100_000).await;
    // A debug build took 58 MB for the group, and 105 MB for the filter, which looks at each member as a JSON value.
    let filter = "/Groups?filter=members.type eq \"User\"".to_owned();
    for (path, most) in [(format!("/Groups/{group}"), MOST_OF_GROUP), (filter, MOST)] {
        let (status, peak) = peak(&embedded.endpoint, &client, "GET", &path, None).await;
        assert_eq!(status, 200, "{path}");
        assert!(peak < most, "{path}: {:.0} MB", peak / 1024.0);
    }
}
