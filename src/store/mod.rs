//! The table: keys, items, and the calls that read and write them. Knows no HTTP.

pub mod admin_guard;
pub mod apply;
pub mod batch;
pub mod call;
pub mod chunk;
pub mod claim;
pub mod counter;
pub mod cursor;
pub mod deactivations;
pub mod delete;
pub mod error;
pub mod event;
pub mod expiry;
pub mod expression;
pub mod index;
pub mod item;
pub mod keys;
pub mod leave;
pub mod limits;
pub mod list;
pub mod members;
pub mod membership;
pub mod meter;
pub mod overlay;
pub mod reader;
pub mod record;
pub mod resource;
pub mod resource_actions;
pub mod tally;
pub mod tombstone;
pub mod transaction;
pub mod work;
pub mod worker;

use self::call::Table;
use self::keys::TenantId;

/// The table as one request of one tenant sees it.
#[derive(Clone, Debug)]
pub struct Store {
    /// The table.
    pub table: Table,
    /// Whose resources.
    pub tenant: TenantId,
    /// Who asks: the key's id, for events and page marks.
    pub actor: String,
    /// The request's id, for events.
    pub request_id: String,
}
