//! Roles and entitlements in the table: one item each, and one index item for all of a tenant.
//!
//! | sort key in `T#<tenant>#R` | holds |
//! | --- | --- |
//! | `Role#<id>`, `Entitlement#<id>` | one definition. It stays when it is deleted, so that its versions go on. |
//! | `INDEX` | how many there are of each kind, and what the roles grant, packed |
//!
//! A user's effective roles take one read of the index item, whatever roles the user has. So the index item has at
//! most 4 KB. Every change of a definition also writes the index item, on condition of its version: changes of one
//! tenant's definitions follow one another.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::Store;
use super::call::Range;
use super::error::{Refusal, StoreError};
use super::event::{self, Event, Subject, SubjectId};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, must_text, number, text};
use super::keys::{self, Key, TenantId};
use super::record::Role;
use super::role_grants::RoleGrants;
use super::transaction::Action;
use crate::clock;
use crate::scim::resource_type::DefinedKind;

/// What people read of a role or an entitlement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionText {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The function of an entitlement, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A role or an entitlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Role or entitlement.
    pub kind: DefinedKind,
    /// Its id, which is also the value that names it in a user.
    pub id: String,
    /// What people read of it.
    pub text: DefinitionText,
    /// What it grants to its users. Only a role grants anything.
    pub grants: BTreeSet<Role>,
    /// The version. Each change raises it by one. A definition that is made again after its deletion goes on with the
    /// next version.
    pub version: u64,
    /// When it was made, as a timestamp of RFC 3339.
    pub created: String,
    /// When it was last changed, as a timestamp of RFC 3339.
    pub modified: String,
    /// Whether it was deleted.
    pub is_deleted: bool,
}

impl Definition {
    /// Reads an item. `None` for an item that is not a definition.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the item is not what [`Definition::attributes`] writes.
    pub fn from_item(item: &Item) -> Result<Option<Self>, StoreError> {
        let broken = |what: &str| StoreError::Broken(format!("a definition's {what} cannot be read"));
        let sk = must_text(item, "sk")?;
        let found = DefinedKind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, sk.strip_prefix(&keys::definition::definition_prefix(kind))?)));
        let Some((kind, id)) = found else { return Ok(None) };
        let grants = match get_text(item, "grants") {
            Some(grants) => serde_json::from_str(grants).map_err(|_| broken("grants"))?,
            None => BTreeSet::new(),
        };
        Ok(Some(Self {
            kind,
            id: id.to_owned(),
            text: serde_json::from_str(must_text(item, "doc")?).map_err(|_| broken("doc"))?,
            grants,
            version: get_number(item, "ver").ok_or_else(|| broken("ver"))?,
            created: must_text(item, "created")?.to_owned(),
            modified: must_text(item, "modified")?.to_owned(),
            is_deleted: item.get("deleted").is_some_and(|deleted| deleted.as_bool() == Ok(&true)),
        }))
    }

    /// Its key.
    pub fn key(&self, tenant: &TenantId) -> Key {
        keys::definition::definition(tenant, self.kind, &self.id)
    }

    /// The item's attributes without the key.
    pub fn attributes(&self) -> Item {
        let doc = serde_json::to_string(&self.text).unwrap_or_default();
        let mut item = Item::from([
            text("doc", &doc),
            number("ver", self.version),
            text("created", &self.created),
            text("modified", &self.modified),
        ]);
        if !self.grants.is_empty() {
            item.insert(
                "grants".to_owned(),
                AttributeValue::S(serde_json::to_string(&self.grants).unwrap_or_default()),
            );
        }
        if self.is_deleted {
            item.insert("deleted".to_owned(), AttributeValue::Bool(true));
        }
        item
    }
}

/// The index item of a tenant's definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionIndex {
    /// The number of changes of definitions; 0 for a tenant that never had one.
    pub version: u64,
    /// How many roles there are.
    pub roles: u64,
    /// How many entitlements there are.
    pub entitlements: u64,
    /// What the roles grant.
    pub grants: RoleGrants,
}

impl DefinitionIndex {
    /// Reads the item.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the item is not what [`DefinitionIndex::action`] writes.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("the index of roles and entitlements cannot be read".to_owned());
        Ok(Self {
            version: get_number(item, "ver").ok_or_else(broken)?,
            roles: get_number(item, "roles").unwrap_or(0),
            entitlements: get_number(item, "entitlements").unwrap_or(0),
            grants: match item.get("grants") {
                Some(AttributeValue::B(packed)) => RoleGrants::unpack(packed.as_ref())?,
                _ => RoleGrants::default(),
            },
        })
    }

    /// The index of these definitions.
    pub fn of(version: u64, definitions: &[Definition]) -> Self {
        let mut index = Self { version, ..Self::default() };
        for definition in definitions.iter().filter(|definition| !definition.is_deleted) {
            index.note(None, definition);
        }
        index
    }

    /// How many definitions of a kind there are.
    pub const fn count(&self, kind: DefinedKind) -> u64 {
        match kind {
            DefinedKind::Role => self.roles,
            DefinedKind::Entitlement => self.entitlements,
        }
    }

    /// Notes a change of a definition. `before` is `None` for a definition that did not exist, or was deleted.
    pub fn note(&mut self, before: Option<&Definition>, after: &Definition) {
        let count = match after.kind {
            DefinedKind::Role => &mut self.roles,
            DefinedKind::Entitlement => &mut self.entitlements,
        };
        *count += u64::from(before.is_none());
        *count -= u64::from(after.is_deleted);
        if after.kind == DefinedKind::Role {
            self.grants.set(&after.id, &after.grants);
        }
    }

    /// The action that writes the index as its next version. It is refused as [`Refusal::Changed`] if the index is
    /// not in the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the grants cannot be packed.
    pub fn action(&self, tenant: &TenantId) -> Result<Action, StoreError> {
        let item = Item::from([
            number("ver", self.version + 1),
            number("roles", self.roles),
            number("entitlements", self.entitlements),
            ("grants".to_owned(), AttributeValue::B(Blob::new(self.grants.pack()?))),
        ]);
        let unchanged = Expression::version_is_or_absent(self.version);
        Ok(Action::put(keys::definition::definition_index(tenant), item).only_if(unchanged, Refusal::Changed))
    }
}

/// Some definitions of a list.
#[derive(Debug)]
pub struct DefinitionPage {
    /// The definitions, in the order of their ids.
    pub definitions: Vec<Definition>,
    /// The id after which the list goes on; `None` at its end.
    pub next: Option<String>,
}

/// A change of a definition.
#[derive(Debug)]
pub struct DefinitionChange<'a> {
    /// What the table holds, which may be a deleted definition. `None` if it holds nothing.
    pub before: Option<&'a Definition>,
    /// What it becomes.
    pub after: &'a Definition,
    /// The index as it becomes, in the version that was read.
    pub index: &'a DefinitionIndex,
    /// The event of the change.
    pub event: &'a Event,
}

/// Roles and entitlements of a tenant in the table.
#[derive(Clone, Copy, Debug)]
pub struct Definitions<'a> {
    store: &'a Store,
}

impl Store {
    /// The tenant's roles and entitlements.
    pub fn definitions(&self) -> Definitions<'_> {
        Definitions { store: self }
    }
}

impl Definitions<'_> {
    /// Reads the index.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn index(self) -> Result<DefinitionIndex, StoreError> {
        let item = self.store.table.get(&keys::definition::definition_index(&self.store.tenant)).await?;
        item.as_ref().map_or_else(|| Ok(DefinitionIndex::default()), DefinitionIndex::from_item)
    }

    /// Reads a definition, which may be deleted. `None` if there never was one with this id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_any(self, kind: DefinedKind, id: &str) -> Result<Option<Definition>, StoreError> {
        match self.store.table.get(&keys::definition::definition(&self.store.tenant, kind, id)).await? {
            Some(item) => Definition::from_item(&item),
            None => Ok(None),
        }
    }

    /// Reads a definition. `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(self, kind: DefinedKind, id: &str) -> Result<Option<Definition>, StoreError> {
        Ok(self.fetch_any(kind, id).await?.filter(|definition| !definition.is_deleted))
    }

    /// Reads some definitions of a kind after the id `after`. `limit` is the most items that one call reads, deleted
    /// definitions included; a call also ends after 1 MB.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn page(
        self,
        kind: DefinedKind,
        after: Option<&str>,
        limit: Option<i32>,
    ) -> Result<DefinitionPage, StoreError> {
        let prefix = keys::definition::definition_prefix(kind);
        let range = Range {
            after: after.map(|id| keys::definition::definition(&self.store.tenant, kind, id).sk),
            prefix: Some(prefix.clone()),
            limit,
            ..Range::default()
        };
        let page = self.store.table.query(&keys::definition::definitions(&self.store.tenant), &range).await?;
        let mut definitions = Vec::with_capacity(page.items.len());
        for item in &page.items {
            definitions.extend(Definition::from_item(item)?.filter(|definition| !definition.is_deleted));
        }
        let next = page.next.and_then(|next| next.strip_prefix(&prefix).map(str::to_owned));
        Ok(DefinitionPage { definitions, next })
    }

    /// Reads every definition of a kind, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list(self, kind: DefinedKind) -> Result<Vec<Definition>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.page(kind, after.as_deref(), None).await?;
            all.extend(page.definitions);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Makes the event of a change. `definition` is as the change leaves it.
    pub fn event(self, event_type: &'static str, definition: &Definition) -> Event {
        let id = SubjectId::Defined(definition.kind, definition.id.clone());
        let subject = Subject { id, version: definition.version };
        Event::new(event_type, subject, &self.store.actor, &self.store.request_id, clock::now())
    }

    /// Writes a change of a definition, its index and its event in one transaction.
    ///
    /// # Errors
    /// - [`StoreError::Refused`] with [`Refusal::Changed`] if another change came between.
    /// - [`StoreError::Refused`] with [`Refusal::Gone`] if the tenant does not exist, or is being deleted.
    /// - [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn write(self, change: &DefinitionChange<'_>) -> Result<(), StoreError> {
        let tenant = &self.store.tenant;
        let DefinitionChange { before, after, index, event } = change;
        let index = index.action(tenant)?;
        let unchanged = Expression::version_is_or_absent(before.map_or(0, |before| before.version));
        let there = Expression::exists().and(Expression::lacks("deleting"));
        let actions = || {
            vec![
                Action::put(after.key(tenant), after.attributes())
                    .only_if(unchanged.clone(), Refusal::Changed),
                index.clone(),
                Action::check(keys::tenant(tenant), there.clone(), Refusal::Gone),
                event::action(tenant, event),
            ]
        };
        self.store.table.transact(actions).await
    }
}

impl Definitions<'_> {
    /// Writes a definition that comes from another deployment, without an event.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there is one with this id, or another change came between.
    pub async fn move_in(self, definition: &Definition, index: &DefinitionIndex) -> Result<(), StoreError> {
        let tenant = &self.store.tenant;
        let index = index.action(tenant)?;
        let actions = || {
            let put = Action::put(definition.key(tenant), definition.attributes());
            vec![put.only_if(Expression::absent(), Refusal::Changed), index.clone()]
        };
        self.store.table.transact(actions).await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::item::with_key;
    use crate::store::transaction::ActionKind;

    fn tenant() -> TenantId {
        "acme".parse().expect("a tenant")
    }

    fn definition(kind: DefinedKind) -> Definition {
        Definition {
            kind,
            id: "billing".to_owned(),
            text: DefinitionText { name: "Billing".to_owned(), ..DefinitionText::default() },
            grants: BTreeSet::from([Role { team: Uuid::from_u128(1), role: "member".to_owned() }]),
            version: 3,
            created: "2026-01-01T00:00:00.000Z".to_owned(),
            modified: "2026-01-02T00:00:00.000Z".to_owned(),
            is_deleted: false,
        }
    }

    #[test]
    fn a_definition_reads_back() {
        for kind in DefinedKind::ALL {
            for is_deleted in [false, true] {
                let written = Definition { is_deleted, ..definition(kind) };
                let mut item = with_key(&written.key(&tenant()));
                item.extend(written.attributes());
                assert_eq!(Definition::from_item(&item).expect("whole"), Some(written));
            }
        }
        let index = with_key(&keys::definition::definition_index(&tenant()));
        assert_eq!(Definition::from_item(&index).expect("another item"), None);
    }

    #[test]
    fn an_index_counts_and_reads_back_as_its_next_version() {
        let mut index = DefinitionIndex::default();
        let role = definition(DefinedKind::Role);
        index.note(None, &role);
        index.note(None, &definition(DefinedKind::Entitlement));
        assert_eq!((index.count(DefinedKind::Role), index.count(DefinedKind::Entitlement)), (1, 1));
        let action = index.action(&tenant()).expect("an action");
        let ActionKind::Put(item) = action.kind else { unreachable!() };
        assert_eq!(
            DefinitionIndex::from_item(&Item::from_iter(item)).expect("whole"),
            DefinitionIndex { version: 1, ..index.clone() }
        );
        let gone = Definition { is_deleted: true, grants: BTreeSet::new(), ..role.clone() };
        index.note(Some(&role), &gone);
        assert_eq!((index.roles, index.grants.clone()), (0, RoleGrants::default()));
        index.note(None, &role);
        assert_eq!(index.roles, 1);
    }
}
