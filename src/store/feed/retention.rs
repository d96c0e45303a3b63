//! The end of the retention of old changes. A change whose retention has ended cannot be read any more,
//! whether DynamoDB has deleted its page yet or not.

use std::time::Instant;

use super::kept::KeptDays;
use super::page::FeedPage;
use super::state::FeedState;
use crate::limits::{FEED_BUCKET, FEED_PAGES_PER_READ, MAX_FEED_PAGES_PER_READ, RETENTION_RUN};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::keys;

const SECONDS_PER_DAY: u64 = 86_400;

/// Notes in the table for how many days the deployment keeps changes, if that is not what holds there. Returns what
/// holds from now on.
async fn note_days(table: &Table, before: KeptDays, days: u64, now: u64) -> Result<KeptDays, StoreError> {
    let kept = before.with_days(days, now);
    if kept == before {
        return Ok(kept);
    }
    match table.transact(|| vec![kept.note(before)]).await {
        Ok(()) => Ok(kept),
        // Another worker was faster. If it has other days, the next minute decides.
        Err(StoreError::Refused(_)) => Ok(FeedState::fetch(table).await?.kept),
        Err(failed) => Err(failed),
    }
}

/// Raises the number of the oldest change that can be read above the changes whose retention has ended. `days` is for
/// how many days the deployment keeps changes, and `now` is in seconds since 1970. Returns the number. If there are too
/// many for one run, the next one goes on.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn end_retention(table: &Table, days: u64, now: u64) -> Result<u64, StoreError> {
    let state = FeedState::fetch(table).await?;
    let kept = note_days(table, state.kept, days, now).await?;
    let until = Instant::now() + RETENTION_RUN;
    let (mut floor, mut count) = (state.floor, FEED_PAGES_PER_READ);
    loop {
        let after = Some(keys::feed_page(floor - 1).sk);
        let range = Range { after, limit: Some(count), ..Range::default() };
        let pages = table.query(&keys::feed_bucket(floor), &range).await?;
        let before = floor;
        for item in &pages.items {
            let page = FeedPage::from_item(item)?;
            // DynamoDB has deleted the pages before this one. A page that is not visible yet is no older than
            // some seconds.
            if page.first > floor && page.written + SECONDS_PER_DAY < now {
                floor = page.first;
            }
            if page.first != floor || !kept.has_ended(page.written, now) {
                break;
            }
            floor = page.last + 1;
        }
        if pages.items.is_empty() {
            floor = state.near_end.min((floor / FEED_BUCKET + 1) * FEED_BUCKET).max(floor);
        }
        if floor == before || Instant::now() >= until {
            break;
        }
        count = (count * 2).min(MAX_FEED_PAGES_PER_READ);
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
