//! The end of the retention of old changes. A change whose retention has ended cannot be read any more,
//! whether DynamoDB has deleted its page yet or not.

use super::page::FeedPage;
use super::state::FeedState;
use crate::limits::{FEED_BUCKET, FEED_PAGES_PER_READ, FEED_RETENTION_DAYS};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::keys;

const SECONDS_PER_DAY: u64 = 86_400;

/// Raises the number of the oldest change that can be read above the changes whose retention has ended. `now`
/// is in seconds since 1970. Returns the number.
///
/// # Errors
/// Those of the table.
pub async fn end_retention(table: &Table, now: u64) -> Result<u64, StoreError> {
    let state = FeedState::fetch(table).await?;
    let kept_from = now.saturating_sub(FEED_RETENTION_DAYS * SECONDS_PER_DAY);
    let mut floor = state.floor;
    loop {
        let after = Some(keys::feed_page(floor - 1).sk);
        let range = Range { after, limit: Some(FEED_PAGES_PER_READ), ..Range::default() };
        let pages = table.query(&keys::feed_bucket(floor), &range).await?;
        let before = floor;
        for item in &pages.items {
            let page = FeedPage::from_item(item)?;
            // DynamoDB has deleted the pages before this one. A page that is not visible yet is no older than
            // some seconds.
            if page.first > floor && page.written + SECONDS_PER_DAY < now {
                floor = page.first;
            }
            if page.first != floor || page.written >= kept_from {
                break;
            }
            floor = page.last + 1;
        }
        if pages.items.is_empty() {
            floor = state.near_end.min((floor / FEED_BUCKET + 1) * FEED_BUCKET).max(floor);
        }
        if floor == before {
            break;
        }
    }
    if floor > state.floor {
        match table.transact(|| vec![FeedState::raise_floor(floor)]).await {
            // Another worker has raised it as far or further.
            Err(StoreError::Refused(_)) => return Ok(FeedState::fetch(table).await?.floor),
            outcome => outcome?,
        }
    }
    Ok(floor)
}
