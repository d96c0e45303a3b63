//! What a check found.

use std::fmt;

use crate::store::keys::Key;

/// What is wrong with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// A claim that no resource holds.
    OrphanClaim,
    /// A look-up that leads to no resource, or to one without the value.
    OrphanLookup,
    /// A list entry without a resource.
    OrphanListEntry,
    /// A resource without its claim, or whose claim is another's.
    MissingClaim,
    /// A resource without one of its look-ups.
    MissingLookup,
    /// A resource that is not listed.
    MissingListEntry,
    /// A counter that differs from the list.
    Counter,
    /// A membership that the member does not know of.
    MemberUnaware,
    /// A member that names a group which does not have it.
    GroupUnaware,
    /// A membership of a resource that does not exist.
    MemberGone,
    /// A membership of a group that does not exist.
    GroupGone,
    /// A group's digest of its members.
    MemberCount,
    /// A group that names a change which is over, or which there is not.
    ChangeGone,
    /// A group that names a change which is not committed.
    ChangeStaged,
    /// A committed change of a group that does not name it, or that removes the members of a group which exists.
    ChangeUnknown,
    /// A change that was never committed, or is over, and still there.
    ChangeLeft,
    /// Chunks of a change that there is not.
    OrphanChunks,
    /// The guard of the root team names others than those who administer it, or is missing.
    Guard,
    /// An import with `--keep-ids` that has not ended. Until then there is no guard of the root team.
    MoveOpen,
    /// An administrator, or a group that grants the role, whose changes do not ask the guard.
    Unguarded,
    /// A deactivated account that nothing will erase when its retention ends.
    NoExpiry,
    /// A tombstone of a user that exists. At the end of its retention, the user would be told to be erased.
    TombstoneLeft,
    /// A tenant that is not in the list of tenants. Who reads all tenants does not find it.
    TenantUnlisted,
    /// A bearer key or client that is not in its tenant's list, so that it cannot be seen.
    KeyUnlisted,
    /// The index of roles and entitlements differs from these.
    DefinitionIndex,
    /// An item that cannot be read. What depends on it is not repaired.
    Unreadable,
    /// An item that Rollcall does not write.
    Unknown,
    /// A version of a resource without its change, in the feed and in the outbox.
    ChangeMissing,
    /// A change whose version does not follow that of the change before.
    ChangeOrder,
    /// A resource in an earlier version than its last change.
    ResourceBehind,
    /// A resource that the feed has, and the table does not.
    ResourceGone,
    /// The item that describes the feed.
    FeedState,
    /// A number that no page of the feed has.
    PageMissing,
    /// A page that begins within another one.
    PageOverlap,
    /// A page whose changes cannot be read, or are not those that it says.
    PageBroken,
    /// An item of the outbox that cannot be read, or whose change is another one than its key says.
    OutboxBroken,
    /// A change that has been in the outbox for too long.
    OutboxOld,
    /// A change in the outbox that a page has already.
    OutboxRepeated,
    /// A consumer whose position is not in the feed.
    ConsumerLost,
    /// A consumer without a webhook, or a webhook without a consumer.
    ConsumerUnknown,
}

impl Problem {
    /// Whether a repair changes what readers see, without a change in the feed. Then mirrors must read the tenant
    /// again.
    pub const fn is_seen_by_mirrors(self) -> bool {
        matches!(
            self,
            Self::MissingListEntry
                | Self::MemberUnaware
                | Self::GroupUnaware
                | Self::MemberGone
                | Self::GroupGone
                | Self::MemberCount
                | Self::ChangeGone
        )
    }

    /// Whether the feed does not tell of the resource what the table has. Mirrors that read the tenant again know it.
    pub const fn is_settled_by_resync(self) -> bool {
        matches!(self, Self::ChangeMissing | Self::ChangeOrder | Self::ResourceBehind | Self::ResourceGone)
    }

    /// In one phrase.
    pub const fn text(self) -> &'static str {
        match self {
            Self::OrphanClaim => "a claim that no resource holds",
            Self::OrphanLookup => "a look-up that leads to no resource with this value",
            Self::OrphanListEntry => "a list entry without a resource",
            Self::MissingClaim => "this resource lacks the claim on its unique value",
            Self::MissingLookup => "this resource lacks a look-up",
            Self::MissingListEntry => "this resource is not in the list",
            Self::Counter => "the counters differ from the list",
            Self::MemberUnaware => "a membership that the member's item does not name",
            Self::GroupUnaware => "this resource names a group that does not have it",
            Self::MemberGone => "a membership of a resource that does not exist",
            Self::GroupGone => "a membership of a group that does not exist",
            Self::MemberCount => "the group's count of its members is wrong",
            Self::ChangeGone => "the group names a change that is over or does not exist",
            Self::ChangeStaged => "the group names a change that is not committed",
            Self::ChangeUnknown => "a committed change that its group does not know",
            Self::ChangeLeft => "a change that is over, or was given up, and still there",
            Self::OrphanChunks => "parts of a change that does not exist",
            Self::Guard => "the guard of the root team is missing, or differs from its administrators",
            Self::MoveOpen => "an import with --keep-ids has not ended: repeat it until no line is refused",
            Self::Unguarded => "changes of this resource do not ask the guard of the root team",
            Self::NoExpiry => "a deactivated account that would not be erased when its retention ends",
            Self::TombstoneLeft => "a deactivated account that exists as a user too",
            Self::TenantUnlisted => "the tenant is not in the list of tenants",
            Self::KeyUnlisted => "a bearer key or client that is not in the tenant's list",
            Self::DefinitionIndex => "the index of roles and entitlements differs from these",
            Self::Unreadable => "this item cannot be read",
            Self::Unknown => "an item that Rollcall does not write",
            Self::ChangeMissing => "this resource has a version without a change in the feed or the outbox",
            Self::ChangeOrder => "the change of this number does not follow the version before",
            Self::ResourceBehind => "this resource is in an earlier version than its last change in the feed",
            Self::ResourceGone => "the feed has this resource, and the table does not",
            Self::FeedState => "the item that describes the feed does not agree with the pages",
            Self::PageMissing => "the feed has no page that begins here",
            Self::PageOverlap => "this page of the feed begins within the page before",
            Self::PageBroken => {
                "the changes of this page of the feed cannot be read, or are not those it counts"
            }
            Self::OutboxBroken => {
                "this item of the outbox cannot be read, or is not the change that its key says"
            }
            Self::OutboxOld => "this change has been in the outbox for more than ten minutes",
            Self::OutboxRepeated => "this change of the outbox is in a page of the feed already",
            Self::ConsumerLost => "the position of this consumer is not in the feed",
            Self::ConsumerUnknown => "this is a consumer without a webhook, or a webhook without a position",
        }
    }
}

/// One broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// The item that it is wrong with, or that is missing.
    pub key: Key,
    /// The other item that is concerned.
    pub other: Option<Key>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.problem.text(), self.key.pk, self.key.sk)?;
        match &self.other {
            Some(other) => write!(f, " ({} {})", other.pk, other.sk),
            None => Ok(()),
        }
    }
}

/// What a check found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// How many items were read.
    pub items: u64,
    /// Users and groups.
    pub resources: u64,
    /// Memberships.
    pub memberships: u64,
    /// Changes that are being applied: what they will set right is no finding.
    pub pending: usize,
    /// What is wrong, and was not repaired.
    pub findings: Vec<Finding>,
    /// What was wrong, and is repaired.
    pub repaired: Vec<Finding>,
    /// Whether mirrors were told to read the tenant again.
    pub resync: bool,
}

/// What a check of the feed found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// How many pages were read.
    pub pages: u64,
    /// How many changes they have.
    pub changes: u64,
    /// How many items the outbox had.
    pub outbox: u64,
    /// The event bus and webhooks.
    pub consumers: u64,
    /// How many changes the sequencer has moved into the feed before.
    pub moved: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}
