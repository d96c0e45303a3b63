//! The state of users, groups, roles and entitlements now, for the changes that are about them.
//!
//! A state is never older than its change. A plain read may show a state from before the change, since the
//! items of a transaction become visible one after another. So each state is compared with the version of its
//! change, and what is older or absent is read again at a moment when no transaction on it is under way.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::definition::definition_json;
use super::provider::{TenantProviders, with_own_extensions};
use crate::auth::tenant::TenantRecord;
use crate::limits::{READS_TOGETHER_AT_ONCE, RESOURCES_READ_TOGETHER};
use crate::provider::answer::{Relations, has_roles};
use crate::scim::error::ScimError;
use crate::scim::projection::Projection;
use crate::scim::resource_type::{DefinedKind, Kind};
use crate::store::definition::Definition;
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;
use crate::store::item::{Item, key_of};
use crate::store::keys::{self, Key, TenantId, parse_id};
use crate::store::record::Record;
use crate::store::role_grants::RoleGrants;

/// The text for a resource that is gone.
const GONE: &str = "null";

/// A resource as the table holds it.
enum FoundResource {
    /// A user or a group.
    Provisioned(Record),
    /// A role or an entitlement, which may be deleted.
    Defined(Definition),
}

impl FoundResource {
    fn read(item: &Item) -> Result<Option<(Key, Self)>, StoreError> {
        let found = match Record::from_item(item)? {
            Some(record) => Some(Self::Provisioned(record)),
            None => Definition::from_item(item)?.map(Self::Defined),
        };
        Ok(key_of(item).zip(found))
    }

    const fn version(&self) -> u64 {
        match self {
            Self::Provisioned(record) => record.version,
            Self::Defined(definition) => definition.version,
        }
    }
}

/// What changes say of a resource.
#[derive(Clone, Debug)]
struct WantedState {
    tenant: TenantId,
    /// The highest version among the changes.
    version: u64,
    /// Whether the last change made the resource invisible.
    is_deleted: bool,
}

/// The states of resources as JSON, by their keys.
#[derive(Debug, Default)]
pub struct FoundStates {
    states: BTreeMap<Key, String>,
    /// Which tenant of each name there is now.
    incarnations: BTreeMap<TenantId, String>,
    /// What is in the table and cannot be read: the items of resources and tenants.
    unreadable: BTreeSet<Key>,
}

impl FoundStates {
    /// The state of the resource that a change is about. `None` if it is about a key, a tenant or the like, and if the
    /// resource or its tenant cannot be read.
    pub fn of(&self, change: &FeedChange) -> Option<&str> {
        let (tenant, key) = subject(change)?;
        if self.unreadable.contains(&key) || self.unreadable.contains(&keys::tenant(&tenant)) {
            return None;
        }
        // A later tenant of the same name may have a resource of the same id. It is another resource.
        let is_of_now = self.incarnations.get(&tenant) == Some(&change.incarnation);
        let state = self.states.get(&key).filter(|_| is_of_now);
        Some(state.map_or(GONE, String::as_str))
    }

    /// Leaves out what cannot be read. One such item must not keep back the changes of all others.
    fn leave_out(&mut self, key: Key, why: &str) {
        tracing::error!(
            pk = key.pk,
            sk = key.sk,
            why,
            "a resource is left out of changes: it cannot be read"
        );
        self.unreadable.insert(key);
    }

    /// Reads the resource in an item. `None` if the item has none, or cannot be read.
    fn read(&mut self, item: &Item) -> Option<(Key, FoundResource)> {
        FoundResource::read(item).unwrap_or_else(|broken| {
            self.leave_out(key_of(item)?, &broken.to_string());
            None
        })
    }
}

/// Reads the states of resources. It remembers the tenants that it has read.
#[derive(Debug)]
pub struct CurrentStates<'a> {
    providers: TenantProviders<'a>,
    tenants: BTreeMap<TenantId, Option<TenantRecord>>,
}

/// The tenant and the key of the resource that a change is about.
fn subject(change: &FeedChange) -> Option<(TenantId, Key)> {
    let tenant: TenantId = change.tenant.parse().ok()?;
    let (name, id) = (&change.resource_type, &change.resource_id);
    let key = match (Kind::ALL.into_iter().find(|kind| kind.name() == name), DefinedKind::named(name)) {
        (Some(kind), _) => keys::resource(&tenant, kind, parse_id(id)?),
        (None, kind) => keys::definition::definition(&tenant, kind?, id),
    };
    Some((tenant, key))
}

fn is_deletion(change: &FeedChange) -> bool {
    matches!(
        change.event_type.as_str(),
        "user.deleted" | "user.deactivated" | "user.purged" | "group.deleted"
    )
}

impl<'a> CurrentStates<'a> {
    /// For the changes of one answer or message.
    pub fn new(providers: TenantProviders<'a>) -> Self {
        Self { providers, tenants: BTreeMap::new() }
    }

    /// Reads the states of the resources that these changes are about.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(&mut self, changes: &[FeedChange]) -> Result<FoundStates, StoreError> {
        let mut wanted: BTreeMap<Key, WantedState> = BTreeMap::new();
        for change in changes {
            let Some((tenant, key)) = subject(change) else { continue };
            let is_deleted = is_deletion(change);
            let version = wanted.get(&key).map_or(0, |known| known.version).max(change.version);
            wanted.insert(key, WantedState { tenant, version, is_deleted });
        }
        let mut found = FoundStates::default();
        let records = self.read(&wanted, &mut found).await?;
        let tenants: BTreeSet<TenantId> = records.iter().map(|(key, _)| wanted[key].tenant.clone()).collect();
        self.read_tenants(&tenants, &mut found).await?;
        for tenant in tenants {
            let Some(Some(record)) = self.tenants.get(&tenant) else { continue };
            found.incarnations.insert(tenant.clone(), record.incarnation());
            let own = records.iter().filter(|(key, _)| wanted[key].tenant == tenant);
            match self.write(record, own.map(|(key, record)| (key, record)), &mut found).await {
                Err(StoreError::Broken(why)) => found.leave_out(keys::tenant(&tenant), &why),
                written => written?,
            }
        }
        Ok(found)
    }

    /// Reads the resources, each no older than its changes.
    async fn read(
        &self,
        wanted: &BTreeMap<Key, WantedState>,
        found: &mut FoundStates,
    ) -> Result<Vec<(Key, FoundResource)>, StoreError> {
        let all: Vec<Key> = wanted.keys().cloned().collect();
        let mut records: BTreeMap<Key, FoundResource> = BTreeMap::new();
        for item in self.providers.table.batch_get(&all).await? {
            records.extend(found.read(&item));
        }
        let is_doubtful = |key: &Key, wanted: &WantedState| match records.get(key) {
            Some(record) => record.version() < wanted.version,
            None => !wanted.is_deleted && !found.unreadable.contains(key),
        };
        let doubtful = wanted.iter().filter(|(key, wanted)| is_doubtful(key, wanted));
        let doubtful: Vec<Key> = doubtful.map(|(key, _)| key.clone()).collect();
        let chunks: Vec<Vec<Key>> = doubtful.chunks(RESOURCES_READ_TOGETHER).map(<[_]>::to_vec).collect();
        let again =
            stream::iter(chunks).map(|chunk| async move { self.providers.table.get_together(&chunk).await });
        let again: Vec<Vec<Option<Item>>> =
            again.buffer_unordered(READS_TOGETHER_AT_ONCE).try_collect().await?;
        for key in &doubtful {
            records.remove(key);
        }
        for item in again.into_iter().flatten().flatten() {
            records.extend(found.read(&item));
        }
        Ok(records.into_iter().collect())
    }

    async fn read_tenants(
        &mut self,
        names: &BTreeSet<TenantId>,
        found: &mut FoundStates,
    ) -> Result<(), StoreError> {
        let unknown = names.iter().filter(|name| !self.tenants.contains_key(*name));
        let unknown: Vec<TenantId> = unknown.cloned().collect();
        let places: Vec<Key> = unknown.iter().map(keys::tenant).collect();
        self.tenants.extend(unknown.into_iter().map(|name| (name, None)));
        for item in self.providers.table.batch_get(&places).await? {
            match TenantRecord::from_item(&item) {
                Ok(record) => drop(self.tenants.insert(record.id.clone(), Some(record))),
                Err(broken) => {
                    let Some(key) = key_of(&item) else { continue };
                    // Read again for the next changes, since these do not know any more that it is there.
                    self.tenants.retain(|name, _| keys::tenant(name) != key);
                    found.leave_out(key, &broken.to_string());
                }
            }
        }
        Ok(())
    }

    /// Writes the resources of one tenant as JSON: groups without their members. A deleted role or entitlement is gone.
    async fn write<'r>(
        &self,
        tenant: &TenantRecord,
        resources: impl Iterator<Item = (&'r Key, &'r FoundResource)>,
        found: &mut FoundStates,
    ) -> Result<(), StoreError> {
        let provider = self.providers.of(tenant).map_err(broken)?;
        let users = with_own_extensions(Projection::default());
        let groups = Projection::parse(&[], &["members"], &[provider.ty(Kind::Group)]).map_err(broken)?;
        let groups = with_own_extensions(groups);
        let mut records = Vec::new();
        for (key, resource) in resources {
            match resource {
                FoundResource::Provisioned(record) => records.push((key, record)),
                FoundResource::Defined(definition) if definition.is_deleted => {}
                FoundResource::Defined(definition) => {
                    found.states.insert(key.clone(), definition_json(definition).to_string());
                }
            }
        }
        let teams: BTreeSet<Uuid> =
            records.iter().flat_map(|(_, record)| record.groups.iter().copied()).collect();
        let teams = match teams.is_empty() {
            true => BTreeMap::new(),
            false => provider.store.fetch_teams(&teams).await?,
        };
        let mut grants = RoleGrants::default();
        if records.iter().any(|(_, record)| has_roles(record)) {
            grants = provider.store.definitions().index().await?.grants;
        }
        let relations = Relations { teams: Some(&teams), grants: Some(&grants), members: None };
        for (key, record) in records {
            let projection = if record.kind == Kind::User { &users } else { &groups };
            found.states.insert(key.clone(), provider.write_projected(record, &relations, projection));
        }
        Ok(())
    }
}

fn broken(error: ScimError) -> StoreError {
    StoreError::Broken(error.detail)
}
