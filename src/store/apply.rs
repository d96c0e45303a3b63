//! Doing what a committed change says: in transactions of some members each, so that any of its
//! appliers can stop anywhere and any other can go on.

use std::collections::BTreeSet;
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::call::Range;
use super::error::{Refusal, StoreError};
use super::event::{self, Event};
use super::keys::{self, parse_id};
use super::membership::{Membership, WINDOW};
use super::resource::Store;
use super::transaction::{Action, Expression};
use super::work::{Chunk, Pending, State, Task};
use crate::clock;
use crate::scim::resource_type::Kind;

/// So many windows of a change are written side by side.
const AT_ONCE: usize = 8;
/// A member leaves so many groups in one transaction: two actions each.
const LEAVING: usize = 40;
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

    /// Lets a resource that is deleted leave the groups that it has not left yet. Says whether it
    /// has left them all.
    ///
    /// # Errors
    /// As every call.
    pub async fn finish_leaving(&self, resource: Uuid, until: Instant) -> Result<bool, StoreError> {
        for change in self.pending_changes().await? {
            let leaving = change.resource == resource && matches!(change.task, Task::Leave(_));
            if leaving && !Box::pin(self.carry_out(&change, until)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn apply_chunks(&self, pending: &Pending, until: Instant) -> Result<bool, StoreError> {
        let chunks = self.chunks(pending.id).await?;
        let undone = chunks.into_iter().filter(|chunk| !chunk.done);
        let late = stream::iter(undone.map(|chunk| async move {
            if Instant::now() >= until {
                return Ok(true);
            }
            self.apply_chunk(pending, chunk).await.map(|()| false)
        }));
        let late: Vec<bool> = late.buffer_unordered(AT_ONCE).try_collect().await?;
        if late.contains(&true) {
            return Ok(false);
        }
        let finish = || {
            let change = AttributeValue::S(pending.id.to_string());
            let settled = Expression::new("SET settled = :now REMOVE #change")
                .name("#change", "change")
                .value(":now", AttributeValue::N(clock::epoch_seconds().to_string()));
            let own = Expression::new("#change = :change").name("#change", "change").value(":change", change);
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

    /// Applies one chunk; one that is applied, or gone with its change, is left as it is.
    ///
    /// # Errors
    /// As every call.
    pub async fn apply_chunk(&self, pending: &Pending, mut chunk: Chunk) -> Result<(), StoreError> {
        let group = pending.resource;
        let since = clock::timestamp();
        for _ in 0..ATTEMPTS {
            let living: Vec<Membership> = chunk.living().cloned().collect();
            let event = self.window_event(pending, chunk.adds, &living);
            let actions = || {
                let done = Expression::new("SET done = :true").value(":true", AttributeValue::Bool(true));
                let mut actions =
                    vec![Action::update(chunk.key.clone(), done).only_if(undone(), Refusal::Exists)];
                actions.extend((!living.is_empty()).then(|| event::action(&self.tenant, &event)));
                for member in &living {
                    let [mut membership, back] = if chunk.adds {
                        self.add_member(group, member, &since)
                    } else {
                        self.remove_member(group, member)
                    };
                    // What the change found is what it changes; the chunk's own condition is enough.
                    (membership.condition, membership.meaning) = (None, None);
                    actions.extend([membership, back]);
                }
                actions
            };
            let gone = match self.table.transact(actions).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Refused(refusals)) => refusals,
                Err(failed) => return Err(failed),
            };
            if gone.contains(&Refusal::Exists) {
                return Ok(());
            }
            for refusal in gone {
                if let Refusal::Member(id) = refusal
                    && let Some(id) = parse_id(&id)
                {
                    if !self.drop_member(pending, &chunk, id).await? {
                        return Ok(());
                    }
                    chunk.gone.insert(id.to_string());
                }
            }
        }
        Err(StoreError::Conflict)
    }

    /// A member of a chunk is deleted: the chunk passes it over, and the group no longer counts it.
    /// `false` where the chunk was applied meanwhile, or the group is not as expected.
    async fn drop_member(&self, pending: &Pending, chunk: &Chunk, member: Uuid) -> Result<bool, StoreError> {
        let actions = || {
            let mut actions = vec![self.mark_gone(chunk, member).only_if(undone(), Refusal::Changed)];
            if chunk.adds {
                let less = Expression::new("SET ver = ver + :one, modified = :now ADD memberCount :less")
                    .name("#change", "change")
                    .value(":one", AttributeValue::N("1".to_owned()))
                    .value(":now", AttributeValue::S(clock::timestamp()))
                    .value(":less", AttributeValue::N("-1".to_owned()));
                let own = Expression::new("#change = :change")
                    .value(":change", AttributeValue::S(pending.id.to_string()));
                let group = keys::resource(&self.tenant, Kind::Group, pending.resource);
                actions.push(Action::update(group, less).only_if(own, Refusal::Changed));
            } else {
                actions.push(Action::delete(keys::membership(&self.tenant, pending.resource, member)));
            }
            actions
        };
        match self.table.transact(actions).await {
            Ok(()) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// The action by which a chunk passes a member over from now on.
    pub(super) fn mark_gone(&self, chunk: &Chunk, member: Uuid) -> Action {
        let gone =
            Expression::new("ADD gone :gone").value(":gone", AttributeValue::Ss(vec![member.to_string()]));
        Action::update(chunk.key.clone(), gone)
    }

    fn window_event(&self, pending: &Pending, adds: bool, members: &[Membership]) -> Event {
        let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
        let group = ("Group", pending.resource.to_string());
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
            limit: i32::try_from(WINDOW * AT_ONCE).ok(),
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
            let windows: Vec<Vec<Membership>> = members.chunks(WINDOW).map(<[_]>::to_vec).collect();
            let parted = stream::iter(windows).map(|window| self.part(pending.resource, window));
            parted.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
    }

    /// Parts members from a group that is deleted.
    pub(super) async fn part(&self, group: Uuid, members: Vec<Membership>) -> Result<(), StoreError> {
        let mut gone = BTreeSet::new();
        for _ in 0..ATTEMPTS {
            let actions = || {
                let mut actions = Vec::with_capacity(2 * members.len());
                for member in &members {
                    let [mut membership, back] = self.remove_member(group, member);
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

    /// Takes a resource that is deleted out of its groups.
    async fn leave_all(
        &self,
        pending: &Pending,
        groups: &BTreeSet<String>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let groups: Vec<Uuid> = groups.iter().filter_map(|id| parse_id(id)).collect();
        for some in groups.chunks(LEAVING) {
            if Instant::now() >= until || !self.leave_window(pending, some, until).await? {
                return Ok(false);
            }
        }
        self.clear(pending).await.map(|()| true)
    }

    async fn leave_window(
        &self,
        pending: &Pending,
        groups: &[Uuid],
        until: Instant,
    ) -> Result<bool, StoreError> {
        for _ in 0..ATTEMPTS {
            // A group whose members are changing is brought to rest first: the change may be about
            // this very member.
            for group in self.fetch_many(Kind::Group, groups).await? {
                if let Some(change) = group.change
                    && !self.finish_change(change, until).await?
                {
                    return Ok(false);
                }
            }
            let memberships: Vec<_> =
                groups.iter().map(|group| keys::membership(&self.tenant, *group, pending.resource)).collect();
            let still = self.table.batch_get(&memberships).await?;
            let still: Vec<Uuid> = groups
                .iter()
                .zip(&memberships)
                .filter(|(_, key)| {
                    still.iter().any(|item| super::item::get_text(item, "pk") == Some(&key.pk))
                })
                .map(|(group, _)| *group)
                .collect();
            let existing = self.fetch_many(Kind::Group, &still).await?;
            let now = clock::timestamp();
            let actions = || {
                let left = groups.iter().map(Uuid::to_string).collect();
                let update = Expression::new("DELETE #groups :left")
                    .name("#groups", "groups")
                    .value(":left", AttributeValue::Ss(left));
                let mut actions = vec![
                    Action::update(pending.key(), update).only_if(Expression::exists(), Refusal::Exists),
                ];
                for group in &still {
                    if existing.iter().any(|record| record.id == *group) {
                        actions.extend(self.leave(*group, pending.resource, &now, None));
                    } else {
                        // The group is deleted as well, and counts nobody any more.
                        actions.push(Action::delete(keys::membership(
                            &self.tenant,
                            *group,
                            pending.resource,
                        )));
                    }
                }
                actions
            };
            match self.table.transact(actions).await {
                Ok(()) => return Ok(true),
                // Another applier has finished it all.
                Err(StoreError::Refused(why)) if why.contains(&Refusal::Exists) => return Ok(true),
                Err(StoreError::Refused(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
        Err(StoreError::Conflict)
    }
}

/// The chunk is there and not applied.
fn undone() -> Expression {
    Expression::new("attribute_exists(pk) AND attribute_not_exists(done)")
}
