//! The change feed has every committed change once and in order, also beside other writers and sequencers.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rollcall::admin::tenant::{self, NewTenant};
use rollcall::clock::with_seconds_ahead;
use rollcall::limits::{
    DEFAULT_CHANGE_RETENTION_DAYS, FEED_BUCKET, MAX_DEPARTURES, MAX_OUTBOX_ITEMS_SEEN,
    MIN_CHANGE_RETENTION_DAYS, RENEWED_FEED_STEP, SNAPSHOT_DISTANCE, WEBHOOK_FAILURE_SECONDS,
};
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::Kind;
use rollcall::store::call::Table;
use rollcall::store::event::{self, ChangePart, Event, Subject, SubjectId};
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::kept::KeptDays;
use rollcall::store::feed::lag::seconds_behind;
use rollcall::store::feed::page::FeedPage;
use rollcall::store::feed::reader::{ChangeQuery, FeedPosition, FeedReader, LostPosition};
use rollcall::store::feed::retention::end_retention;
use rollcall::store::feed::sequencer::Sequencer;
use rollcall::store::feed::state::FeedState;
use rollcall::store::item::{get_number, number, text};
use rollcall::store::keys;
use rollcall::store::trail::{PartName, Trail};
use rollcall::store::worker;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::feed::{check_feed, members_by_feed, read_feed, sequence};
use crate::support::pending::commit;

const ALL: ChangeQuery<'static> = ChangeQuery { limit: 500, tenant: None };

async fn members_by_scim(client: &Client, group: &str) -> BTreeSet<String> {
    let found = client.get(&format!("/Groups/{group}?attributes=members")).await.expect(200).body;
    let members = found["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
}

/// Runs the sequencer, and compares the feed with the table.
async fn assert_fed(client: &Client, groups: &[&str]) -> Vec<FeedChange> {
    let report = sequence(&client.table).await;
    assert!(!report.left, "the outbox is empty: {report:?}");
    let changes = read_feed(&client.table).await;
    check_feed(&changes);
    let members = members_by_feed(&changes);
    for group in groups {
        assert_eq!(members[*group], members_by_scim(client, group).await, "{group}");
    }
    changes
}

async fn tenant_with_client(policy: &'static str) -> Client {
    let client = Client::new(support::embedded().await, policy).await;
    let new = NewTenant::new(&client.store().tenant, &VEZA, &"u".repeat(40));
    tenant::create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    client
}

fn add(ids: &[String]) -> Value {
    let members: Value = ids.iter().map(|id| json!({ "value": id })).collect();
    json!([{ "op": "add", "path": "members", "value": members }])
}

fn remove(id: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])
}

fn types(changes: &[FeedChange], resource: &str) -> Vec<String> {
    let own = changes.iter().filter(|change| change.resource_id == resource);
    own.map(|change| format!("{} {}", change.version, change.event_type)).collect()
}

#[tokio::test]
async fn a_change_of_every_kind_is_in_the_feed() {
    let client = tenant_with_client("veza").await;
    let ids = client.users(0..3).await;
    let path = format!("/Users/{}", ids[0]);
    client.patch(&path, json!([{ "op": "replace", "path": "active", "value": false }])).await.expect(200);
    client.patch(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await.expect(200);
    client.patch(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await.expect(200);
    client.delete(&path).await.expect(204);
    client.post("/Users", user("u0")).await.expect(201);
    let group = client.group("Team", &ids[1..]).await;
    client.patch(&format!("/Groups/{group}"), remove(&ids[1])).await.expect(200);
    let gone = client.group("Gone", &ids[1..2]).await;
    client.delete(&format!("/Groups/{gone}")).await.expect(204);
    let changes = assert_fed(&client, &[&group]).await;
    let expected = [
        "1 user.created",
        "2 user.deactivated",
        "3 user.reactivated",
        "4 user.deactivated",
        "5 user.reactivated",
    ];
    assert_eq!(types(&changes, &ids[0]), expected, "a change of nothing is none");
    assert_eq!(types(&changes, &group), ["1 group.created", "2 group.updated"]);
    assert_eq!(types(&changes, &gone), ["1 group.created", "2 group.deleted"]);
    assert_eq!(types(&changes, "acme"), ["1 tenant.created"]);
    // Nothing is left to do, and nothing new appears.
    assert_eq!(assert_fed(&client, &[&group]).await, changes);
}

#[tokio::test]
async fn a_change_names_what_is_set_and_what_is_removed() {
    let client = tenant_with_client("veza").await;
    let mut full = user("anna");
    full["title"] = "Engineer".into();
    full["phoneNumbers"] = json!([{ "value": "+1 201 555 0123" }]);
    let id = client.post("/Users", full).await.expect(201).id();
    let group = client.group("Team", std::slice::from_ref(&id)).await;
    client.delete(&format!("/Users/{id}")).await.expect(204);
    client.post("/Users", user("anna")).await.expect(201);
    let changes = assert_fed(&client, &[&group]).await;
    let of = |resource: &str, kind: &str| {
        let found = changes.iter().find(|change| change.resource_id == resource && change.event_type == kind);
        found.expect("a change").attributes.clone()
    };
    let back = of(&id, "user.reactivated");
    for name in ["userName", "title", "phoneNumbers"] {
        assert!(back.iter().any(|own| own == name), "{name} in {back:?}");
    }
    assert!(of(&group, "group.created").iter().any(|own| own == "members"));
}

#[tokio::test]
async fn a_deleted_member_leaves_its_groups_by_changes_of_the_groups() {
    let client = tenant_with_client("standard").await;
    let ids = client.users(0..4).await;
    let first = client.group("First", &ids).await;
    let second = client.group("Second", &ids[..2]).await;
    // Two departures without a change of the group between them, and then one that takes them along.
    client.delete(&format!("/Users/{}", ids[0])).await.expect(204);
    client.delete(&format!("/Users/{}", ids[1])).await.expect(204);
    client.patch(&format!("/Groups/{first}"), remove(&ids[2])).await.expect(200);
    let changes = assert_fed(&client, &[&first, &second]).await;
    let of = |group: &str| -> Vec<(u64, Vec<String>)> {
        let own = changes.iter().filter(|change| change.resource_id == group && change.version > 1);
        own.map(|change| (change.version, change.removed.clone())).collect()
    };
    assert_eq!(of(&first), [2, 3, 4].map(|version| (version, vec![ids[version as usize - 2].clone()])));
    assert_eq!(of(&second), [2, 3].map(|version| (version, vec![ids[version as usize - 2].clone()])));
    // Departures that entered the feed are not taken along again.
    client.delete(&format!("/Users/{}", ids[3])).await.expect(204);
    assert_fed(&client, &[&first]).await;
    client
        .patch(&format!("/Groups/{first}"), json!([{ "op": "replace", "path": "displayName", "value": "A" }]))
        .await
        .expect(200);
    let changes = assert_fed(&client, &[&first]).await;
    assert_eq!(types(&changes, &first).len(), 6);
    client.delete(&format!("/Groups/{first}")).await.expect(204);
    assert_fed(&client, &[]).await;
}

/// Members are deleted while the sequencer is away, or comes too late for each.
#[tokio::test(flavor = "multi_thread")]
async fn the_departures_that_a_group_lists_stay_few() {
    let client = tenant_with_client("standard").await;
    let ids = client.users(0..150).await;
    let group = client.group("Everyone", &ids).await;
    let other = client.group("Some", &ids[..60]).await;
    let listed = async |id: &str| {
        let key = keys::resource(&client.store().tenant, Kind::Group, id.parse().unwrap());
        let item = client.table.get(&key).await.unwrap().expect("a group");
        Trail::from_item(&item).departed.len()
    };
    for (at, id) in ids[..120].iter().enumerate() {
        client.delete(&format!("/Users/{id}")).await.expect(204);
        assert!(listed(&group).await <= MAX_DEPARTURES && listed(&other).await <= MAX_DEPARTURES, "{at}");
        if at == 70 {
            sequence(&client.table).await;
        }
    }
    client.patch(&format!("/Groups/{group}"), remove(&ids[149])).await.expect(200);
    let changes = assert_fed(&client, &[&group, &other]).await;
    let versions = |group: &str| changes.iter().filter(|change| change.resource_id == group).count();
    // The creation, with a commit and parts, and each departure; and the removal.
    assert_eq!(versions(&other), 1 + 60 + parts_of(&changes, &other));
    assert_eq!(versions(&group), 1 + 120 + 1 + parts_of(&changes, &group));
}

fn parts_of(changes: &[FeedChange], group: &str) -> usize {
    changes.iter().filter(|change| change.resource_id == group && change.part > Some(0)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_finishes_the_change_of_a_group_whose_list_is_full() {
    let client = tenant_with_client("standard").await;
    let ids = client.users(0..200).await;
    let group = client.group("Team", &ids[..80]).await;
    for id in &ids[..MAX_DEPARTURES] {
        client.delete(&format!("/Users/{id}")).await.expect(204);
    }
    let pending = commit(&client, &group, &ids[80..], &[]).await;
    let until = Instant::now() + Duration::from_secs(60);
    for id in &ids[80..140] {
        client.delete(&format!("/Users/{id}")).await.expect(204);
    }
    assert!(client.store().large_changes().apply_until(&pending, until).await.unwrap());
    assert_fed(&client, &[&group]).await;
}

/// More changes wait than the sequencer looks at, and stand before what they wait for in the outbox. The users wait for
/// parts of `groups`, in turn. Each group waits for a part of the one after it, or of the last one if it `waits_for_last`.
async fn assert_that_all_move(groups: usize, waits_for_last: bool) {
    let client = tenant_with_client("standard").await;
    let (table, tenant) = (&client.table, client.store().tenant);
    sequence(table).await;
    let now = OffsetDateTime::now_utc();
    let event = |kind, id, version, event_type| {
        let subject = Subject { id: SubjectId::Resource(kind, id), version };
        Event::new(event_type, subject, "key_1", "r-1", now)
    };
    let after = |group: Uuid| {
        let part = PartName { group, version: 1, part: 1 };
        Trail { named: BTreeSet::from([part]), ..Trail::default() }
    };
    // In one partition of the outbox, the users before the groups.
    let shard = keys::outbox::outbox_changes(&tenant, &Uuid::max().to_string()).pk;
    let is_there = |id: &Uuid| keys::outbox::outbox_changes(&tenant, &id.to_string()).pk == shard;
    let users = (1..).map(Uuid::from_u128).filter(is_there).take(MAX_OUTBOX_ITEMS_SEEN + 200);
    let ids = (0..).map(|number| Uuid::from_u128(u128::MAX - 10_000 + number)).filter(is_there);
    let ids: Vec<Uuid> = ids.take(groups).collect();
    let mut events: Vec<Event> = users
        .zip(ids.iter().cycle())
        .map(|(user, group)| Event { trail: after(*group), ..event(Kind::User, user, 2, "user.updated") })
        .collect();
    for (at, id) in ids.iter().enumerate() {
        let next = if waits_for_last { ids.last() } else { ids.get(at + 1) };
        let trail = next.filter(|next| *next != id).map(|next| after(*next)).unwrap_or_default();
        let of_part = ChangePart { number: 1, of: 1 };
        events.push(Event { trail, ..event(Kind::Group, *id, 1, "group.created").of_commit(1) });
        events.push(Event { part: Some(of_part), ..event(Kind::Group, *id, 1, "group.updated") });
    }
    for some in events.chunks(100) {
        let actions = || some.iter().map(|event| event::action(&tenant, event)).collect();
        table.transact(actions).await.expect("a transaction");
    }
    let before = read_feed(table).await.len();
    let report = sequence(table).await;
    assert_eq!((report.moved, report.left), (events.len() as u64, false));
    let changes = read_feed(table).await.split_off(before);
    let last = ids.last().expect("a group").to_string();
    assert!(changes[..2].iter().all(|change| change.resource_id == last), "{:?}", changes[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_changes_may_wait_for_one() {
    assert_that_all_move(1, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_may_wait_for_changes_that_wait_for_many_others() {
    assert_that_all_move(20, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_may_wait_for_more_resources_than_the_sequencer_reads_at_once() {
    assert_that_all_move(130, true).await;
}

/// The deletions of members need no document of the group, and neither does the sequencer.
#[tokio::test(flavor = "multi_thread")]
async fn members_leave_a_group_whose_document_is_damaged() {
    let client = tenant_with_client("standard").await;
    let ids = client.users(0..90).await;
    let group = client.group("Team", &ids[..10]).await;
    client.patch(&format!("/Groups/{group}"), add(&ids[10..])).await.expect(200);
    sequence(&client.table).await;
    let key = keys::resource(&client.store().tenant, Kind::Group, group.parse().unwrap());
    let mut item = client.table.get(&key).await.unwrap().expect("a group");
    item.extend([text("doc", "{")]);
    client.table.put(&key, item).await.unwrap();
    for id in &ids[..80] {
        client.delete(&format!("/Users/{id}")).await.expect(204);
    }
    let report = sequence(&client.table).await;
    assert!(!report.left, "{report:?}");
    let changes = read_feed(&client.table).await;
    check_feed(&changes);
    assert_eq!(
        changes.iter().filter(|change| change.resource_id == group && change.removed.len() == 1).count(),
        80
    );
}

#[tokio::test]
async fn what_departs_counts_for_how_far_the_feed_is_behind() {
    let client = tenant_with_client("standard").await;
    let ids = client.users(0..120).await;
    let group = client.group("Team", &ids[..20]).await;
    commit(&client, &group, &ids[20..], &[]).await;
    with_seconds_ahead(-120, client.delete(&format!("/Users/{}", ids[0]))).await.expect(204);
    // The departure waits for the parts of the group's change.
    assert!(sequence(&client.table).await.left);
    let behind = seconds_behind(&client.table).await.unwrap();
    assert!((120..180).contains(&behind), "{behind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_in_many_groups_leaves_them_all() {
    let client = tenant_with_client("standard").await;
    let leaver = client.user("leaver").await;
    let stays = client.user("stays").await;
    let mut groups = Vec::new();
    for n in 0..60 {
        groups.push(client.group(&format!("Group {n}"), &[leaver.clone(), stays.clone()]).await);
    }
    client.delete(&format!("/Users/{leaver}")).await.expect(204);
    worker::round(&client.table.fresh()).await.unwrap();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let changes = assert_fed(&client, &groups).await;
    assert_eq!(changes.iter().filter(|change| change.removed == [leaver.clone()]).count(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_change_is_a_commit_and_its_parts() {
    let client = tenant_with_client("standard").await;
    let ids = client.users(0..150).await;
    let group = client.group("Team", &ids[..10]).await;
    let path = format!("/Groups/{group}");
    client.patch(&path, add(&ids[10..])).await.expect(204);
    client.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": "A" }])).await.expect(204);
    client.delete(&format!("/Users/{}", ids[20])).await.expect(204);
    client.put(&path, json!({ "displayName": "A", "members": [{ "value": ids[0] }] })).await.expect(200);
    let changes = assert_fed(&client, &[&group]).await;
    let commits: Vec<_> = changes.iter().filter(|change| change.part == Some(0)).collect();
    assert_eq!(commits.iter().map(|commit| commit.added_count).collect::<Vec<_>>(), [140, 0]);
    assert!(commits.iter().all(|commit| commit.added.is_empty() && commit.parts >= Some(4)));
}

/// The parts of a change are applied while members that they name are deleted and come back.
#[tokio::test(flavor = "multi_thread")]
async fn members_who_are_deleted_under_a_large_change_are_told_in_order() {
    let client = tenant_with_client("veza").await;
    let ids = client.users(0..120).await;
    let group = client.group("Team", &ids[..20]).await;
    let pending = commit(&client, &group, &ids[20..], &ids[..5]).await;
    for n in [0, 7, 25, 119] {
        client.delete(&format!("/Users/{}", ids[n])).await.expect(204);
    }
    // The departures wait for the parts, and everything else does not.
    sequence(&client.table).await;
    let early = read_feed(&client.table).await;
    assert!(early.iter().any(|change| change.resource_id == ids[7] && change.version == 2), "a leaver");
    client.post("/Users", user("u25")).await.expect(201);
    let until = Instant::now() + Duration::from_secs(60);
    assert!(client.store().large_changes().apply_until(&pending, until).await.unwrap());
    let changes = assert_fed(&client, &[&group]).await;
    assert_eq!(changes[..early.len()], early, "what was told stays");
    for change in changes.iter().filter(|change| change.part > Some(0)) {
        for member in change.added.iter().chain(&change.removed) {
            let deleted = changes.iter().find(|c| c.resource_id == *member && c.version == 2);
            assert!(
                deleted.is_none_or(|deleted| deleted.seq > change.seq),
                "{member} in part {:?}",
                change.part
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sequencers_beside_many_writers_put_each_change_once() {
    let client = tenant_with_client("standard").await;
    let until = Instant::now() + Duration::from_secs(4);
    let sequencers = (0..3).map(|_| {
        let table = client.table.fresh();
        tokio::spawn(async move {
            while Instant::now() < until + Duration::from_millis(500) {
                // One that loses every race fails, and the next run goes on.
                drop(Sequencer::new(&table).run(until).await);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
    });
    let sequencers: Vec<_> = sequencers.collect();
    let shared = client.users(0..20).await;
    let group = client.group("Shared", &[]).await;
    let writers = (0..4).map(|writer| {
        let (table, shared, group) = (client.table.clone(), shared.clone(), group.clone());
        tokio::spawn(async move {
            let client = Client::new(table, "standard").await;
            let mut made = 0;
            while Instant::now() < until {
                let id = client.user(&format!("w{writer}-{made}")).await;
                let path = format!("/Groups/{group}");
                client.patch(&path, add(&[id.clone(), shared[made % 20].clone()])).await;
                client.patch(&path, remove(&shared[(made + 7) % 20])).await;
                if made % 3 == 0 {
                    client.delete(&format!("/Users/{id}")).await;
                }
                made += 1;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    for sequencer in sequencers {
        sequencer.await.expect("a sequencer");
    }
    let changes = assert_fed(&client, &[&group]).await;
    assert!(changes.len() > 60, "{}", changes.len());
}

#[tokio::test]
async fn a_reader_goes_on_from_any_position() {
    let client = tenant_with_client("standard").await;
    for n in 0..12 {
        client.user(&format!("r{n}")).await;
        if n % 3 == 0 {
            sequence(&client.table).await;
        }
    }
    let all = assert_fed(&client, &[]).await;
    let reader = FeedReader::open(&client.table).await.unwrap();
    for seq in 0..=all.len() as u64 {
        for limit in [1, 2, 500] {
            let list = reader.read(&reader.at(seq), ChangeQuery { limit, ..ALL }).await.unwrap().unwrap();
            let start = usize::try_from(seq).unwrap();
            let expected: Vec<_> = all[start..].iter().take(limit).cloned().collect();
            assert_eq!(list.changes, expected, "after {seq}, {limit} at most");
            assert_eq!(list.seq, seq + expected.len() as u64);
            assert_eq!(list.more, start + limit < all.len(), "after {seq}, {limit} at most");
        }
    }
    let other =
        reader.read(&reader.at(0), ChangeQuery { tenant: Some("other"), ..ALL }).await.unwrap().unwrap();
    assert_eq!((other.changes.len(), other.seq), (0, all.len() as u64), "the position moves on");
    let lost = async |position: FeedPosition| reader.read(&position, ALL).await.unwrap().expect_err("lost");
    assert_eq!(lost(reader.at(all.len() as u64 + 1)).await, LostPosition::BeyondEnd);
    let other = FeedPosition { feed: "0123456789abcdef".to_owned(), seq: 0 };
    assert_eq!(lost(other).await, LostPosition::OtherFeed);
    assert_eq!(reader.find_time(0).await.unwrap(), 0);
    assert_eq!(reader.find_time(u64::MAX).await.unwrap(), all.len() as u64);
    assert_eq!(reader.snapshot(SNAPSHOT_DISTANCE).await.unwrap(), reader.at(0), "nothing is old enough");
}

/// Lets the feed begin with this number.
async fn begin_feed_at(table: &Table, floor: u64) {
    let state = [text("id", "0123456789abcdef"), number("floor", floor), number("nearEnd", floor)];
    table.put(&keys::feed_state(), state.into()).await.unwrap();
}

/// Writes pages from this number on: how many changes each has, and when it was written.
async fn write_pages(
    table: &Table,
    first: u64,
    pages: impl IntoIterator<Item = (usize, u64)>,
) -> Vec<FeedPage> {
    begin_feed_at(table, first).await;
    let mut next = first;
    let mut all = Vec::new();
    for (count, written) in pages {
        let page = FeedPage::new(next, &vec![FeedChange::default(); count], written).unwrap();
        table.put(&keys::feed_page(next), page.attributes(KeptDays::default())).await.unwrap();
        next = page.last + 1;
        all.push(page);
    }
    all
}

/// Asserts of many times that the search finds what a look at each of these pages finds.
async fn assert_times_are_found(table: &Table, pages: &[FeedPage], end: u64) {
    let reader = FeedReader::open(table).await.unwrap();
    let around = pages.iter().flat_map(|page| [page.written, page.written + 1]);
    let times: BTreeSet<u64> = around.chain([0, u64::MAX]).collect();
    for time in times {
        let later = pages.iter().find(|page| page.written >= time);
        let expected = later.map_or(end, |page| page.first) - 1;
        let (expected, found) = (expected.max(reader.oldest().seq), reader.find_time(time).await.unwrap());
        assert_eq!(found, expected, "{time} in {} pages from {}", pages.len(), reader.state.floor);
        let read = reader.read(&reader.at(found), ChangeQuery { limit: 1, ..ALL }).await.unwrap();
        assert_eq!(read.unwrap().changes.first().map(|change| change.seq), later_seq(found, end));
    }
}

/// The number of the change after this one, in a feed whose next change has the number `end`.
fn later_seq(seq: u64, end: u64) -> Option<u64> {
    (seq + 1 < end).then_some(seq + 1)
}

#[tokio::test]
async fn a_time_is_found_as_by_a_look_at_each_page() {
    for count in [0, 1, 2, 9, 40] {
        let table = support::embedded().await;
        // The largest feed reaches into a second partition. Pages are of several sizes, and some of the same second.
        let first = FEED_BUCKET - 100;
        let (mut random, mut time) = (count, 1_000);
        let mut roll = |sides: u64| {
            random = (random * 1_103_515_245 + 12_345) % (1 << 31);
            random / 65_536 % sides
        };
        let pages: Vec<(usize, u64)> = (0..count)
            .map(|_| {
                time += roll(3) * 10;
                (1 + usize::try_from(roll(7)).unwrap(), time)
            })
            .collect();
        let pages = write_pages(&table, first, pages).await;
        let end = pages.last().map_or(first, |page| page.last + 1);
        assert_times_are_found(&table, &pages, end).await;
        // The retention of the first ones has ended. Then DynamoDB has deleted them, and nobody has noted that yet.
        let (gone, kept) = pages.split_at(pages.len() / 3);
        begin_feed_at(&table, kept.first().map_or(first, |page| page.first)).await;
        assert_times_are_found(&table, &pages, end).await;
        table.batch_delete(gone.iter().map(|page| keys::feed_page(page.first))).await.unwrap();
        begin_feed_at(&table, first).await;
        assert_times_are_found(&table, kept, end).await;
    }
}

/// After a restore, one page stands for all numbers up to the next round one.
#[tokio::test]
async fn a_time_is_found_on_both_sides_of_a_page_that_stands_for_many_numbers() {
    let table = support::embedded().await;
    let mut pages = write_pages(&table, 1, (1..=50).map(|n| (2, 1_000 + n))).await;
    let next = RENEWED_FEED_STEP;
    pages.push(FeedPage::without_changes(101, next - 1, 2_000).unwrap());
    pages.extend((0..3).map(|n| FeedPage::new(next + n, &[FeedChange::default()], 3_000 + n).unwrap()));
    for page in &pages[50..] {
        table.put(&keys::feed_page(page.first), page.attributes(KeptDays::default())).await.unwrap();
    }
    let state = [text("id", "0123456789abcdef"), number("floor", 1), number("nearEnd", next)];
    table.put(&keys::feed_state(), state.into()).await.unwrap();
    let reader = FeedReader::open(&table).await.unwrap();
    for time in [0, 1_001, 1_020, 1_050, 1_051, 2_000, 2_001, 3_000, 3_001, 3_003] {
        let later = pages.iter().find(|page| page.written >= time);
        let expected = later.map_or(next + 3, |page| page.first) - 1;
        assert_eq!(reader.find_time(time).await.unwrap(), expected, "{time}");
    }
}

#[tokio::test]
async fn the_place_of_a_snapshot_costs_few_calls() {
    let table = support::embedded().await;
    let now = rollcall::clock::epoch_seconds();
    let times = std::iter::repeat_n(now - 86_400, 60).chain(std::iter::repeat_n(now, 40));
    write_pages(&table, 1, times.map(|time| (1, time))).await;
    let table = table.fresh();
    let reader = FeedReader::open(&table).await.unwrap();
    let before = table.usage().calls;
    // Longer than the distance of deployments, because the test may be slow.
    let snapshot = reader.snapshot(SNAPSHOT_DISTANCE * 60).await.unwrap();
    assert_eq!(snapshot, reader.at(60), "before the 40 pages of now");
    let calls = table.usage().calls - before;
    assert!(calls <= 15, "{calls} calls");
}

#[tokio::test]
async fn the_retention_of_old_changes_ends() {
    let client = tenant_with_client("standard").await;
    for n in 0..3 {
        client.user(&format!("o{n}")).await;
        sequence(&client.table).await;
    }
    let end = read_feed(&client.table).await.len() as u64;
    let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap();
    let days = DEFAULT_CHANGE_RETENTION_DAYS;
    assert_eq!(end_retention(&client.table, days, now).await.unwrap(), 1);
    assert_eq!(end_retention(&client.table, days, now + 91 * 86_400).await.unwrap(), end + 1);
    let reader = FeedReader::open(&client.table).await.unwrap();
    assert_eq!(reader.oldest(), reader.at(end));
    assert_eq!(reader.read(&reader.at(0), ALL).await.unwrap(), Err(LostPosition::TooOld));
    assert_eq!(reader.read(&reader.at(end), ALL).await.unwrap().unwrap().changes, []);
    client.user("new").await;
    sequence(&client.table).await;
    let list = reader.read(&reader.at(end), ALL).await.unwrap().unwrap();
    assert_eq!(list.changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [end + 1]);
}

/// The table says for how many days changes stay. So whoever writes a page writes the same `ttl`.
#[tokio::test]
async fn the_deployment_sets_how_long_changes_stay() {
    const DAY: u64 = 86_400;
    const { assert!(MIN_CHANGE_RETENTION_DAYS * DAY >= 2 * WEBHOOK_FAILURE_SECONDS) };
    let client = tenant_with_client("standard").await;
    let table = &client.table;
    let now = rollcall::clock::epoch_seconds();
    sequence(table).await;
    // From how many days after its writing on DynamoDB may delete the last page.
    let days_in_table = async || {
        let pages = table.query_all(&keys::feed_bucket(1), None).await.unwrap();
        let [ttl, written] = ["ttl", "written"].map(|name| get_number::<u64>(pages.last().unwrap(), name));
        (ttl.unwrap() - written.unwrap()) / DAY
    };
    assert_eq!(days_in_table().await, 97);
    let first = read_feed(table).await.len() as u64;

    // Fewer days: they count for the changes from before too.
    assert_eq!(end_retention(table, 30, now).await.unwrap(), 1);
    client.user("thirty").await;
    sequence(table).await;
    assert_eq!(days_in_table().await, 37);
    assert_eq!(end_retention(table, 30, now + 29 * DAY).await.unwrap(), 1);

    // More days: not for the changes from before. In the table nothing changes if the value is the same.
    assert_eq!(end_retention(table, 365, now).await.unwrap(), 1);
    let kept = FeedState::fetch(table).await.unwrap().kept;
    assert_eq!(end_retention(table, 365, now + DAY).await.unwrap(), 1);
    assert_eq!((FeedState::fetch(table).await.unwrap().kept, kept.days), (kept, 365));
    client.user("year").await;
    sequence(table).await;
    assert_eq!(days_in_table().await, 372);
    let end = read_feed(table).await.len() as u64;
    assert!(first < end);
    assert_eq!(end_retention(table, 365, now + 29 * DAY).await.unwrap(), 1);
    let ended = end_retention(table, 365, now + 31 * DAY).await.unwrap();
    assert_eq!(ended, end + 1, "in the day of the change too");

    // A page of a later day stays as long as the new value says.
    client.user("later").await;
    sequence(table).await;
    let mut later = table.query_all(&keys::feed_bucket(1), None).await.unwrap().pop().unwrap();
    let key = keys::feed_page(end + 1);
    later.extend([number("written", now + 2 * DAY)]);
    table.put(&key, later).await.unwrap();
    assert_eq!(end_retention(table, 365, now + 366 * DAY).await.unwrap(), end + 1);
    assert_eq!(end_retention(table, 365, now + 368 * DAY).await.unwrap(), end + 2);
}

/// Several workers may end retentions at once. The slower one does not lower the number of the faster one.
#[tokio::test]
async fn the_number_of_the_oldest_change_is_never_lowered() {
    let embedded = support::serve().await;
    let client = Client::new(embedded.table.fresh(), "standard").await;
    for n in 0..3 {
        client.user(&format!("o{n}")).await;
        sequence(&client.table).await;
    }
    let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() + 91 * 86_400;
    let proxy = Proxy::before(&embedded.endpoint).await;
    proxy.decide(|call: &Call| if call.operation == "TransactWriteItems" { Fate::Held } else { Fate::Pass });
    let slow = Table::new(support::client(&proxy.endpoint), support::TABLE);
    let days = DEFAULT_CHANGE_RETENTION_DAYS;
    let slower = tokio::spawn(async move { end_retention(&slow, days, now).await });
    proxy.held().await;
    client.user("late").await;
    sequence(&client.table).await;
    let floor = end_retention(&client.table, days, now).await.unwrap();
    proxy.release();
    assert_eq!(slower.await.unwrap().unwrap(), floor);
    let reader = FeedReader::open(&client.table).await.unwrap();
    assert_eq!(reader.oldest(), reader.at(floor - 1));
}

/// An import of one tenant does not keep back the changes of another one.
#[tokio::test]
async fn tenants_take_turns() {
    let client = tenant_with_client("standard").await;
    let other = client.of("other");
    let new = NewTenant::new(&other.store().tenant, &VEZA, &"o".repeat(40));
    tenant::create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    sequence(&client.table).await;
    client.users(0..900).await;
    let id = other.user("one").await;
    client.users(900..1_000).await;
    let changes = assert_fed(&client, &[]).await;
    let seq = changes.iter().find(|change| change.resource_id == id).expect("a change").seq;
    assert!(seq < 250, "the change of the other tenant has the number {seq}");
}

/// What a change costs on its way into the feed, and what reading costs.
#[tokio::test]
async fn a_change_costs_little() {
    let client = tenant_with_client("standard").await;
    sequence(&client.table).await;
    client.user("alone").await;
    let table = client.table.fresh();
    Sequencer::new(&table).run(Instant::now() + Duration::from_secs(9)).await.unwrap();
    assert!(table.usage().write_units <= 4.0, "alone: {:?}", table.usage());
    client.users(0..200).await;
    let table = client.table.fresh();
    let report = Sequencer::new(&table).run(Instant::now() + Duration::from_secs(9)).await.unwrap();
    assert_eq!(report.moved, 200);
    assert!(table.usage().write_units <= 3.0 * 200.0, "many: {:?}", table.usage());
    client.users(200..510).await;
    sequence(&client.table).await;
    let table = client.table.fresh();
    let reader = FeedReader::open(&table).await.unwrap();
    let list = reader.read(&reader.at(5), ALL).await.unwrap().unwrap();
    assert_eq!(list.changes.len(), 500);
    assert!(table.usage().read_units <= 60.0, "{:?}", table.usage());
    // Each change came alone, so each page has one.
    let alone = read_feed(&client.table).await.len() as u64;
    for at in 0..500 {
        client.user(&format!("alone{at}")).await;
        sequence(&client.table).await;
    }
    let table = client.table.fresh();
    let reader = FeedReader::open(&table).await.unwrap();
    let list = reader.read(&reader.at(alone), ALL).await.unwrap().unwrap();
    assert_eq!(list.changes.len(), 500);
    let usage = table.usage();
    assert!(usage.read_units <= 60.0 && usage.rounds <= 5, "{usage:?}");
    let idle = client.table.fresh();
    Sequencer::new(&idle).run(Instant::now() + Duration::from_secs(9)).await.unwrap();
    assert!(idle.usage().read_units <= 4.0 && idle.usage().write_units == 0.0, "{:?}", idle.usage());
}
