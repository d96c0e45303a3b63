//! Pending changes: what is too large for one transaction, committed by one and applied by many.
//!
//! The change item says what was committed; the chunks of a change of members say whom it adds and
//! removes. Both are written before the commit, so that the commit is one transaction whatever the
//! size. docs/architecture/large-changes.md explains the whole protocol.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::Store;
use super::call::Range;
use super::chunk::Chunk;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_number, get_set, get_text, must_text, number, text};
use super::keys::{self, Key, TenantId, parse_id};
use super::limits::{MAX_MEMBER_CHANGES_PER_TX, SETTLE_GRACE};
use super::membership::Membership;
use super::record::Record;
use super::transaction::Action;
use crate::clock;

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Written down, not in force.
    Staged,
    /// In force; readers see it, the table holds it when it is applied.
    Committed,
    /// Given up; what is left of it can go.
    Aborted,
    /// Applied; what is left of it can go.
    Done,
}

impl State {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Done => "done",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Staged, Self::Committed, Self::Aborted, Self::Done].into_iter().find(|s| s.name() == name)
    }
}

/// What is left to do once a change is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// The group's members change as the chunks say.
    Members,
    /// The group is deleted; its memberships go.
    Empty,
    /// The resource is deleted; it leaves these groups.
    Leave(BTreeSet<String>),
}

impl Task {
    /// As stored.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Empty => "group",
            Self::Leave(_) => "user",
        }
    }
}

/// A change item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The change.
    pub id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// How far it has come.
    pub state: State,
    /// What is to be done.
    pub task: Task,
    /// To which user or group.
    pub resource: Uuid,
    /// The version of that resource which the change makes; 0 where it is not known.
    pub version: u64,
    /// Who asked for it.
    pub actor: String,
    /// In which request.
    pub request_id: String,
    /// When, in seconds since 1970.
    pub created: u64,
    /// When it was done, in seconds since 1970, where it is kept after that; otherwise 0.
    pub finished: u64,
}

impl Pending {
    /// Reads a change item.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when it is none.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("a pending change cannot be read".to_owned());
        let (tenant, id) = must_text(item, "sk")?.rsplit_once('#').ok_or_else(broken)?;
        let task = match must_text(item, "kind")? {
            "members" => Task::Members,
            "group" => Task::Empty,
            "user" => Task::Leave(get_set(item, "groups")),
            _ => return Err(broken()),
        };
        Ok(Self {
            id: parse_id(id).ok_or_else(broken)?,
            tenant: tenant.parse().map_err(|_| broken())?,
            state: State::named(must_text(item, "state")?).ok_or_else(broken)?,
            task,
            resource: parse_id(must_text(item, "resource")?).ok_or_else(broken)?,
            version: get_number(item, "version").unwrap_or(0),
            actor: get_text(item, "actor").unwrap_or_default().to_owned(),
            request_id: get_text(item, "requestId").unwrap_or_default().to_owned(),
            created: get_number(item, "created").unwrap_or(0),
            finished: get_number(item, "finished").unwrap_or(0),
        })
    }

    /// Its key.
    pub fn key(&self) -> Key {
        keys::work(&self.tenant, self.id)
    }

    /// Whether it is done and kept for a moment, for those who read a group while it was not.
    pub fn rests(&self) -> bool {
        self.state == State::Done && self.finished + SETTLE_GRACE.as_secs() > clock::epoch_seconds()
    }

    /// The item's attributes besides the key.
    pub fn attributes(&self) -> Item {
        let mut item = Item::from([
            text("state", self.state.name()),
            text("kind", self.task.name()),
            text("resource", &self.resource.to_string()),
            number("version", self.version),
            text("tenant", self.tenant.as_str()),
            text("actor", &self.actor),
            text("requestId", &self.request_id),
            number("created", self.created),
        ]);
        if let Task::Leave(groups) = &self.task
            && !groups.is_empty()
        {
            item.insert("groups".to_owned(), AttributeValue::Ss(groups.iter().cloned().collect()));
        }
        item
    }

    /// The action that moves it from one state to the next.
    pub fn step(&self, from: State, to: State) -> Action {
        step(self.key(), from, Expression::update().set("state", state_value(to)))
    }

    /// The action that marks it as done at a time, in seconds since 1970.
    fn finish(&self, now: u64) -> Action {
        let done = Expression::update()
            .set("state", state_value(State::Done))
            .set("finished", AttributeValue::N(now.to_string()));
        step(self.key(), State::Committed, done)
    }
}

/// The action that updates a change item, if it is in a state.
fn step(key: Key, from: State, update: Expression) -> Action {
    Action::update(key, update).only_if(Expression::equals("state", state_value(from)), Refusal::Changed)
}

fn state_value(state: State) -> AttributeValue {
    AttributeValue::S(state.name().to_owned())
}

impl Store {
    /// A change of this request's, in a state.
    pub fn pending(&self, task: Task, resource: Uuid, state: State) -> Pending {
        Pending {
            id: Uuid::now_v7(),
            tenant: self.tenant.clone(),
            state,
            task,
            resource,
            version: 0,
            actor: self.actor.clone(),
            request_id: self.request_id.clone(),
            created: clock::epoch_seconds(),
            finished: 0,
        }
    }

    /// The pending changes of the tenant.
    ///
    /// # Errors
    /// As every call.
    pub async fn pending_changes(&self) -> Result<Vec<Pending>, StoreError> {
        let (pk, prefix) = keys::work_of(&self.tenant);
        self.table.query_all(&pk, Some(&prefix)).await?.iter().map(Pending::from_item).collect()
    }

    /// The pending change of a group's members.
    ///
    /// # Errors
    /// As every call.
    pub async fn pending_change(&self, change: Uuid) -> Result<Option<Pending>, StoreError> {
        let item = self.table.get(&keys::work(&self.tenant, change)).await?;
        item.as_ref().map(Pending::from_item).transpose()
    }

    /// Every chunk of a change, applied or not.
    ///
    /// # Errors
    /// As every call.
    pub async fn chunks(&self, change: Uuid) -> Result<Vec<Chunk>, StoreError> {
        let items = self.table.query_all(&keys::chunks(&self.tenant, change), None).await?;
        items.iter().map(Chunk::from_item).collect()
    }

    /// The chunk of a change that names a member.
    ///
    /// # Errors
    /// As every call.
    pub async fn chunk_of(&self, change: Uuid, member: Uuid) -> Result<Option<Chunk>, StoreError> {
        for side in [keys::CHUNK_ADDS, keys::CHUNK_REMOVES] {
            // The last chunk whose first member is not behind this one.
            let range = Range {
                prefix: Some(side.to_owned()),
                after: Some(format!("{side}{member}~")),
                limit: Some(1),
                backwards: true,
                ..Range::default()
            };
            let page = self.table.query(&keys::chunks(&self.tenant, change), &range).await?;
            let chunk = page.items.first().map(Chunk::from_item).transpose()?;
            let chunk = chunk.filter(|chunk| chunk.living().any(|living| living.id == member));
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
        Ok(None)
    }

    /// Writes a change of a group's members down, without putting it in force: the change item
    /// first, so that nothing is left that no item tells of.
    ///
    /// # Errors
    /// As every call; what was written is cleared as far as that goes, and otherwise the worker's to
    /// clear.
    pub async fn stage(
        &self,
        group: &Record,
        add: &[Membership],
        remove: &[Membership],
    ) -> Result<Pending, StoreError> {
        let mut pending = self.pending(Task::Members, group.id, State::Staged);
        pending.version = group.version;
        let chunks = [(add, true), (remove, false)].map(|(members, adds)| self.cut(&pending, members, adds));
        let staged = async {
            self.table.put(&pending.key(), pending.attributes()).await?;
            self.table.batch_put(chunks.concat()).await
        };
        match staged.await {
            Ok(()) => Ok(pending),
            Err(failed) => {
                self.give_up(&pending).await;
                Err(failed)
            }
        }
    }

    /// Gives a staged change up, after a failure that is told by other means. What cannot be
    /// cleared now, the worker clears.
    pub async fn give_up(&self, pending: &Pending) {
        if let Err(failed) = self.abort(pending).await {
            tracing::warn!(change = %pending.id, %failed, "a change that is given up is left to the worker");
        }
    }

    /// Writes the chunks of one side of a staged change anew, for the same members.
    ///
    /// # Errors
    /// As every call.
    pub async fn write_chunks(
        &self,
        pending: &Pending,
        members: &[Membership],
        adds: bool,
    ) -> Result<(), StoreError> {
        self.table.batch_put(self.cut(pending, members, adds)).await
    }

    fn cut(&self, pending: &Pending, members: &[Membership], adds: bool) -> Vec<Item> {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|member| member.id);
        let chunk = |some: &[Membership]| Chunk::new(&self.tenant, pending.id, adds, some);
        sorted.chunks(MAX_MEMBER_CHANGES_PER_TX).filter_map(chunk).map(|chunk| chunk.to_item()).collect()
    }

    /// Gives a staged change up. `false`: it is in force already.
    ///
    /// # Errors
    /// As every call.
    pub async fn abort(&self, pending: &Pending) -> Result<bool, StoreError> {
        match self.table.transact(|| vec![pending.step(State::Staged, State::Aborted)]).await {
            Ok(()) => self.clear(pending).await.map(|()| true),
            Err(StoreError::Refused(_)) => {
                let now = self.pending_change(pending.id).await?.map(|now| now.state);
                match now {
                    Some(State::Committed | State::Done) => Ok(false),
                    // Another one aborted it, and is clearing it, or was stopped while it did.
                    _ => self.clear(pending).await.map(|()| true),
                }
            }
            Err(failed) => Err(failed),
        }
    }

    /// Removes what is left of a change that is aborted or done.
    ///
    /// # Errors
    /// As every call; the worker comes back to it.
    pub async fn clear(&self, pending: &Pending) -> Result<(), StoreError> {
        if pending.task == Task::Members {
            let chunks = self.table.query_all(&keys::chunks(&self.tenant, pending.id), None).await?;
            let key = |item: &Item| {
                Some(Key { pk: get_text(item, "pk")?.to_owned(), sk: get_text(item, "sk")?.to_owned() })
            };
            self.table.batch_delete(chunks.iter().filter_map(key)).await?;
        }
        self.table.batch_delete([pending.key()]).await
    }

    /// Marks a departure as done. It is kept for a moment: whoever read a group's members before the
    /// last of them left, and asks only now who is leaving, must be told.
    ///
    /// # Errors
    /// As every call.
    pub async fn retire(&self, pending: &Pending) -> Result<(), StoreError> {
        match self.table.transact(|| vec![pending.finish(clock::epoch_seconds())]).await {
            // Refused: another applier was faster.
            Ok(()) | Err(StoreError::Refused(_)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Whether a change whose commit was not answered is in force; if it is not, it never will be.
    ///
    /// # Errors
    /// As every call: then nobody knows yet.
    pub async fn is_committed(&self, pending: &Pending) -> Result<bool, StoreError> {
        Ok(!self.abort(pending).await?)
    }
}

/// The action that puts the staged change of a group in force, beside the group's own.
pub(super) fn commit(tenant: &TenantId, before: Option<Uuid>, after: &Record) -> Option<Action> {
    let change = after.change.filter(|change| before != Some(*change))?;
    let committed = Expression::update().set("state", state_value(State::Committed));
    Some(step(keys::work(tenant, change), State::Staged, committed))
}
