//! Taking a user or group out of the table, with every trace of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use uuid::Uuid;

use super::Store;
use super::chunk::Chunk;
use super::claim::{delete_lookup, release_claim};
use super::counter::{count, count_inactive};
use super::error::{Refusal, StoreError};
use super::event::{self, Event};
use super::expression::Expression;
use super::item::string_set;
use super::keys::{self, parse_id};
use super::limits::MAX_ACTIONS_PER_TX;
use super::membership::{Membership, detach_member, remove_member};
use super::record::Record;
use super::tombstone::bury;
use super::transaction::Action;
use super::work::{Pending, State, Task};
use crate::clock;
use crate::scim::resource_type::ResourceType;

/// A resource is struck out of so many chunks by the transaction that deletes it.
const STRUCK_OUT: usize = 20;

/// What the pending changes of a tenant have to do with a resource that is about to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Groups with a pending change, by their ids: the changes that the deletion knows of.
    changes: BTreeMap<Uuid, Uuid>,
    /// Chunks that made the resource a member: the deletion takes it out of them.
    chunks: Vec<Chunk>,
}

/// How a deletion ends the memberships of the resource.
#[derive(Clone, Debug)]
pub struct Leaving<'a> {
    /// The members of a group, where they go in the same transaction; otherwise they go after it.
    pub members: Option<&'a [Membership]>,
    /// Whether the resource leaves its groups in the same transaction; otherwise after it.
    pub groups: bool,
    /// What pending changes had to do with it.
    pub settled: &'a Settled,
}

impl Store {
    /// Deletes a resource: its item, claim, look-ups, list entry and count, and its memberships,
    /// in one transaction that holds only if nothing changed since `record` and the members were
    /// read. Memberships that do not fit are left to a pending change, which is returned and is to
    /// be carried out ([`Store::carry_out`]). With `tombstone_until`, in seconds since 1970, the
    /// account is kept until then and can come back ([`Store::reactivate`]). `also` is written with
    /// it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with [`Refusal::Changed`]: read again.
    pub async fn delete(
        &self,
        record: &Record,
        leaving: &Leaving<'_>,
        ty: &ResourceType,
        event: &Event,
        tombstone_until: Option<u64>,
        also: &[Action],
    ) -> Result<Vec<Pending>, StoreError> {
        let (now, settled) = (clock::timestamp(), leaving.settled);
        let mut left = Vec::new();
        if leaving.members.is_none() {
            left.push(self.pending(Task::Empty, record.id, State::Committed));
        }
        if !leaving.groups {
            left.push(self.pending(Task::Leave(record.groups.clone()), record.id, State::Committed));
        }
        self.table
            .transact(|| {
                let unchanged = record.is_unchanged().and(match record.groups.is_empty() {
                    true => Expression::lacks("groups"),
                    false => Expression::equals("groups", string_set(record.groups.iter().cloned())),
                });
                let mut actions = vec![
                    Action::delete(record.key(&self.tenant)).only_if(unchanged, Refusal::Changed),
                    Action::delete(keys::list_entry(&self.tenant, record.kind, record.id)),
                    count(&self.tenant, record.kind, -1),
                    event::action(&self.tenant, event),
                ];
                actions.extend(also.iter().cloned());
                actions.extend(count_inactive(&self.tenant, Some(record), None));
                match tombstone_until {
                    Some(until) => actions.extend(bury(&self.tenant, record, ty, until)),
                    None => actions
                        .extend(record.claim(ty).map(|entry| release_claim(&self.tenant, &entry, record.id))),
                }
                actions.extend(record.lookups(ty).iter().map(|e| delete_lookup(&self.tenant, record, e)));
                actions.extend(left.iter().map(|left| Action::put(left.key(), left.attributes())));
                actions.extend(settled.chunks.iter().map(|chunk| {
                    self.strike_out(chunk, record.id).only_if(Expression::exists(), Refusal::Changed)
                }));
                if leaving.groups {
                    for group in group_ids(&record.groups) {
                        if group != record.id {
                            let known = settled.changes.get(&group).copied();
                            actions.extend(detach_member(&self.tenant, group, record.id, &now, known));
                        }
                    }
                }
                for member in leaving.members.unwrap_or_default() {
                    let [membership, back] = remove_member(&self.tenant, record.id, member);
                    actions.push(membership);
                    // A group that is its own member is deleted above.
                    if member.id != record.id {
                        actions.push(back);
                    }
                }
                actions
            })
            .await?;
        Ok(left)
    }

    /// Which memberships of a resource fit in the transaction that deletes it: its members, of
    /// whom it has so many, and its groups.
    pub fn fits(&self, record: &Record, members: u64, settled: &Settled, ty: &ResourceType) -> (bool, bool) {
        let own = 12 + record.lookups(ty).len() + settled.chunks.len();
        let room = MAX_ACTIONS_PER_TX.saturating_sub(own) / 2;
        let groups = record.groups.len() <= room;
        let room = if groups { room - record.groups.len() } else { room };
        (usize::try_from(members).is_ok_and(|members| members <= room), groups)
    }

    /// Does what pending changes have to do with a resource, before it is deleted: those that are
    /// only staged are given up, and of those in force the part that names it is applied. The
    /// resource must be read again afterwards, unless nothing was pending. `None` where the pending
    /// changes must be: one of them is in force or done by now.
    ///
    /// # Errors
    /// As every call.
    pub async fn settle(
        &self,
        record: &Record,
        pending: &[Pending],
        until: Instant,
    ) -> Result<Option<Settled>, StoreError> {
        let mut settled = Settled::default();
        for change in pending {
            match &change.task {
                Task::Members => {
                    let chunk = self.chunk_of(change.id, record.id).await?;
                    match (change.state, chunk) {
                        (State::Committed, chunk) => {
                            if settled.chunks.len() == STRUCK_OUT {
                                // One transaction does not hold more.
                                self.carry_out(change, until).await?;
                                return Ok(None);
                            }
                            settled.changes.insert(change.resource, change.id);
                            if let Some(chunk) = chunk {
                                self.apply_chunk(change, chunk.clone()).await?;
                                settled.chunks.extend(Some(chunk).filter(|chunk| chunk.adds));
                            }
                        }
                        (State::Staged, Some(_)) if !self.abort(change).await? => return Ok(None),
                        _ => {}
                    }
                }
                Task::Empty if record.groups.contains(&change.resource.to_string()) => {
                    let member = Membership { id: record.id, kind: record.kind, display: None };
                    self.part(change.resource, vec![member]).await?;
                }
                Task::Empty | Task::Leave(_) => {}
            }
        }
        Ok(Some(settled))
    }
}

fn group_ids(groups: &BTreeSet<String>) -> Vec<Uuid> {
    groups.iter().filter_map(|id| parse_id(id)).collect()
}
