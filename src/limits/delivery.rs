//! The limits of delivery: of the event bus and of webhooks.

use std::time::Duration;

/// How long a consumer of the feed holds its claim, in seconds, unless it renews it: longer than one attempt of
/// a webhook takes. After a crash the next claim waits so long.
pub const CONSUMER_LEASE_SECONDS: u64 = 40;

/// How long a run of the worker begins deliveries. An attempt that has begun ends after it.
pub const DELIVERY_RUN: Duration = Duration::from_secs(20);

/// How often the worker looks for new changes while a slow webhook is still answering.
pub const DELIVERY_TICK: Duration = Duration::from_millis(500);

/// The most entries of one PutEvents: a quota of EventBridge.
pub const BUS_ENTRIES_PER_CALL: usize = 10;

/// The most bytes of the entries of one PutEvents. EventBridge takes 262,144, and counts more than the detail.
pub const MAX_BUS_CALL_BYTES: usize = 250_000;

/// How often the worker puts a change on the bus before it leaves it for the next run.
pub const BUS_RETRIES: u32 = 3;

/// How long the worker leaves a bus alone that did not take a change, in seconds.
pub const BUS_PAUSE_SECONDS: u64 = 5;

/// The most changes of one message to a webhook.
pub const MAX_WEBHOOK_CHANGES: usize = 100;

/// The most bytes of the body of a message to a webhook.
pub const MAX_WEBHOOK_BODY_BYTES: usize = 256 * 1024;

/// How long one attempt to deliver a message to a webhook may take.
pub const WEBHOOK_ATTEMPT: Duration = Duration::from_secs(15);

/// How long a run that a write has started waits for the answer of a webhook. A webhook that takes longer is left to
/// the run of every minute, so that it does not hold up the runs after further writes.
pub const PROMPT_ATTEMPT: Duration = Duration::from_secs(5);

/// The pauses after the first failed attempts of a message, in seconds. The last one repeats.
pub const WEBHOOK_PAUSES_SECONDS: [u64; 8] = [5, 15, 60, 120, 300, 900, 1_800, 3_600];

/// The longest pause that a receiver can ask for with `Retry-After`, in seconds.
pub const MAX_RETRY_AFTER_SECONDS: u64 = 86_400;

/// After so many seconds of failed attempts a webhook is disabled: three days.
pub const WEBHOOK_FAILURE_SECONDS: u64 = 3 * 86_400;

/// The most webhooks of a deployment. Each reads the feed for itself.
pub const MAX_WEBHOOKS: usize = 20;

/// How long the state of a consumer says that changes were skipped, in seconds: a week.
pub const SKIPPED_SHOWN_SECONDS: u64 = 7 * 86_400;

/// How long the old secret of a webhook goes on signing after a rotation, in seconds.
pub const WEBHOOK_OVERLAP_SECONDS: u64 = 86_400;

/// The longest error of a delivery that is kept.
pub const MAX_DELIVERY_ERROR_CHARS: usize = 300;
