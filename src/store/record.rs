//! Users and groups as items: one item each, with the attributes as a compact JSON document.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::digest::MembershipDigest;
use super::document::RawDocument;
use super::error::StoreError;
use super::expression::Expression;
use super::index::{Entry, IndexEntries};
use super::item::{Attributes, Item, get_ids, get_number, get_text, must_text, number, text};
use super::keys::{self, Key, TenantId, parse_id};
use super::trail::Trail;
use crate::config::EmailLookups;
use crate::scim::absent;
use crate::scim::resource_type::{Kind, ResourceType};

/// Who manages an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Account {
    /// The operator. The user signs in with a password or in another way of the application's own.
    Local,
    /// The identity provider.
    #[default]
    Sso,
}

impl Account {
    /// As stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Sso => "sso",
        }
    }
}

/// A stored user or group. A group's members are items of their own. `D` is its document: parsed, or a
/// [`RawDocument`] where it is only written into an answer.
#[derive(Clone, Debug)]
pub struct Record<D = Map<String, Value>> {
    /// User or group.
    pub kind: Kind,
    /// The id, unique across kinds.
    pub id: Uuid,
    /// What the client wrote, with canonical names. It has no read-only attributes and no members.
    pub doc: D,
    /// The version, which is the ETag. Each change raises it by one.
    pub version: u64,
    /// When it was created, as a timestamp of RFC 3339.
    pub created: String,
    /// When it was last changed, as a timestamp of RFC 3339.
    pub modified: String,
    /// The ids of the groups that it is a direct member of.
    pub groups: BTreeSet<Uuid>,
    /// Who manages it (users).
    pub account: Account,
    /// The digest of its members (groups). It includes the pending change.
    pub digest: MembershipDigest,
    /// Its pending change (groups).
    pub change: Option<Uuid>,
    /// When its last pending change was finished, in seconds since 1970; 0 for never.
    pub settled: u64,
    /// Whether the admin guard knows it: a user that may be an administrator, the root team, or a group that
    /// grants or granted the role.
    pub guarded: bool,
    /// What its next change must come after.
    pub trail: Trail,
    /// How many parts follow the change that this record is the result of; 0 as read.
    pub parts: u32,
    /// The roles that its members have (groups); `None` if no roles are assigned.
    pub roles: Option<BTreeSet<Role>>,
}

/// What a change of members must know of a user or group that is to become a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceSummary {
    /// The id of the resource.
    pub id: Uuid,
    /// User or group.
    pub kind: Kind,
    /// How many groups it is a direct member of.
    pub group_count: usize,
}

impl ResourceSummary {
    /// Reads the item of a user or a group; `None` for any other item. The attributes `pk`, `sk` and
    /// `groups` are enough.
    pub fn from_item(item: &Item) -> Option<Self> {
        let kind = kind_of(item)?;
        let id = get_text(item, "pk")?.rsplit('#').next().and_then(parse_id)?;
        let group_count = item.get("groups").and_then(|groups| groups.as_ss().ok()).map_or(0, Vec::len);
        Some(Self { id, kind, group_count })
    }
}

/// A role in a team.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Role {
    /// The team: a group's id.
    pub team: Uuid,
    /// The role.
    pub role: String,
}

/// The role that members have in their group if no roles are assigned to the group.
pub const MEMBER: &str = "member";

impl Record {
    /// A resource that is about to be created.
    pub fn new(kind: Kind, id: Uuid, doc: Map<String, Value>, now: &str) -> Self {
        Self {
            kind,
            id,
            doc,
            version: 1,
            created: now.to_owned(),
            modified: now.to_owned(),
            groups: BTreeSet::new(),
            account: Account::Sso,
            digest: MembershipDigest::default(),
            change: None,
            settled: 0,
            guarded: false,
            trail: Trail::default(),
            parts: 0,
            roles: None,
        }
    }

    /// Reads an item. `None` for an item that is not a user or group.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the item is not what [`Record::attributes`] writes.
    pub fn from_item(item: &Item) -> Result<Option<Self>, StoreError> {
        Self::read(item)
    }
}

impl<'i> Record<RawDocument<'i>> {
    /// Reads an item, but parses only the names in its document. `None` for an item that is not a user or group.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the item is not what [`Record::attributes`] writes.
    pub fn raw_from_item(item: &'i Item) -> Result<Option<Self>, StoreError> {
        Self::read(item)
    }
}

impl<'i, D: Deserialize<'i>> Record<D> {
    fn read(item: &'i Item) -> Result<Option<Self>, StoreError> {
        let Some(kind) = kind_of(item) else { return Ok(None) };
        let pk = must_text(item, "pk")?;
        let broken = |what: &str| StoreError::Broken(format!("the {what} of item {pk} cannot be read"));
        let id = pk.rsplit('#').next().and_then(parse_id).ok_or_else(|| broken("key"))?;
        let doc = serde_json::from_str(must_text(item, "doc")?).map_err(|_| broken("doc"))?;
        let of_group = (kind == Kind::Group).then_some(item);
        Ok(Some(Self {
            kind,
            id,
            doc,
            version: get_number(item, "ver").ok_or_else(|| broken("ver"))?,
            created: must_text(item, "created")?.to_owned(),
            modified: must_text(item, "modified")?.to_owned(),
            groups: get_ids(item, "groups"),
            account: match get_text(item, "account") {
                Some("local") => Account::Local,
                _ => Account::Sso,
            },
            digest: of_group.map(MembershipDigest::from_item).unwrap_or_default(),
            change: of_group.and_then(|item| get_text(item, "change")).and_then(parse_id),
            settled: of_group.and_then(|item| get_number(item, "settled")).unwrap_or(0),
            guarded: item.get("guarded").is_some_and(|guarded| guarded.as_bool() == Ok(&true)),
            trail: Trail::from_item(item),
            parts: 0,
            roles: match of_group.and_then(|item| get_text(item, "roles")) {
                Some(roles) => Some(serde_json::from_str(roles).map_err(|_| broken("roles"))?),
                None => None,
            },
        }))
    }
}

impl<D> Record<D> {
    /// The roles that its members have: those assigned, or that of a member in this team itself.
    pub fn assignments(&self) -> BTreeSet<Role> {
        match &self.roles {
            Some(roles) => roles.clone(),
            None => BTreeSet::from([Role { team: self.id, role: MEMBER.to_owned() }]),
        }
    }
}

impl Record {
    /// Its key.
    pub fn key(&self, tenant: &TenantId) -> Key {
        keys::resource(tenant, self.kind, self.id)
    }

    /// The item's attributes without the key, and without `groups`, which only changes of members write.
    pub fn attributes(&self) -> Attributes {
        let mut all = vec![
            text("doc", document(&self.doc)),
            number("ver", self.version),
            text("created", &self.created),
            text("modified", &self.modified),
        ];
        match self.kind {
            Kind::User => all.push(text("account", self.account.as_str())),
            Kind::Group => {
                all.extend(self.digest.attributes());
                all.extend(self.change.map(|change| text("change", change.to_string())));
                let roles = self.roles.as_ref().and_then(|roles| serde_json::to_string(roles).ok());
                all.extend(roles.map(|roles| text("roles", roles)));
            }
        }
        if self.guarded {
            all.push(("guarded".to_owned(), AttributeValue::Bool(true)));
        }
        all
    }

    /// Condition: the resource is still in the version that was read, no further part of a large change has
    /// named it, and the admin guard does not know it if it did not then.
    pub(super) fn is_unchanged(&self) -> Expression {
        let unchanged = Expression::version_is(self.version).and(self.trail.is_unchanged());
        if self.guarded { unchanged } else { unchanged.and(Expression::lacks("guarded")) }
    }

    /// Condition: the group is still as this process wrote it, however long ago. Some changes by the operator's
    /// tool keep the version: they change the digest. A tenant that was deleted and created again may have the
    /// version of a group once more: then the time of its last change differs.
    pub(super) fn is_as_written(&self) -> Expression {
        let written = AttributeValue::S(self.modified.clone());
        let same = self.is_unchanged().and(Expression::equals("modified", written));
        let same = same.and(Expression::lacks("change"));
        let digest = self.digest.attributes().into_iter();
        digest.fold(same, |same, (name, value)| same.and(Expression::equals(&name, value)))
    }

    /// The update that writes what a change of members changes of a group. What the group is called and grants stays as
    /// it is in the table. The event of the change follows its trail.
    pub(super) fn to_update_of_members(&self) -> Expression {
        let changed = [number("ver", self.version), text("modified", &self.modified)];
        let all = changed.into_iter().chain(self.digest.attributes());
        let update = all.fold(Expression::update(), |update, (name, value)| update.set(&name, value));
        self.trail.follow(update, self.parts)
    }

    /// The update that writes every attribute of the record. The event of the change follows its trail.
    pub(super) fn to_update(&self) -> Expression {
        let all = self.attributes().into_iter();
        let update = all.fold(Expression::update(), |update, (name, value)| update.set(&name, value));
        self.trail.follow(update, self.parts)
    }

    /// Whether it is an active user. A user without the attribute `active` is active.
    pub fn is_active(&self) -> bool {
        self.kind == Kind::User && absent::is_active(&self.doc)
    }

    /// The unique value that it claims, if its type has one.
    pub fn claim(&self, ty: &ResourceType) -> Option<Entry> {
        IndexEntries::of(ty, &self.doc).claim
    }

    /// The values that it may be looked up by. The look-up of an address that is its `userName` too may be absent.
    pub fn lookups(&self, ty: &ResourceType) -> BTreeSet<Entry> {
        IndexEntries::of(ty, &self.doc).lookups
    }

    /// The values that it must have a look-up of.
    pub fn required_lookups(&self, ty: &ResourceType) -> BTreeSet<Entry> {
        IndexEntries::of(ty, &self.doc).with_required_lookups().lookups
    }

    /// Its claim, and the look-ups that are written for a new resource.
    pub(super) fn written_entries(&self, ty: &ResourceType, form: EmailLookups) -> IndexEntries {
        let all = IndexEntries::of(ty, &self.doc);
        match form {
            EmailLookups::All => all,
            EmailLookups::Unclaimed => all.with_required_lookups(),
        }
    }
}

/// Whether an item is a user's or a group's own.
fn kind_of(item: &Item) -> Option<Kind> {
    match get_text(item, "sk")? {
        keys::USER => Some(Kind::User),
        keys::GROUP => Some(Kind::Group),
        _ => None,
    }
}

/// The compact JSON of a document.
pub fn document(doc: &Map<String, Value>) -> String {
    serde_json::to_string(doc).unwrap_or_default()
}
