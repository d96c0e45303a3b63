//! The change feed, as tests read it.
#![allow(dead_code, clippy::expect_used)]

use std::time::{Duration, Instant};

use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};
use rollcall::store::feed::sequencer::{Sequencer, SequencerReport};
use serde_json::{Map, Value};

/// Runs the sequencer until the outbox is empty, or until nothing in it may enter the feed.
pub async fn sequence(table: &Table) -> SequencerReport {
    let until = Instant::now() + Duration::from_secs(60);
    Sequencer::new(&table.fresh()).run(until).await.expect("a run of the sequencer")
}

/// Every change of the feed, without running the sequencer.
pub async fn read_feed(table: &Table) -> Vec<FeedChange> {
    let reader = FeedReader::open(table).await.expect("a feed");
    let mut position = reader.oldest();
    let mut changes = Vec::new();
    loop {
        let query = ChangeQuery { limit: 500, tenant: None };
        let list = reader.read(&position, query).await.expect("the table").expect("a position");
        position = reader.at(list.seq);
        changes.extend(list.changes);
        if !list.more {
            return changes;
        }
    }
}

/// Every change of a tenant, as the JSON that readers of the feed get.
pub async fn changes_of(table: &Table, tenant: &str) -> Vec<Map<String, Value>> {
    sequence(table).await;
    let changes = read_feed(table).await.into_iter().filter(|change| change.tenant == tenant);
    let json = |change: FeedChange| serde_json::to_value(change).expect("JSON");
    changes.map(|change| json(change).as_object().cloned().expect("an object")).collect()
}
