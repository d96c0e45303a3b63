//! The chunks of a large change of a group's members: who comes, or goes, some in an item.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::error::StoreError;
use super::item::{Item, get_set, get_text, must_text, text, with_key};
use super::keys::{self, Key, TenantId};
use super::membership::Membership;
use crate::scim::resource_type::Kind;

/// Some members that a change adds, or some that it removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its key.
    pub key: Key,
    /// Whether it adds them.
    pub adds: bool,
    /// The members, in the order of their ids.
    pub members: Vec<Membership>,
    /// Whether they are applied.
    pub done: bool,
    /// Those that were deleted meanwhile and are passed over.
    pub gone: BTreeSet<String>,
}

impl Chunk {
    pub(super) fn new(tenant: &TenantId, change: Uuid, adds: bool, members: &[Membership]) -> Option<Self> {
        let key = keys::chunk(tenant, change, adds, members.first()?.id);
        Some(Self { key, adds, members: members.to_vec(), done: false, gone: BTreeSet::new() })
    }

    /// Sixteen bytes an id, since a chunk is written, marked and deleted, each at the price of its
    /// size; what few have besides stands beside them.
    pub(super) fn to_item(&self) -> Item {
        let ids: Vec<u8> = self.members.iter().flat_map(|member| member.id.into_bytes()).collect();
        let groups = self.members.iter().filter(|member| member.kind == Kind::Group);
        let groups: Vec<String> = groups.map(|member| member.id.to_string()).collect();
        let displays: Item = self
            .members
            .iter()
            .filter_map(|member| Some(text(&member.id.to_string(), member.display.as_deref()?)))
            .collect();
        let mut item = with_key(&self.key);
        item.insert("ids".to_owned(), AttributeValue::B(Blob::new(ids)));
        item.extend((!groups.is_empty()).then(|| ("groups".to_owned(), AttributeValue::Ss(groups))));
        item.extend((!displays.is_empty()).then(|| ("displays".to_owned(), AttributeValue::M(displays))));
        item
    }

    /// Reads a chunk.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when it is none.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("a chunk of a change cannot be read".to_owned());
        let key = Key { pk: must_text(item, "pk")?.to_owned(), sk: must_text(item, "sk")?.to_owned() };
        let ids = item.get("ids").and_then(|ids| ids.as_b().ok()).ok_or_else(broken)?.as_ref();
        let groups = get_set(item, "groups");
        let displays = item.get("displays").and_then(|displays| displays.as_m().ok());
        let member = |bytes: &[u8]| {
            let id = Uuid::from_slice(bytes).ok()?;
            let name = id.to_string();
            let kind = if groups.contains(&name) { Kind::Group } else { Kind::User };
            let display = displays.and_then(|all| get_text(all, &name)).map(str::to_owned);
            Some(Membership { id, kind, display })
        };
        Ok(Self {
            adds: key.sk.starts_with(keys::CHUNK_ADDS),
            key,
            members: ids.chunks(16).map(member).collect::<Option<_>>().ok_or_else(broken)?,
            done: item.contains_key("done"),
            gone: get_set(item, "gone"),
        })
    }

    /// Its members but for those that were deleted meanwhile.
    pub fn living(&self) -> impl Iterator<Item = &Membership> {
        self.members.iter().filter(|member| !self.gone.contains(&member.id.to_string()))
    }
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
        for adds in [true, false] {
            let chunk = Chunk::new(&tenant, Uuid::from_u128(9), adds, &members).expect("members");
            assert_eq!(Chunk::from_item(&chunk.to_item()).expect("whole"), chunk);
        }
        assert_eq!(Chunk::new(&tenant, Uuid::from_u128(9), true, &[]), None);
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
