//! The change feed: every committed change of the whole deployment, once, numbered 1, 2, 3 … without a gap.
//!
//! # The way of a change
//!
//! ```text
//! transaction of the change          sequencer                     readers
//! ────────────────────────          ─────────                     ───────
//! resource, memberships, …
//! item in the outbox       ───▶  one transaction:
//!                                  deletes items of the outbox
//!                                  puts the next page      ───▶  pages in the order of their numbers
//! ```
//!
//! - `outbox`: a change is an item of the outbox from its commit on. Its key is the tenant, the resource, the
//!   version and the part, so the changes of a resource stand in their order.
//! - `order`: which changes may enter, and in which order.
//! - `sequencer`: moves changes from the outbox into pages.
//! - `departures`: changes of groups that deleted members have left.
//! - `page`, `state`: the items of the feed.
//! - `kept`: for how many days changes stay.
//! - `retention`: ends the retention of old changes.
//! - `renew`: gives the feed of a restored table a new id.
//! - `subject`: the name of what a change is about, and where its state is.
//! - `consumer`: the positions of the event bus and of the webhooks.
//! - `lag`: how far the feed and its consumers are behind.
//! - `reader`: reads the feed from a position on, and finds the position of a snapshot.
//!
//! # Invariants
//!
//! - A page is put on the condition that no page begins with its number. The number follows from the page
//!   before. Any number of sequencers may run at once, and any of them may stop at any time.
//! - A change leaves the outbox in the transaction that puts it into a page.
//! - The items of a transaction become visible one after another to plain reads. So the sequencer does not
//!   conclude from a plain read that a predecessor has moved. It reads the predecessor's key in a transaction:
//!   if the item is absent and no transaction on it is under way, the predecessor is in the feed.
//! - Only the sequencer deletes items of the outbox and puts pages. Nothing changes or deletes a page, except
//!   DynamoDB's TTL after the retention.

pub mod change;
pub mod consumer;
mod departures;
pub mod kept;
pub mod lag;
pub mod order;
pub mod outbox;
pub mod page;
pub mod reader;
pub mod renew;
pub mod retention;
pub mod sequencer;
pub mod state;
pub mod subject;
