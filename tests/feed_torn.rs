//! The change feed while the items of a transaction are visible in part: no change enters it too early.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::wipe::wipe;
use rollcall::limits::SNAPSHOT_DISTANCE;
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::Kind;
use rollcall::store::feed::reader::FeedReader;
use rollcall::store::keys::outbox::OutboxName;
use serde_json::json;
use time::OffsetDateTime;

use crate::support::client::{Client, user};
use crate::support::feed::{check_feed, read_feed, sequence};
use crate::support::pending::commit;
use crate::support::serve_torn;
use crate::support::torn::{Tearing, Torn};

/// A client of a table whose transactions are torn, but quickly. What becomes visible late is held.
async fn scene(users: usize) -> (Torn, Client, Vec<String>) {
    let embedded = serve_torn(None).await;
    let client = Client::new(embedded.table.clone(), "standard").await;
    let new = NewTenant::new(&client.store().tenant, &VEZA, &"u".repeat(40));
    tenant::create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    let ids = client.users(0..users).await;
    sequence(&client.table).await;
    embedded.tear(Tearing { longest: Duration::ZERO, ..Tearing::short(1) }).await;
    (embedded.torn.expect("a layer"), client, ids)
}

/// The partition of the outbox that has the changes of a resource.
fn shard_of(client: &Client, resource: &str) -> String {
    let tenant = client.store().tenant;
    OutboxName { tenant, resource: resource.to_owned(), version: 1, part: 0 }.key().pk
}

/// A change may be in the feed before all of its items can be read. A mirror that starts then applies it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_lies_before_what_cannot_be_read_yet() {
    let (torn, client, _) = scene(1).await;
    torn.hold("#L#User");
    let writer = client.clone();
    let making = tokio::spawn(async move { Box::pin(writer.post("/Users", user("late"))).await });
    torn.held().await;
    sequence(&client.table).await;
    let created = read_feed(&client.table).await.pop().expect("a change");
    assert_eq!(created.event_type, "user.created");
    let listed = client.store().list_page(Kind::User, None, 1_000).await.unwrap().ids;
    assert!(listed.iter().all(|id| id.to_string() != created.resource_id), "the tear");
    let reader = FeedReader::open(&client.table).await.unwrap();
    assert!(reader.snapshot(SNAPSHOT_DISTANCE).await.unwrap().seq < created.seq);
    // Without the distance the mirror would never hear of the user.
    assert_eq!(reader.snapshot(Duration::ZERO).await.unwrap().seq + 1, reader.end().await.unwrap().next);
    torn.release();
    making.await.expect("an answer").expect(201);
}

/// A part of a large change is not visible yet. The next change of a member that it names waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_told_before_the_part_that_names_it() {
    let (torn, client, ids) = scene(60).await;
    let group = client.group("Team", &[]).await;
    let shard = shard_of(&client, &group);
    let member = ids.iter().find(|id| shard_of(&client, id) != shard).expect("another shard").clone();
    let pending = commit(&client, &group, &ids, &[]).await;
    sequence(&client.table).await;
    torn.hold(&shard);
    let store = client.store();
    let applying = tokio::spawn(async move {
        let until = Instant::now() + Duration::from_secs(60);
        store.large_changes().apply_until(&pending, until).await
    });
    torn.held().await;
    let title = json!([{ "op": "add", "path": "title", "value": "Engineer" }]);
    client.patch(&format!("/Users/{member}"), title).await.expect(200);
    let report = sequence(&client.table).await;
    assert!(report.left, "the member's change waits");
    let told = read_feed(&client.table).await;
    assert!(told.iter().all(|change| change.resource_id != member || change.version == 1), "too early");
    torn.release();
    assert!(applying.await.expect("no panic").expect("applied"));
    assert!(!sequence(&client.table).await.left);
    let told = read_feed(&client.table).await;
    check_feed(&told);
    let seq = |wanted: &dyn Fn(&rollcall::store::feed::change::FeedChange) -> bool| {
        told.iter().find(|change| wanted(change)).expect("a change").seq
    };
    let part = seq(&|change| change.added.contains(&member));
    assert!(part < seq(&|change| change.resource_id == member && change.version == 2));
}

/// The page with the end of a tenant is written, but the outbox seems to have the end still. A change that a late
/// request makes then must not follow the end.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_tenant_follows_its_end() {
    let (torn, client, _) = scene(1).await;
    let tenant = client.store().tenant;
    let version = tenant::get(&client.table, &tenant).await.expect("the tenant").version + 1;
    wipe(&client.table, &tenant, &[], Duration::ZERO, OffsetDateTime::now_utc()).await.expect("a deletion");
    let end = OutboxName { resource: tenant.as_str().to_owned(), tenant, version, part: 0 }.key();
    torn.hold(&format!("{}|{}", end.pk, end.sk));
    let table = client.table.clone();
    let moving = tokio::spawn(async move { sequence(&table).await });
    torn.held().await;
    let told = read_feed(&client.table).await;
    assert_eq!(told.last().expect("a change").event_type, "tenant.deleted");
    Box::pin(client.post("/Users", user("late"))).await.expect(201);
    assert!(sequence(&client.table).await.left, "nobody can tell yet whether the tenant has ended");
    assert_eq!(read_feed(&client.table).await, told);
    torn.release();
    moving.await.expect("a run");
    assert!(!sequence(&client.table).await.left);
    assert_eq!(read_feed(&client.table).await, told);
}
