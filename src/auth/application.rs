//! What the table knows of an application key: never its text.

use std::fmt;

use time::OffsetDateTime;

use super::key::KeyHash;
use super::record::{PLANNED_LIFE, PlannedLife, Status, broken, moment, optional};
use crate::clock;
use crate::store::error::StoreError;
use crate::store::item::{Item, get_number, must_text, number, text};
use crate::store::keys;

/// What an application key may do, for every tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationScope {
    /// Reading everything.
    Read,
    /// Reading, and making tenants and keys, and changing role assignments.
    Manage,
}

impl ApplicationScope {
    /// The name in the table, in the authorizer's context and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Manage].into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for ApplicationScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An application key: the item `A#<sha256>`/`KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationRecord {
    /// The hash of its text, which is its place in the table.
    pub hash: KeyHash,
    /// Its public name in logs, events and commands: `app_…`.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: ApplicationScope,
    /// Whether it is in force.
    pub status: Status,
    /// When it was made.
    pub created: OffsetDateTime,
    /// From when on it is refused.
    pub expires: Option<OffsetDateTime>,
    /// How long it was to live when it was made, if a rotation has shortened that.
    pub planned_life: Option<PlannedLife>,
    /// Counts its changes.
    pub version: u64,
}

impl ApplicationRecord {
    /// The item's attributes besides its key.
    pub fn to_item(&self) -> Item {
        let mut item = Item::from([
            text("appId", &self.id),
            text("name", &self.name),
            text("scope", self.scope.name()),
            text("status", self.status.name()),
            text("created", clock::text(self.created)),
            number("ver", self.version),
        ]);
        item.extend(self.expires.map(|expires| text("expires", clock::text(expires))));
        item.extend(self.planned_life.map(|life| (PLANNED_LIFE.to_owned(), life.value())));
        item
    }

    /// Reads the item back.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if an attribute is missing or not of its form: such a key opens nothing.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let hash = must_text(item, "pk")?.strip_prefix(keys::APPLICATION_KEYS).ok_or_else(|| broken("pk"))?;
        Ok(Self {
            hash: KeyHash::from_stored(hash),
            id: must_text(item, "appId")?.to_owned(),
            name: must_text(item, "name")?.to_owned(),
            scope: ApplicationScope::named(must_text(item, "scope")?).ok_or_else(|| broken("scope"))?,
            status: Status::named(must_text(item, "status")?).ok_or_else(|| broken("status"))?,
            created: moment(must_text(item, "created")?).ok_or_else(|| broken("created"))?,
            expires: optional(item, "expires", moment)?,
            planned_life: PlannedLife::from_item(item),
            version: get_number(item, "ver").ok_or_else(|| broken("version"))?,
        })
    }

    /// The attributes of the item in the list of application keys.
    pub fn to_listing(&self) -> Item {
        Item::from([text("hash", self.hash.as_str())])
    }

    /// Whether it has expired at `now`.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use time::macros::datetime;

    use super::*;
    use crate::store::item::with_key;

    fn stored() -> (ApplicationRecord, Item) {
        let record = ApplicationRecord {
            hash: KeyHash::from_stored("00ff"),
            id: "app_1".to_owned(),
            name: "portal".to_owned(),
            scope: ApplicationScope::Manage,
            status: Status::Active,
            created: datetime!(2026-01-02 03:04:05.678 UTC),
            expires: Some(datetime!(2027-01-01 0:00 UTC)),
            planned_life: Some(PlannedLife::Seconds(31_363_200)),
            version: 3,
        };
        let mut item = with_key(&keys::application("00ff"));
        item.extend(record.to_item());
        (record, item)
    }

    #[test]
    fn a_record_reads_back_and_what_cannot_be_read_opens_nothing() {
        let (record, item) = stored();
        assert_eq!(ApplicationRecord::from_item(&item).expect("whole"), record);
        for name in ["pk", "appId", "name", "scope", "status", "created", "ver"] {
            let mut item = item.clone();
            item.remove(name);
            assert!(ApplicationRecord::from_item(&item).is_err(), "without {name}");
        }
        for name in ["pk", "scope", "status", "created", "expires", "ver"] {
            for value in [AttributeValue::S("?".to_owned()), AttributeValue::Null(true)] {
                let mut item = item.clone();
                item.insert(name.to_owned(), value);
                assert!(ApplicationRecord::from_item(&item).is_err(), "another {name}");
            }
        }
    }
}
