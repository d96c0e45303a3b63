//! The item that describes the feed, and where the feed ends.

use aws_sdk_dynamodb::types::AttributeValue;

use super::kept::KeptDays;
use super::page::FeedPage;
use crate::clock;
use crate::store::call::{Range, Table};
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::item::{Item, get_number, get_text, must_text, number, text};
use crate::store::keys;
use crate::store::transaction::Action;

/// What the feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedState {
    /// Its id. A table that is restored from a backup gets a feed with another id.
    pub id: String,
    /// The number of the oldest change that can be read.
    pub floor: u64,
    /// A number that is not behind the end: where the search for the end begins.
    pub near_end: u64,
    /// When the feed was made, in RFC 3339.
    pub created: String,
    /// For how many days its changes stay.
    pub kept: KeptDays,
}

/// Where the feed ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEnd {
    /// The number of the next change.
    pub next: u64,
    /// The last page; `None` if the feed is empty, or if its last page is gone or in an earlier partition.
    pub page: Option<FeedPage>,
}

impl FeedState {
    fn from_item(item: &Item) -> Result<Self, StoreError> {
        let floor = get_number(item, "floor").unwrap_or(1);
        Ok(Self {
            id: must_text(item, "id")?.to_owned(),
            floor,
            // The pages below the floor may be gone, up to the end of the feed.
            near_end: floor.max(get_number(item, "nearEnd").unwrap_or(1)),
            created: get_text(item, "created").unwrap_or_default().to_owned(),
            kept: KeptDays::from_item(item),
        })
    }

    /// Reads the state. The first reader or writer of a table creates it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(table: &Table) -> Result<Self, StoreError> {
        let key = keys::feed_state();
        loop {
            if let Some(item) = table.get(&key).await? {
                return Self::from_item(&item);
            }
            let id = Self::new_id()?;
            let item = Item::from([
                text("id", &id),
                number("floor", 1),
                number("nearEnd", 1),
                text("created", clock::timestamp()),
            ]);
            let create = || {
                vec![Action::put(key.clone(), item.clone()).only_if(Expression::absent(), Refusal::Exists)]
            };
            match table.transact(create).await {
                Ok(()) | Err(StoreError::Refused(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Makes an id for a feed.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the operating system gives no randomness.
    pub(super) fn new_id() -> Result<String, StoreError> {
        Ok(format!("{:016x}", getrandom::u64().map_err(|e| StoreError::Broken(e.to_string()))?))
    }

    /// The action that gives the feed another id. The search for the end begins at `next`. It is refused as
    /// [`Refusal::Changed`] if the feed has another id than this one.
    pub(super) fn renew(&self, id: &str, next: u64) -> Action {
        let update = Expression::update()
            .set("id", AttributeValue::S(id.to_owned()))
            .set("nearEnd", AttributeValue::N(next.to_string()))
            .set("renewed", AttributeValue::S(clock::timestamp()));
        let unchanged = Expression::equals("id", AttributeValue::S(self.id.clone()));
        Action::update(keys::feed_state(), update).only_if(unchanged, Refusal::Changed)
    }

    /// Finds the end of the feed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn find_end(&self, table: &Table) -> Result<FeedEnd, StoreError> {
        let mut end = FeedEnd { next: self.near_end, page: None };
        loop {
            let bucket = keys::feed_bucket(end.next);
            let range = Range { backwards: true, limit: Some(1), ..Range::default() };
            let last = table.query(&bucket, &range).await?;
            let Some(page) = last.items.first().map(FeedPage::from_item).transpose()? else { return Ok(end) };
            end = FeedEnd { next: (page.last + 1).max(end.next), page: Some(page) };
            // The next page is in another partition only if its number begins one.
            if keys::feed_bucket(end.next) == bucket {
                return Ok(end);
            }
        }
    }

    /// The action that notes where the search for the end may begin.
    pub fn move_near_end(next: u64) -> Action {
        let update = Expression::update().set("nearEnd", AttributeValue::N(next.to_string()));
        Action::update(keys::feed_state(), update).only_if(Expression::exists(), Refusal::Gone)
    }

    /// The action that raises the number of the oldest change that can be read. It is refused as
    /// [`Refusal::Changed`] if the number is this one or a higher one already.
    pub(super) fn raise_floor(floor: u64) -> Action {
        let value = AttributeValue::N(floor.to_string());
        let update = Expression::update().set("floor", value.clone());
        let is_lower = Expression::new("floor < :raised").value(":raised", value);
        Action::update(keys::feed_state(), update).only_if(is_lower, Refusal::Changed)
    }
}
