//! Many apply a committed change at once: its request, the next write to the group, the worker, and requests that
//! delete or reactivate its members. Each part of the change is applied once.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rollcall::scim::resource_type::Kind;
use rollcall::store::delete::{Detachment, ResourceDeletion};
use rollcall::store::large_change::pending_change::{ChangeState, PendingChange};
use rollcall::store::large_change::settle::SettledChanges;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support;
use crate::support::assert_consistent;
use crate::support::client::{Client, user};
use crate::support::pending::{commit, of_kind};
use crate::support::stage::{Stage, play};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn members(client: &Client, group: &str) -> BTreeSet<String> {
    let group = client.get(&format!("/Groups/{group}")).await.expect(200);
    let members = group.body["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["value"].as_str().expect("an id").to_owned()).collect()
}

/// Deletes a user as a request does that looked for pending changes before there was one.
async fn delete_unseen(client: &Client, id: &str, keep: bool) {
    let store = client.store();
    let record = store.fetch(Kind::User, id.parse().unwrap()).await.unwrap().unwrap();
    let event = store.event_of_version("user.deleted", &record, record.version + 1);
    let deletion = ResourceDeletion {
        record: &record,
        members: Some(&[]),
        groups: Detachment::Now,
        settled: &SettledChanges::default(),
        ty: &of_kind(Kind::User),
        event: &event,
        tombstone_until: keep.then_some(u64::MAX / 2),
        extra_actions: &[],
    };
    store.delete(&deletion).await.unwrap();
}

/// All of several tasks at once.
async fn at_once<F>(tasks: impl IntoIterator<Item = F>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut all = JoinSet::new();
    for task in tasks {
        all.spawn(task);
    }
    all.join_all().await;
}

async fn a_member_who_is_gone_is_passed_over_once(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 100).await;
    for round in 0..if stage.is_torn() { 1 } else { 20 } {
        let group = client.group(&format!("Team {round}"), &ids[98..]).await;
        let leaver = client.user(&format!("leaver{round}")).await;
        let mut coming = ids[..90].to_vec();
        coming.push(leaver.clone());
        let pending = commit(&client, &group, &coming, &[]).await;
        delete_unseen(&client, &leaver, false).await;
        at_once((0..8).map(|_| {
            let (client, pending) = (client.clone(), pending.clone());
            async move {
                assert!(client.store().large_changes().apply_until(&pending, soon()).await.unwrap());
            }
        }))
        .await;
        let record = client.store().fetch(Kind::Group, group.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((record.digest.count, record.change), (92, None));
        assert_eq!(members(&client, &group).await.len(), 92);
        assert_consistent(&client).await;
        client.delete(&format!("/Groups/{group}")).await.expect(204);
    }
}

/// An applier that read a chunk before another one struck somebody out of it has the rest to do.
async fn a_chunk_is_applied_whoever_else_strikes_members_out_of_it(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 50).await;
    let group = client.group("Team", &[]).await;
    let pending = commit(&client, &group, &ids, &[]).await;
    let store = client.store();
    let stale = store.large_changes().fetch_chunks(pending.id).await.unwrap();
    delete_unseen(&client, &ids[3], false).await;
    // The first one strikes out and applies; others come with what they read before.
    for _ in 0..2 {
        for chunk in &stale {
            store.large_changes().apply_chunk(&pending, chunk.clone()).await.unwrap();
        }
    }
    assert!(store.large_changes().fetch_chunks(pending.id).await.unwrap().iter().all(|chunk| chunk.done));
    assert!(store.large_changes().apply_until(&pending, soon()).await.unwrap());
    assert_eq!(members(&client, &group).await.len(), 49);
    assert_consistent(&client).await;
}

async fn who_comes_back_is_in_no_group_whatever_was_pending(stage: Stage) {
    let (client, ids) = stage.client_with_users("veza", 60).await;
    let group = client.group("Team", &[]).await;
    let add = commit(&client, &group, &ids, &[]).await;
    delete_unseen(&client, &ids[7], true).await;
    let kept =
        client.store().tombstones().fetch_kept(ids[7].parse().unwrap()).await.unwrap().expect("kept").record;
    let name = kept.doc["userName"].as_str().unwrap().split('@').next().unwrap().to_owned();
    assert_eq!(client.post("/Users", user(&name)).await.expect(201).id(), ids[7]);
    assert!(!members(&client, &group).await.contains(&ids[7]));
    assert!(client.store().large_changes().apply_until(&add, soon()).await.unwrap());
    assert!(!members(&client, &group).await.contains(&ids[7]));
    let shown = client.get(&format!("/Users/{}", ids[7])).await.expect(200);
    assert_eq!(shown.body["groups"], json!(null));
    assert_consistent(&client).await;
}

async fn a_deletion_that_meets_a_commit_begins_again(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 60).await;
    let group = client.group("Team", &[]).await;
    let pending = commit(&client, &group, &ids, &[]).await;
    let store = client.store();
    let record = store.fetch(Kind::User, ids[7].parse().unwrap()).await.unwrap().unwrap();
    // As it was read a moment before.
    let staged = PendingChange { state: ChangeState::Staged, ..pending.clone() };
    assert!(store.large_changes().settle(&record, &[staged], soon()).await.unwrap().is_none());
    assert!(store.large_changes().settle(&record, &[pending], soon()).await.unwrap().is_some());
    client.delete(&format!("/Users/{}", ids[7])).await.expect(204);
    assert_eq!(members(&client, &group).await.len(), 59);
    support::work(&client).await;
    assert_consistent(&client).await;
}

async fn a_user_named_in_more_changes_than_one_transaction_holds_is_deleted(stage: Stage) {
    let (client, ids) = stage.client_with_users("standard", 46).await;
    for at in 0..25 {
        let group = client.group(&format!("Team {at}"), &[]).await;
        commit(&client, &group, &ids, &[]).await;
    }
    // A slow machine may need more than one request for it.
    while client.delete(&format!("/Users/{}", ids[0])).await.status == 503 {}
    client.get(&format!("/Users/{}", ids[0])).await.expect(404);
    support::work(&client).await;
    assert_consistent(&client).await;
}

async fn whoever_has_not_left_yet_is_in_nobodys_way(stage: Stage) {
    let client = Client::new(stage.table().await, "standard").await;
    let (leaver, other) = (client.user("leaver").await, client.user("other").await);
    let mut groups = Vec::new();
    for at in 0..60 {
        groups.push(client.group(&format!("Team {at}"), std::slice::from_ref(&leaver)).await);
    }
    // Deleted, and the process died before it left one of its groups.
    let store = client.store();
    let record = store.fetch(Kind::User, leaver.parse().unwrap()).await.unwrap().unwrap();
    let event = store.event_of_version("user.deleted", &record, record.version + 1);
    let deletion = ResourceDeletion {
        record: &record,
        members: Some(&[]),
        groups: Detachment::Later,
        settled: &SettledChanges::default(),
        ty: &of_kind(Kind::User),
        event: &event,
        tombstone_until: None,
        extra_actions: &[],
    };
    store.delete(&deletion).await.unwrap();

    let patch = async |at: usize, op: &str, id: &str| {
        let path = format!("/Groups/{}", groups[at]);
        let value = json!([{ "value": id }]);
        client.patch(&path, json!([{ "op": op, "path": "members", "value": value }])).await
    };
    for filter in [
        format!("members.value eq \"{leaver}\""),
        format!("displayName eq \"Team 4\" and members.value eq \"{leaver}\""),
        // Entra ID's question.
        format!("id eq \"{}\" and members eq \"{leaver}\"", groups[4]),
    ] {
        let found = client.get(&format!("/Groups?filter={filter}")).await.expect(200);
        assert_eq!(found.body["totalResults"], 0, "{filter}");
    }
    // In this order, since the last one brings the leaver out.
    client.delete(&format!("/Groups/{}", groups[0])).await.expect(204);
    patch(1, "add", &other).await.expect(200);
    assert_eq!(members(&client, &groups[1]).await, BTreeSet::from([other.clone()]));
    patch(2, "add", &leaver).await.expect(400);
    patch(3, "remove", &leaver).await.expect(200);
    assert_eq!(members(&client, &groups[3]).await, BTreeSet::new());
    support::work(&client).await;
    assert_consistent(&client).await;
}

play!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_member_who_is_gone_is_passed_over_once
);

play!(
    a_chunk_is_applied_whoever_else_strikes_members_out_of_it,
    who_comes_back_is_in_no_group_whatever_was_pending,
    a_deletion_that_meets_a_commit_begins_again,
    a_user_named_in_more_changes_than_one_transaction_holds_is_deleted,
    whoever_has_not_left_yet_is_in_nobodys_way
);
