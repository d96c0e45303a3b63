//! The operations of the protocol, generic over the resource type. This layer knows neither HTTP nor
//! DynamoDB's expressions.
//!
//! A [`Provider`] holds what one request works with. Its operations are in three handles:
//!
//! | handle | operations | files |
//! | --- | --- | --- |
//! | [`Provider::reading`] | retrieve, query with filters, sorting and pages | `reading/` |
//! | [`Provider::changing`] | create, replace, modify, delete | `changing/` |
//! | [`Provider::bulk`] | many operations in one request; it calls the other two | `bulk/` |
//!
//! All of them share:
//!
//! - [`answer`]: a resource as JSON, with what is not in its own item (groups, members, roles).
//! - [`precondition`]: `If-Match` and `If-None-Match`.
//! - [`failure`]: why an operation failed, for the client and for the log.

pub mod answer;
pub mod bulk;
pub mod changing;
pub mod failure;
pub mod precondition;
pub mod reading;
mod writing;

use std::time::Duration;

use uuid::Uuid;

use self::precondition::Preconditions;
use crate::scim::projection::Projection;
use crate::scim::resource_type::{Kind, Model, ResourceType};
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::cursor::CursorKeys;
use crate::store::deactivations::DeactivationLimit;
use crate::store::known_groups::KnownGroups;
use crate::store::list::RecentCheckpoints;

/// Everything that an operation works with: whose resources, under which rules, where they stand.
#[derive(Debug)]
pub struct Provider<'a> {
    /// The table as this request sees it.
    pub store: Store,
    /// The resource types under the tenant's policy.
    pub model: &'a Model,
    /// The SCIM base URL, without a slash at its end.
    pub base_url: String,
    /// The user that the key is bound to, for `/Me`.
    pub bound_user: Option<Uuid>,
    /// How many days a deactivated account is kept.
    pub retention_days: u32,
    /// How long a query may read resources before it is refused with `tooMany`.
    pub max_scan_time: Duration,
    /// How many users may be deactivated within an hour, if the tenant limits it.
    pub breaker: Option<DeactivationLimit>,
    /// Whether no request through this provider changes who administers the root team, or the
    /// break-glass account.
    pub root_team_protected: bool,
    /// Whether a change of a user makes an account of the operator the identity provider's. The policy must do so, too.
    pub converts_local_accounts: bool,
    /// What the core may still compute for this request.
    pub work: WorkBudget,
    /// The keys that sign cursors, as far as this process knows them.
    pub cursor_keys: CursorKeys,
    /// The page checkpoints that this process wrote last.
    pub recent_checkpoints: RecentCheckpoints,
    /// The groups that this process changed last.
    pub known_groups: KnownGroups,
}

/// A request for one stored resource: which one, under which conditions, and what the answer shows.
#[derive(Clone, Copy, Debug)]
pub struct ResourceRequest<'r> {
    /// Its type.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
    /// The attributes that the answer shows.
    pub projection: &'r Projection,
    /// `If-Match` and `If-None-Match`.
    pub preconditions: &'r Preconditions,
}

impl Provider<'_> {
    /// The resource type of a kind.
    pub fn ty(&self, kind: Kind) -> &ResourceType {
        self.model.of(kind)
    }
}
