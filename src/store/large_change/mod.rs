//! Large changes: what is too large for one transaction.
//!
//! DynamoDB transacts 100 items, and a PATCH is atomic (RFC 7644 §3.5.2). So a change of more than
//! [`MAX_MEMBER_CHANGES_PER_TX`](crate::limits::MAX_MEMBER_CHANGES_PER_TX) members is written down
//! first, committed by one transaction, and applied after it by many. The same is done for what a
//! deletion cannot finish in its own transaction.
//!
//! # The items
//!
//! - The change item ([`PendingChange`](pending_change::PendingChange)) holds the state and the task
//!   ([`PendingTask`](pending_change::PendingTask)): change the members of a group, remove all members
//!   of a deleted group, or detach a deleted resource from its groups.
//! - The chunks ([`Chunk`](chunk::Chunk)) hold the members that a change of members adds or removes,
//!   up to 45 each.
//! - The group's item names its pending change in the attribute `change`. Its count and digest of the
//!   members already include that change.
//!
//! # The states
//!
//! ```text
//!             commit: the transaction that
//!             updates or creates the group          every chunk is applied
//!   staged ─────────────────────────────▶ committed ─────────────────────▶ done
//!      │
//!      └──────────────▶ aborted
//!         abort: the request failed, a deletion came first,
//!         or the change has been staged for an hour
//! ```
//!
//! A deletion creates its pending changes in the state committed. A change that is done or aborted is
//! deleted, the chunks first. Only what a deletion left to do stays for
//! [`SETTLE_GRACE`](crate::limits::SETTLE_GRACE) when it is done. Readers look for a detachment. A membership that was
//! written just before its group was deleted can become visible late, and is removed then.
//!
//! # Invariants
//!
//! - The change item is written before its chunks and deleted after them. So every chunk has an item
//!   that tells of it.
//! - A group has at most one committed change. A request that meets one finishes it first.
//! - A committed change is in force. Readers combine the members with its chunks
//!   ([`with_pending_change`](with_pending_change::with_pending_change)), whether a chunk is applied or
//!   not. The result is the same, because a change is net: no member is both added and removed.
//! - A chunk is applied once, in one transaction that marks it as `done`. Only a chunk of more than
//!   4 MB is applied member by member, while the chunk is not `done`.
//! - A chunk lists the members that were deleted since it was written (`gone`). An applier commits a
//!   chunk only if it has read the current list. Each member is put into the list once, together with
//!   the group's count.
//! - Every step has a condition. So any number of appliers may work on one change, and any of them may
//!   stop at any time.
//!
//! # Who does which step
//!
//! | step | file | who |
//! | --- | --- | --- |
//! | list, read | `read.rs` | readers of groups, deletions, `rollcall check` |
//! | stage, abort | `stage.rs` | the request that makes the change |
//! | commit | `commit_staged` | the transaction in `resource.rs` |
//! | apply | `apply.rs`, `remove_members.rs`, `detach.rs` | the request for 8 seconds; the next request that writes to the group; the worker |
//! | settle | `settle.rs` | a deletion, with the changes that name its resource |
//! | apply or abort what is left | `store/worker.rs` | the worker, every minute |

pub mod apply;
pub mod chunk;
mod departures;
pub mod detach;
pub mod pending_change;
mod read;
mod remove_members;
pub mod settle;
mod stage;
pub mod with_pending_change;

use super::Store;

/// The large changes of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct LargeChanges<'a> {
    store: &'a Store,
}

impl Store {
    /// The tenant's large changes.
    pub fn large_changes(&self) -> LargeChanges<'_> {
        LargeChanges { store: self }
    }
}
