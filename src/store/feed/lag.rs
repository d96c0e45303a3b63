//! How far the feed is behind the changes, and how far a consumer is behind the feed.

use futures_util::future::try_join_all;

use super::outbox::QueuedChange;
use super::reader::{ChangeQuery, FeedPosition, FeedReader, LostPosition};
use crate::clock;
use crate::limits::{OUTBOX_ITEMS_FOR_LAG, OUTBOX_SHARDS, UNREADABLE_CHANGE_SECONDS};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::keys;

/// How old the oldest change is that is not in the feed yet, in seconds; 0 if the outbox is empty. It looks at the first
/// items of each part of the outbox. An item that cannot be read counts as [`UNREADABLE_CHANGE_SECONDS`] old: it stays in the outbox, so
/// the alarm on the lag should tell of it.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn seconds_behind(table: &Table) -> Result<u64, StoreError> {
    let range = Range { limit: Some(OUTBOX_ITEMS_FOR_LAG), ..Range::default() };
    let shards: Vec<String> = (0..OUTBOX_SHARDS).map(keys::outbox::outbox_shard).collect();
    let pages = try_join_all(shards.iter().map(|shard| table.query(shard, &range))).await?;
    let mut oldest: Option<u64> = None;
    for item in pages.iter().flat_map(|page| &page.items) {
        let age = match QueuedChange::from_item(item) {
            Ok(queued) => queued.waits_since().and_then(age_of),
            Err(_) => Some(UNREADABLE_CHANGE_SECONDS),
        };
        oldest = oldest.max(age);
    }
    Ok(oldest.unwrap_or(0))
}

/// The age of the first change after a position; 0 if there is none. A position in another feed, or before the oldest
/// change that is kept, counts as the place before that change.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn consumer_seconds_behind(
    reader: &FeedReader<'_>,
    position: &FeedPosition,
) -> Result<u64, StoreError> {
    let query = ChangeQuery { limit: 1, tenant: None };
    let list = match reader.read(position, query).await? {
        Ok(list) => list,
        Err(LostPosition::OtherFeed | LostPosition::TooOld) => {
            reader.read(&reader.oldest(), query).await?.unwrap_or_default()
        }
        Err(LostPosition::BeyondEnd) => return Ok(0),
    };
    Ok(list.changes.first().and_then(|change| age_of(&change.time)).unwrap_or(0))
}

/// How many seconds ago a time in RFC 3339 was.
fn age_of(time: &str) -> Option<u64> {
    let time = clock::parse(time)?;
    Some(u64::try_from((clock::now() - time).whole_seconds()).unwrap_or(0))
}
