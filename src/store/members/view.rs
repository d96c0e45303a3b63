//! Reading some members of a group, and the resources that are to become members.

use std::collections::BTreeMap;

use futures_util::future::try_join;
use uuid::Uuid;

use super::Members;
use crate::clock;
use crate::scim::resource_type::Kind;
use crate::store::error::StoreError;
use crate::store::item::{Item, get_number, get_text};
use crate::store::keys::{self, parse_id};
use crate::store::large_change::with_pending_change::with_pending_change;
use crate::store::limits::SETTLE_GRACE;
use crate::store::membership::Membership;
use crate::store::record::Record;

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

impl Members<'_> {
    /// Reads a group, whether each of `ids` is a member, and who there is of `newcomers`, each of
    /// whom is looked for as what it is taken for: one round.
    ///
    /// # Errors
    /// As every call.
    pub async fn view_group(
        self,
        id: Uuid,
        ids: &[Uuid],
        newcomers: &[(Uuid, Kind)],
    ) -> Result<Option<GroupView>, StoreError> {
        let mut wanted = vec![keys::resource(&self.store.tenant, Kind::Group, id)];
        wanted.extend(ids.iter().map(|member| keys::membership(&self.store.tenant, id, *member)));
        wanted.extend(newcomers.iter().map(|(id, kind)| keys::resource(&self.store.tenant, *kind, *id)));
        let mut items: Vec<Item> = match wanted.as_slice() {
            [group] => self.store.table.get(group).await?.into_iter().collect(),
            wanted => self.store.table.batch_get(wanted).await?,
        };
        // A batch is not read at one moment: a membership may have been read before a large change
        // was applied and the group after. Read once more while that can be.
        let settled = items.iter().filter_map(|item| get_number::<u64>(item, "settled")).max().unwrap_or(0);
        if !ids.is_empty() && settled + SETTLE_GRACE.as_secs() > clock::epoch_seconds() {
            items = self.store.table.batch_get(&wanted).await?;
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
        self,
        taken_for: &[(Uuid, Kind)],
    ) -> Result<BTreeMap<Uuid, (Kind, usize)>, StoreError> {
        let mut open = taken_for.to_vec();
        let mut existing = BTreeMap::new();
        for _ in Kind::ALL {
            let wanted: Vec<_> =
                open.iter().map(|(id, kind)| keys::resource(&self.store.tenant, *kind, *id)).collect();
            for item in self.store.table.batch_get_some(&wanted, &["pk", "sk", "groups"]).await? {
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

    /// Which of `members` each of `groups` has: one item per pair, whatever the groups' size, and
    /// a look at the chunks of groups with a pending change.
    ///
    /// # Errors
    /// As every call.
    pub async fn memberships_among(
        self,
        groups: &[Record],
        members: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Vec<Membership>>, StoreError> {
        // Before the memberships: a chunk that is gone by now is applied.
        let mut chunks = Vec::new();
        for (group, change) in groups.iter().filter_map(|group| Some((group.id, group.change?))) {
            for member in members {
                chunks.extend(
                    self.store
                        .large_changes()
                        .fetch_chunk_of(change, *member)
                        .await?
                        .map(|chunk| (group, chunk)),
                );
            }
        }
        let pairs = groups.iter().flat_map(|group| members.iter().map(move |member| (group.id, *member)));
        let wanted: Vec<_> =
            pairs.map(|(group, member)| keys::membership(&self.store.tenant, group, member)).collect();
        let mut found: BTreeMap<Uuid, Vec<Membership>> = BTreeMap::new();
        let (items, deleted) =
            try_join(self.store.table.batch_get(&wanted), self.store.large_changes().fetch_deleted_members())
                .await?;
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
