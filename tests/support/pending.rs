//! Changes that are in force and not applied.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

use rollcall::scim::resource_type::{Kind, Model, ResourceType};
use rollcall::store::large_change::pending_change::{ChangeState, PendingChange};
use rollcall::store::members::WholeGroup;
use rollcall::store::membership::{MemberChanges, Membership};
use rollcall::store::record::Record;
use rollcall::store::resource::ResourceUpdate;

use super::client::Client;

/// A resource type under the policy that these tests run with.
pub fn of_kind(kind: Kind) -> ResourceType {
    let models = Model::all(&[]).expect("the models");
    let model = models.iter().find(|model| model.policy.name == "standard").expect("a policy");
    model.of(kind).clone()
}

/// Commits a change of a group's members without applying any of it, as a request does that is
/// stopped right after the commit.
pub async fn commit(client: &Client, group: &str, add: &[String], remove: &[String]) -> PendingChange {
    let store = client.store();
    let WholeGroup { record: before, members: present } =
        store.members().fetch_group(group.parse().unwrap()).await.unwrap().expect("the group");
    let membership = |id: &String| Membership { id: id.parse().unwrap(), kind: Kind::User, display: None };
    let add: Vec<Membership> = add.iter().map(membership).collect();
    let remove: Vec<Membership> = remove.iter().map(membership).collect();
    assert!(remove.iter().all(|member| present.iter().any(|there| there.id == member.id)));
    let next = Record { version: before.version + 1, ..before.clone() };
    let mut pending =
        store.large_changes().stage(&next, MemberChanges { add: &add, remove: &remove }).await.unwrap();
    let after = Record {
        digest: before.digest.with(add.iter().map(|m| m.id)).without(remove.iter().map(|m| m.id)),
        change: Some(pending.id),
        parts: pending.parts,
        ..next
    };
    let event = store.event("group.updated", &after).of_commit(pending.parts);
    let update = ResourceUpdate {
        before: &before,
        is_recalled: false,
        after: &after,
        members: MemberChanges::default(),
        ty: &of_kind(Kind::Group),
        event: &event,
        extra_actions: &[],
    };
    store.update(&update).await.unwrap();
    pending.state = ChangeState::Committed;
    pending
}
