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
