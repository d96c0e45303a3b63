//! Delivery: what reads the feed and passes changes on.
//!
//! ```text
//! feed ──▶ consumer `bus` ─────────▶ EventBridge (PutEvents)
//!     └──▶ consumer of each webhook ─▶ the receiver's URL (Standard Webhooks 1.0.0)
//! ```
//!
//! - `bus`: the event bus.
//! - `webhook`: delivers to one webhook. `message` is what it sends, `signature` signs it, and `sender` sends it by
//!   `outbound`.
//! - `registry`: makes, changes and deletes webhooks.
//! - `worker`: what the worker function does.
//!
//! What sends is built with the feature `deliver`. The functions of the application's side use `registry` alone.
//!
//! # Invariants
//!
//! - A position moves only after the other side has taken the changes (`store/feed/consumer.rs`). So every
//!   change is delivered at least once, and in order.
//! - The changes of a message are fixed before the first attempt. A further attempt sends the same ones under
//!   the same id.
//! - Each consumer has its own position and its own claim. One that fails or is slow delays no other.

#[cfg(feature = "deliver")]
pub mod bus;
pub mod message;
pub mod registry;
#[cfg(feature = "deliver")]
pub mod sender;
pub mod signature;
#[cfg(feature = "deliver")]
pub mod webhook;
#[cfg(feature = "deliver")]
pub mod worker;
