//! Changes larger than a transaction. Every reader sees them as soon as they are committed, also while they are
//! applied. Later requests and the worker finish them.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Instant;

use rollcall::clock;
use rollcall::limits::MAX_NAMED_PARTS;
use rollcall::scim::resource_type::Kind;
use rollcall::store::delete::{Detachment, ResourceDeletion};
use rollcall::store::feed::change::FeedChange;
use rollcall::store::keys;
use rollcall::store::large_change::settle::SettledChanges;
use rollcall::store::membership::{MemberChanges, Membership};
use rollcall::store::worker::{self, WorkerReport};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::Fate;
use crate::support::feed::{read_feed, sequence};
use crate::support::pending::{commit, of_kind};
use crate::support::scene;
use crate::support::stage::{Stage, play};

fn values(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

async fn members(client: &Client, group: &str) -> BTreeSet<String> {
    let group = client.get(&format!("/Groups/{group}")).await.expect(200);
    let members = group.body["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["value"].as_str().expect("an id").to_owned()).collect()
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

/// Who has the group among its groups, once nothing is pending.
async fn who_is_in(client: &Client, users: &[String], group: &str) -> BTreeSet<String> {
    support::work(client).await;
    let mut found = BTreeSet::new();
    for id in users {
        let record = client.store().fetch(Kind::User, id.parse().unwrap()).await.unwrap();
        if record.is_some_and(|record| record.groups.contains(&group.parse().unwrap())) {
            found.insert(id.clone());
        }
    }
    found
}

async fn nothing_is_pending(client: &Client) {
    support::work(client).await;
    support::assert_consistent(client).await;
    let report = worker::round(&client.table.fresh()).await.unwrap();
    assert_eq!(WorkerReport { resting: 0, ..report }, WorkerReport::default());
}

async fn thousands_of_members_come_and_go_in_one_request(stage: Stage) {
    // Hundreds are enough to take several transactions.
    let of = |members: usize| if stage.is_torn() { members / 3 } else { members };
    let (client, ids) = stage.client_with_users("standard", of(1_200)).await;
    let created = json!({ "displayName": "Large", "members": values(&ids[..of(500)]) });
    let created = client.post("/Groups", created).await.expect(201);
    assert_eq!(created.body["members"].as_array().map(Vec::len), Some(of(500)));
    assert_eq!(created.body["meta"]["version"], "W/\"1\"");
    let (group, path) = (created.id(), format!("/Groups/{}", created.id()));
    assert_eq!(members(&client, &group).await, set(&ids[..of(500)]));
    nothing_is_pending(&client).await;

    let add = json!([{ "op": "add", "path": "members", "value": values(&ids[of(400)..]) }]);
    let added = client.patch(&path, add).await.expect(204);
    assert_eq!(added.headers["etag"], "W/\"2\"");
    assert_eq!(members(&client, &group).await, set(&ids));
    assert_eq!(who_is_in(&client, &ids, &group).await, set(&ids));

    // Some go, some stay, and the name changes with them.
    let replace = json!([
        { "op": "replace", "path": "displayName", "value": "Larger" },
        { "op": "replace", "path": "members", "value": values(&ids[of(600)..of(1_000)]) }
    ]);
    client.patch(&path, replace).await.expect(204);
    let read = client.get(&path).await.expect(200);
    assert_eq!(
        (&read.body["displayName"], &read.body["meta"]["version"]),
        (&json!("Larger"), &json!("W/\"3\""))
    );
    assert_eq!(members(&client, &group).await, set(&ids[of(600)..of(1_000)]));
    assert_eq!(who_is_in(&client, &ids, &group).await, set(&ids[of(600)..of(1_000)]));

    client
        .put(&path, json!({ "displayName": "Large", "members": values(&ids[..of(700)]) }))
        .await
        .expect(204);
    assert_eq!(members(&client, &group).await, set(&ids[..of(700)]));
    support::work(&client).await;
    client.patch(&path, json!([{ "op": "remove", "path": "members" }])).await.expect(200);
    assert_eq!(members(&client, &group).await, BTreeSet::new());
    assert_eq!(who_is_in(&client, &ids, &group).await, BTreeSet::new());
    nothing_is_pending(&client).await;
}

async fn who_does_not_exist_fails_the_whole_change(stage: Stage) {
    let (client, mut ids) = stage.client_with_users("standard", 60).await;
    let group = client.group("Team", &ids[..2]).await;
    let nobody = Uuid::now_v7().to_string();
    ids.push(nobody.clone());
    let add = json!([{ "op": "add", "path": "members", "value": values(&ids) }]);
    let refused = client.patch(&format!("/Groups/{group}"), add).await.expect(400);
    assert!(refused.body["detail"].as_str().unwrap().contains(&nobody));
    assert_eq!(members(&client, &group).await, set(&ids[..2]));
    client.post("/Groups", json!({ "displayName": "Other", "members": values(&ids) })).await.expect(400);
    assert_eq!(client.store().total(Kind::Group).await.unwrap(), 1);
    nothing_is_pending(&client).await;
}

async fn a_name_that_is_taken_leaves_nothing_behind(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 50).await;
    client.group("Team", &[]).await;
    client.post("/Groups", json!({ "displayName": "team", "members": values(&ids) })).await.expect(409);
    nothing_is_pending(&client).await;
    assert_eq!(client.store().total(Kind::Group).await.unwrap(), 1);
}

async fn readers_see_a_committed_change_before_it_is_applied(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 200).await;
    let group = client.group("Team", &ids[..40]).await;
    let pending = commit(&client, &group, &ids[40..180], &ids[..10]).await;
    let expected = set(&ids[10..180]);
    // Applied chunk by chunk; every reader sees the same at every step.
    let chunks = client.store().large_changes().fetch_chunks(pending.id).await.unwrap();
    assert!(chunks.len() >= 5);
    let seen = |id: &str| format!("/Groups?filter=id eq \"{group}\" and members eq \"{id}\"");
    for chunk in chunks {
        assert_eq!(members(&client, &group).await, expected);
        for (id, is_in) in [(&ids[5], 0), (&ids[20], 1), (&ids[100], 1), (&ids[190], 0)] {
            assert_eq!(client.get(&seen(id)).await.expect(200).body["totalResults"], is_in, "{id}");
        }
        let list = client.get(&format!("/Groups?filter=members.value eq \"{}\"", ids[100])).await;
        assert_eq!(list.body["totalResults"], 1);
        client.store().large_changes().apply_chunk(&pending, chunk).await.unwrap();
    }
    assert_eq!(members(&client, &group).await, expected);
    let report = worker::round(&client.table.fresh()).await.unwrap();
    assert_eq!(report, WorkerReport { finished: 1, ..WorkerReport::default() });
    assert_eq!(members(&client, &group).await, expected);
    assert_eq!(who_is_in(&client, &ids, &group).await, expected);
    nothing_is_pending(&client).await;
}

async fn the_next_writer_finishes_what_is_pending(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 120).await;
    let group = client.group("Team", &[]).await;
    let path = format!("/Groups/{group}");
    commit(&client, &group, &ids[..100], &[]).await;
    let add = json!([{ "op": "add", "path": "members", "value": values(&ids[100..101]) }]);
    client.patch(&path, add).await.expect(204);
    assert_eq!(members(&client, &group).await, set(&ids[..101]));
    nothing_is_pending(&client).await;
    // Removing somebody whom the change has only just added.
    commit(&client, &group, &ids[101..], &[]).await;
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", ids[110]) }]);
    client.patch(&path, remove).await.expect(204);
    let mut expected = set(&ids);
    expected.remove(&ids[110]);
    assert_eq!(members(&client, &group).await, expected);
    commit(&client, &group, &[], &ids[..100]).await;
    client.delete(&path).await.expect(204);
    client.get(&path).await.expect(404);
    nothing_is_pending(&client).await;
    assert_eq!(who_is_in(&client, &ids, &group).await, BTreeSet::new());
}

async fn a_user_may_go_and_come_back_in_the_middle(stage: Stage) {
    let (client, ids) = stage.client_with_users("veza", 120).await;
    let group = client.group("Team", &ids[..50]).await;
    // One who is to be added, one who is to be removed, one whom the change is not about.
    commit(&client, &group, &ids[50..110], &ids[..20]).await;
    for at in [5, 30, 70] {
        client.delete(&format!("/Users/{}", ids[at])).await.expect(204);
    }
    let expected: BTreeSet<String> =
        (20..110).filter(|at| ![30, 70].contains(at)).map(|at| ids[at].clone()).collect();
    assert_eq!(members(&client, &group).await, expected);
    // Back under their ids, without their groups.
    let mut names = JoinSet::new();
    for at in 0..120 {
        let client = client.clone();
        names.spawn(async move { client.post("/Users", user(&format!("u{at}"))).await.status });
    }
    let statuses = names.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 3);
    assert_eq!(members(&client, &group).await, expected);
    let report = worker::round(&client.table.fresh()).await.unwrap();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(members(&client, &group).await, expected);
    assert_eq!(who_is_in(&client, &ids, &group).await, expected);
    let record = client.store().fetch(Kind::Group, group.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(record.digest.count, expected.len() as u64);
    nothing_is_pending(&client).await;
}

async fn a_deleted_group_and_a_deleted_user_leave_nothing(stage: Stage) {
    let (users, in_groups) = if stage.is_torn() { (100, 60) } else { (400, 120) };
    let (client, ids) = stage.client_with_users("standard", users).await;
    let group = client.group("Large", &ids).await;
    client.delete(&format!("/Groups/{group}")).await.expect(204);
    assert_eq!(who_is_in(&client, &ids, &group).await, BTreeSet::new());
    nothing_is_pending(&client).await;

    let mut groups = Vec::new();
    for at in 0..in_groups {
        groups.push(client.group(&format!("g{at}"), &ids[..2]).await);
    }
    let shown = client.get(&format!("/Users/{}", ids[0])).await.expect(200);
    assert_eq!(shown.body["groups"].as_array().map(Vec::len), Some(in_groups));
    client.delete(&format!("/Users/{}", ids[0])).await.expect(204);
    for group in &groups {
        assert_eq!(members(&client, group).await, set(&ids[1..2]));
        let record = client.store().fetch(Kind::Group, group.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(record.digest.count, 1);
    }
    nothing_is_pending(&client).await;
}

async fn large_changes_of_one_group_exclude_each_other(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 240).await;
    let group = client.group("Team", &[]).await;
    let mut tasks = JoinSet::new();
    for part in ids.chunks(60) {
        let (client, path) = (client.clone(), format!("/Groups/{group}"));
        let add = json!([{ "op": "add", "path": "members", "value": values(part) }]);
        tasks.spawn(async move {
            loop {
                match client.patch(&path, add.clone()).await.status {
                    409 | 503 => tokio::task::yield_now().await,
                    status => return status,
                }
            }
        });
    }
    let statuses = tasks.join_all().await;
    assert!(statuses.iter().all(|status| [200, 204].contains(status)), "{statuses:?}");
    assert_eq!(members(&client, &group).await, set(&ids));
    assert_eq!(who_is_in(&client, &ids, &group).await, set(&ids));
    nothing_is_pending(&client).await;
}

async fn what_was_never_committed_is_cleared_after_an_hour(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 60).await;
    let group = client.group("Team", &[]).await;
    let store = client.store();
    let add: Vec<Membership> = ids
        .iter()
        .map(|id| Membership { id: id.parse().unwrap(), kind: Kind::User, display: None })
        .collect();
    let record = store.fetch(Kind::Group, group.parse().unwrap()).await.unwrap().unwrap();
    let mut pending =
        store.large_changes().stage(&record, MemberChanges { add: &add, remove: &[] }).await.unwrap();
    let report = worker::round(&client.table.fresh()).await.unwrap();
    assert_eq!(report, WorkerReport { left: 1, ..WorkerReport::default() });
    assert_eq!(members(&client, &group).await, BTreeSet::new());
    pending.created -= 3_601;
    store.table.put(&pending.key(), pending.attributes()).await.unwrap();
    let report = worker::round(&client.table.fresh()).await.unwrap();
    assert_eq!(report, WorkerReport { aborted: 1, ..WorkerReport::default() });
    assert_eq!(store.large_changes().fetch_chunks(pending.id).await.unwrap(), []);
    nothing_is_pending(&client).await;
    assert!(store.large_changes().finish(pending.id, Instant::now()).await.unwrap());
}

async fn a_user_who_is_deleted_unseen_is_passed_over(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 60).await;
    let group = client.group("Team", &[]).await;
    // Deleted after it was looked for and before the commit, by someone who saw no change yet.
    let store = client.store();
    let record = store.fetch(Kind::User, ids[7].parse().unwrap()).await.unwrap().unwrap();
    let pending = commit(&client, &group, &ids, &[]).await;
    let event = store.event_of_version("user.deleted", &record, record.version + 1);
    let deletion = ResourceDeletion {
        record: &record,
        members: Some(&[]),
        groups: Detachment::Now,
        settled: &SettledChanges::default(),
        ty: &of_kind(Kind::User),
        event: &event,
        tombstone_until: None,
        extra_actions: &[],
    };
    store.delete(&deletion).await.unwrap();
    assert!(
        store
            .large_changes()
            .apply_until(&pending, Instant::now() + std::time::Duration::from_secs(60))
            .await
            .unwrap()
    );
    let mut expected = set(&ids);
    expected.remove(&ids[7]);
    assert_eq!(members(&client, &group).await, expected);
    let record = store.fetch(Kind::Group, group.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((record.digest.count, record.version), (59, 3));
    nothing_is_pending(&client).await;
}

/// A member remembers the large changes that add and remove it, until its own next change. It remembers a limited number.
#[tokio::test]
async fn who_is_named_by_many_large_changes_remembers_few() {
    let client = Client::new(support::embedded().await, "standard").await;
    let ids = client.users(0..46).await;
    let (one, other) = (client.group("One", &[]).await, client.group("Other", &[]).await);
    for round in 0..2 * MAX_NAMED_PARTS {
        let group = if round % 3 == 0 { &other } else { &one };
        let there = members(&client, group).await.is_empty();
        let value = if there { values(&ids) } else { json!([]) };
        let all = json!([{ "op": "replace", "path": "members", "value": value }]);
        client.patch(&format!("/Groups/{group}"), all).await.expect(200);
    }
    let named = async |id: &str| {
        let record = client.store().fetch(Kind::User, id.parse().unwrap()).await.unwrap().unwrap();
        record.trail.named.len()
    };
    for id in &ids {
        assert!((2..=MAX_NAMED_PARTS).contains(&named(id).await), "{} names", named(id).await);
    }
    // Nothing is in the feed yet. The next change of a member follows all that named it.
    let title = json!([{ "op": "replace", "path": "title", "value": "t" }]);
    client.patch(&format!("/Users/{}", ids[0]), title).await.expect(200);
    assert_eq!(named(&ids[0]).await, 0);
    assert!(!sequence(&client.table).await.left);
    let changes = read_feed(&client.table).await;
    let place = |found: &dyn Fn(&FeedChange) -> bool| changes.iter().rposition(found).expect("a change");
    let updated = place(&|change| change.event_type == "user.updated");
    assert!(place(&|change| change.part.is_some_and(|part| part > 0)) < updated);
    nothing_is_pending(&client).await;
}

/// Of the transaction that adds a member, the group can be seen before the membership. Its group, or the member, is
/// deleted meanwhile.
#[tokio::test]
async fn a_membership_that_becomes_visible_late_is_removed_all_the_same() {
    let (proxy, client, honest) = scene("standard").await;
    let ids = honest.users(0..60).await;
    let mut groups = Vec::new();
    for at in 0..50 {
        groups.push(honest.group(&format!("G{at}"), &ids[..1]).await);
    }
    let large = honest.group("Large", &ids).await;
    for (path, group, member) in
        [(format!("/Users/{}", ids[0]), &groups[7], &ids[0]), (format!("/Groups/{large}"), &large, &ids[9])]
    {
        let key = keys::membership(&honest.store().tenant, group.parse().unwrap(), member.parse().unwrap());
        let hidden = honest.table.get(&key).await.unwrap().expect("a membership");
        honest.table.batch_delete([key.clone()]).await.unwrap();
        // A read as of one moment meets the transaction.
        let text = key.pk.clone();
        proxy.decide(move |call| {
            let meets = call.operation == "TransactGetItems" && call.body.to_string().contains(&text);
            if meets { Fate::Conflict } else { Fate::Pass }
        });
        client.delete(&path).await.expect(204);
        honest.table.put(&key, hidden).await.unwrap();
        proxy.decide(|_| Fate::Pass);
        support::work(&honest).await;
        // What will be set right is no finding.
        support::assert_consistent(&honest).await;
        clock::with_seconds_ahead(61, support::work(&honest)).await;
        assert_eq!(honest.table.get(&key).await.unwrap(), None, "{path}");
    }
    support::assert_consistent(&honest).await;
}

play!(
    thousands_of_members_come_and_go_in_one_request,
    who_does_not_exist_fails_the_whole_change,
    a_name_that_is_taken_leaves_nothing_behind,
    readers_see_a_committed_change_before_it_is_applied,
    the_next_writer_finishes_what_is_pending,
    a_user_may_go_and_come_back_in_the_middle,
    a_deleted_group_and_a_deleted_user_leave_nothing,
    large_changes_of_one_group_exclude_each_other,
    what_was_never_committed_is_cleared_after_an_hour,
    a_user_who_is_deleted_unseen_is_passed_over
);
