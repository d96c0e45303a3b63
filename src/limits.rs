//! Every limit of Rollcall, with its unit and its reason. Error texts take their numbers from here.
//!
//! The limits stand by layer, the lowest layer first.

use std::ops::RangeInclusive;
use std::time::Duration;

// Requests, answers and documents (`scim`).

/// The most resources on a page (`filter.maxResults`, RFC 7643 §5). A page is read at once and kept in memory.
pub const MAX_RESULTS: usize = 200;

/// The most operations in a Bulk request (`bulk.maxOperations`, RFC 7643 §5). They have 24 seconds together.
pub const MAX_BULK_OPERATIONS: usize = 1_000;

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

/// The most groups that one resource may be a direct member of: their ids are in the resource's item,
/// which holds 400 KB.
pub const MAX_GROUPS_PER_MEMBER: usize = 1_000;

/// The most administrators of a root team: they are in one item, which holds 400 KB.
pub const MAX_ADMINS: usize = 1_000;

/// How long after a change a reader must expect to have read some items from before the change and
/// others from after it. A request takes 29 seconds at most.
pub const SETTLE_GRACE: Duration = Duration::from_secs(60);

/// A staged change of this age was given up by its request.
pub const MAX_STAGED_SECONDS: u64 = 3_600;

/// How many items a counter is spread over, so that creations seldom meet.
pub const COUNTER_SHARDS: u64 = 8;

// Tenants (`auth`).

/// How long the value of an API key of API Gateway may be: a quota of API Gateway.
pub const USAGE_KEY_CHARS: RangeInclusive<usize> = 20..=128;

/// How long after a tenant was deleted its name cannot be given again. By then nothing may act for the
/// old tenant any more:
///
/// - API Gateway caches an answer of the authorizer for up to 3,600 seconds.
/// - A request takes up to 29 seconds.
/// - The clocks of two operators may differ by 300 seconds.
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

// The operator's tool (`admin`).

/// The longest name of a bearer key: it is shown in tables.
pub const MAX_KEY_NAME_CHARS: usize = 100;

/// How often an assignment is computed again because the group has changed in the meantime.
pub const MAX_ASSIGN_ATTEMPTS: usize = 10;

/// How often a setting is written again because another setting has changed in the meantime.
pub const MAX_SETTING_ATTEMPTS: usize = 5;

/// How long the tool waits for a pending change to be applied. An operator waits for the tool.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the table is searched for items of a deleted tenant, in case requests still write some.
pub const MAX_SWEEP_PASSES: usize = 20;

/// The parts in which the table is scanned side by side.
pub const SCAN_SEGMENTS: i32 = 4;

/// How often `rollcall check --repair` checks again: the repair of one problem can show another.
pub const MAX_REPAIR_ROUNDS: usize = 4;

/// The most groups that are read at once to list them.
pub const GROUPS_PER_READ: usize = 1_000;

/// The most users that are read at once to count them.
pub const USERS_PER_READ: usize = 1_000;

/// The most resources that are read at once for an export.
pub const RESOURCES_PER_READ: usize = 100;

/// The most events that are read with one call.
pub const EVENTS_PER_READ: i32 = 200;

// The local gateway and table (`dev`).

/// The largest request line and headers together: a quota of API Gateway.
pub const MAX_GATEWAY_HEAD_BYTES: usize = 10_240;

/// The largest request body: a quota of API Gateway.
pub const MAX_GATEWAY_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The most bytes of a body that is too large which the local gateway reads and discards. A client that is
/// still sending does not read the answer.
pub const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// How long API Gateway waits for a function: a quota of API Gateway.
pub const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(29);

/// How long a client may take to send a body to the local gateway.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The most answers of the authorizer that the local gateway caches.
pub const MAX_CACHED_AUTHORIZATIONS: usize = 10_000;

/// The most usage keys for which the local gateway keeps a bucket. With more it forgets the fullest buckets. A
/// full bucket limits nothing.
pub const MAX_USAGE_BUCKETS: usize = 10_000;

/// How long requests may go on after `rollcall dev` was told to stop.
pub const GATEWAY_STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long calls of the embedded table may go on after it was told to stop.
pub const TABLE_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the embedded table removes expired items.
pub const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often `rollcall dev` runs the worker, as the rule in the template does.
pub const WORKER_INTERVAL: Duration = Duration::from_secs(60);
