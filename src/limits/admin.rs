//! The limits of the operator's tool.

use std::time::Duration;

/// How many tenants are read in one call. Each takes about 0.5 KB.
pub const TENANTS_PER_PAGE: i32 = 100;

/// The longest name of a bearer key: it is shown in tables.
pub const MAX_KEY_NAME_CHARS: usize = 100;

/// How long the tool waits for a pending change to be applied. An operator waits for the tool.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the table is searched for items of a deleted tenant, in case requests still write some.
pub const MAX_SWEEP_PASSES: usize = 20;

/// The parts in which the table is scanned side by side.
pub const SCAN_SEGMENTS: i32 = 4;

/// How often `rollcall check --repair` checks again: the repair of one problem can show another.
pub const MAX_REPAIR_ROUNDS: usize = 4;

/// The most groups that are read at once to find those that grant a role.
pub const GROUPS_PER_READ: usize = 1_000;

/// The most users that are read at once to count them.
pub const USERS_PER_READ: usize = 1_000;

/// The most resources that are read at once for an export.
pub const RESOURCES_PER_READ: usize = 100;

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

/// How many calls of a function the local gateway runs at once for each processor. More would not be faster: each takes
/// longer, and one that takes longer than [`INTEGRATION_TIMEOUT`] is answered 504. Each may take 100 MB: a group of
/// 100,000 members does.
pub const CALLS_AT_ONCE_PER_PROCESSOR: usize = 1;

/// How long a request waits in the local gateway until it may call the function. Then it is answered 429. A call that
/// begins after the longest wait still has half of [`INTEGRATION_TIMEOUT`] until the client would hear nothing on AWS.
pub const MAX_TURN_WAIT: Duration = Duration::from_secs(INTEGRATION_TIMEOUT.as_secs() / 2);

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

/// How often `rollcall dev` looks for changes that another process has written, such as the tool.
pub const DEV_STREAM_INTERVAL: Duration = Duration::from_secs(1);

/// How often `rollcall dev` runs the worker, as the rule in the template does.
pub const WORKER_INTERVAL: Duration = Duration::from_secs(60);

/// How many resources an import writes side by side. They are in different partitions of the table.
pub const IMPORTS_AT_ONCE: usize = 32;

/// How often `rollcall check` looks again at a change that seems to be missing. Changes that are under way have
/// arrived by then.
pub const CHANGE_LOOKS: u32 = 5;

/// The first pause between two such looks. Each further pause is longer by it.
pub const CHANGE_LOOK_PAUSE: Duration = Duration::from_millis(100);

/// After how many seconds a change that is still in the outbox is a finding. It is in the feed within a minute, unless
/// a large change must be applied before.
pub const MAX_OUTBOX_SECONDS: u64 = 600;
