//! Reading groups with all their members, each in one version.

use futures_util::future::{try_join, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Members;
use crate::clock;
use crate::scim::resource_type::Kind;
use crate::store::call::{Range, back_off};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::large_change::with_pending_change::{with_pending_change, without_deleted};
use crate::store::limits::SETTLE_GRACE;
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::tally::Tally;

/// How often a group that changes while it is read is read again.
const READ_ATTEMPTS: u32 = 10;
/// From which of these on it is asked whether the group changes at all.
const LOOK_FROM: u32 = 3;
/// So many pages of a group are read side by side.
const PAGES_AT_ONCE: usize = 8;

impl Members<'_> {
    /// Reads a group with all its members, all of one version, a pending change among them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the group kept changing.
    pub async fn fetch_group(self, id: Uuid) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        Ok(self.fetch_groups(&[id], None).await?.pop())
    }

    /// Reads groups with all their members, each as [`Members::fetch_group`] does; those that do not
    /// exist are left out. `known` is a version that the caller knows of already.
    ///
    /// Whoever was deleted before the last of the members came must not be among them. Who is
    /// deleted is therefore asked no earlier than that: beside the reading, where the last change is
    /// known or some time ago, and otherwise after it.
    ///
    /// # Errors
    /// As [`Members::fetch_group`].
    pub async fn fetch_groups(
        self,
        ids: &[Uuid],
        known: Option<u64>,
    ) -> Result<Vec<(Record, Vec<Membership>)>, StoreError> {
        let settled = clock::text(OffsetDateTime::now_utc() - SETTLE_GRACE);
        let read = ids.iter().map(|id| self.read_whole(*id));
        let (mut deleted, read) =
            try_join(self.store.large_changes().fetch_deleted_members(), try_join_all(read)).await?;
        let read: Vec<_> = read.into_iter().flatten().collect();
        let is_settled =
            |record: &Record| known == Some(record.version) || record.modified.as_str() < settled.as_str();
        if !read.iter().all(|(record, _)| is_settled(record)) {
            deleted = self.store.large_changes().fetch_deleted_members().await?;
        }
        Ok(read.into_iter().map(|(record, members)| (record, without_deleted(members, &deleted))).collect())
    }

    /// Reads a group with all its members, those who are deleted included.
    async fn read_whole(self, id: Uuid) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
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
    async fn still(self, id: Uuid) -> Result<Option<(u64, Option<Uuid>)>, StoreError> {
        let key = keys::resource(&self.store.tenant, Kind::Group, id);
        let item = self.store.table.get_together(&[key]).await?.into_iter().flatten().next();
        let record = item.as_ref().map(Record::from_item).transpose()?.flatten();
        Ok(record.map(|record| (record.version, record.change)))
    }

    /// The group and its members as the pages show them, with its pending change laid over them.
    async fn read_group(
        self,
        id: Uuid,
        pages: &mut Vec<String>,
    ) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        let (record, mut members) = self.read_partition(&keys::group(&self.store.tenant, id), pages).await?;
        let Some(record) = record else { return Ok(None) };
        if let Some(change) = record.change {
            members = with_pending_change(members, &self.store.large_changes().fetch_chunks(change).await?);
        }
        Ok(Some((record, members)))
    }

    /// The group and the memberships in a partition. The first time its pages come one after another, and
    /// where they end is noted; from then on they are read side by side, so that less can happen
    /// meanwhile. No more than a page of items is held: they take twenty times the memory of what is kept.
    async fn read_partition(
        self,
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
                let page = self.store.table.query(pk, &range).await?;
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
}
