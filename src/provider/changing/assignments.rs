//! The roles that a group grants to its members. Only the operator and the application set them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::admin_rule::{guard_write, read_guard_for};
use crate::clock;
use crate::limits::ASSIGNMENT_RETRIES;
use crate::provider::answer::not_found;
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::resource_type::{Kind, ResourceType};
use crate::store::Store;
use crate::store::admin_guard::ADMIN;
use crate::store::error::StoreError;
use crate::store::members::WholeGroup;
use crate::store::membership::MemberChanges;
use crate::store::record::{Record, Role};
use crate::store::resource::ResourceUpdate;
use crate::store::retry::Attempts;
use crate::store::transaction::Action;

/// Whose assignments are changed.
#[derive(Clone, Copy, Debug)]
pub struct AssignmentTarget<'a> {
    /// The group.
    pub group: Uuid,
    /// The resource type of groups.
    pub ty: &'a ResourceType,
    /// The tenant's root team.
    pub root_team: Option<Uuid>,
    /// `If-Match`.
    pub preconditions: &'a Preconditions,
    /// How long to wait for a pending change of the group.
    pub wait: Duration,
}

/// Whether a text is the name of a role: 1 to 64 lower-case letters, digits, `-` and `_`.
pub fn is_role(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

/// The first team of these roles that the tenant does not have. `own` is a team that need not be looked for.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn missing_team(
    store: &Store,
    roles: &BTreeSet<Role>,
    own: Option<Uuid>,
) -> Result<Option<Uuid>, StoreError> {
    let teams: BTreeSet<Uuid> =
        roles.iter().map(|role| role.team).filter(|team| Some(*team) != own).collect();
    let teams: Vec<Uuid> = teams.into_iter().collect();
    let found = store.fetch_many(Kind::Group, &teams).await?;
    Ok(teams.into_iter().find(|team| !found.iter().any(|group| group.id == *team)))
}

/// Changes which roles a group grants. Returns the group as it is afterwards.
///
/// # Errors
/// 404; 409 while a large change of the group is applied; 412; 400 `mutability` if the root team would lose
/// its last active administrator.
pub async fn change_assignments(
    store: &Store,
    target: &AssignmentTarget<'_>,
    change: impl Fn(&BTreeSet<Role>) -> BTreeSet<Role>,
) -> Result<Record, Failure> {
    let mut attempts = Attempts::new(ASSIGNMENT_RETRIES);
    while attempts.start_next().await {
        let Some(WholeGroup { record: before, members }) = store.members().fetch_group(target.group).await?
        else {
            return Err(not_found(Kind::Group).into());
        };
        target.preconditions.check(before.version)?;
        if let Some(pending) = before.change {
            if !store.large_changes().finish(pending, Instant::now() + target.wait).await? {
                return Err(still_pending().into());
            }
            continue;
        }
        let roles = change(&before.assignments());
        if roles == before.assignments() {
            return Ok(before);
        }
        let administers = |roles: &BTreeSet<Role>| {
            roles.iter().any(|role| Some(role.team) == target.root_team && role.role == ADMIN)
        };
        let (did, does) = (administers(&before.assignments()), administers(&roles));
        let mut after = before.clone();
        after.roles = Some(roles);
        after.version += 1;
        after.modified = clock::timestamp();
        let mut extra_actions = Vec::new();
        if did != does {
            after.guarded = true;
            let users = members.iter().filter(|member| member.kind == Kind::User);
            let users: Vec<Uuid> = users.map(|member| member.id).collect();
            extra_actions.extend(guard(store, target.group, &users, does).await?);
        }
        let event = store.event("group.updated", &after).attributes(["assignments"]);
        let update = ResourceUpdate {
            before: &before,
            is_recalled: false,
            after: &after,
            members: MemberChanges::default(),
            ty: target.ty,
            event: &event,
            extra_actions: &extra_actions,
        };
        match store.update(&update).await {
            Ok(()) => return Ok(after),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

fn still_pending() -> ScimError {
    let wait = "A large change of the group is still being applied: try again in a minute.";
    ScimError::new(ErrorKind::Conflict, wait)
}

/// The guard as it becomes when a group grants the administrators' role, or does so no more.
async fn guard(store: &Store, group: Uuid, users: &[Uuid], given: bool) -> Result<Option<Action>, Failure> {
    let guards = read_guard_for(store, if given { users } else { &[] }).await?;
    let Some((before, mut after)) = guards else { return Ok(None) };
    if given {
        after.granting.insert(group);
        for user in store.fetch_activity(users).await? {
            after.join(group, user.id, user.is_active);
        }
    } else {
        after.forget_group(group);
    }
    guard_write(store, &before, &after).await.map(Some)
}
