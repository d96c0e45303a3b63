//! `GET /status` when the retention of all changes has ended, and when the outbox has an item that cannot be read.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use rollcall::clock;
use rollcall::limits::{DEFAULT_CHANGE_RETENTION_DAYS, UNREADABLE_CHANGE_SECONDS};
use rollcall::store::feed::lag::seconds_behind;
use rollcall::store::feed::retention::end_retention;
use rollcall::store::item::{key_of, number, text};
use rollcall::store::keys;
use rollcall::store::keys::outbox::OutboxName;
use serde_json::{Value, json};

use crate::app_support::App;

/// Lets all pages of the feed be as old as this. They stay in the table.
async fn age_pages(app: &App, days: u64) {
    let written = clock::epoch_seconds() - days * 86_400;
    for mut page in app.table.query_all(&keys::feed_bucket(1), None).await.unwrap() {
        let key = key_of(&page).expect("a key");
        page.extend([number("written", written)]);
        app.table.put(&key, page).await.unwrap();
    }
}

#[tokio::test]
async fn a_feed_whose_changes_have_all_ended_has_a_snapshot_and_no_newest_change() {
    let app = App::start().await;
    app.sequence().await;
    age_pages(&app, DEFAULT_CHANGE_RETENTION_DAYS + 1).await;
    let now = clock::epoch_seconds();
    let end = end_retention(&app.table, DEFAULT_CHANGE_RETENTION_DAYS, now).await.unwrap();
    // The numbers may also go on further on.
    for floor in [end, end + 7] {
        let key = keys::feed_state();
        let mut state = app.table.get(&key).await.unwrap().expect("the feed");
        state.extend([number("floor", floor)]);
        app.table.put(&key, state).await.unwrap();
        let status = app.get("/status").await.expect(200);
        assert_eq!((&status["newest"], &status["oldest"]["seq"]), (&Value::Null, &json!(floor)));
        assert_eq!(status["snapshot"], status["oldest"]["position"]);
        let snapshot = status["snapshot"].as_str().unwrap();
        let page = app.get(&format!("/changes?after={snapshot}")).await.expect(200);
        assert_eq!(page, json!({ "changes": [], "next": snapshot, "more": false }));
    }
    // The next change can be read from there, and is the newest one.
    let snapshot = app.get("/status").await.expect(200)["snapshot"].clone();
    app.send("POST", "/tenants", Some(json!({ "tenant": "acme" }))).await.expect(201);
    app.sequence().await;
    let path = format!("/changes?after={}", snapshot.as_str().unwrap());
    let changes = app.get(&path).await.expect(200)["changes"].clone();
    assert_eq!(changes[0]["seq"], end + 7);
    let status = app.get("/status").await.expect(200);
    assert_eq!(status["newest"]["seq"], changes.as_array().unwrap().last().unwrap()["seq"]);
    assert_eq!(status["snapshot"], snapshot, "nothing is old enough");
}

#[tokio::test]
async fn an_item_of_the_outbox_that_cannot_be_read_hides_no_status() {
    let app = App::start().await;
    app.sequence().await;
    let tenant = "acme".parse().unwrap();
    let name = OutboxName { tenant, resource: "unreadable".to_owned(), version: 1, part: 0 };
    app.table.put(&name.key(), [text("change", "{")].into()).await.unwrap();
    let status = app.get("/status").await.expect(200);
    assert_eq!(status["lagSeconds"], UNREADABLE_CHANGE_SECONDS, "an alarm should tell of it");
    // The other changes count.
    app.send("POST", "/tenants", Some(json!({ "tenant": "acme" }))).await.expect(201);
    let older = UNREADABLE_CHANGE_SECONDS + 600;
    let ahead = i64::try_from(older).unwrap();
    let lag = clock::with_seconds_ahead(ahead, seconds_behind(&app.table)).await.unwrap();
    assert!((older..older + 600).contains(&lag), "{lag}");
    app.get("/status").await.expect(200);
}
