//! Doing what a committed change says: in transactions of some members each, so that any of its
//! appliers can stop anywhere and any other can go on.

use std::collections::BTreeSet;
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
use super::call::{Range, back_off};
use super::chunk::Chunk;
use super::error::{Refusal, StoreError};
use super::event::{self, Event, Subject};
use super::expression::Expression;
use super::item::string_set;
use super::keys;
use super::limits::MAX_MEMBER_CHANGES_PER_TX;
use super::membership::{Membership, add_member, remove_member};
use super::tally::Tally;
use super::transaction::Action;
use super::work::{Pending, State, Task};
use crate::clock;
use crate::scim::resource_type::Kind;

/// So many windows of a change are written side by side.
const AT_ONCE: usize = 8;
/// How often a window is tried again because what it touches changes.
const ATTEMPTS: usize = 10;

impl Store {
    /// Applies a committed change, until it is done or the time is over. Says whether it is done.
    ///
    /// # Errors
    /// As every call; what was applied stays so, and whoever goes on passes it over.
    pub async fn carry_out(&self, pending: &Pending, until: Instant) -> Result<bool, StoreError> {
        match (&pending.task, pending.state) {
            (_, State::Staged) => Ok(false),
            (_, State::Aborted | State::Done) => self.clear(pending).await.map(|()| true),
            (Task::Members, State::Committed) => self.apply_chunks(pending, until).await,
            (Task::Empty, State::Committed) => self.empty(pending, until).await,
            (Task::Leave(groups), State::Committed) => self.leave_all(pending, groups, until).await,
        }
    }

    /// Applies the pending change of a group, if there still is one, so that it can be changed
    /// again. Says whether it is done.
    ///
    /// # Errors
    /// As every call.
    pub async fn finish_change(&self, change: Uuid, until: Instant) -> Result<bool, StoreError> {
        match self.pending_change(change).await? {
            Some(pending) => Box::pin(self.carry_out(&pending, until)).await,
            None => Ok(true),
        }
    }

    async fn apply_chunks(&self, pending: &Pending, until: Instant) -> Result<bool, StoreError> {
        let chunks = self.chunks(pending.id).await?;
        let undone = chunks.into_iter().filter(|chunk| !chunk.done);
        let applied = undone.map(|chunk| {
            patiently(until, move || {
                let chunk = chunk.clone();
                async move { self.apply_chunk(pending, chunk).await }
            })
        });
        let applied: Vec<bool> = stream::iter(applied).buffer_unordered(AT_ONCE).try_collect().await?;
        if applied.contains(&false) {
            return Ok(false);
        }
        let finish = || {
            let change = AttributeValue::S(pending.id.to_string());
            let now = AttributeValue::N(clock::epoch_seconds().to_string());
            let settled = Expression::update().set("settled", now).remove("change");
            let own = Expression::equals("change", change);
            vec![
                Action::update(keys::resource(&self.tenant, Kind::Group, pending.resource), settled)
                    .only_if(own, Refusal::Changed),
                pending.step(State::Committed, State::Done),
            ]
        };
        match self.table.transact(finish).await {
            // Refused: another applier was faster.
            Ok(()) | Err(StoreError::Refused(_)) => self.clear(pending).await.map(|()| true),
            Err(failed) => Err(failed),
        }
    }

    /// Applies one chunk; one that is applied, or gone with its change, is left as it is. A member
    /// that is deleted is passed over.
    ///
    /// # Errors
    /// As every call.
    pub async fn apply_chunk(&self, pending: &Pending, mut chunk: Chunk) -> Result<(), StoreError> {
        if chunk.done {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let living: Vec<Membership> = chunk.living().cloned().collect();
            let event = self.window_event(pending, chunk.adds, &living);
            let since = clock::timestamp();
            let actions = || {
                let mut actions = vec![done(&chunk)];
                actions.extend((!living.is_empty()).then(|| event::action(&self.tenant, &event)));
                for member in &living {
                    actions.extend(self.apply_member(pending, chunk.adds, member, &since));
                }
                actions
            };
            let refusals = match self.table.transact(actions).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Refused(refusals)) => refusals,
                Err(StoreError::TransactionTooLarge) if living.len() > 1 => {
                    tracing::info!(change = %pending.id, "a chunk is applied one member at a time");
                    match self.apply_singly(pending, &chunk, &living, &event).await {
                        Ok(()) => return Ok(()),
                        Err(StoreError::Refused(refusals)) => refusals,
                        Err(failed) => return Err(failed),
                    }
                }
                Err(failed) => return Err(failed),
            };
            for member in refusals.iter().filter_map(Refusal::member) {
                self.drop_member(pending, &chunk, member).await?;
            }
            // Whatever another applier did meanwhile stands in it.
            match self.table.get(&chunk.key).await?.as_ref().map(Chunk::from_item).transpose()? {
                Some(now) if !now.done => chunk = now,
                _ => return Ok(()),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Applies the members of a chunk each for itself, for as long as the chunk is as it was read.
    async fn apply_singly(
        &self,
        pending: &Pending,
        chunk: &Chunk,
        living: &[Membership],
        event: &Event,
    ) -> Result<(), StoreError> {
        let since = clock::timestamp();
        for member in living {
            let one = || {
                let open = Action::check(chunk.key.clone(), as_read(chunk), Refusal::Changed);
                let [membership, back] = self.apply_member(pending, chunk.adds, member, &since);
                vec![open, membership, back]
            };
            self.table.transact(one).await?;
        }
        self.table.transact(|| vec![done(chunk), event::action(&self.tenant, event)]).await
    }

    /// The two actions that one member of a chunk is applied by. What the change found is what it
    /// changes: that the chunk is not applied yet is condition enough for the membership.
    fn apply_member(&self, pending: &Pending, adds: bool, member: &Membership, since: &str) -> [Action; 2] {
        let [mut membership, back] = match adds {
            true => add_member(&self.tenant, pending.resource, member, since),
            false => remove_member(&self.tenant, pending.resource, member),
        };
        (membership.condition, membership.meaning) = (None, None);
        [membership, back]
    }

    /// A member of a chunk is deleted: the chunk passes it over, and the group no longer counts it.
    /// Nothing where the chunk was applied, or passed it over, meanwhile.
    async fn drop_member(&self, pending: &Pending, chunk: &Chunk, member: Uuid) -> Result<(), StoreError> {
        let actions = || {
            let mut actions = vec![self.mark_gone(chunk, member)];
            if chunk.adds {
                let less = Tally::one_less(member, &clock::timestamp());
                let own = Expression::equals("change", AttributeValue::S(pending.id.to_string()));
                let group = keys::resource(&self.tenant, Kind::Group, pending.resource);
                actions.push(Action::update(group, less).only_if(own, Refusal::Changed));
            } else {
                actions.push(Action::delete(keys::membership(&self.tenant, pending.resource, member)));
            }
            actions
        };
        match self.table.transact(actions).await {
            Ok(()) | Err(StoreError::Refused(_)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// The action by which a chunk that is not applied passes a member over from now on.
    fn mark_gone(&self, chunk: &Chunk, member: Uuid) -> Action {
        let open = is_open().and(Expression::set_lacks("gone", &member.to_string()));
        self.strike_out(chunk, member).only_if(open, Refusal::Changed)
    }

    /// The action by which a chunk passes a member over from now on, applied or not.
    pub(super) fn strike_out(&self, chunk: &Chunk, member: Uuid) -> Action {
        let gone = Expression::update().add("gone", string_set([member.to_string()]));
        Action::update(chunk.key.clone(), gone)
    }

    fn window_event(&self, pending: &Pending, adds: bool, members: &[Membership]) -> Event {
        let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
        let id = pending.resource.to_string();
        let group = Subject { resource_type: Kind::Group.name(), id, version: pending.version };
        let now = OffsetDateTime::now_utc();
        let mut event = Event::new("group.updated", group, &pending.actor, &pending.request_id, now);
        event.change = Some(pending.id.to_string());
        let (added, removed) = if adds { (ids, Vec::new()) } else { (Vec::new(), ids) };
        event.attributes(["members"]).members(added, removed)
    }

    /// Takes the members out of a group that is deleted: the memberships left are what is to do.
    async fn empty(&self, pending: &Pending, until: Instant) -> Result<bool, StoreError> {
        let pk = keys::group(&self.tenant, pending.resource);
        let range = Range {
            prefix: Some(keys::MEMBERSHIP.to_owned()),
            limit: i32::try_from(MAX_MEMBER_CHANGES_PER_TX * AT_ONCE).ok(),
            ..Range::default()
        };
        loop {
            let page = self.table.query(&pk, &range).await?;
            let members: Vec<Membership> = page.items.iter().filter_map(Membership::from_item).collect();
            if members.is_empty() {
                return self.clear(pending).await.map(|()| true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            let windows: Vec<Vec<Membership>> =
                members.chunks(MAX_MEMBER_CHANGES_PER_TX).map(<[_]>::to_vec).collect();
            let parted = windows.into_iter().map(|window| {
                patiently(until, move || {
                    let window = window.clone();
                    async move { self.part(pending.resource, window).await }
                })
            });
            stream::iter(parted).buffer_unordered(AT_ONCE).try_collect::<Vec<bool>>().await?;
        }
    }

    /// Parts members from a group that is deleted. Where they are more than one transaction holds,
    /// each half is parted by itself.
    pub(super) async fn part(&self, group: Uuid, members: Vec<Membership>) -> Result<(), StoreError> {
        match self.part_together(group, &members).await {
            Err(StoreError::TransactionTooLarge) if members.len() > 1 => {
                let (first, second) = members.split_at(members.len() / 2);
                for half in [first, second] {
                    Box::pin(self.part(group, half.to_vec())).await?;
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn part_together(&self, group: Uuid, members: &[Membership]) -> Result<(), StoreError> {
        let mut gone = BTreeSet::new();
        for _ in 0..ATTEMPTS {
            let actions = || {
                let mut actions = Vec::with_capacity(2 * members.len());
                for member in members {
                    let [mut membership, back] = remove_member(&self.tenant, group, member);
                    (membership.condition, membership.meaning) = (None, None);
                    actions.push(membership);
                    actions.extend((!gone.contains(&member.id.to_string())).then_some(back));
                }
                actions
            };
            let refusals = match self.table.transact(actions).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Refused(refusals)) => refusals,
                Err(failed) => return Err(failed),
            };
            gone.extend(refusals.into_iter().filter_map(|refusal| match refusal {
                Refusal::Member(id) => Some(id),
                _ => None,
            }));
        }
        Err(StoreError::Conflict)
    }
}

/// The chunk is there and not applied, and passes over those whom it passed over when it was read.
fn as_read(chunk: &Chunk) -> Expression {
    is_open().and(match chunk.gone.is_empty() {
        true => Expression::lacks("gone"),
        false => Expression::equals("gone", string_set(chunk.gone.iter().cloned())),
    })
}

/// The chunk is there and not applied.
fn is_open() -> Expression {
    Expression::exists().and(Expression::lacks("done"))
}

/// The action that marks a chunk as applied, if it is as it was read.
fn done(chunk: &Chunk) -> Action {
    let done = Expression::update().set("done", AttributeValue::Bool(true));
    Action::update(chunk.key.clone(), done).only_if(as_read(chunk), Refusal::Changed)
}

/// Does something again for as long as the table is busy, until the time is over: `false` then.
///
/// # Errors
/// Whatever waiting does not help against.
async fn patiently<F>(until: Instant, work: impl Fn() -> F) -> Result<bool, StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut attempt = 0;
    while Instant::now() < until {
        match work().await {
            Err(StoreError::Conflict | StoreError::Throttled | StoreError::Unavailable(_)) => {
                back_off(attempt).await;
                attempt += 1;
            }
            outcome => return outcome.map(|()| true),
        }
    }
    Ok(false)
}
