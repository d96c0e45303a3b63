//! Limits of the change feed (`store/feed/`).

use std::time::Duration;

/// How long a change stays in the feed, in days, unless the parameter `ChangeRetentionDays` says otherwise.
pub const DEFAULT_CHANGE_RETENTION_DAYS: u64 = 90;

/// The fewest days. A webhook that fails is disabled after three days, and goes on where it stopped when it is enabled
/// again. So there are four days left to enable it.
pub const MIN_CHANGE_RETENTION_DAYS: u64 = 7;

/// The most days: ten years.
pub const MAX_CHANGE_RETENTION_DAYS: u64 = 3_650;

/// How long one run looks for changes whose retention has ended. The next run goes on. After the deployment has set
/// fewer days, there are many.
pub const RETENTION_RUN: Duration = Duration::from_secs(5);

/// How long a page of the feed stays in the table after its changes can no longer be read, in days. Then
/// DynamoDB deletes it at a time of its own.
pub const FEED_DELETION_MARGIN_DAYS: u64 = 7;

/// How many partitions the outbox has. One partition takes 1,000 write units a second, and a change takes
/// four.
pub const OUTBOX_SHARDS: u8 = 4;

/// How long an operator is told to wait, in seconds, if the last changes of a deleted tenant are not in the
/// feed yet.
pub const OUTBOX_WAIT_SECONDS: u64 = 60;

/// How many changes are in one partition of the feed. A partition is found by the number of a change.
pub const FEED_BUCKET: u64 = 10_000;

/// The most items of one tenant that the sequencer takes from a shard of the outbox at once, so that
/// tenants take turns: four shards fill a page of one transaction.
pub const OUTBOX_ITEMS_PER_TURN: usize = 24;

/// The most items of one shard of the outbox that the sequencer looks at to find one that it may move.
pub const MAX_OUTBOX_ITEMS_SEEN: usize = 1_536;

/// How often the sequencer looks for what changes wait for, and for what that waits for, before it looks at more changes.
/// Each look reads at most 100 resources.
pub const OUTBOX_LOOKS_AHEAD: u32 = 64;

/// How many reads of the sequencer are under way at once.
pub const OUTBOX_READS_AT_ONCE: usize = 16;

/// How often the sequencer looks again when no change may enter the feed: transactions under way are over
/// after some of these looks.
pub const SEQUENCER_TRIES: u32 = 5;

/// The first pause between two looks of the sequencer. Each further pause is longer by it.
pub const SEQUENCER_PAUSE: Duration = Duration::from_millis(40);

/// How long a run of the sequencer is that a write has started. Further changes start further runs.
pub const SEQUENCER_RUN: Duration = Duration::from_secs(10);

/// The most departures that a group lists. Then a deletion puts them into the outbox. Each takes some 100 bytes of the
/// group's item, which every further deletion of a member pays for.
pub const MAX_DEPARTURES: usize = 50;

/// How many items of the largest size one transactional read takes: 4 MB.
pub const LARGEST_ITEMS_PER_READ: usize = 10;

/// The most changes of one page, unless one group alone has more departures. A departure takes some 80 bytes
/// of the 400 KB of a page.
pub const MAX_CHANGES_PER_PAGE: usize = 2_000;

/// How far back a snapshot position lies behind the end of the feed. By then everything that an earlier
/// change wrote is visible to every read, even if clocks differ by seconds.
pub const SNAPSHOT_DISTANCE: Duration = Duration::from_secs(60);

/// How many pages of the feed the first call reads. It shows how many changes a page has.
pub const FEED_PAGES_PER_READ: i32 = 8;

/// The most pages of the feed that a further call reads.
pub const MAX_FEED_PAGES_PER_READ: i32 = 500;

/// The most bytes of JSON in the changes of one answer, because an answer of Lambda has 6 MB.
pub const MAX_FEED_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The most changes in one answer.
pub const MAX_FEED_ANSWER_CHANGES: usize = 500;

/// After a restore, the numbers of changes go on at the next multiple of this. No deployment has so many changes
/// between a backup and its restore. JavaScript counts exactly up to nine million times as many.
pub const RENEWED_FEED_STEP: u64 = 1_000_000_000;
