//! What the table knows of a bearer key: never its text.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::key::KeyHash;
use crate::clock;
use crate::store::error::StoreError;
use crate::store::item::{Item, get_number, get_text, must_text, number, text};
use crate::store::keys::{self, TenantId, parse_id};

/// What a key may do; it goes by operation, not by verb (`.search` is a read).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Provision,
    /// Reading only.
    Read,
}

/// Whether a key is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In force until it expires.
    Active,
    /// Taken back for good.
    Revoked,
}

impl Scope {
    /// The name in the table, in the authorizer's context and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Read => "read",
        }
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Provision, Self::Read].into_iter().find(|scope| scope.name() == name)
    }
}

impl Status {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }

    /// What people and applications are shown: that of an active one that has expired is `expired`.
    pub const fn shown(self, is_expired: bool) -> &'static str {
        match self {
            Self::Active if is_expired => "expired",
            status => status.name(),
        }
    }

    /// The status of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Active, Self::Revoked].into_iter().find(|status| status.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A bearer key: the item `K#<sha256>`/`KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The hash of its text, which is its place in the table.
    pub hash: KeyHash,
    /// Whose data it opens.
    pub tenant: TenantId,
    /// Its public name in logs, events and commands.
    pub key_id: String,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Whether it is in force.
    pub status: Status,
    /// When it was made.
    pub created: OffsetDateTime,
    /// From when on it is refused.
    pub expires: Option<OffsetDateTime>,
    /// How long it was to live when it was made, if a rotation has shortened that.
    pub planned_life: Option<PlannedLife>,
    /// The user that `/Me` stands for.
    pub user: Option<Uuid>,
    /// Counts its changes.
    pub version: u64,
}

/// How long a key is to live. A rotation gives the successor the life that the key was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedLife {
    /// It does not expire.
    Unlimited,
    /// So many seconds.
    Seconds(i64),
}

/// The attribute with the planned life: seconds, or 0 for a key that was not to expire.
pub const PLANNED_LIFE: &str = "plannedLife";

impl PlannedLife {
    /// The life of a key that was made at `created`, ends at `expires`, and has this one noted.
    pub fn of(noted: Option<Self>, created: OffsetDateTime, expires: Option<OffsetDateTime>) -> Self {
        let own =
            expires.map_or(Self::Unlimited, |end| Self::Seconds((end - created).whole_seconds().max(1)));
        noted.unwrap_or(own)
    }

    /// When a key ends that is made now. `None` for one that does not end, or not before the year 10000.
    pub fn end(self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        match self {
            Self::Unlimited => None,
            Self::Seconds(seconds) => now.checked_add(Duration::seconds(seconds)),
        }
    }

    /// The value of [`PLANNED_LIFE`].
    pub fn value(self) -> AttributeValue {
        let seconds = match self {
            Self::Unlimited => 0,
            Self::Seconds(seconds) => seconds,
        };
        AttributeValue::N(seconds.to_string())
    }

    /// Reads it from an item; `None` if no rotation has noted it.
    pub(super) fn from_item(item: &Item) -> Option<Self> {
        Some(match get_number(item, PLANNED_LIFE)? {
            0 => Self::Unlimited,
            seconds => Self::Seconds(seconds),
        })
    }
}

impl KeyRecord {
    /// Whether it has expired.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The item's attributes, without its key.
    pub fn to_item(&self) -> Item {
        let mut item = Item::from([
            text("tenant", self.tenant.as_str()),
            text("keyId", &self.key_id),
            text("name", &self.name),
            text("scope", self.scope.name()),
            text("status", self.status.name()),
            text("created", clock::text(self.created)),
            number("ver", self.version),
        ]);
        item.extend(self.expires.map(|expires| text("expires", clock::text(expires))));
        item.extend(self.planned_life.map(|life| (PLANNED_LIFE.to_owned(), life.value())));
        item.extend(self.user.map(|user| text("user", user.to_string())));
        item
    }

    /// Reads the item back.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when an attribute is missing or not of its form: a key that cannot
    /// be read whole opens nothing.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let hash = must_text(item, "pk")?.strip_prefix(keys::BEARERS).ok_or_else(|| broken("pk"))?;
        Ok(Self {
            hash: KeyHash::from_stored(hash),
            tenant: must_text(item, "tenant")?.parse().map_err(|_| broken("tenant"))?,
            key_id: must_text(item, "keyId")?.to_owned(),
            name: must_text(item, "name")?.to_owned(),
            scope: Scope::named(must_text(item, "scope")?).ok_or_else(|| broken("scope"))?,
            status: Status::named(must_text(item, "status")?).ok_or_else(|| broken("status"))?,
            created: moment(must_text(item, "created")?).ok_or_else(|| broken("created"))?,
            // A value of another type than text must not pass for none.
            expires: optional(item, "expires", moment)?,
            planned_life: PlannedLife::from_item(item),
            user: optional(item, "user", parse_id)?,
            // Keys of version 0.1.0 have none.
            version: get_number(item, "ver").unwrap_or(1),
        })
    }

    /// The attributes of the item in the tenant's list of keys.
    pub fn to_listing(&self) -> Item {
        Item::from([text("hash", self.hash.as_str()), text("name", &self.name)])
    }
}

pub(super) fn optional<T>(
    item: &Item,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(value)) => read(value).map(Some).ok_or_else(|| broken(name)),
        Some(_) => Err(broken(name)),
    }
}

pub(super) fn broken(attribute: &str) -> StoreError {
    StoreError::Broken(format!("a bearer key's {attribute} cannot be read"))
}

/// A moment as the table has it.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    clock::parse(text)
}

/// A key in its tenant's list: the item `TENANT#t`/`KEY#<key id>`, which only the operator's tool
/// writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyListing {
    /// The key's id.
    pub key_id: String,
    /// Where the key itself is.
    pub hash: KeyHash,
}

impl KeyListing {
    /// Reads the item.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when an attribute is missing.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let key_id = must_text(item, "sk")?.strip_prefix(keys::BEARER_LISTING).ok_or_else(|| broken("id"))?;
        Ok(Self { key_id: key_id.to_owned(), hash: KeyHash::from_stored(must_text(item, "hash")?) })
    }

    /// Reads what version 0.1.0 kept of a key in `T#t#K`. The function that serves SCIM can write
    /// there, so nothing of it is true before the key itself says the same. `None` where the item
    /// tells no more than when the key was used, or holds no hash.
    pub fn of_0_1_0(item: &Item) -> Option<Self> {
        let (key_id, hash) = (get_text(item, "sk")?, get_text(item, "hash")?);
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Self { key_id: key_id.to_owned(), hash: KeyHash::from_stored(hash) })
    }

    /// Whether a key is the one that the list means.
    pub fn names_record(&self, record: &KeyRecord, tenant: &TenantId) -> bool {
        record.hash == self.hash && record.key_id == self.key_id && record.tenant == *tenant
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::store::item::with_key;

    fn record() -> KeyRecord {
        KeyRecord {
            hash: KeyHash::from_stored("00ff"),
            tenant: "acme".parse().expect("a tenant"),
            key_id: "key_1".to_owned(),
            name: "Okta".to_owned(),
            scope: Scope::Read,
            status: Status::Active,
            created: datetime!(2026-01-02 03:04:05.678 UTC),
            expires: Some(datetime!(2027-01-01 0:00 UTC)),
            planned_life: Some(PlannedLife::Unlimited),
            user: parse_id("01890a5d-ac96-774b-bcce-b302099a8057"),
            version: 3,
        }
    }

    fn stored_item(record: &KeyRecord) -> Item {
        let mut item = with_key(&keys::bearer(record.hash.as_str()));
        item.extend(record.to_item());
        item
    }

    #[test]
    fn a_record_reads_back() {
        let bare = KeyRecord { expires: None, user: None, status: Status::Revoked, ..record() };
        for record in [record(), bare] {
            assert_eq!(KeyRecord::from_item(&stored_item(&record)).expect("whole"), record);
        }
    }

    #[test]
    fn what_cannot_be_read_opens_nothing() {
        for name in ["pk", "tenant", "keyId", "name", "scope", "status", "created"] {
            let mut item = stored_item(&record());
            item.remove(name);
            assert!(KeyRecord::from_item(&item).is_err(), "without {name}");
        }
        for name in ["pk", "tenant", "scope", "status", "created", "expires", "user"] {
            for value in [AttributeValue::S("?".to_owned()), AttributeValue::Null(true)] {
                let mut item = stored_item(&record());
                item.insert(name.to_owned(), value);
                assert!(KeyRecord::from_item(&item).is_err(), "another {name}");
            }
        }
    }
}
