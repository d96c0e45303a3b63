//! The members of groups: read, one group or many, whole or in part.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{try_join, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
use super::call::{Range, back_off};
use super::error::StoreError;
use super::item::{Item, get_number, get_text};
use super::keys::{self, parse_id};
use super::limits::SETTLE_GRACE;
use super::membership::Membership;
use super::overlay::{overlay, without};
use super::record::Record;
use super::tally::Tally;
use super::work::Task;
use crate::clock;
use crate::scim::resource_type::Kind;

/// How often a group that changes while it is read is read again.
const READ_ATTEMPTS: u32 = 10;
/// From which of these on it is asked whether the group changes at all.
const LOOK_FROM: u32 = 3;
/// So many pages of a group are read side by side.
const PAGES_AT_ONCE: usize = 8;

/// A group with what a change of some members must know.
#[derive(Debug)]
pub struct GroupView {
    /// The group.
    pub record: Record,
    /// Of the members asked about, those that it has.
    pub present: BTreeMap<Uuid, Membership>,
    /// Of the newcomers asked about, those found: what they are and how many groups they are in.
    pub existing: BTreeMap<Uuid, (Kind, usize)>,
    /// Whether newcomers were asked about: who is not among them is not what it was taken for.
    pub asked: bool,
}

impl Store {
    /// Reads a group, whether each of `ids` is a member, and who there is of `newcomers`, each of
    /// whom is looked for as what it is taken for: one round.
    ///
    /// # Errors
    /// As every call.
    pub async fn view_group(
        &self,
        id: Uuid,
        ids: &[Uuid],
        newcomers: &[(Uuid, Kind)],
    ) -> Result<Option<GroupView>, StoreError> {
        let mut wanted = vec![keys::resource(&self.tenant, Kind::Group, id)];
        wanted.extend(ids.iter().map(|member| keys::membership(&self.tenant, id, *member)));
        wanted.extend(newcomers.iter().map(|(id, kind)| keys::resource(&self.tenant, *kind, *id)));
        let mut items: Vec<Item> = match wanted.as_slice() {
            [group] => self.table.get(group).await?.into_iter().collect(),
            wanted => self.table.batch_get(wanted).await?,
        };
        // A batch is not read at one moment: a membership may have been read before a large change
        // was applied and the group after. Read once more while that can be.
        let settled = items.iter().filter_map(|item| get_number::<u64>(item, "settled")).max().unwrap_or(0);
        if !ids.is_empty() && settled + SETTLE_GRACE.as_secs() > clock::epoch_seconds() {
            items = self.table.batch_get(&wanted).await?;
        }
        let (mut group, mut present, mut existing) = (None, BTreeMap::new(), BTreeMap::new());
        for item in items {
            if let Some(membership) = Membership::from_item(&item) {
                present.insert(membership.id, membership);
                continue;
            }
            existing.extend(Record::identity(&item).map(|(id, kind, groups)| (id, (kind, groups))));
            if get_text(&item, "pk") == Some(&wanted[0].pk) {
                group = Record::from_item(&item)?;
            }
        }
        // Whoever was looked for and is gone is no member, even if it has not left the group yet.
        for (id, kind) in newcomers {
            let same = |member: &Membership| member.kind == *kind;
            if !existing.contains_key(id) && present.get(id).is_some_and(same) {
                present.remove(id);
            }
        }
        Ok(group.map(|record| GroupView { record, present, existing, asked: !newcomers.is_empty() }))
    }

    /// What each id is and how many groups it is in; ids of nothing are left out. Each is looked
    /// for as what it is taken for, and as the other kind only if that finds nothing.
    ///
    /// # Errors
    /// As every call.
    pub async fn identify(
        &self,
        taken_for: &[(Uuid, Kind)],
    ) -> Result<BTreeMap<Uuid, (Kind, usize)>, StoreError> {
        let mut open = taken_for.to_vec();
        let mut existing = BTreeMap::new();
        for _ in Kind::ALL {
            let wanted: Vec<_> =
                open.iter().map(|(id, kind)| keys::resource(&self.tenant, *kind, *id)).collect();
            for item in self.table.batch_get_some(&wanted, &["pk", "sk", "groups"]).await? {
                existing.extend(Record::identity(&item).map(|(id, kind, groups)| (id, (kind, groups))));
            }
            open.retain(|(id, _)| !existing.contains_key(id));
            open.iter_mut().for_each(|(_, kind)| *kind = kind.other());
            if open.is_empty() {
                break;
            }
        }
        Ok(existing)
    }

    /// Whoever is deleted and has not left its groups, or has left the last one a moment ago.
    ///
    /// # Errors
    /// As every call.
    pub async fn leaving(&self) -> Result<BTreeSet<Uuid>, StoreError> {
        let pending = self.pending_changes().await?;
        let leaving = pending.iter().filter(|change| matches!(change.task, Task::Leave(_)));
        Ok(leaving.map(|change| change.resource).collect())
    }

    /// Reads a group with all its members, all of one version, a pending change among them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the group kept changing.
    pub async fn fetch_group(&self, id: Uuid) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        Ok(self.fetch_groups(&[id], None).await?.pop())
    }

    /// Reads groups with all their members, each as [`Store::fetch_group`] does; those that do not
    /// exist are left out. `known` is a version that the caller knows of already.
    ///
    /// Whoever was deleted before the last of the members came must not be among them. Who is
    /// leaving is therefore asked no earlier than that: beside the reading, where the last change is
    /// known or some time ago, and otherwise after it.
    ///
    /// # Errors
    /// As [`Store::fetch_group`].
    pub async fn fetch_groups(
        &self,
        ids: &[Uuid],
        known: Option<u64>,
    ) -> Result<Vec<(Record, Vec<Membership>)>, StoreError> {
        let settled = clock::text(OffsetDateTime::now_utc() - SETTLE_GRACE);
        let read = ids.iter().map(|id| self.read_whole(*id));
        let (mut leaving, read) = try_join(self.leaving(), try_join_all(read)).await?;
        let read: Vec<_> = read.into_iter().flatten().collect();
        let is_settled =
            |record: &Record| known == Some(record.version) || record.modified.as_str() < settled.as_str();
        if !read.iter().all(|(record, _)| is_settled(record)) {
            leaving = self.leaving().await?;
        }
        Ok(read.into_iter().map(|(record, members)| (record, without(members, &leaving))).collect())
    }

    /// Reads a group with all its members, those who are leaving included.
    async fn read_whole(&self, id: Uuid) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        let mut pages = Vec::new();
        for attempt in 0..READ_ATTEMPTS {
            if attempt > 0 {
                back_off(attempt).await;
            }
            // A change that came between is over soon; what lasts is looked into.
            let still = if attempt < LOOK_FROM { None } else { self.still(id).await? };
            let Some((record, members)) = self.read_group(id, &mut pages).await? else { return Ok(None) };
            if Tally::of(members.iter().map(|member| member.id)) == record.tally {
                return Ok(Some((record, members)));
            }
            // Members and tally of a group that nobody changed belong together, even if they differ:
            // that is for the checker to mend, and no reason to keep the group from its readers.
            if still.is_some() && self.still(id).await? == still {
                tracing::warn!(group = %id, "the tally of a group is not that of its members: run rollcall check");
                return Ok(Some((record, members)));
            }
        }
        Err(StoreError::Conflict)
    }

    /// A group's version and pending change, while no transaction on it is under way.
    async fn still(&self, id: Uuid) -> Result<Option<(u64, Option<Uuid>)>, StoreError> {
        let key = keys::resource(&self.tenant, Kind::Group, id);
        let item = self.table.get_together(&[key]).await?.into_iter().flatten().next();
        let record = item.as_ref().map(Record::from_item).transpose()?.flatten();
        Ok(record.map(|record| (record.version, record.change)))
    }

    /// The group and its members as the pages show them, with its pending change laid over them.
    async fn read_group(
        &self,
        id: Uuid,
        pages: &mut Vec<String>,
    ) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        let (record, mut members) = self.read_partition(&keys::group(&self.tenant, id), pages).await?;
        let Some(record) = record else { return Ok(None) };
        if let Some(change) = record.change {
            members = overlay(members, &self.chunks(change).await?);
        }
        Ok(Some((record, members)))
    }

    /// The group and the memberships in a partition. The first time its pages come one after another, and
    /// where they end is noted; from then on they are read side by side, so that less can happen
    /// meanwhile. No more than a page of items is held: they take twenty times the memory of what is kept.
    async fn read_partition(
        &self,
        pk: &str,
        pages: &mut Vec<String>,
    ) -> Result<(Option<Record>, Vec<Membership>), StoreError> {
        let ends = pages.iter().cloned().map(Some).chain([None]);
        let starts = [None].into_iter().chain(pages.iter().cloned().map(Some));
        let parts: Vec<Range> =
            starts.zip(ends).map(|(after, through)| Range { after, through, ..Range::default() }).collect();
        let read = parts.into_iter().map(|mut range| async move {
            let (mut record, mut members, mut ends) = (None, Vec::new(), Vec::new());
            loop {
                let page = self.table.query(pk, &range).await?;
                for item in &page.items {
                    match Membership::from_item(item) {
                        Some(member) => members.push(member),
                        None => record = Record::from_item(item)?.or(record),
                    }
                }
                let Some(next) = page.next else { return Ok::<_, StoreError>((record, members, ends)) };
                ends.push(next.clone());
                range.after = Some(next);
            }
        });
        let read: Vec<_> = stream::iter(read).buffered(PAGES_AT_ONCE).try_collect().await?;
        let (mut record, mut members) = (None, Vec::new());
        for (found, some, ends) in read {
            record = found.or(record);
            members.extend(some);
            pages.extend(ends);
        }
        pages.sort_unstable();
        pages.dedup();
        Ok((record, members))
    }

    /// Which of `members` each of `groups` has: one item per pair, whatever the groups' size, and
    /// a look at the chunks of groups with a pending change.
    ///
    /// # Errors
    /// As every call.
    pub async fn memberships_among(
        &self,
        groups: &[Record],
        members: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Vec<Membership>>, StoreError> {
        // Before the memberships: a chunk that is gone by now is applied.
        let mut chunks = Vec::new();
        for (group, change) in groups.iter().filter_map(|group| Some((group.id, group.change?))) {
            for member in members {
                chunks.extend(self.chunk_of(change, *member).await?.map(|chunk| (group, chunk)));
            }
        }
        let pairs = groups.iter().flat_map(|group| members.iter().map(move |member| (group.id, *member)));
        let wanted: Vec<_> =
            pairs.map(|(group, member)| keys::membership(&self.tenant, group, member)).collect();
        let mut found: BTreeMap<Uuid, Vec<Membership>> = BTreeMap::new();
        let (items, leaving) = try_join(self.table.batch_get(&wanted), self.leaving()).await?;
        for item in items {
            let group = get_text(&item, "pk").and_then(|pk| parse_id(pk.rsplit('#').next()?));
            if let (Some(group), Some(membership)) = (group, Membership::from_item(&item)) {
                found.entry(group).or_default().push(membership);
            }
        }
        for (group, mut chunk) in chunks {
            chunk.members.retain(|member| members.contains(&member.id));
            let now = found.remove(&group).unwrap_or_default();
            found.insert(group, overlay(now, &[chunk]));
        }
        for members in found.values_mut() {
            members.retain(|member| !leaving.contains(&member.id));
        }
        Ok(found)
    }
}
