//! Reading some members of a group, and the resources that are to become members.

use std::collections::BTreeMap;

use futures_util::future::try_join;
use uuid::Uuid;

use super::Members;
use crate::clock;
use crate::limits::SETTLE_GRACE;
use crate::scim::resource_type::Kind;
use crate::store::error::StoreError;
use crate::store::item::{Item, get_number, get_text};
use crate::store::keys::{self, parse_id};
use crate::store::large_change::with_pending_change::with_pending_change;
use crate::store::membership::Membership;
use crate::store::record::{Record, ResourceSummary};

/// What a change of some members must know of a group.
#[derive(Debug)]
pub struct GroupView {
    /// The group.
    pub record: Record,
    /// The members that the group has, among those that were asked about.
    pub present: BTreeMap<Uuid, Membership>,
    /// What is known of the resources that are to become members.
    pub candidates: Candidates,
}

/// What is known of resources that are to become members.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// The resources that were found, by id.
    pub found: BTreeMap<Uuid, ResourceSummary>,
    /// Whether the candidates were looked for under the kind that the client sent. A candidate that was
    /// not found then can only be of the other kind.
    pub searched: bool,
}

impl Members<'_> {
    /// Reads a group, which of `ids` are its members, and which of `candidates` exist. A candidate comes
    /// with the kind that the client sent, or `User` if it sent none, and is looked for under that kind
    /// only. It takes one round, or two within
    /// [`SETTLE_GRACE`] after a large change was applied. `None` if the group does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn view_group(
        self,
        id: Uuid,
        ids: &[Uuid],
        candidates: &[(Uuid, Kind)],
    ) -> Result<Option<GroupView>, StoreError> {
        let tenant = &self.store.tenant;
        let mut wanted = vec![keys::resource(tenant, Kind::Group, id)];
        wanted.extend(ids.iter().map(|member| keys::membership(tenant, id, *member)));
        wanted.extend(candidates.iter().map(|(id, kind)| keys::resource(tenant, *kind, *id)));
        let mut items: Vec<Item> = match wanted.as_slice() {
            [group] => self.store.table.get(group).await?.into_iter().collect(),
            wanted => self.store.table.batch_get(wanted).await?,
        };
        // A batch is not read at one moment. A membership may have been read before a large change was
        // applied, and the group after it. So the batch is read again while that is possible.
        let settled = items.iter().filter_map(|item| get_number::<u64>(item, "settled")).max().unwrap_or(0);
        if !ids.is_empty() && settled + SETTLE_GRACE.as_secs() > clock::epoch_seconds() {
            items = self.store.table.batch_get(&wanted).await?;
        }
        let (mut group, mut present, mut found) = (None, BTreeMap::new(), BTreeMap::new());
        for item in items {
            if let Some(membership) = Membership::from_item(&item) {
                present.insert(membership.id, membership);
                continue;
            }
            found.extend(ResourceSummary::from_item(&item).map(|summary| (summary.id, summary)));
            if get_text(&item, "pk") == Some(&wanted[0].pk) {
                group = Record::from_item(&item)?;
            }
        }
        // A candidate that does not exist any more is no member, even if it has not left the group yet.
        for (id, kind) in candidates {
            let is_of_kind = |member: &Membership| member.kind == *kind;
            if !found.contains_key(id) && present.get(id).is_some_and(is_of_kind) {
                present.remove(id);
            }
        }
        let candidates = Candidates { found, searched: !candidates.is_empty() };
        Ok(group.map(|record| GroupView { record, present, candidates }))
    }

    /// Finds out which of `candidates` exist, and what they are. Each comes with the kind that the
    /// client sent, or `User` if it sent none, and is looked for under the other kind only if that finds
    /// nothing. Those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn identify(
        self,
        candidates: &[(Uuid, Kind)],
    ) -> Result<BTreeMap<Uuid, ResourceSummary>, StoreError> {
        let tenant = &self.store.tenant;
        let mut open = candidates.to_vec();
        let mut found = BTreeMap::new();
        for _ in Kind::ALL {
            let wanted: Vec<_> = open.iter().map(|(id, kind)| keys::resource(tenant, *kind, *id)).collect();
            for item in self.store.table.batch_get_some(&wanted, &["pk", "sk", "groups"]).await? {
                found.extend(ResourceSummary::from_item(&item).map(|summary| (summary.id, summary)));
            }
            open.retain(|(id, _)| !found.contains_key(id));
            open.iter_mut().for_each(|(_, kind)| *kind = kind.other());
            if open.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Finds out which of `members` each of `groups` has, by the id of the group. It reads one item for each
    /// pair, however large the groups are, and the chunks of groups with a pending change. Groups without
    /// any of these members are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn memberships_among(
        self,
        groups: &[Record],
        members: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Vec<Membership>>, StoreError> {
        let changes = self.store.large_changes();
        // The chunks are read before the memberships: a chunk that is deleted by then is applied.
        let mut chunks = Vec::new();
        for (group, change) in groups.iter().filter_map(|group| Some((group.id, group.change?))) {
            for member in members {
                let chunk = changes.fetch_chunk_of(change, *member).await?;
                chunks.extend(chunk.map(|chunk| (group, chunk)));
            }
        }
        let pairs = groups.iter().flat_map(|group| members.iter().map(move |member| (group.id, *member)));
        let wanted: Vec<_> =
            pairs.map(|(group, member)| keys::membership(&self.store.tenant, group, member)).collect();
        let mut found: BTreeMap<Uuid, Vec<Membership>> = BTreeMap::new();
        let memberships = self.store.table.batch_get(&wanted);
        let (items, deleted) = try_join(memberships, changes.fetch_deleted_members()).await?;
        for item in items {
            let group = get_text(&item, "pk").and_then(|pk| parse_id(pk.rsplit('#').next()?));
            if let (Some(group), Some(membership)) = (group, Membership::from_item(&item)) {
                found.entry(group).or_default().push(membership);
            }
        }
        for (group, mut chunk) in chunks {
            chunk.members.retain(|member| members.contains(&member.id));
            let now = found.remove(&group).unwrap_or_default();
            found.insert(group, with_pending_change(now, &[chunk]));
        }
        for members in found.values_mut() {
            members.retain(|member| !deleted.contains(&member.id));
        }
        Ok(found)
    }
}
