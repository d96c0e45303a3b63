//! The limits of the application's side.

use std::time::Duration;

/// How often the feed is read for one answer with the changes of one tenant, 500 changes at a time. It takes
/// about a second.
pub const FEED_READS_PER_ANSWER: usize = 20;

/// How many changes are looked at together for the state of their resources. 25 resources of 400 KB are 10 MB.
pub const CHANGES_PER_LOOK: usize = 25;

/// How many resources are read in one transaction: DynamoDB reads at most 4 MB so, and a resource has up to
/// 400 KB.
pub const RESOURCES_READ_TOGETHER: usize = 8;

/// How many such transactions run at once.
pub const READS_TOGETHER_AT_ONCE: usize = 4;

/// The most keys of which a process remembers that they were used today. With more it forgets all, and notes them
/// again.
pub const MAX_KEYS_REMEMBERED: usize = 10_000;

/// How many items of each part of the outbox are read to tell the age of the oldest.
pub const OUTBOX_ITEMS_FOR_LAG: i32 = 100;

/// How old a change counts that stays in the outbox because it cannot be read, in seconds: an hour.
pub const UNREADABLE_CHANGE_SECONDS: u64 = 3_600;

/// The most members on a page of a group's members. Each takes about 0.1 KB.
pub const MEMBERS_PER_PAGE: usize = 1_000;

/// The most roles that a group grants. A group's item has room for more; a person has no use for more.
pub const MAX_ASSIGNMENTS: usize = 200;

/// The most roles of a tenant, and the most entitlements. A list reads all of them.
pub const MAX_DEFINITIONS: u64 = 1_000;

/// The longest id of a role or an entitlement. It is a part of a key, and users have it as a value.
pub const MAX_DEFINITION_ID_CHARS: usize = 64;

/// The longest name of a role or an entitlement: it is shown in tables.
pub const MAX_DEFINITION_NAME_CHARS: usize = 256;

/// The longest description of a role or an entitlement: Okta takes no longer one.
pub const MAX_DEFINITION_DESCRIPTION_CHARS: usize = 1_000;

/// What all roles of a tenant grant, packed, in bytes. With its key it is an item of 4 KB, which takes one read unit.
pub const MAX_ROLE_GRANTS_BYTES: usize = 3_900;

/// The most roles or entitlements on a page of the application's side.
pub const DEFINITIONS_PER_PAGE: usize = 500;

/// How long a request waits for a pending change of the group whose assignments it replaces. API Gateway
/// waits 29 seconds.
pub const APP_APPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the old key goes on working after a rotation, if the request does not say: a day.
pub const DEFAULT_OVERLAP_SECONDS: u64 = 86_400;

/// The longest such time: a year.
pub const MAX_OVERLAP_SECONDS: u64 = 366 * 86_400;

/// How long a new usage key waits until requests count by it, in seconds. API Gateway accepts a new key within a minute
/// or two.
pub const USAGE_KEY_SETTLE_SECONDS: u64 = 180;

/// The longest time for which a deactivated account is kept, in days.
pub const MAX_RETENTION_DAYS: u32 = 3_650;
