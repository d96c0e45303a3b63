//! Memberships: one item each beside the group, and the group's id in the member's own item.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::call::Range;
use super::error::{Refusal, StoreError};
use super::item::{Item, get_text, text};
use super::keys::{self, parse_id};
use super::record::Record;
use super::resource::Store;
use super::transaction::{Action, Expression};
use crate::scim::members::Member;
use crate::scim::resource_type::Kind;

/// The most member changes in one transaction: two actions each, beside the group, its claims and
/// look-ups and the event.
pub const WINDOW: usize = 45;
/// The most groups that one resource may be a direct member of.
pub const MAX_GROUPS: usize = 1_000;

/// One member of a group, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The member.
    pub id: Uuid,
    /// What the member is.
    pub kind: Kind,
    /// The name that the client gave the member when it was added.
    pub display: Option<String>,
}

impl Membership {
    /// Reads a membership item.
    pub fn from_item(item: &Item) -> Option<Self> {
        let id = get_text(item, "sk")?.strip_prefix(keys::MEMBERSHIP).and_then(parse_id)?;
        let kind = match get_text(item, "type") {
            Some("Group") => Kind::Group,
            _ => Kind::User,
        };
        Some(Self { id, kind, display: get_text(item, "display").map(str::to_owned) })
    }

    /// As the protocol has it.
    pub fn member(&self) -> Member {
        Member { id: self.id.to_string(), kind: Some(self.kind), display: self.display.clone() }
    }
}

/// A group with what a change of some members must know.
#[derive(Debug)]
pub struct GroupView {
    /// The group.
    pub record: Record,
    /// Of the members asked about, those that it has.
    pub present: BTreeMap<Uuid, Membership>,
    /// Of the ids asked about, those that exist: what they are and how many groups they are in.
    pub existing: BTreeMap<Uuid, (Kind, usize)>,
}

impl Store {
    /// Reads a group, whether each of `ids` is a member, and whether it exists: one round.
    ///
    /// # Errors
    /// As every call.
    pub async fn view_group(&self, id: Uuid, ids: &[Uuid]) -> Result<Option<GroupView>, StoreError> {
        let mut wanted = vec![keys::resource(&self.tenant, Kind::Group, id)];
        for member in ids {
            wanted.push(keys::membership(&self.tenant, id, *member));
            wanted.extend(Kind::ALL.map(|kind| keys::resource(&self.tenant, kind, *member)));
        }
        let items = if ids.is_empty() {
            self.table.get(&wanted[0]).await?.into_iter().collect()
        } else {
            self.table.batch_get(&wanted).await?
        };
        let (mut group, mut present, mut existing) = (None, BTreeMap::new(), BTreeMap::new());
        for item in items {
            if let Some(membership) = Membership::from_item(&item) {
                present.insert(membership.id, membership);
            } else if let Some(record) = Record::from_item(&item)? {
                existing.insert(record.id, (record.kind, record.groups.len()));
                if record.kind == Kind::Group && record.id == id {
                    group = Some(record);
                }
            }
        }
        Ok(group.map(|record| GroupView { record, present, existing }))
    }

    /// What each id is and how many groups it is in; ids of nothing are left out.
    ///
    /// # Errors
    /// As every call.
    pub async fn identify(&self, ids: &[Uuid]) -> Result<BTreeMap<Uuid, (Kind, usize)>, StoreError> {
        let key = |id: &Uuid| Kind::ALL.map(|kind| keys::resource(&self.tenant, kind, *id));
        let wanted: Vec<_> = ids.iter().flat_map(key).collect();
        let mut existing = BTreeMap::new();
        for item in self.table.batch_get(&wanted).await? {
            if let Some(record) = Record::from_item(&item)? {
                existing.insert(record.id, (record.kind, record.groups.len()));
            }
        }
        Ok(existing)
    }

    /// Reads a group with all its members, all of one version: starts over when the group was
    /// changed while its pages were read. The last look at the group waits for transactions on it,
    /// since a page may show a member that an unfinished one has put there.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the group kept changing.
    pub async fn fetch_group(&self, id: Uuid) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        for _ in 0..10 {
            let Some((record, members)) = self.read_group(id).await? else { return Ok(None) };
            let again = self.table.get_together(&[record.key(&self.tenant)]).await?;
            let again = again.into_iter().flatten().next();
            let version = again.as_ref().map(Record::from_item).transpose()?.flatten().map(|r| r.version);
            if version == Some(record.version) {
                return Ok(Some((record, members)));
            }
        }
        Err(StoreError::Conflict)
    }

    /// Reads a group with its members just after a change of this request's own: one round for a
    /// group of ordinary size. Falls back to [`Store::fetch_group`] if another change came between.
    ///
    /// # Errors
    /// As [`Store::fetch_group`].
    pub async fn fetch_own_change(
        &self,
        id: Uuid,
        version: u64,
    ) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        match self.read_group(id).await? {
            Some((record, members))
                if record.version == version && u64::try_from(members.len()) == Ok(record.member_count) =>
            {
                Ok(Some((record, members)))
            }
            Some(_) => self.fetch_group(id).await,
            None => Ok(None),
        }
    }

    async fn read_group(&self, id: Uuid) -> Result<Option<(Record, Vec<Membership>)>, StoreError> {
        let pk = keys::group(&self.tenant, id);
        let mut range = Range::default();
        let (mut record, mut members) = (None, Vec::new());
        loop {
            let page = self.table.query(&pk, &range).await?;
            for item in &page.items {
                match Membership::from_item(item) {
                    Some(member) => members.push(member),
                    None => record = Record::from_item(item)?.or(record),
                }
            }
            match page.next {
                Some(next) => range.after = Some(next),
                None => return Ok(record.map(|record| (record, members))),
            }
        }
    }

    /// Which of `members` each of `groups` has: one item per pair, whatever the groups' size.
    ///
    /// # Errors
    /// As every call.
    pub async fn memberships_among(
        &self,
        groups: &[Uuid],
        members: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Vec<Membership>>, StoreError> {
        let pairs = groups.iter().flat_map(|group| members.iter().map(move |member| (*group, *member)));
        let wanted: Vec<_> =
            pairs.map(|(group, member)| keys::membership(&self.tenant, group, member)).collect();
        let mut found: BTreeMap<Uuid, Vec<Membership>> = BTreeMap::new();
        for item in self.table.batch_get(&wanted).await? {
            let group = get_text(&item, "pk").and_then(|pk| parse_id(pk.rsplit('#').next()?));
            if let (Some(group), Some(membership)) = (group, Membership::from_item(&item)) {
                found.entry(group).or_default().push(membership);
            }
        }
        Ok(found)
    }

    /// The two actions that make a resource a member.
    pub(super) fn add_member(&self, group: Uuid, member: &Membership, since: &str) -> [Action; 2] {
        let mut item = Item::from([text("type", member.kind.name()), text("since", since)]);
        item.extend(member.display.as_deref().map(|display| text("display", display)));
        let refused = || Refusal::Member(member.id.to_string());
        let add = Expression::new("ADD #groups :group")
            .name("#groups", "groups")
            .value(":group", AttributeValue::Ss(vec![group.to_string()]));
        [
            Action::put(keys::membership(&self.tenant, group, member.id), item)
                .only_if(Expression::absent(), Refusal::Changed),
            Action::update(keys::resource(&self.tenant, member.kind, member.id), add)
                .only_if(Expression::exists(), refused()),
        ]
    }

    /// The two actions that end a membership.
    pub(super) fn remove_member(&self, group: Uuid, member: &Membership) -> [Action; 2] {
        let delete = Expression::new("DELETE #groups :group")
            .name("#groups", "groups")
            .value(":group", AttributeValue::Ss(vec![group.to_string()]));
        [
            Action::delete(keys::membership(&self.tenant, group, member.id))
                .only_if(Expression::exists(), Refusal::Changed),
            Action::update(keys::resource(&self.tenant, member.kind, member.id), delete)
                .only_if(Expression::exists(), Refusal::Member(member.id.to_string())),
        ]
    }
}
