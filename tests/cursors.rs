//! Cursors (RFC 9865 §2): signed, without any value, short, and good in every process of the function.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall::http::function::Function;
use rollcall::store::call::Range;
use rollcall::store::item::key_of;
use rollcall::store::keys;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, Reply, user};

const SORTED: &str = "/Users?sortBy=title&count=1&attributes=title";

/// A tenant with three users whose titles are these.
async fn titled(titles: [&str; 3]) -> Client {
    let client = Client::new(support::embedded().await, "standard").await;
    for (at, title) in titles.iter().enumerate() {
        let mut user = user(&format!("u{at}"));
        user["title"] = json!(title);
        client.post("/Users", user).await.expect(201);
    }
    client
}

fn cursor(page: &Reply) -> String {
    page.body["nextCursor"].as_str().expect("a cursor").to_owned()
}

/// The same table, as another process of the function sees it.
fn another_process(client: &Client) -> Client {
    let function = Arc::new(Function::new(client.table.clone(), None).expect("a function"));
    Client { function, ..client.clone() }
}

#[tokio::test]
async fn a_list_sorted_by_long_titles_goes_on_by_get() {
    let titles = ["a", "b", "c"].map(|first| format!("{first}{}", "Confidential ".repeat(700)));
    let client = titled([&titles[0], &titles[1], &titles[2]]).await;
    let (mut at, mut seen) = (String::new(), Vec::new());
    loop {
        let page = client.get(&format!("{SORTED}&cursor={at}")).await.expect(200);
        seen.push(page.body["Resources"][0]["title"].clone());
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        assert!(next.len() < 200, "{} characters", next.len());
        let bytes = URL_SAFE_NO_PAD.decode(next).expect("base64url");
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(!text.contains("confid"), "{text}");
        at = next.to_owned();
    }
    assert_eq!(seen, titles.map(Value::from));
}

#[tokio::test]
async fn a_cursor_of_anybody_elses_is_refused() {
    let client = titled(["a", "b", "c"]).await;
    let other = client.of("globex");
    other.user("someone").await;
    for query in ["/Users?count=1", SORTED] {
        let first = cursor(&client.get(&format!("{query}&cursor=")).await.expect(200));
        let bytes = URL_SAFE_NO_PAD.decode(&first).expect("base64url");
        let mut forged = bytes.clone();
        forged[10] ^= 1; // the total
        let old_form =
            r#"{"q":"x","a":"U01890a5d-ac96-774b-bcce-b302099a8057","k":"b","t":3,"e":4102444800}"#;
        for text in [
            URL_SAFE_NO_PAD.encode(forged),
            URL_SAFE_NO_PAD.encode(&bytes[..bytes.len() - 1]),
            URL_SAFE_NO_PAD.encode(old_form),
            "nonsense".to_owned(),
            "%F0%9F".to_owned(),
        ] {
            let refused = client.get(&format!("{query}&cursor={text}")).await.expect(400);
            assert_eq!(refused.body["scimType"], "invalidCursor", "{text}");
        }
        let refused = other.get(&format!("{query}&cursor={first}")).await.expect(400);
        assert_eq!(refused.body["scimType"], "invalidCursor");
        client.get(&format!("{query}&cursor={first}")).await.expect(200);
    }
    support::assert_consistent(&client).await;
}

#[tokio::test]
async fn every_process_reads_the_cursors_of_the_others() {
    let client = titled(["a", "b", "c"]).await;
    let processes: Vec<Client> = (0..8).map(|_| another_process(&client)).collect();
    // All make the tenant's first cursor at the same time.
    let first = processes.iter().map(|process| process.get("/Users?count=1&cursor="));
    let cursors: Vec<String> = futures_util::future::join_all(first).await.iter().map(cursor).collect();
    for (process, cursor) in processes.iter().rev().zip(&cursors) {
        process.get(&format!("/Users?count=1&cursor={cursor}")).await.expect(200);
    }
}

#[tokio::test]
async fn a_sort_key_that_is_gone_is_an_expired_cursor() {
    let client = titled(["a", "b", "c"]).await;
    let next = cursor(&client.get(&format!("{SORTED}&cursor=")).await.expect(200));
    let tenant = client.store().tenant;
    let marks = keys::sort_mark(&tenant, uuid::Uuid::nil()).pk;
    let range = Range { prefix: Some("SORT#".to_owned()), ..Range::default() };
    let items = client.table.query(&marks, &range).await.expect("a table").items;
    assert_eq!(items.len(), 1);
    assert!(items[0].contains_key("ttl"));
    client.table.batch_delete(items.iter().filter_map(key_of)).await.expect("a table");
    let refused = client.get(&format!("{SORTED}&cursor={next}")).await.expect(400);
    assert_eq!(refused.body["scimType"], "expiredCursor");
}

#[tokio::test]
async fn what_a_cursor_costs() {
    let client = titled(["a", "b", "c"]).await;
    let first = client.get("/Users?count=1&cursor=").await.expect(200);
    // The tenant's first cursor makes the key that signs them.
    assert_eq!((first.line.usage.rounds, first.line.usage.write_units), (3, 2.0));
    let next = client.get(&format!("/Users?count=1&cursor={}", cursor(&first))).await.expect(200);
    assert_eq!((next.line.usage.rounds, next.line.usage.write_units), (2, 0.0));
    let cold = another_process(&client);
    let first = cold.get("/Users?count=1&cursor=").await.expect(200);
    assert_eq!((first.line.usage.rounds, first.line.usage.write_units), (2, 0.0));

    let first = client.get(&format!("{SORTED}&cursor=")).await.expect(200);
    assert_eq!((first.line.usage.rounds, first.line.usage.write_units), (3, 1.0));
    let next = client.get(&format!("{SORTED}&cursor={}", cursor(&first))).await.expect(200);
    assert_eq!((next.line.usage.rounds, next.line.usage.write_units), (4, 1.0));
}
