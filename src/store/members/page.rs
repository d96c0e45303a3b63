//! Reading a group's members page by page.

use uuid::Uuid;

use super::Members;
use crate::limits::GROUP_READ_RETRIES;
use crate::scim::resource_type::Kind;
use crate::store::call::Range;
use crate::store::error::StoreError;
use crate::store::keys::{self, parse_id};
use crate::store::large_change::chunk::Chunk;
use crate::store::large_change::with_pending_change::{with_pending_change, without_deleted};
use crate::store::membership::Membership;
use crate::store::retry::Attempts;

/// Some members of a group, in the order of their ids.
#[derive(Clone, Debug)]
pub struct MemberPage {
    /// The version of the group.
    pub version: u64,
    /// The members, as the group's pending change makes them.
    pub members: Vec<Membership>,
    /// The member after which to go on; `None` at the end.
    pub next: Option<Uuid>,
}

impl Members<'_> {
    /// Reads at most `limit` members after `after`. `None` if the group does not exist.
    ///
    /// No transaction on the group is under way when the reading begins, and the group has the same version
    /// at the end. So the page has what every change up to that version did.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the group kept changing; [`StoreError::Throttled`],
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_page(
        self,
        id: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Option<MemberPage>, StoreError> {
        let mut attempts = Attempts::new(GROUP_READ_RETRIES);
        while attempts.start_next().await {
            let Some(before) = self.fetch_state_at_rest(id).await? else { return Ok(None) };
            let page = self.read_page(id, before, after, limit).await?;
            // A plain read could still show the group as it was before a change whose memberships the page has.
            if self.fetch_state_at_rest(id).await? == Some(before) {
                return Ok(Some(page));
            }
        }
        Err(StoreError::Conflict)
    }

    async fn read_page(
        self,
        id: Uuid,
        (version, change): (u64, Option<Uuid>),
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
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
        if let Some(change) = change {
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
        let deleted = self.store.large_changes().fetch_deleted_members().await?;
        Ok(MemberPage { version, members: without_deleted(members, &deleted), next })
    }
}
