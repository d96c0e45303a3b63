//! The table: keys, items, and the calls that read and write them. It knows no HTTP.
//!
//! # A store
//!
//! A [`Store`] is the table as one request of one tenant sees it. It is cheap to make: a request makes
//! one, uses it and drops it. It reaches no other tenant's items, because every key has the tenant in
//! it. Some subjects have a handle of their own, so that a call shows where it leads:
//!
//! | call | reads and writes | folder or file |
//! | --- | --- | --- |
//! | `store.fetch(…)`, `create`, `update`, `delete` | users and groups | `resource.rs`, `delete.rs` |
//! | `store.members()` | the members of groups | [`members`] |
//! | `store.large_changes()` | what is too large for one transaction | [`large_change`] |
//! | `store.tombstones()` | deactivated accounts | [`tombstone`] |
//! | `store.admin_guard()` | who administers the tenant | [`admin_guard`] |
//! | `store.definitions()` | roles and entitlements | [`definition`], [`role_grants`] |
//!
//! # The files, from below
//!
//! A file imports only from the rows above its own, and from its own row. There are no circular imports.
//!
//! | files | hold |
//! | --- | --- |
//! | [`side`], [`document`] | types that several files share |
//! | [`keys`], [`error`], [`item`] | keys; errors; items as attribute maps |
//! | [`expression`], [`transaction`] | conditions, updates, and the actions of a transaction |
//! | [`meter`], [`retry`], [`call`], [`batch`], [`reader`] | every call to DynamoDB; attempts after a conflict |
//! | [`trail`], [`digest`], [`index`], [`record`], [`role_grants`], [`event`], [`feed`] | a user or a group as an item; its event, and the feed of all changes |
//! | [`claim`], [`counter`], [`membership`], [`resource_actions`] | the actions that other files put into their transactions |
//! | [`tombstone`], [`expiry`] | deactivated accounts, and their erasure |
//! | [`large_change`] | changes that take more than one transaction |
//! | [`members`], [`resource`], [`delete`], [`admin_guard`], [`deactivations`], [`definition`], [`list`], [`cursor`], [`known_groups`], [`webhook`], [`webhook_test`] | reading and writing one subject each |
//! | [`worker`] | the round of every minute: large changes that are left, and erasures |
//!
//! # Rules
//!
//! - Only [`keys`] makes keys.
//! - Only [`call`] and [`batch`] call the SDK. They meter each call, and every read is strongly
//!   consistent. Only [`error`] reads the SDK's errors.
//! - A write of a resource is one transaction. What does not fit is a large change, which one
//!   transaction commits.
//! - Uniqueness and versions are conditions of the transaction that writes. No rule depends on an earlier
//!   read.
//! - Every action with a condition has a [`Refusal`](error::Refusal): what it means that the condition
//!   is not fulfilled. A cancelled transaction returns the refusals of its failed conditions
//!   ([`StoreError::Refused`](error::StoreError::Refused)). So the code that reads the answer does not
//!   need to know the actions.
//! - Conditions and updates are built from parts ([`expression`]), never by appending text.

pub mod admin_guard;
pub mod batch;
pub mod call;
pub mod claim;
pub mod counter;
pub mod cursor;
pub mod deactivations;
pub mod definition;
pub mod delete;
pub mod digest;
pub mod document;
mod dynamodb_json;
pub mod error;
pub mod event;
pub mod expiry;
pub mod expression;
pub mod feed;
pub mod index;
pub mod item;
pub mod keys;
pub mod known_groups;
pub mod large_change;
pub mod list;
pub mod members;
pub mod membership;
pub mod meter;
pub mod reader;
pub mod record;
pub mod resource;
pub mod resource_actions;
pub mod retry;
pub mod role_grants;
pub mod side;
pub mod tombstone;
pub mod trail;
pub mod transaction;
pub mod webhook;
pub mod webhook_test;
pub mod worker;

use self::call::Table;
use self::keys::TenantId;

/// The table as one request of one tenant sees it.
#[derive(Clone, Debug)]
pub struct Store {
    /// The table, with the meter of the request.
    pub table: Table,
    /// The tenant whose resources are read and written.
    pub tenant: TenantId,
    /// Who makes the request: the id of its key, or the name of a tool. Events and page checkpoints name it.
    pub actor: String,
    /// The id of the request, for events.
    pub request_id: String,
}
