//! The chunks of a change of members: some of the members that it adds or removes, in one item.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::item::{Item, get_ids, get_number, get_text, id_set, key_of, number, text, with_key};
use crate::store::keys::{self, Key, TenantId};
use crate::store::membership::Membership;
use crate::store::side::Side;
use crate::store::transaction::Action;

/// Up to 45 members that a change adds, or up to 45 that it removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The key of its item.
    pub key: Key,
    /// Whether the change adds or removes the members.
    pub side: Side,
    /// The members, in the order of their ids.
    pub members: Vec<Membership>,
    /// Its number among the parts of the change, from 1. Its event has it.
    pub part: u32,
    /// Whether the chunk is applied.
    pub done: bool,
    /// The ids of members that were deleted since the chunk was written. Appliers skip them.
    pub gone: BTreeSet<Uuid>,
}

impl Chunk {
    /// A chunk that is not applied, as a part of a change of this tenant. `members` are in the order of their
    /// ids; `None` for no members.
    pub(super) fn new(
        tenant: &TenantId,
        change: Uuid,
        (side, part): (Side, u32),
        members: &[Membership],
    ) -> Option<Self> {
        let key = keys::chunk(tenant, change, side, members.first()?.id);
        Some(Self { key, side, members: members.to_vec(), part, done: false, gone: BTreeSet::new() })
    }

    /// The item. An id takes 16 bytes, because a chunk is written, marked and deleted, and each costs
    /// by its size. What only a few members have is in attributes of its own.
    pub(super) fn to_item(&self) -> Item {
        let ids: Vec<u8> = self.members.iter().flat_map(|member| member.id.into_bytes()).collect();
        let groups = self.members.iter().filter(|member| member.kind == Kind::Group);
        let groups: Vec<Uuid> = groups.map(|member| member.id).collect();
        let displays: Item = self
            .members
            .iter()
            .filter_map(|member| Some(text(&member.id.to_string(), member.display.as_deref()?)))
            .collect();
        let mut item = with_key(&self.key);
        item.insert("ids".to_owned(), AttributeValue::B(Blob::new(ids)));
        item.extend([number("part", self.part)]);
        item.extend((!groups.is_empty()).then(|| ("groups".to_owned(), id_set(&groups))));
        item.extend((!displays.is_empty()).then(|| ("displays".to_owned(), AttributeValue::M(displays))));
        item
    }

    /// Reads a chunk.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the item is not a chunk.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("a chunk of a change cannot be read".to_owned());
        let key = key_of(item).ok_or_else(broken)?;
        let ids = item.get("ids").and_then(|ids| ids.as_b().ok()).ok_or_else(broken)?.as_ref();
        let groups = get_ids(item, "groups");
        let displays = item.get("displays").and_then(|displays| displays.as_m().ok());
        let member = |bytes: &[u8]| {
            let id = Uuid::from_slice(bytes).ok()?;
            let kind = if groups.contains(&id) { Kind::Group } else { Kind::User };
            let display = displays.and_then(|all| get_text(all, &id.to_string())).map(str::to_owned);
            Some(Membership { id, kind, display })
        };
        Ok(Self {
            side: keys::side_of_chunk(&key),
            key,
            members: ids.chunks(16).map(member).collect::<Option<_>>().ok_or_else(broken)?,
            part: get_number(item, "part").unwrap_or_else(|| unnumbered_part(ids)),
            done: item.contains_key("done"),
            gone: get_ids(item, "gone"),
        })
    }

    /// The members without those that are listed as deleted.
    pub fn existing_members(&self) -> impl Iterator<Item = &Membership> {
        self.members.iter().filter(|member| !self.gone.contains(&member.id))
    }

    /// Condition: the chunk is not applied.
    fn is_open() -> Expression {
        Expression::exists().and(Expression::lacks("done"))
    }

    /// Condition: the chunk is not applied, and its list of deleted members is as it was read.
    pub(super) fn is_open_as_read(&self) -> Expression {
        Self::is_open().and(match self.gone.is_empty() {
            true => Expression::lacks("gone"),
            false => Expression::equals("gone", id_set(&self.gone)),
        })
    }

    /// The action that marks the chunk as applied. It is refused as [`Refusal::Changed`] unless the
    /// chunk is as it was read.
    pub(super) fn mark_done(&self) -> Action {
        let done = Expression::update().set("done", AttributeValue::Bool(true));
        Action::update(self.key.clone(), done).only_if(self.is_open_as_read(), Refusal::Changed)
    }

    /// The action that lists a member as deleted. It is refused as [`Refusal::Changed`] if the chunk is
    /// applied or lists the member already.
    pub(super) fn mark_gone_once(&self, member: Uuid) -> Action {
        let first = Self::is_open().and(Expression::set_lacks("gone", &member.to_string()));
        self.update_gone(member).only_if(first, Refusal::Changed)
    }

    /// The action that lists a member as deleted, whether the chunk is applied or not. It is refused
    /// as [`Refusal::Changed`] if the chunk does not exist any more.
    pub(in crate::store) fn mark_gone(&self, member: Uuid) -> Action {
        self.update_gone(member).only_if(Expression::exists(), Refusal::Changed)
    }

    fn update_gone(&self, member: Uuid) -> Action {
        Action::update(self.key.clone(), Expression::update().add("gone", id_set([&member])))
    }
}

/// The number of a chunk that was written before chunks had numbers: after all others, and made of its first
/// member, so that no two chunks of a change have the same.
fn unnumbered_part(ids: &[u8]) -> u32 {
    let bytes = ids.iter().take(16).skip(13);
    500_000 + bytes.fold(0, |number, byte| number << 8 | u32::from(*byte)) % 500_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_reads_back() {
        let member = |n: u128, kind, display: Option<&str>| Membership {
            id: Uuid::from_u128(n),
            kind,
            display: display.map(str::to_owned),
        };
        let members = [
            member(1, Kind::User, None),
            member(2, Kind::Group, Some("G")),
            member(3, Kind::User, Some("U")),
        ];
        let tenant = "acme".parse().expect("a tenant");
        for side in Side::ALL {
            let chunk = Chunk::new(&tenant, Uuid::from_u128(9), (side, 3), &members).expect("members");
            assert_eq!(Chunk::from_item(&chunk.to_item()).expect("whole"), chunk);
        }
        assert_eq!(Chunk::new(&tenant, Uuid::from_u128(9), (Side::Add, 1), &[]), None);
    }

    #[test]
    fn what_is_no_chunk_is_broken() {
        let key = Key { pk: "p".to_owned(), sk: "A#x".to_owned() };
        let mut item = with_key(&key);
        assert!(Chunk::from_item(&item).is_err());
        item.insert("ids".to_owned(), AttributeValue::B(Blob::new(vec![0; 15])));
        assert!(Chunk::from_item(&item).is_err());
    }
}
