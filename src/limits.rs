//! Every limit of Rollcall, with its unit and its reason. Error texts take their numbers from here.
//!
//! The limits stand by layer, the lowest layer first.

use std::time::Duration;

// The table (`store`).

/// The most actions in one transaction: DynamoDB's limit.
pub const MAX_ACTIONS_PER_TX: usize = 100;

/// The most member changes in one transaction. Each takes two actions. The other ten actions are for
/// the group, its claims and look-ups, and the event.
pub const MAX_MEMBER_CHANGES_PER_TX: usize = 45;

/// The most groups that one resource may be a direct member of: their ids are in the resource's item,
/// which holds 400 KB.
pub const MAX_GROUPS_PER_MEMBER: usize = 1_000;

/// The most administrators of a root team: they are in one item, which holds 400 KB.
pub const MAX_ADMINS: usize = 1_000;

/// How long after a change a reader must expect to have read some items from before the change and
/// others from after it. A request takes 29 seconds at most.
pub const SETTLE_GRACE: Duration = Duration::from_secs(60);

/// After how many seconds a staged change is aborted by the worker: its request has ended long before.
pub const MAX_STAGED_SECONDS: u64 = 3_600;

/// How often an attempt that meets a conflict is made, and how long the pauses between attempts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimit {
    /// The most attempts, the first one included.
    pub attempts: u32,
    /// How many attempts are made before the first pause.
    pub attempts_before_pause: u32,
    /// The most milliseconds of the first pause. Each further pause may be twice as long, up to
    /// [`MAX_PAUSE_MS`]. 0 for no pauses.
    pub first_pause_ms: u64,
}

impl RetryLimit {
    /// This many attempts without pauses between them. For attempts whose calls pause on their own.
    pub const fn without_pauses(attempts: u32) -> Self {
        Self { attempts, attempts_before_pause: attempts, first_pause_ms: 0 }
    }

    /// The most milliseconds to pause after `made` attempts.
    pub const fn longest_pause_ms(self, made: u32) -> u64 {
        if made < self.attempts_before_pause || self.first_pause_ms == 0 {
            return 0;
        }
        let doublings = made - self.attempts_before_pause;
        // With six doublings, a first pause of 8 ms or more is longer than `MAX_PAUSE_MS`.
        let pause = self.first_pause_ms << if doublings < 6 { doublings } else { 6 };
        if pause < MAX_PAUSE_MS { pause } else { MAX_PAUSE_MS }
    }
}

/// The longest pause between two attempts, in milliseconds. Longer pauses cost a request more time than
/// they save attempts.
pub const MAX_PAUSE_MS: u64 = 500;

/// A transaction that met another one is sent again. The eleven pauses take some 1.6 seconds together.
pub const TRANSACTION_RETRIES: RetryLimit =
    RetryLimit { attempts: 12, attempts_before_pause: 1, first_pause_ms: 10 };

/// The part of a batch that DynamoDB left out is asked for again. DynamoDB leaves a part out if the table is
/// busy or if the answer has 16 MB.
pub const BATCH_RETRIES: RetryLimit =
    RetryLimit { attempts: 8, attempts_before_pause: 1, first_pause_ms: 10 };

/// A write of a large change is tried again while the table is busy. Its time limits it, so the number of
/// attempts does not.
pub const BUSY_RETRIES: RetryLimit =
    RetryLimit { attempts: u32::MAX, attempts_before_pause: 1, first_pause_ms: 10 };

/// A group that changed while it was read is read again. Most changes are over after one or two reads.
pub const GROUP_READ_RETRIES: RetryLimit =
    RetryLimit { attempts: 10, attempts_before_pause: 1, first_pause_ms: 20 };

/// The erasure of a deactivated account is tried again when another resource takes its name meanwhile.
pub const ERASURE_RETRIES: RetryLimit =
    RetryLimit { attempts: 5, attempts_before_pause: 1, first_pause_ms: 20 };

/// A transaction of a large change is built again when an item that it writes has changed. Each attempt
/// sends the transaction as often as [`TRANSACTION_RETRIES`] allows.
pub const LARGE_CHANGE_RETRIES: RetryLimit = RetryLimit::without_pauses(10);

/// The most keys in one BatchGetItem: DynamoDB's limit.
pub const MAX_KEYS_PER_BATCH_GET: usize = 100;

/// How many BatchGetItem calls of one read run side by side, for 1,600 items.
pub const BATCH_GETS_AT_ONCE: usize = 16;

/// The most items in one BatchWriteItem: DynamoDB's limit.
pub const MAX_ITEMS_PER_BATCH_WRITE: usize = 25;

/// How many BatchWriteItem calls of one write run side by side. They mostly go to one partition, which
/// takes 1,000 write units a second.
pub const BATCH_WRITES_AT_ONCE: usize = 4;

/// How many bytes of items a reader (`store/reader.rs`) asks for at once, as far as it knows their
/// size: the most that one BatchGetItem answers. Read as JSON, they take some 40 MB of memory.
pub const READER_BYTES_AT_ONCE: usize = 16 * 1024 * 1024;

/// How many calls of a reader run side by side while the size of the items is unknown. Two answers of the
/// largest size take 80 MB of memory.
pub const READER_CALLS_AT_FIRST: usize = 2;

/// How many calls of a reader run side by side if the items are small. If all their items are large after
/// all, the answers take 160 MB of memory.
pub const MAX_READER_CALLS_AT_ONCE: usize = 4;

/// How many groups are read at once for what users show of them. A group is larger than what is kept of
/// it, so not all are held at one moment.
pub const TEAMS_READ_AT_ONCE: usize = 1_600;

/// How many pages of one group are read side by side. The longer the read takes, the more changes come
/// between.
pub const GROUP_PAGES_AT_ONCE: usize = 8;

/// After how many reads of a changing group we find out whether it is changing at all. Most changes are
/// over by then, and finding out costs two calls.
pub const GROUP_READS_BEFORE_CHECK: u32 = 3;

/// The most different values of one indexed attribute. It bounds a transaction, because an update may
/// delete as many look-ups as it writes.
pub const MAX_INDEXED_VALUES: usize = 40;

/// The most groups that a deleted resource leaves in one transaction of a pending change. Each takes two
/// actions.
pub const MAX_DETACHMENTS_PER_TX: usize = 40;

/// The most chunks from which the transaction that deletes a resource takes the resource out. Each takes
/// one of its 100 actions. The changes of further chunks are finished first.
pub const MAX_CHUNKS_PER_DELETION: usize = 20;

/// How many actions a deletion takes, without those of its look-ups, its memberships and the pending
/// changes that it settles.
pub const DELETION_OWN_ACTIONS: usize = 12;

/// How many chunks of a change are written side by side. The memberships of a group are in one
/// partition, which takes 1,000 write units a second. A chunk takes at least 90 of them.
pub const CHUNKS_AT_ONCE: usize = 8;

/// How long one round of the worker is. The next round, a minute after it began, does the rest.
pub const WORKER_ROUND: Duration = Duration::from_secs(45);

/// How long a turn of one change is in the worker, so that none starves beside a larger one.
pub const WORKER_TURN: Duration = Duration::from_secs(5);

/// How many changes the worker applies side by side.
pub const WORKER_CHANGES_AT_ONCE: usize = 4;

/// How many deactivated accounts to erase are read with one call.
pub const ERASURES_PER_PAGE: i32 = 100;

/// How long an event stays in the table, in days. Receivers that were down for so long can read it.
pub const EVENT_RETENTION_DAYS: i64 = 90;

/// The most member ids that one event carries, added and removed together: as many as one transaction
/// changes.
pub const MAX_MEMBERS_PER_EVENT: usize = MAX_MEMBER_CHANGES_PER_TX;

/// How long a client may wait between two pages of a list by `startIndex`, in seconds.
pub const PAGE_CHECKPOINT_LIFE_SECONDS: u64 = 3_600;

/// How many tenants' cursor keys a process keeps in memory: some 1 MB.
pub const MAX_CURSOR_KEYS_KEPT: usize = 10_000;

/// How many seconds are counted together for the deactivation limit. A part of an hour.
pub const DEACTIVATION_SPAN_SECONDS: u64 = 300;

/// How many partitions hold the events of one day of a tenant. One partition takes 1,000 write units a
/// second.
pub const EVENT_SHARDS: u8 = 4;

/// How many partitions hold the erasure dates of deactivated accounts. All dates of one tenant are in the
/// same partition.
pub const EXPIRY_SHARDS: u8 = 4;

/// How many partitions hold the pending changes. All changes of one tenant are in the same partition. The
/// worker reads each partition every minute.
pub const PENDING_CHANGE_SHARDS: u8 = 16;

/// How many items a counter is spread over, so that creations seldom meet.
pub const COUNTER_SHARDS: u64 = 8;
