//! Reading a group's members page by page.

use uuid::Uuid;

use super::Members;
use crate::clock;
use crate::limits::{GROUP_AT_REST, GROUP_READ_RETRIES, RECENT_GROUP_CHANGE};
use crate::store::call::Range;
use crate::store::digest::MembershipDigest;
use crate::store::error::StoreError;
use crate::store::keys::{self, parse_id};
use crate::store::large_change::chunk::Chunk;
use crate::store::large_change::with_pending_change::{with_pending_change, without_deleted};
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::retry::Attempts;

/// Some members of a group, in the order of their ids.
#[derive(Clone, Debug)]
pub struct MemberPage {
    /// A version of the group. The page has what every change up to it did, and perhaps some of later changes.
    pub version: u64,
    /// The members, as the group's pending change makes them.
    pub members: Vec<Membership>,
    /// The member after which to go on; `None` at the end.
    pub next: Option<Uuid>,
}

impl Members<'_> {
    /// Reads at most `limit` members after `after`. `None` if the group does not exist.
    ///
    /// If the page has all members, the digest shows whether they are those of the version. Otherwise nothing shows it,
    /// and the group's item may be visible before its members are. So the page of a group that was changed a moment
    /// ago is read [`GROUP_AT_REST`] after the group.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if one large change of the group followed another; [`StoreError::Throttled`],
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_page(
        self,
        id: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Option<MemberPage>, StoreError> {
        let mut attempts = Attempts::new(GROUP_READ_RETRIES);
        while attempts.start_next().await {
            let Some(group) = self.fetch_at_rest(id).await? else { return Ok(None) };
            let mut page = self.read_page(&group, after, limit).await?;
            let is_whole = after.is_none() && page.next.is_none();
            let mut is_sure = is_whole && page.digest() == group.digest;
            if !is_sure {
                if is_recently_changed(&group) {
                    tokio::time::sleep(GROUP_AT_REST).await;
                    page = self.read_page(&group, after, limit).await?;
                }
                // If another large change is pending, the page lacks its chunks.
                is_sure = self.fetch_at_rest(id).await?.is_some_and(|now| now.change == group.change);
            }
            if is_sure {
                let deleted = self.store.large_changes().fetch_deleted_members().await?;
                page.members = without_deleted(page.members, &deleted);
                return Ok(Some(page));
            }
        }
        Err(StoreError::Conflict)
    }

    /// Reads a page with those who are deleted and have not left the group yet.
    async fn read_page(
        self,
        group: &Record,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        let id = group.id;
        let tenant = &self.store.tenant;
        let range = Range {
            prefix: Some(keys::MEMBERSHIP.to_owned()),
            after: after.map(|member| keys::membership(tenant, id, member).sk),
            limit: i32::try_from(limit).ok(),
            ..Range::default()
        };
        let read = self.store.table.query(&keys::group(tenant, id), &range).await?;
        let mut members: Vec<Membership> = read.items.iter().filter_map(Membership::from_item).collect();
        let end = read.next.and_then(|sk| parse_id(sk.strip_prefix(keys::MEMBERSHIP)?));
        if let Some(change) = group.change {
            // Members first, chunks after them: it does not matter then which chunks are applied.
            let mut chunks = self.store.large_changes().fetch_chunks(change).await?;
            let is_here = |member: Uuid| after < Some(member) && end.is_none_or(|end| member <= end);
            chunks.iter_mut().for_each(|chunk: &mut Chunk| chunk.members.retain(|m| is_here(m.id)));
            members = with_pending_change(members, &chunks);
        }
        let mut next = end;
        if members.len() > limit {
            members.truncate(limit);
            next = members.last().map(|member| member.id);
        }
        Ok(MemberPage { version: group.version, members, next })
    }
}

/// Whether a change of the group was made or, if it was a large one, was applied a moment ago.
fn is_recently_changed(group: &Record) -> bool {
    let recent = clock::now() - RECENT_GROUP_CHANGE;
    group.modified > clock::text(recent)
        || i64::try_from(group.settled).is_ok_and(|at| at > recent.unix_timestamp())
}

impl MemberPage {
    /// What the digest of a group is that has these members and no others.
    fn digest(&self) -> MembershipDigest {
        MembershipDigest::of(self.members.iter().map(|member| member.id))
    }
}
