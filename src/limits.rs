//! Every limit of Rollcall, with its unit and its reason. Error texts take their numbers from here.
//!
//! The limits stand by layer, the lowest layer first. Those of the application's side are in `limits/app.rs`,
//! of the change feed in `limits/feed.rs`, of deliveries in `limits/delivery.rs`, of clients and access tokens in
//! `limits/oauth.rs`, of running it in `limits/operating.rs`, of the operator's tool in `limits/admin.rs`, of what
//! answers and log lines tell in `limits/answers.rs`.

mod admin;
mod answers;
mod app;
mod delivery;
mod feed;
mod oauth;
mod operating;

use std::ops::RangeInclusive;
use std::time::Duration;

pub use self::admin::*;
pub use answers::*;
pub use app::*;
pub use delivery::*;
pub use feed::*;
pub use oauth::*;
pub use operating::*;

// Requests, answers and documents (`scim`).

/// The most resources on a page (`filter.maxResults`, RFC 7643 §5). A page is read at once and kept in memory.
pub const MAX_RESULTS: usize = 200;

/// The most operations in a Bulk request (`bulk.maxOperations`, RFC 7643 §5). They have 24 seconds together.
pub const MAX_BULK_OPERATIONS: usize = 1_000;

/// The most names of one operation of a Bulk request whose holders are read. An operation that gives more names runs beside
/// no other operation that gives or frees a name.
pub const MAX_BULK_OPERATION_NAMES: usize = 8;

/// The largest body of a Bulk request (`bulk.maxPayloadSize`, RFC 7643 §5): what 1,000 users with usual
/// attributes take.
pub const MAX_BULK_BODY_BYTES: usize = 1_048_576;

/// How long a cursor can be used (`pagination.cursorTimeout`, RFC 9865 §4). What a cursor refers to is
/// kept in the table for so long.
pub const CURSOR_TIMEOUT_SECONDS: u64 = 3_600;

/// The most operations in a PATCH, and the most attributes that they change: each may be compared with
/// all values of the resource.
pub const MAX_PATCH_OPERATIONS: usize = 10_000;

/// The longest filter.
pub const MAX_FILTER_BYTES: usize = 8_192;

/// The most parentheses and brackets within one another in a filter. The parser calls itself for each.
pub const MAX_FILTER_DEPTH: usize = 32;

/// The most comparisons in a filter, `pr` included. A scan evaluates all of them for each resource.
pub const MAX_FILTER_TERMS: usize = 256;

/// The most names in `attributes` and `excludedAttributes`. The built-in schemas define about 150
/// attributes and sub-attributes, so this leaves room for the operator's own.
pub const MAX_PROJECTION_NAMES: usize = 1_000;

/// The largest document of a resource, in bytes of compact JSON without a group's members. An item of the
/// table holds 400 KB, and the server's own attributes need some of it.
pub const MAX_DOCUMENT_BYTES: usize = 350 * 1024;

/// The longest text of a name by which resources are found (`userName`, `displayName`, `externalId`): names
/// are parts of keys of the table.
pub const MAX_NAME_CHARS: usize = 1_024;

/// The longest text of any other attribute. A document holds several.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The most values of a multi-valued attribute, except `members`. Values are compared with one another.
pub const MAX_ELEMENTS: usize = 5_000;

/// The longest `display` of a member. One item holds the `display` of many members.
pub const MAX_MEMBER_DISPLAY_CHARS: usize = 1_024;

/// The most values in a JSON text, names not counted. A value takes 72 bytes in memory and may take two
/// bytes in a text, so a body of 4 MB could ask for hundreds of megabytes. The members of the largest group
/// that a body holds are 200,000 values.
pub const MAX_JSON_VALUES: usize = 400_000;

/// The steps that one request may take. A step takes about 50 ns: looking at one JSON value, or at 32 bytes of
/// a text. All of them together take about two seconds of one processor.
pub const MAX_STEPS_PER_REQUEST: u64 = 40_000_000;

// The table (`store`).

/// The most actions in one transaction: DynamoDB's limit.
pub const MAX_ACTIONS_PER_TX: usize = 100;

/// The most member changes in one transaction. Each takes two actions. The other ten actions are for
/// the group, its claims and look-ups, and the event.
pub const MAX_MEMBER_CHANGES_PER_TX: usize = 45;

/// The most member ids that one change names, added and removed together: as many as one transaction
/// changes.
pub const MAX_MEMBERS_PER_CHANGE: usize = MAX_MEMBER_CHANGES_PER_TX;

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

/// A member that remembers this many parts of large changes, or more, is made to forget those that a later part of the
/// same group stands for.
pub const MAX_NAMED_PARTS: usize = 25;

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

/// How long a group must be unchanged before a reader concludes that its digest is wrong, or that a page of its members
/// is complete. The items of a transaction become visible within some milliseconds.
pub const GROUP_AT_REST: Duration = Duration::from_millis(500);

/// A change of a group that is younger may not be visible to every read yet. The clocks of two functions differ by a few
/// seconds at most.
pub const RECENT_GROUP_CHANGE: Duration = Duration::from_secs(10);

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

/// The renewal of a feed is tried again when a page was added meanwhile.
pub const RENEWAL_RETRIES: RetryLimit =
    RetryLimit { attempts: 10, attempts_before_pause: 1, first_pause_ms: 20 };

/// How many page checkpoints a process keeps in memory, some 200 bytes each. If there are more, it forgets all.
pub const MAX_PAGE_CHECKPOINTS_KEPT: usize = 1_000;

/// How long a client may wait between two pages of a list by `startIndex`, in seconds.
pub const PAGE_CHECKPOINT_LIFE_SECONDS: u64 = 3_600;

/// How many tenants' cursor keys a process keeps in memory: some 1 MB.
pub const MAX_CURSOR_KEYS_KEPT: usize = 10_000;

/// How many groups a process knows: with [`MAX_KNOWN_GROUP_BYTES`] each, and as JSON values, some 4 MB.
pub const MAX_KNOWN_GROUPS: usize = 256;

/// The largest document of a group that a process knows. Usual groups have a name and an `externalId`.
pub const MAX_KNOWN_GROUP_BYTES: usize = 4 * 1024;

/// The most roles that are assigned to a group that a process knows.
pub const MAX_KNOWN_GROUP_ROLES: usize = 20;

/// How long a request waits while others of its process change the same group. A change takes some
/// milliseconds, but up to 8 seconds where a large change is applied first.
pub const MAX_WAIT_FOR_TURN: Duration = Duration::from_secs(2);

/// How many seconds are counted together for the deactivation limit. A part of an hour.
pub const DEACTIVATION_SPAN_SECONDS: u64 = 300;

/// How many partitions hold the erasure dates of deactivated accounts. All dates of one tenant are in the
/// same partition.
pub const EXPIRY_SHARDS: u8 = 4;

/// How many partitions hold the pending changes. All changes of one tenant are in the same partition. The
/// worker reads each partition every minute.
pub const PENDING_CHANGE_SHARDS: u8 = 16;

/// How many items a counter is spread over, so that creations seldom meet.
pub const COUNTER_SHARDS: u64 = 8;

// The operations (`provider`).

/// A change is computed anew when the resource was changed meanwhile. Two attempts come without a pause:
/// the second one meets a conflict seldom.
pub const CHANGE_RETRIES: RetryLimit =
    RetryLimit { attempts: 12, attempts_before_pause: 2, first_pause_ms: 40 };

/// As [`CHANGE_RETRIES`], for a group. Many clients may add members to one group at once, and each attempt is
/// one transaction, also if it meets another one. The pauses take some seven seconds together. The first one is
/// longer than a transaction takes, so that 16 writers do not meet again.
pub const GROUP_CHANGE_RETRIES: RetryLimit =
    RetryLimit { attempts: 30, attempts_before_pause: 1, first_pause_ms: 40 };

/// The most members in a change that is written without reading them. If one of them is not as assumed, the
/// whole transaction was in vain, and each costs four write units.
pub const MAX_MEMBERS_UNREAD: usize = 10;

/// A changed group with more members is answered without a body, unless the client asks for members: to
/// read them would cost more than the change.
pub const MAX_MEMBERS_IN_CHANGE_ANSWER: u64 = 100;

/// A creation is tried again when a member or the holder of its name changed meanwhile.
pub const CREATION_RETRIES: RetryLimit =
    RetryLimit { attempts: 10, attempts_before_pause: 2, first_pause_ms: 40 };

/// A deletion is tried again when the resource was changed meanwhile. It is never given up early: the next
/// attempt may need another split of members and groups.
pub const DELETION_RETRIES: RetryLimit = RetryLimit::without_pauses(50);

/// How long a request begins new attempts at a change that others get in the way of. An attempt at a large change
/// takes seconds, and the answer must come within the 29 seconds of API Gateway.
pub const MAX_TRYING_IN_REQUEST: Duration = Duration::from_secs(12);

/// How long a request applies a committed large change. The worker does the rest. The answer must come
/// within the 29 seconds of API Gateway.
pub const MAX_APPLYING_IN_REQUEST: Duration = Duration::from_secs(8);

/// The most members in one answer: more exceed the 6 MB of a Lambda answer even when compressed.
pub const MAX_MEMBERS_IN_ANSWER: u64 = 200_000;

/// How many members are JSON values at once, before they are written as text. A JSON value takes four times
/// the memory of its text.
pub const MEMBERS_WRITTEN_AT_ONCE: usize = 5_000;

/// The most bytes of JSON in a list, before compression: groups with [`MAX_MEMBERS_IN_ANSWER`] members
/// together have some 36 MB.
pub const MAX_LIST_BYTES: usize = 40 * 1024 * 1024;

/// How many groups a query reads with their members at once.
pub const GROUPS_READ_AT_ONCE: usize = 8;

/// Groups with more members together are read one by one.
pub const MEMBERS_READ_AT_ONCE: u64 = 20_000;

/// How many resources a query evaluates before other requests of the process have their turn.
pub const RESOURCES_PER_TURN: usize = 16;

/// How long a query may read resources. The answer must come within the 29 seconds of API Gateway.
pub const MAX_SCAN_TIME: Duration = Duration::from_secs(20);

/// How many ids a scan takes from the list at once. The next ids are read while these are evaluated.
pub const MAX_STRIDE_IDS: usize = 1_600;

/// The fewest ids that a scan takes from the list at once.
pub const MIN_STRIDE_IDS: usize = 200;

/// For a page that skips more places, the total is read first: there may be no such page.
pub const MAX_SKIP_WITHOUT_TOTAL: u64 = 10_000;

/// The largest sort key that the table keeps for a cursor. An item may have 400 KB, and JSON can make a text
/// longer.
pub const MAX_SORT_KEY_BYTES: usize = 150 * 1024;

/// The most places that a page skips while a sorted query keeps items. Beyond, it keeps places and sort keys
/// alone, and reads the items of the page again.
pub const MAX_SKIP_WITH_ITEMS: usize = 1_000;

/// The most bytes of items that a query keeps for its page. It reads the others again.
pub const MAX_PAGE_ITEM_BYTES: usize = 8 * 1024 * 1024;

/// The most bytes of places and sort keys that a query keeps. One sort key can have 64 KB.
pub const MAX_SORT_KEYS_BYTES: usize = 32 * 1024 * 1024;

/// How many operations of a Bulk request run side by side.
pub const BULK_OPERATIONS_AT_ONCE: usize = 8;

/// After this time a Bulk request begins no further operation.
pub const MAX_BULK_BEGIN_TIME: Duration = Duration::from_secs(24);

/// After this time a Bulk request is answered, also if operations are still running. API Gateway waits 29 seconds.
pub const MAX_BULK_TIME: Duration = Duration::from_secs(27);

// Tenants (`auth`).

/// How long the value of an API key of API Gateway may be: a quota of API Gateway.
pub const USAGE_KEY_CHARS: RangeInclusive<usize> = 20..=128;

/// How long after a tenant was deleted its name cannot be given again. By then nothing may act for the
/// old tenant any more:
///
/// - 3,600 seconds: API Gateway caches an answer of the authorizer for so long at most.
/// - 29 seconds: a request takes so long at most.
/// - 300 seconds: the clocks of two operators may differ by so much.
pub const TENANT_NAME_GRACE_SECONDS: u64 = 3_600 + 29 + 300;

/// How long a deactivated account is kept, if the tenant has no setting of its own.
pub const DEFAULT_RETENTION_DAYS: u32 = 30;

// Bodies (`http`).

/// The largest request body, except that of a Bulk request. API Gateway passes on 10 MB and Lambda takes 6 MB,
/// in which the body is a string of JSON, perhaps in base64.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The largest answer of a Lambda function that answers in one piece: a quota of Lambda.
pub const MAX_BUFFERED_ANSWER_MB: usize = 6;

/// The largest answer of a Lambda function that streams it: a quota of Lambda.
pub const MAX_STREAMED_ANSWER_MB: usize = 200;

/// The part of the largest answer that is kept for the status and the headers.
pub const RESPONSE_HEAD_BYTES: usize = 16 * 1024;

/// Bodies of this size are compressed if the client accepts gzip. It takes time to compress a body.
pub const MIN_GZIP_BYTES: usize = 256 * 1024;

// Attempts of the operator's tool and of applications (`tenants`).

/// How often an assignment is computed again because the group has changed in the meantime.
pub const ASSIGNMENT_RETRIES: RetryLimit = RetryLimit::without_pauses(10);

/// A change of a role or an entitlement is computed again when another one of the same tenant came between.
pub const DEFINITION_RETRIES: RetryLimit =
    RetryLimit { attempts: 12, attempts_before_pause: 2, first_pause_ms: 20 };

/// How often a setting is written again because another setting has changed in the meantime.
pub const SETTING_RETRIES: RetryLimit = RetryLimit::without_pauses(5);
