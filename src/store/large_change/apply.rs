//! Applying a committed change, one chunk in each transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::LargeChanges;
use super::chunk::Chunk;
use super::pending_change::{ChangeState, PendingChange, PendingTask};
use crate::clock;
use crate::limits::{CHUNKS_AT_ONCE, LARGE_CHANGE_RETRIES, MAX_NAMED_PARTS};
use crate::scim::resource_type::Kind;
use crate::store::digest::MembershipDigest;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, ChangePart, Event, Subject, SubjectId};
use crate::store::expression::Expression;
use crate::store::feed::outbox::note_departures;
use crate::store::item::key_of;
use crate::store::keys::{self, Key};
use crate::store::membership::{Membership, put_membership, update_member};
use crate::store::retry::{Attempts, retry_while_busy};
use crate::store::side::Side;
use crate::store::trail::{NAMED, PartName, Trail};
use crate::store::transaction::Action;

/// An attempt to apply a chunk.
struct ChunkAttempt<'a> {
    pending: &'a PendingChange,
    /// The chunk as it was read.
    chunk: &'a Chunk,
    /// When the memberships begin.
    since: String,
    /// It is refused for members who remember this many parts of large changes, or more; `None` for no limit.
    most_named: Option<usize>,
}

impl LargeChanges<'_> {
    /// Applies a committed change until it is done or the time is `until`. Deletes the items of one
    /// that is aborted, or done and no longer needed. Returns whether nothing of the change is left to do; always `false`
    /// for a staged change.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`],
    /// [`StoreError::Broken`]. What is applied stays applied,
    /// and another applier continues.
    pub async fn apply_until(self, pending: &PendingChange, until: Instant) -> Result<bool, StoreError> {
        match (&pending.task, pending.state) {
            (_, ChangeState::Staged) => Ok(false),
            (PendingTask::RemoveAllMembers, ChangeState::Committed | ChangeState::Done) => {
                self.remove_all_members(pending, until).await
            }
            (_, ChangeState::Aborted | ChangeState::Done) => self.delete_items(pending).await.map(|()| true),
            (PendingTask::ChangeMembers, ChangeState::Committed) => self.apply_chunks(pending, until).await,
            (PendingTask::DetachFromGroups(groups), ChangeState::Committed) => {
                self.detach_from_all(pending, groups, until).await
            }
        }
    }

    /// Applies the change that a group names as pending, so that the group can be changed again.
    /// Returns whether the change is done.
    ///
    /// # Errors
    /// As [`LargeChanges::apply_until`].
    pub async fn finish(self, change: Uuid, until: Instant) -> Result<bool, StoreError> {
        let mut pending = self.fetch(change).await?;
        // A group names committed changes only. The items of a transaction become visible one by one, so
        // the group may be seen before its change.
        if pending.as_ref().is_some_and(|pending| pending.state == ChangeState::Staged) {
            pending = self.fetch_at_rest(change).await?;
        }
        match pending {
            Some(pending) => Box::pin(self.apply_until(&pending, until)).await,
            None => Ok(true),
        }
    }

    async fn apply_chunks(self, pending: &PendingChange, until: Instant) -> Result<bool, StoreError> {
        let chunks = self.fetch_chunks(pending.id).await?;
        let open = chunks.into_iter().filter(|chunk| !chunk.done);
        let applied = open.map(|chunk| {
            retry_while_busy(until, move || {
                let chunk = chunk.clone();
                async move { self.apply_chunk(pending, chunk).await }
            })
        });
        let applied: Vec<bool> = stream::iter(applied).buffer_unordered(CHUNKS_AT_ONCE).try_collect().await?;
        if applied.contains(&false) {
            return Ok(false);
        }
        match self.store.table.transact(|| self.finish_actions(pending)).await {
            // Refused: another applier was faster.
            Ok(()) | Err(StoreError::Refused(_)) => self.delete_items(pending).await.map(|()| true),
            Err(failed) => Err(failed),
        }
    }

    /// The actions after the last chunk: the group names the change no longer, and the change is done.
    fn finish_actions(self, pending: &PendingChange) -> Vec<Action> {
        let now = AttributeValue::N(clock::epoch_seconds().to_string());
        let settled = Expression::update().set("settled", now).remove("change");
        let group = keys::resource(&self.store.tenant, Kind::Group, pending.resource);
        vec![
            Action::update(group, settled).only_if(is_change_of_group(pending), Refusal::Changed),
            pending.transition(ChangeState::Committed, ChangeState::Done),
        ]
    }

    /// Applies one chunk of a committed change. A chunk that is applied already, or whose change is
    /// done, is left as it is. Members that do not exist any more are skipped.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the chunk or its members changed at every attempt;
    /// [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn apply_chunk(self, pending: &PendingChange, mut chunk: Chunk) -> Result<(), StoreError> {
        if chunk.done {
            return Ok(());
        }
        let mut most_named = Some(MAX_NAMED_PARTS);
        let mut attempts = Attempts::new(LARGE_CHANGE_RETRIES);
        while attempts.start_next().await {
            let attempt = ChunkAttempt { pending, chunk: &chunk, since: clock::timestamp(), most_named };
            let Err(refused) = self.try_to_apply(&attempt).await else { return Ok(()) };
            let StoreError::Refused(refusals) = refused else { return Err(refused) };
            let members: BTreeSet<Uuid> = refusals.iter().filter_map(Refusal::member).collect();
            if !members.is_empty() {
                for deleted in self.shorten_named(&chunk, &members).await? {
                    self.skip_deleted_member(pending, &chunk, deleted).await?;
                }
                // A member whose parts are all of different groups is not held up.
                most_named = None;
            }
            // Another applier may have changed the chunk.
            let item = self.store.table.get(&chunk.key).await?;
            match item.as_ref().map(Chunk::from_item).transpose()? {
                Some(now) if !now.done => chunk = now,
                _ => return Ok(()),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Applies a chunk as it was read: in one transaction, or member by member if that is too large.
    async fn try_to_apply(self, attempt: &ChunkAttempt<'_>) -> Result<(), StoreError> {
        let ChunkAttempt { pending, chunk, .. } = attempt;
        let members: Vec<Membership> = chunk.existing_members().cloned().collect();
        let event = chunk_event(pending, chunk, &members);
        let actions = || {
            let mut actions = vec![chunk.mark_done(), event::action(&self.store.tenant, &event)];
            for member in &members {
                actions.extend(self.member_actions(attempt, member));
            }
            actions
        };
        match self.store.table.transact(actions).await {
            Err(StoreError::TransactionTooLarge) if members.len() > 1 => {
                tracing::info!(change = %pending.id, "a chunk is applied one member at a time");
                self.apply_member_by_member(attempt, &members, &event).await
            }
            outcome => outcome,
        }
    }

    /// Applies each member of a chunk in a transaction of its own, while the chunk is as it was read.
    async fn apply_member_by_member(
        self,
        attempt: &ChunkAttempt<'_>,
        members: &[Membership],
        event: &Event,
    ) -> Result<(), StoreError> {
        let chunk = attempt.chunk;
        for member in members {
            let one = || {
                let open = Action::check(chunk.key.clone(), chunk.is_open_as_read(), Refusal::Changed);
                let [membership, groups] = self.member_actions(attempt, member);
                vec![open, membership, groups]
            };
            self.store.table.transact(one).await?;
        }
        let done = || vec![chunk.mark_done(), event::action(&self.store.tenant, event)];
        self.store.table.transact(done).await
    }

    /// The two actions that apply one member. The membership needs no condition of its own: the change
    /// was computed from the memberships, and the chunk is not applied yet. They are refused as [`Refusal::Member`]
    /// where the member does not exist, or remembers too many parts.
    fn member_actions(self, attempt: &ChunkAttempt<'_>, member: &Membership) -> [Action; 2] {
        let ChunkAttempt { pending, chunk, since, most_named } = attempt;
        let (tenant, group) = (&self.store.tenant, pending.resource);
        let membership = match chunk.side {
            Side::Add => put_membership(tenant, group, member, since).without_condition(),
            Side::Remove => Action::delete(keys::membership(tenant, group, member.id)),
        };
        let part = PartName { group, version: pending.version, part: chunk.part };
        let mut groups = update_member(tenant, group, member, chunk.side, Some(part));
        if let Some(most) = most_named {
            let has_room = Expression::exists().and(Trail::names_fewer_than(*most));
            groups = groups.only_if(has_room, Refusal::Member(member.id));
        }
        [membership, groups]
    }

    /// Shortens what these members of a chunk remember of large changes. Returns those that do not exist.
    async fn shorten_named(self, chunk: &Chunk, ids: &BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, StoreError> {
        let tenant = &self.store.tenant;
        let members = chunk.members.iter().filter(|member| ids.contains(&member.id));
        let ids: BTreeMap<Key, Uuid> =
            members.map(|member| (keys::resource(tenant, member.kind, member.id), member.id)).collect();
        let keys: Vec<Key> = ids.keys().cloned().collect();
        let mut deleted: BTreeSet<Uuid> = ids.values().copied().collect();
        let mut shorter = Vec::new();
        for item in self.store.table.batch_get_some(&keys, &["pk", "sk", NAMED]).await? {
            let Some(key) = key_of(&item) else { continue };
            if let Some(id) = ids.get(&key) {
                deleted.remove(id);
            }
            shorter.extend(Trail::from_item(&item).shorten_named(key));
        }
        if shorter.is_empty() {
            return Ok(deleted);
        }
        match self.store.table.transact(|| shorter.clone()).await {
            // Refused: a change of one of them, or another applier, was faster. Too large: the members are, and the next
            // attempt does not ask for room.
            Ok(()) | Err(StoreError::Refused(_) | StoreError::TransactionTooLarge) => Ok(deleted),
            Err(failed) => Err(failed),
        }
    }

    /// Lists a member of a chunk as deleted. Where the chunk would have added it, the group counts one
    /// member less. Nothing happens if the chunk is applied or lists the member already.
    async fn skip_deleted_member(
        self,
        pending: &PendingChange,
        chunk: &Chunk,
        member: Uuid,
    ) -> Result<(), StoreError> {
        let tenant = &self.store.tenant;
        let group = pending.resource;
        let actions = || {
            let gone = chunk.mark_gone_once(member);
            match chunk.side {
                Side::Add => {
                    let one_less = MembershipDigest::subtract_member(&pending.departure_of(member));
                    let one_less = Action::update(keys::resource(tenant, Kind::Group, group), one_less)
                        .only_if(is_change_of_group(pending), Refusal::Changed);
                    vec![gone, one_less, note_departures(tenant, member, &BTreeSet::from([group]))]
                }
                // The change counts it as removed already. No part names it, so the departure does.
                Side::Remove => {
                    let noted = MembershipDigest::note_departure(&pending.departure_of(member));
                    let noted = Action::update(keys::resource(tenant, Kind::Group, group), noted)
                        .only_if(is_change_of_group(pending), Refusal::Changed);
                    let membership = Action::delete(keys::membership(tenant, group, member));
                    vec![gone, membership, noted, note_departures(tenant, member, &BTreeSet::from([group]))]
                }
            }
        };
        match self.store.table.transact(actions).await {
            Ok(()) | Err(StoreError::Refused(_)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }
}

/// Condition on a group: it names this change as its pending one.
fn is_change_of_group(pending: &PendingChange) -> Expression {
    Expression::equals("change", AttributeValue::S(pending.id.to_string()))
}

/// The event of one chunk. Its actor and request are those of the change.
fn chunk_event(pending: &PendingChange, chunk: &Chunk, members: &[Membership]) -> Event {
    let ids: Vec<Uuid> = members.iter().map(|member| member.id).collect();
    let id = SubjectId::Resource(Kind::Group, pending.resource);
    let group = Subject { id, version: pending.version };
    let now = clock::now();
    let mut event = Event::new("group.updated", group, &pending.actor, &pending.request_id, now);
    event.part = Some(ChangePart { number: chunk.part, of: pending.parts });
    let (added, removed) = match chunk.side {
        Side::Add => (ids, Vec::new()),
        Side::Remove => (Vec::new(), ids),
    };
    event.attributes(["members"]).members(added, removed)
}
