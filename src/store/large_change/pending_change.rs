//! The change item: what is to be done to which resource, and how far it has come.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::clock;
use crate::limits::SETTLE_GRACE;
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::item::{Item, get_ids, get_number, get_text, id_set, must_text, number, text};
use crate::store::keys::{self, Key, TenantId, parse_id};
use crate::store::record::Record;
use crate::store::trail::Departure;
use crate::store::transaction::Action;

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeState {
    /// The change is written down and not in force.
    Staged,
    /// The change is in force. Readers see it, and appliers write it to the members' items.
    Committed,
    /// The change will never be in force. Its items can be deleted.
    Aborted,
    /// The change is applied. Its items can be deleted.
    Done,
}

impl ChangeState {
    /// The text in the change item.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Done => "done",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Staged, Self::Committed, Self::Aborted, Self::Done].into_iter().find(|s| s.name() == name)
    }
}

/// What is left to do once a change is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingTask {
    /// Change the group's members as the chunks say.
    ChangeMembers,
    /// Remove every membership of a group that is deleted.
    RemoveAllMembers,
    /// Remove a resource that is deleted from these groups.
    DetachFromGroups(BTreeSet<Uuid>),
}

impl PendingTask {
    /// The text in the change item.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ChangeMembers => "members",
            Self::RemoveAllMembers => "group",
            Self::DetachFromGroups(_) => "user",
        }
    }
}

/// A large change: the change item without its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingChange {
    /// The id of the change.
    pub id: Uuid,
    /// The tenant whose resource is changed.
    pub tenant: TenantId,
    /// How far it has come.
    pub state: ChangeState,
    /// What is to be done.
    pub task: PendingTask,
    /// The id of the user or group to do it to.
    pub resource: Uuid,
    /// The version of that resource which the change makes, for its events. 0 if no event needs it.
    pub version: u64,
    /// How many chunks it has, for its events.
    pub parts: u32,
    /// The id of the key with which the change was requested.
    pub actor: String,
    /// The id of the request.
    pub request_id: String,
    /// When the change was written down, in seconds since 1970.
    pub created: u64,
    /// When it was done, in seconds since 1970; 0 if it is not done. A change of members never has it.
    pub finished: u64,
}

impl PendingChange {
    /// Reads a change item.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the item is not a change item.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("a pending change cannot be read".to_owned());
        let (tenant, id) = must_text(item, "sk")?.rsplit_once('#').ok_or_else(broken)?;
        let task = match must_text(item, "kind")? {
            "members" => PendingTask::ChangeMembers,
            "group" => PendingTask::RemoveAllMembers,
            "user" => PendingTask::DetachFromGroups(get_ids(item, "groups")),
            _ => return Err(broken()),
        };
        Ok(Self {
            id: parse_id(id).ok_or_else(broken)?,
            tenant: tenant.parse().map_err(|_| broken())?,
            state: ChangeState::from_name(must_text(item, "state")?).ok_or_else(broken)?,
            task,
            resource: parse_id(must_text(item, "resource")?).ok_or_else(broken)?,
            version: get_number(item, "version").unwrap_or(0),
            parts: get_number(item, "parts").unwrap_or(0),
            actor: get_text(item, "actor").unwrap_or_default().to_owned(),
            request_id: get_text(item, "requestId").unwrap_or_default().to_owned(),
            created: get_number(item, "created").unwrap_or(0),
            finished: get_number(item, "finished").unwrap_or(0),
        })
    }

    /// The key of the change item.
    pub fn key(&self) -> Key {
        keys::pending_change(&self.tenant, self.id)
    }

    /// Whether the change is done and kept for a while ([`SETTLE_GRACE`]).
    pub fn in_grace_period(&self) -> bool {
        self.state == ChangeState::Done && self.finished + SETTLE_GRACE.as_secs() > clock::epoch_seconds()
    }

    /// The item's attributes without the key.
    pub fn attributes(&self) -> Item {
        let mut item = Item::from([
            text("state", self.state.name()),
            text("kind", self.task.name()),
            text("resource", self.resource.to_string()),
            number("version", self.version),
            number("parts", self.parts),
            text("tenant", self.tenant.as_str()),
            text("actor", &self.actor),
            text("requestId", &self.request_id),
            number("created", self.created),
        ]);
        if let PendingTask::DetachFromGroups(groups) = &self.task
            && !groups.is_empty()
        {
            item.insert("groups".to_owned(), id_set(groups));
        }
        item
    }

    /// The departure of a deleted member from a group, as this change makes it.
    pub(super) fn departure_of(&self, member: Uuid) -> Departure {
        Departure {
            member,
            time: clock::timestamp(),
            actor: self.actor.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// The action that moves the change from one state to another. It is refused as
    /// [`Refusal::Changed`] if the change is in any other state.
    pub fn transition(&self, from: ChangeState, to: ChangeState) -> Action {
        update_in_state(self.key(), from, Expression::update().set("state", state_value(to)))
    }

    /// The action that marks a committed change as done at a time, in seconds since 1970, and keeps it.
    pub(super) fn finish_at(&self, now: u64) -> Action {
        let done = Expression::update()
            .set("state", state_value(ChangeState::Done))
            .set("finished", AttributeValue::N(now.to_string()));
        update_in_state(self.key(), ChangeState::Committed, done)
    }
}

/// The action that updates a change item, if the change is in a state.
fn update_in_state(key: Key, state: ChangeState, update: Expression) -> Action {
    let is_in_state = Expression::equals("state", state_value(state));
    Action::update(key, update).only_if(is_in_state, Refusal::Changed)
}

fn state_value(state: ChangeState) -> AttributeValue {
    AttributeValue::S(state.name().to_owned())
}

/// The action that commits the staged change which `after` names. It is in the same transaction as the
/// update of the group. `before` is the change that the group named before. `None` if there is nothing to
/// commit.
pub(in crate::store) fn commit_staged(
    tenant: &TenantId,
    before: Option<Uuid>,
    after: &Record,
) -> Option<Action> {
    let change = after.change.filter(|change| before != Some(*change))?;
    let committed = Expression::update().set("state", state_value(ChangeState::Committed));
    Some(update_in_state(keys::pending_change(tenant, change), ChangeState::Staged, committed))
}
