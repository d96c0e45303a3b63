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

/// A staged change of this age was given up by its request.
pub const MAX_STAGED_SECONDS: u64 = 3_600;

/// How many items a counter is spread over, so that creations seldom meet.
pub const COUNTER_SHARDS: u64 = 8;

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
        // More doublings than 6 reach `MAX_PAUSE_MS` from any first pause.
        let pause = self.first_pause_ms << if doublings < 6 { doublings } else { 6 };
        if pause < MAX_PAUSE_MS { pause } else { MAX_PAUSE_MS }
    }
}

/// The longest pause between two attempts, in milliseconds. Longer pauses cost a request more time than
/// they save attempts.
pub const MAX_PAUSE_MS: u64 = 500;

/// A transaction that met another one is sent again. Its eleven pauses take some 1.6
/// seconds together.
pub const TRANSACTION_RETRIES: RetryLimit =
    RetryLimit { attempts: 12, attempts_before_pause: 1, first_pause_ms: 10 };

/// The part of a batch that DynamoDB left out is asked for again.
pub const BATCH_RETRIES: RetryLimit =
    RetryLimit { attempts: 8, attempts_before_pause: 1, first_pause_ms: 10 };

/// A write of a large change is tried again while the table is busy. Its time limits it, so the number of
/// attempts does not.
pub const BUSY_RETRIES: RetryLimit =
    RetryLimit { attempts: u32::MAX, attempts_before_pause: 1, first_pause_ms: 10 };

/// A group that changed while it was read is read again.
pub const GROUP_READ_RETRIES: RetryLimit =
    RetryLimit { attempts: 10, attempts_before_pause: 1, first_pause_ms: 20 };

/// The erasure of a deactivated account is tried again when another resource takes its name meanwhile.
pub const ERASURE_RETRIES: RetryLimit =
    RetryLimit { attempts: 5, attempts_before_pause: 1, first_pause_ms: 20 };

/// A transaction of a large change is built again when an item that it writes has changed.
pub const LARGE_CHANGE_RETRIES: RetryLimit = RetryLimit::without_pauses(10);
