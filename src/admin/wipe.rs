//! `rollcall tenant delete`: everything that a tenant has, in an order that can be taken up again
//! after an interruption. The keys go first, so that nothing writes; the tenant's own items last.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::actor::ACTOR;
use super::error::AdminError;
use super::output;
use super::progress::Progress;
use super::sweep::sweep;
use super::usage_key::{self, PlanUsageKeys};
use crate::auth::record::Status;
use crate::auth::tenant::Deletion;
use crate::clock;
use crate::limits::CHANGE_RETRIES;
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::keys::{self, TenantId};
use crate::store::large_change::pending_change::PendingChange;
use crate::store::retry::Attempts;
use crate::store::transaction::{Action, Expression};
use crate::tenants::actor::Actor;
use crate::tenants::client::{self, ListedClient};

/// What a deletion took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wiped {
    /// Keys and clients that were in force until now.
    pub revoked: usize,
    /// Items, without those of keys and of the tenant itself.
    pub items: usize,
    /// API keys of API Gateway.
    pub usage_keys: usize,
}

/// Asks on a terminal for the tenant's name. Says yes only where it was typed.
///
/// # Errors
/// [`AdminError::Input`] if there is no terminal, or if another name was typed.
pub fn confirm(tenant: &TenantId) -> Result<(), AdminError> {
    let what = format!("this deletes every user, group, key and client of tenant {tenant}");
    output::confirm(&what, "the tenant's name", tenant.as_str())
}

/// Deletes a tenant. `settle` is waited after the keys are revoked, while API Gateway may still
/// remember them. `usage_keys` are the usage plans in which the tenant's API keys are deleted. The last of the tenant's
/// events, `tenant.deleted`, stays as long as any change. The name can be given again after [`TENANT_NAME_GRACE_SECONDS`](crate::limits::TENANT_NAME_GRACE_SECONDS).
///
/// # Errors
/// [`AdminError::NoTenant`]; [`AdminError::Table`] or [`AdminError::UsageKey`] if a call fails. What is left then,
/// another run deletes.
pub async fn wipe(
    table: &Table,
    tenant: &TenantId,
    usage_keys: &[PlanUsageKeys],
    settle: Duration,
    now: OffsetDateTime,
) -> Result<Wiped, AdminError> {
    let failed = AdminError::table(table.name());
    mark(table, tenant, now).await?;
    let mut wiped = Wiped::default();
    let progress = Progress::shown();
    let keys = super::key::list(table, tenant).await?;
    for key in keys.iter().filter(|key| key.record.status == Status::Active) {
        wiped.revoked += usize::from(super::key::revoke(table, tenant, &key.record.key_id, now).await?);
    }
    let clients = client::list(table, tenant).await.map_err(AdminError::of(table))?;
    wiped.revoked += revoke_clients(table, tenant, &clients, now).await?;
    let had_any = !keys.is_empty() || !clients.is_empty();
    if had_any && !settle.is_zero() {
        wait(settle, &progress).await;
    }
    // What is pending has nothing to be done to any more.
    let pending = Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: ACTOR.to_owned(),
        request_id: String::new(),
    };
    let changes = pending.large_changes().list().await.map_err(&failed)?;
    table.batch_delete(changes.iter().map(PendingChange::key)).await.map_err(&failed)?;
    let total = count_resources(&pending).await.map_err(&failed)?;
    progress.begin(Some(total), "users and groups deleted");
    wiped.items = sweep(table, tenant, &progress).await.map_err(&failed)?;
    progress.end();
    for entry in &super::key::listing(table, tenant).await? {
        let actions = || {
            vec![
                Action::delete(keys::bearer(entry.hash.as_str())),
                Action::delete(keys::bearer_listing(tenant, &entry.key_id)),
            ]
        };
        table.transact(actions).await.map_err(&failed)?;
    }
    // Listed again: one that was made just before the tenant was marked may have become visible since.
    let clients = client::list(table, tenant).await.map_err(AdminError::of(table))?;
    delete_clients(table, tenant, &clients).await.map_err(&failed)?;
    // Before the tenant's item, which names the usage plans: a run that is stopped here can be repeated.
    for usage_keys in usage_keys {
        wiped.usage_keys += usage_key::remove(usage_keys, tenant).await?;
    }
    end_incarnation(table, tenant, now).await?;
    Ok(wiped)
}

/// Waits until API Gateway has forgotten the keys.
async fn wait(settle: Duration, progress: &Progress) {
    let seconds = settle.as_secs();
    progress.begin(Some(seconds), "seconds until API Gateway has forgotten the revoked keys");
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        progress.advance(1);
    }
    tokio::time::sleep(settle - Duration::from_secs(seconds)).await;
}

/// How many users and groups the tenant has.
pub(super) async fn count_resources(store: &Store) -> Result<u64, StoreError> {
    Ok(store.total(Kind::User).await? + store.total(Kind::Group).await?)
}

/// Revokes the clients that are in force. Returns how many these were.
async fn revoke_clients(
    table: &Table,
    tenant: &TenantId,
    clients: &[ListedClient],
    now: OffsetDateTime,
) -> Result<usize, AdminError> {
    let mut count = 0;
    for client in clients.iter().filter(|client| client.record.status == Status::Active) {
        let revoked = client::revoke(table, &Actor::operator(), (tenant, &client.record.id), now).await;
        count += usize::from(revoked.map_err(AdminError::of(table))?);
    }
    Ok(count)
}

/// Deletes the items of clients.
async fn delete_clients(
    table: &Table,
    tenant: &TenantId,
    clients: &[ListedClient],
) -> Result<(), StoreError> {
    for client in clients {
        let id = &client.record.id;
        let actions = || {
            vec![
                Action::delete(keys::oauth::client(id)),
                Action::delete(keys::oauth::client_listing(tenant, id)),
            ]
        };
        table.transact(actions).await?;
    }
    Ok(())
}

/// Deletes the item of a tenant that has nothing left; the event is `tenant.deleted`. A change of the settings
/// may come between.
async fn end_incarnation(table: &Table, tenant: &TenantId, now: OffsetDateTime) -> Result<(), AdminError> {
    let failed = AdminError::table(table.name());
    let request = Uuid::now_v7().to_string();
    let mut attempts = Attempts::new(CHANGE_RETRIES);
    while attempts.start_next().await {
        let record = super::tenant::get(table, tenant).await?;
        let event = Event::new("tenant.deleted", record.subject(record.version + 1), ACTOR, &request, now);
        // By now, since the deletion itself takes its time.
        let incarnation = record.incarnation();
        let event = Event { incarnation: incarnation.clone(), ..event };
        let deleted = Deletion { at: clock::epoch_seconds(), incarnation, version: record.version + 1 };
        let actions = || {
            vec![
                Action::delete(keys::tenant(tenant)).only_if(record.is_unchanged(), Refusal::Changed),
                Action::delete(keys::tenant_listing(tenant)),
                Action::put(keys::tenant_deleted(tenant), deleted.to_item()),
                event::action(tenant, &event),
            ]
        };
        match table.transact(actions).await {
            Err(StoreError::Refused(_)) => continue,
            outcome => return outcome.map_err(failed),
        }
    }
    Err(failed(StoreError::Conflict))
}

/// From now on no key is made for the tenant.
async fn mark(table: &Table, tenant: &TenantId, now: OffsetDateTime) -> Result<(), AdminError> {
    let actions = || {
        let update =
            Expression::new("SET deleting = :now").value(":now", AttributeValue::S(clock::text(now)));
        vec![Action::update(keys::tenant(tenant), update).only_if(Expression::exists(), Refusal::Changed)]
    };
    match table.transact(actions).await {
        Ok(()) => Ok(()),
        Err(StoreError::Refused(_)) => Err(AdminError::NoTenant(tenant.clone())),
        Err(error) => Err(AdminError::table(table.name())(error)),
    }
}
