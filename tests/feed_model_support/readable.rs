//! What the changes before the place of a snapshot have written can be read.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::join_all;
use rollcall::clock;
use rollcall::scim::resource_type::Kind;
use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};

use super::Dice;
use super::ending::Ending;
use super::mirror::{DISTANCE, store_of};

/// How long it rests between two looks: as long as the sequencer. What becomes visible late is soon visible.
const PAUSE: Duration = Duration::from_millis(5);
/// What is after a change that removes its resource.
const REMOVALS: [&str; 5] =
    ["user.deleted", "user.purged", "user.deactivated", "group.deleted", "tenant.deleted"];

/// Looks at each change as soon as a snapshot would begin after it, and reads its resource.
pub struct Watch {
    /// How many changes it looked at.
    pub count: usize,
    /// The changes whose resource was not there.
    missing: Vec<FeedChange>,
    /// Changes of the feed that a snapshot would not begin after yet.
    waiting: VecDeque<FeedChange>,
    seq: u64,
}

impl Watch {
    /// Looks at what comes into the feed beside the work, each time with another clock.
    pub async fn beside(table: Table, ending: Ending, mut dice: Dice) -> Self {
        let mut watch = Self { count: 0, missing: Vec::new(), waiting: VecDeque::new(), seq: 0 };
        while !ending.is_over() {
            clock::with_seconds_ahead(dice.seconds_ahead(), watch.look(&table)).await;
            tokio::time::sleep(PAUSE).await;
        }
        watch
    }

    async fn look(&mut self, table: &Table) {
        let reader = FeedReader::open(table).await.expect("a feed");
        let query = ChangeQuery { limit: 500, tenant: None };
        let list = reader.read(&reader.at(self.seq), query).await.expect("the table").expect("a position");
        self.seq = list.changes.last().map_or(self.seq, |change| change.seq);
        self.waiting.extend(list.changes);
        let place = reader.snapshot(DISTANCE).await.expect("a position").seq;
        let count = self.waiting.partition_point(|change| change.seq <= place);
        let before: Vec<FeedChange> = self.waiting.drain(..count).collect();
        self.count += before.len();
        // The newest change had the least time to become visible.
        let exist = join_all(before.iter().rev().map(|change| assert_visible(table, change))).await;
        let missing = before.into_iter().rev().zip(exist).filter(|(_, exists)| !exists);
        self.missing.extend(missing.map(|(change, _)| change));
    }

    /// Asserts that what was not there had been removed by its change or a later one.
    pub fn assert_removed(&self, changes: &[FeedChange], seed: u64) {
        for missing in &self.missing {
            let from = usize::try_from(missing.seq - 1).expect("a place");
            let removal = changes[from..].iter().find(|change| {
                let is_same =
                    change.resource_id == missing.resource_id || change.event_type == "tenant.deleted";
                let is_removal = REMOVALS.contains(&change.event_type.as_str());
                is_same && is_removal && change.incarnation == missing.incarnation
            });
            assert!(removal.is_some(), "seed {seed}, a snapshot after it lacks what it wrote: {missing:?}");
        }
    }
}

/// Returns whether the resource of a change is there. If it is, it is as the change left it, or newer. A change of
/// anything else than users and groups counts as visible.
async fn assert_visible(table: &Table, change: &FeedChange) -> bool {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == change.resource_type) else {
        return true;
    };
    let id = change.resource_id.parse().expect("an id");
    let record = store_of(table, &change.tenant).fetch(kind, id).await.expect("the table");
    if let Some(record) = &record {
        assert!(
            record.version >= change.version,
            "a snapshot after it reads version {}: {change:?}",
            record.version
        );
    }
    record.is_some()
}
