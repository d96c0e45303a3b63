//! Reading groups with all their members, each in one version.

use std::time::Instant;

use futures_util::future::{try_join, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::{Members, WholeGroup};
use crate::clock;
use crate::limits::{
    GROUP_AT_REST, GROUP_PAGES_AT_ONCE, GROUP_READ_RETRIES, GROUP_READS_BEFORE_CHECK, SETTLE_GRACE,
};
use crate::scim::resource_type::Kind;
use crate::store::call::Range;
use crate::store::digest::MembershipDigest;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::large_change::with_pending_change::{with_pending_change, without_deleted};
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::retry::Attempts;

impl Members<'_> {
    /// Reads a group with all its members in one version, as its pending change makes them. `None` if
    /// the group does not exist.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the group kept changing; [`StoreError::Throttled`],
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_group(self, id: Uuid) -> Result<Option<WholeGroup>, StoreError> {
        Ok(self.fetch_groups(&[id], None).await?.pop())
    }

    /// Reads groups with all their members, each as [`Members::fetch_group`] does. Groups that do not
    /// exist are left out. `known_version` is the version that this request made, if it changed the
    /// group.
    ///
    /// A member must not be shown beside one that was added after the first one was deleted. So the
    /// list of deleted members is read no earlier than the last change of the group. It is read beside
    /// the group where that change was made by this request or is older than [`SETTLE_GRACE`], and again
    /// after the group otherwise.
    ///
    /// # Errors
    /// As [`Members::fetch_group`].
    pub async fn fetch_groups(
        self,
        ids: &[Uuid],
        known_version: Option<u64>,
    ) -> Result<Vec<WholeGroup>, StoreError> {
        let grace_began = clock::text(clock::now() - SETTLE_GRACE);
        let read = ids.iter().map(|id| self.read_whole(*id));
        let (mut deleted, read) =
            try_join(self.store.large_changes().fetch_deleted_members(), try_join_all(read)).await?;
        let mut groups: Vec<WholeGroup> = read.into_iter().flatten().collect();
        let is_settled = |record: &Record| {
            known_version == Some(record.version) || record.modified.as_str() < grace_began.as_str()
        };
        if !groups.iter().all(|group| is_settled(&group.record)) {
            deleted = self.store.large_changes().fetch_deleted_members().await?;
        }
        for group in &mut groups {
            let members = std::mem::take(&mut group.members);
            group.members = without_deleted(members, &deleted);
        }
        Ok(groups)
    }

    /// Reads a group with all its members, with those that are deleted and have not left it yet.
    async fn read_whole(self, id: Uuid) -> Result<Option<WholeGroup>, StoreError> {
        let mut pages = Vec::new();
        let mut attempts = Attempts::new(GROUP_READ_RETRIES);
        let mut still = None;
        while attempts.start_next().await {
            // Most changes are over after an attempt or two.
            let before = match attempts.started() > GROUP_READS_BEFORE_CHECK {
                true => self.fetch_state_at_rest(id).await?,
                false => None,
            };
            let Some(group) = self.read_group(id, &mut pages).await? else { return Ok(None) };
            if MembershipDigest::of(group.members.iter().map(|member| member.id)) == group.record.digest {
                return Ok(Some(group));
            }
            // The group does not change any more, so its digest is wrong. The checker repairs that. Readers still get
            // the group. Its own item may be visible before its members, so it must be unchanged for a while.
            let Some(before) = before else { continue };
            let (_, since) = *still.get_or_insert((before, Instant::now()));
            if still.is_some_and(|(state, _)| state != before) {
                still = Some((before, Instant::now()));
            } else if since.elapsed() >= GROUP_AT_REST && self.fetch_state_at_rest(id).await? == Some(before)
            {
                tracing::warn!(group = %id, "the membership digest of a group is wrong: run rollcall check --repair");
                return Ok(Some(group));
            }
        }
        Err(StoreError::Conflict)
    }

    /// Reads a group's item at a moment when no transaction on it is under way.
    pub(super) async fn fetch_at_rest(self, id: Uuid) -> Result<Option<Record>, StoreError> {
        let key = keys::resource(&self.store.tenant, Kind::Group, id);
        let item = self.store.table.get_together(&[key]).await?.into_iter().flatten().next();
        Ok(item.as_ref().map(Record::from_item).transpose()?.flatten())
    }

    /// The same, and of it the version and the pending change.
    async fn fetch_state_at_rest(self, id: Uuid) -> Result<Option<(u64, Option<Uuid>)>, StoreError> {
        Ok(self.fetch_at_rest(id).await?.map(|record| (record.version, record.change)))
    }

    /// Reads the group and its members as its pages show them, and combines them with its pending
    /// change. The pages may be of several versions.
    async fn read_group(self, id: Uuid, pages: &mut Vec<String>) -> Result<Option<WholeGroup>, StoreError> {
        let (record, mut members) = self.read_partition(&keys::group(&self.store.tenant, id), pages).await?;
        let Some(record) = record else { return Ok(None) };
        if let Some(change) = record.change {
            members = with_pending_change(members, &self.store.large_changes().fetch_chunks(change).await?);
        }
        Ok(Some(WholeGroup { record, members }))
    }

    /// Reads the group and the memberships in a partition. The first time its pages are read one after
    /// another, and `pages` notes where they end. From then on they are read side by side, so that fewer
    /// changes come between. Only one page of items is held at a time: items take twenty times the memory
    /// of memberships.
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
        let read: Vec<_> = stream::iter(read).buffered(GROUP_PAGES_AT_ONCE).try_collect().await?;
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
