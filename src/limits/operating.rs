//! The limits of running it: the calls of the authorizers, the metrics of the worker, the probe.

use std::time::Duration;

/// How long one attempt of an authorizer at a call takes at most. A call takes some milliseconds.
pub const AUTHORIZER_ATTEMPT: Duration = Duration::from_secs(1);

/// How often an authorizer tries a call.
pub const AUTHORIZER_ATTEMPTS: u32 = 4;

/// The longest pause before the second attempt of an authorizer. Each further one is twice as long.
pub const AUTHORIZER_BACKOFF: Duration = Duration::from_millis(50);

/// How long a call of an authorizer takes at most, with all its attempts: less than `AuthorizerTimeout`.
pub const AUTHORIZER_CALL: Duration = Duration::from_millis(4_500);

/// How long a function waits at its start for the first answer of the table. Requests that find no connection open
/// one.
pub const CONNECT_AT_START: Duration = Duration::from_secs(2);

/// How many answers to `/Schemas` a process keeps. There is one for each policy, each set of kinds that a tenant
/// defines, and each base URL.
pub const MAX_KEPT_SCHEMAS: usize = 16;

/// A key is reported if it ends within so many days.
pub const EXPIRING_KEY_DAYS: i64 = 14;

/// The hour of the day, in UTC, at whose beginning the worker counts the keys that end soon.
pub const EXPIRING_KEYS_HOUR: u8 = 6;

/// For so many minutes of that hour a worker that has not counted them on this day does so. A minute may have no run.
pub const EXPIRING_KEYS_MINUTES: u8 = 3;

/// How many tenants' keys the worker reads at once.
pub const TENANTS_COUNTED_AT_ONCE: usize = 16;

/// How long the probe waits for one answer. The scim function is stopped after 29 seconds at most.
pub const PROBE_CALL: Duration = Duration::from_secs(32);

/// How long all requests of the probe together take at most. Then it still has time to report, before it is stopped
/// itself (100 seconds).
pub const PROBE_TIME: Duration = Duration::from_secs(75);

/// How often the probe makes a call that Lambda or CodeDeploy refused for a moment.
pub const PROBE_ATTEMPTS: u32 = 4;

/// The pause of the probe before its second attempt. Each further one is twice as long.
pub const PROBE_BACKOFF: Duration = Duration::from_millis(500);

/// The largest answer that the probe reads, which is the most that Lambda answers.
pub const MAX_PROBE_ANSWER_BYTES: usize = 6 * 1024 * 1024;
