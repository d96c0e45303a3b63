//! Repairs of large changes. On a table that was restored from a backup, a change and its group may be of two
//! moments. Then the group decides: a change that it names is in force, any other is given up.

use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;

use super::inventory::Inventory;
use crate::clock;
use crate::limits::APPLY_TIMEOUT;
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::error::{Refusal, StoreError};
use crate::store::keys::{self, Key, parse_id};
use crate::store::large_change::pending_change::{ChangeState, PendingChange, PendingTask};
use crate::store::transaction::{Action, Expression};

/// Applies the committed changes of the tenant, so that their members can be checked. Those that their group does
/// not know are left. Those that take longer than [`APPLY_TIMEOUT`] are left to the worker.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub(super) async fn apply_committed(store: &Store) -> Result<(), StoreError> {
    let until = Instant::now() + APPLY_TIMEOUT;
    let changes = store.large_changes();
    for change in changes.list().await? {
        if change.state == ChangeState::Committed && is_known(store, &change).await? {
            changes.apply_until(&change, until).await?;
        }
    }
    Ok(())
}

/// Whether the resource of a committed change is as the change has left it.
async fn is_known(store: &Store, change: &PendingChange) -> Result<bool, StoreError> {
    let group = store.fetch(Kind::Group, change.resource).await?;
    Ok(match &change.task {
        PendingTask::ChangeMembers => group.is_some_and(|group| group.change == Some(change.id)),
        PendingTask::RemoveAllMembers => group.is_none(),
        PendingTask::DetachFromGroups(_) => true,
    })
}

fn find<'a>(all: &'a Inventory, key: &Key) -> Option<&'a PendingChange> {
    all.pending.iter().find(|change| change.key() == *key)
}

fn group_of(store: &Store, change: &PendingChange) -> Key {
    keys::resource(&store.tenant, Kind::Group, change.resource)
}

fn names(change: &PendingChange) -> Expression {
    Expression::equals("change", AttributeValue::S(change.id.to_string()))
}

/// Ends a change that is over: what it has left is done, and its items are deleted. A staged one is aborted.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub(super) async fn clear(store: &Store, all: &Inventory, key: &Key) -> Result<bool, StoreError> {
    match find(all, key) {
        Some(change) if change.state == ChangeState::Staged => store.large_changes().abort(change).await,
        Some(change) => store.large_changes().apply_until(change, Instant::now() + APPLY_TIMEOUT).await,
        None => Ok(false),
    }
}

/// Commits a staged change that its group names.
pub(super) fn commit(store: &Store, all: &Inventory, key: &Key) -> Option<Vec<Action>> {
    let change = find(all, key)?;
    Some(vec![
        change.transition(ChangeState::Staged, ChangeState::Committed),
        Action::check(group_of(store, change), names(change), Refusal::Changed),
    ])
}

/// Gives a committed change up that its group does not know.
pub(super) fn give_up(store: &Store, all: &Inventory, key: &Key) -> Option<Vec<Action>> {
    let change = find(all, key)?;
    let other = Expression::new("#change <> :id")
        .name("change")
        .value(":id", AttributeValue::S(change.id.to_string()));
    let is_unknown = match change.task {
        PendingTask::RemoveAllMembers => Expression::exists(),
        _ => Expression::lacks("change").or(other),
    };
    Some(vec![
        change.transition(ChangeState::Committed, ChangeState::Aborted),
        Action::check(group_of(store, change), is_unknown, Refusal::Changed),
    ])
}

/// Lets a group forget a change that is over or does not exist.
pub(super) fn forget(store: &Store, all: &Inventory, group: &Key) -> Option<Vec<Action>> {
    let id = parse_id(group.pk.rsplit('#').next()?)?;
    let change = all.resources.get(&id)?.change?;
    let state = |state: ChangeState| AttributeValue::S(state.name().to_owned());
    let is_over = Expression::new("#state IN (:done, :aborted)")
        .name("state")
        .value(":done", state(ChangeState::Done))
        .value(":aborted", state(ChangeState::Aborted));
    let now = AttributeValue::N(clock::epoch_seconds().to_string());
    let names = Expression::equals("change", AttributeValue::S(change.to_string()));
    let update = Expression::update().set("settled", now).remove("change");
    let item = keys::pending_change(&store.tenant, change);
    Some(vec![
        Action::update(group.clone(), update).only_if(names, Refusal::Changed),
        Action::check(item, Expression::absent().or(is_over), Refusal::Changed),
    ])
}
