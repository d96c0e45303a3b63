//! What reads and changes the users and groups of any tenant.

use super::actor::Actor;
use crate::auth::tenant::TenantRecord;
use crate::limits::MAX_SCAN_TIME;
use crate::provider::Provider;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::projection::Projection;
use crate::scim::resource_type::Model;
use crate::scim::urn;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::keys::TenantId;
use crate::store::known_groups::KnownGroups;
use crate::store::list::RecentCheckpoints;

/// What the providers of all tenants have in common.
#[derive(Clone, Copy, Debug)]
pub struct TenantProviders<'a> {
    /// The table.
    pub table: &'a Table,
    /// The resource types under each policy.
    pub models: &'a [Model],
    /// The keys that sign cursors, as far as this process knows them.
    pub cursor_keys: &'a CursorKeys,
    /// The URL of the application's side, without a slash at its end. Locations begin with it.
    pub base_url: &'a str,
    /// Who reads and changes, for events.
    pub actor: &'a Actor,
}

impl<'a> TenantProviders<'a> {
    /// The provider of a tenant.
    ///
    /// # Errors
    /// 500 for a tenant of a policy that this build does not know.
    pub fn of(&self, tenant: &TenantRecord) -> Result<Provider<'a>, ScimError> {
        let model = self.models.iter().find(|model| model.policy == tenant.policy);
        let unknown = || ScimError::new(ErrorKind::Internal, "The tenant's policy is not known here.");
        Ok(Provider {
            store: self.store(&tenant.id),
            model: model.ok_or_else(unknown)?,
            base_url: format!("{}/tenants/{}", self.base_url, tenant.id),
            bound_user: None,
            retention_days: tenant.settings.retention_days,
            max_scan_time: MAX_SCAN_TIME,
            breaker: tenant.settings.limit(),
            root_team_protected: tenant.settings.root_team_protected,
            // Applications change no users.
            converts_local_accounts: false,
            cursor_keys: self.cursor_keys.clone(),
            recent_checkpoints: RecentCheckpoints::default(),
            // Applications change no groups.
            known_groups: KnownGroups::default(),
            work: WorkBudget::of_query(),
        })
    }

    /// The table as a tenant sees it.
    pub fn store(&self, tenant: &TenantId) -> Store {
        Store {
            table: self.table.clone(),
            tenant: tenant.clone(),
            actor: self.actor.id.clone(),
            request_id: self.actor.request_id.clone(),
        }
    }
}

/// The same projection, but with the service's own extensions in every answer.
pub fn with_own_extensions(projection: Projection) -> Projection {
    projection.always_showing(&[urn::ROLLCALL_USER, urn::ROLLCALL_GROUP])
}
