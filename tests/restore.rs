//! A table that was restored from a backup gets a new feed: mirrors take a snapshot, and nothing is told twice
//! under one number.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::admin::check::feed::check_feed;
use rollcall::admin::feed::renew;
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::deliver::registry::Registry;
use rollcall::limits::{DEFAULT_CHANGE_RETENTION_DAYS, RENEWED_FEED_STEP, SNAPSHOT_DISTANCE};
use rollcall::outbound::target::TargetRule;
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::Kind;
use rollcall::store::call::{ScanPage, ScanSegment, Table};
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::consumer::ConsumerState;
use rollcall::store::feed::reader::{ChangeQuery, FeedPosition, FeedReader, LostPosition};
use rollcall::store::feed::retention::end_retention;
use rollcall::store::feed::sequencer::Sequencer;
use rollcall::store::item::Item;
use rollcall::store::keys::outbox::OutboxName;
use rollcall::store::keys::{self, TenantId};
use rollcall::store::transaction::{Action, Expression};
use time::OffsetDateTime;

use crate::support;
use crate::support::assert_consistent;
use crate::support::client::Client;
use crate::support::feed::sequence;

const ALL: ChangeQuery<'static> = ChangeQuery { limit: 500, tenant: None };

fn tenant_id() -> TenantId {
    support::client::TENANT.parse().unwrap()
}

async fn a_tenant() -> Client {
    let client = Client::new(support::embedded().await, "veza").await;
    let new = NewTenant::new(&tenant_id(), &VEZA, &"u".repeat(40));
    tenant::create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    sequence(&client.table).await;
    client
}

async fn all_items(table: &Table) -> Vec<Item> {
    let ScanPage { found, next } =
        table.scan_items(&[""], None, ScanSegment::WHOLE, None).await.expect("a scan");
    assert!(next.is_none());
    found
}

/// The same items in another table, as after a restore.
async fn restored(items: &[Item]) -> Client {
    let table = support::embedded().await;
    table.batch_put(items.to_vec()).await.expect("a restore");
    Client::new(table, "veza").await
}

/// Everything from a position on.
async fn read_from(table: &Table, position: &FeedPosition) -> Result<Vec<FeedChange>, LostPosition> {
    let reader = FeedReader::open(table).await.unwrap();
    let (mut position, mut changes) = (position.clone(), Vec::new());
    loop {
        let list = reader.read(&position, ALL).await.unwrap()?;
        position = reader.at(list.seq);
        changes.extend(list.changes);
        if !list.more {
            return Ok(changes);
        }
    }
}

async fn webhook(client: &Client) -> String {
    let rule = TargetRule::Public;
    let registry = Registry { table: &client.table, actor: "operator", request_id: "test", rule };
    registry.create("https://app.example/hook", false).await.expect("a webhook").0.id
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_of_a_restored_table_take_a_snapshot_and_consumers_go_on() {
    let client = a_tenant().await;
    let hook = webhook(&client).await;
    for n in 0..3 {
        client.user(&format!("u{n}")).await;
        sequence(&client.table).await;
    }
    let backup = all_items(&client.table).await;
    let at_backup = FeedReader::open(&client.table).await.unwrap();
    let end = at_backup.end().await.unwrap().next - 1;
    // What the backup does not have.
    client.users(10..20).await;
    sequence(&client.table).await;
    let seen = FeedReader::open(&client.table).await.unwrap().end().await.unwrap().next - 1;
    assert!(seen > end);

    let there = restored(&backup).await;
    let (renewal, tenants) = renew(&there.table).await.expect("a renewal");
    assert_eq!((renewal.last, renewal.next, tenants), (end, RENEWED_FEED_STEP, 1));
    assert_eq!((renewal.gaps, renewal.dropped, renewal.consumers), (0, 0, 1));
    for seq in [0, end, seen] {
        assert_eq!(read_from(&there.table, &at_backup.at(seq)).await, Err(LostPosition::OtherFeed));
    }
    // A new reader gets the changes of the backup, and then those after the restore.
    let reader = FeedReader::open(&there.table).await.unwrap();
    let all = read_from(&there.table, &reader.oldest()).await.unwrap();
    let seqs: Vec<u64> = all.iter().map(|change| change.seq).collect();
    assert_eq!(seqs, (1..=end).chain([renewal.next]).collect::<Vec<_>>());
    assert_eq!(all.last().unwrap().event_type, "tenant.resync");
    for seq in 0..=end {
        assert_eq!(read_from(&there.table, &reader.at(seq)).await.unwrap(), all[seq as usize..]);
    }
    assert_eq!(read_from(&there.table, &reader.at(seen)).await.unwrap().len(), 1, "between the numbers");
    assert_eq!(read_from(&there.table, &reader.at(renewal.next - 1)).await.unwrap().len(), 1);
    assert_eq!(read_from(&there.table, &reader.at(renewal.next)).await.unwrap(), []);
    let consumer = ConsumerState::fetch(&there.table, &hook).await.unwrap().unwrap();
    let before = ConsumerState::fetch(&client.table, &hook).await.unwrap().unwrap();
    assert_eq!(consumer.position, reader.at(before.position.seq), "it goes on where it was");
    // Life goes on.
    there.user("new").await;
    sequence(&there.table).await;
    assert_eq!(read_from(&there.table, &reader.at(renewal.next)).await.unwrap()[0].seq, renewal.next + 1);
    assert_eq!(check_feed(&there.table, false).await.unwrap().findings, []);
    assert_consistent(&there).await;
    // A snapshot can be taken at once, and old changes end as ever.
    let reader = FeedReader::open(&there.table).await.unwrap();
    for distance in [Duration::ZERO, SNAPSHOT_DISTANCE] {
        let snapshot = reader.snapshot(distance).await.unwrap();
        read_from(&there.table, &snapshot).await.expect("a position");
    }
    let later = rollcall::clock::epoch_seconds() + 91 * 86_400;
    assert_eq!(
        end_retention(&there.table, DEFAULT_CHANGE_RETENTION_DAYS, later).await.unwrap(),
        renewal.next + 2
    );
}

#[tokio::test]
async fn a_deployment_without_tenants_has_a_place_to_go_on_from() {
    let table = support::embedded().await;
    let (renewal, _) = renew(&table).await.expect("a renewal");
    let reader = FeedReader::open(&table).await.unwrap();
    assert_eq!(read_from(&table, &reader.at(renewal.next - 1)).await.unwrap(), []);
    assert_eq!(read_from(&table, &reader.snapshot(Duration::ZERO).await.unwrap()).await.unwrap(), []);
    assert_eq!(check_feed(&table, false).await.unwrap().findings, []);
    // Again: the numbers go on further behind.
    let (again, _) = renew(&table).await.expect("a renewal");
    assert_eq!(again.next, renewal.next + RENEWED_FEED_STEP);
}

/// A backup may hold some items of a transaction from before it, and the others from after it.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_transaction_is_settled() {
    let client = a_tenant().await;
    let ids = client.users(0..3).await;
    sequence(&client.table).await;
    let name =
        |id: &str, version| OutboxName { tenant: tenant_id(), resource: id.to_owned(), version, part: 0 };
    let title = serde_json::json!([{ "op": "add", "path": "title", "value": "x" }]);
    client.patch(&format!("/Users/{}", ids[0]), title.clone()).await.expect(200);
    let moved = client.table.get(&name(&ids[0], 2).key()).await.unwrap().expect("a change");
    sequence(&client.table).await;
    client.user("between").await;
    sequence(&client.table).await;
    client.user("last").await;
    sequence(&client.table).await;
    client.patch(&format!("/Users/{}", ids[1]), title.clone()).await.expect(200);
    client.delete(&format!("/Users/{}", ids[2])).await.expect(204);
    let there = restored(&all_items(&client.table).await).await;
    let table = &there.table;
    // In a page, and still in the outbox. In the outbox, and its resource is as before. A page is missing.
    let lowered = Expression::update().set("ver", AttributeValue::N("1".to_owned()));
    let user = keys::resource(&tenant_id(), Kind::User, ids[1].parse().unwrap());
    let pages = table.query_all(&keys::feed_bucket(1), None).await.unwrap();
    let page = rollcall::store::item::key_of(&pages[pages.len() - 2]).unwrap();
    table.batch_put(vec![moved]).await.unwrap();
    table
        .transact(|| vec![Action::update(user.clone(), lowered.clone()), Action::delete(page.clone())])
        .await
        .unwrap();
    assert!(!check_feed(table, false).await.unwrap().findings.is_empty());
    let (renewal, _) = renew(table).await.expect("a renewal");
    assert_eq!((renewal.gaps, renewal.dropped), (1, 2), "{renewal:?}");
    assert_eq!(check_feed(table, false).await.unwrap().findings, []);
    let reader = FeedReader::open(table).await.unwrap();
    let all = read_from(table, &reader.oldest()).await.unwrap();
    let of = |id: &str| all.iter().filter(|change| change.resource_id == id).count();
    assert_eq!((of(&ids[0]), of(&ids[1]), of(&ids[2])), (2, 1, 2));
    assert_consistent(&there).await;
    there.patch(&format!("/Users/{}", ids[1]), title).await.expect(200);
    sequence(table).await;
    assert_consistent(&there).await;
}

/// A sequencer that knows the old end cannot put a page that nobody would read.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_beside_the_renewal_loses_no_change() {
    let client = a_tenant().await;
    let until = Instant::now() + Duration::from_secs(4);
    let table = client.table.fresh();
    let sequencer = tokio::spawn(async move {
        while Instant::now() < until {
            drop(Sequencer::new(&table).run(until).await);
        }
    });
    let (mut made, mut renewed) = (Vec::new(), 0);
    while Instant::now() < until {
        made.push(client.user(&format!("u{}", made.len())).await);
        if made.len() % 5 == 0 {
            renew(&client.table.fresh()).await.expect("a renewal");
            renewed += 1;
        }
    }
    sequencer.await.unwrap();
    sequence(&client.table).await;
    let reader = FeedReader::open(&client.table).await.unwrap();
    let all = read_from(&client.table, &reader.oldest()).await.unwrap();
    for id in &made {
        assert_eq!(all.iter().filter(|change| change.resource_id == *id).count(), 1, "{id}");
    }
    assert!(renewed > 0);
    assert_eq!(check_feed(&client.table, false).await.unwrap().findings, []);
}
