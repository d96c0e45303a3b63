//! Delivery: what reads the feed and passes changes on.
//!
//! ```text
//! feed ──▶ consumer `bus` ─────────▶ EventBridge (PutEvents)
//!     └──▶ consumer of each webhook ─▶ the receiver's URL (Standard Webhooks 1.0.0)
//! ```
//!
//! - `bus`: the event bus.
//! - `webhook`: delivers to one webhook. `message` is what it sends, `signature` signs it, `sender` sends it,
//!   and `address` says where to.
//! - `registry`: makes, changes and deletes webhooks.
//! - `worker`: what the worker function does.
//!
//! # Invariants
//!
//! - A position moves only after the other side has taken the changes (`store/feed/consumer.rs`). So every
//!   change is delivered at least once, and in order.
//! - The changes of a message are fixed before the first attempt. A further attempt sends the same ones under
//!   the same id.
//! - Each consumer has its own position and its own claim. One that fails or is slow delays no other.

pub mod address;
pub mod bus;
pub mod message;
pub mod registry;
pub mod sender;
pub mod signature;
pub mod webhook;
pub mod worker;
