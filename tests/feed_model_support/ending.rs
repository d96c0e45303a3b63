//! When the work of a play ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rollcall::limits::OUTBOX_SHARDS;
use rollcall::store::call::Table;
use rollcall::store::feed::reader::FeedReader;
use rollcall::store::keys;

use super::setting;

/// The work ends when its time is over and there are FEED_CHANGES, so that a busy machine needs more time and
/// shows no less. It also ends after ten times its time, and then the play fails.
#[derive(Clone)]
pub struct Ending {
    earliest: Instant,
    over: Arc<AtomicBool>,
}

impl Ending {
    /// An ending for work that begins now. `seconds` is the shortest time of the work.
    pub fn after(table: &Table, seconds: u64) -> Self {
        let begun = Instant::now();
        let ending = Self { earliest: begun + Duration::from_secs(seconds), over: Arc::default() };
        let (table, watched) = (table.fresh(), ending.clone());
        let latest = begun + Duration::from_secs(seconds * 10);
        tokio::spawn(async move {
            tokio::time::sleep_until(watched.earliest.into()).await;
            // Not all items of the outbox are changes.
            let enough = least_changes() * 11 / 10;
            while Instant::now() < latest && count_changes(&table).await < enough {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            watched.over.store(true, Ordering::Relaxed);
        });
        ending
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How long the work goes on at least.
    pub fn shortest_rest(&self) -> Duration {
        self.earliest.saturating_duration_since(Instant::now())
    }
}

/// How many changes a play must have at least.
pub fn least_changes() -> u64 {
    setting("FEED_CHANGES", 100)
}

/// The changes of the feed, and those that are to come into it.
async fn count_changes(table: &Table) -> u64 {
    let reader = FeedReader::open(table).await.expect("a feed");
    let mut count = reader.end().await.expect("an end").next - 1;
    for shard in 0..OUTBOX_SHARDS {
        count += table.count(&keys::outbox::outbox_shard(shard)).await.expect("a count");
    }
    count
}
