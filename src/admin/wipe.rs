//! `rollcall tenant delete`: everything that a tenant has, in an order that can be taken up again
//! after an interruption. The keys go first, so that nothing writes; the tenant's own items last.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::AdminError;
use super::key::ACTOR;
use super::output;
use crate::auth::record::{KeyListing, Status};
use crate::clock;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::keys::{self, TenantId};
use crate::store::resource::Store;
use crate::store::transaction::{Action, Expression};
use crate::store::work::Pending;

/// The table is read in so many parts side by side.
const SEGMENTS: i32 = 4;
/// So often the table is searched, should writes go on while it is emptied.
const PASSES: usize = 20;

/// What a deletion took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wiped {
    /// Keys that were in force until now.
    pub revoked: usize,
    /// Items, without those of keys and of the tenant itself.
    pub items: usize,
}

/// Asks on a terminal for the tenant's name. Says yes only where it was typed.
///
/// # Errors
/// [`AdminError::Input`] where nobody can be asked, or another name was typed.
pub fn confirm(tenant: &TenantId) -> Result<(), AdminError> {
    let nobody = || {
        AdminError::Input(format!(
            "this deletes every user, group, key and event of tenant {tenant}: pass --yes to go on"
        ))
    };
    if !std::io::stdin().is_terminal() {
        return Err(nobody());
    }
    let mut err = std::io::stderr();
    let question =
        format!("This deletes every user, group, key and event of tenant {tenant}. Type its name: ");
    err.write_all(question.as_bytes()).and_then(|()| err.flush()).map_err(|_| nobody())?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).map_err(|_| nobody())?;
    if typed.trim() == tenant.as_str() {
        return Ok(());
    }
    Err(AdminError::Input("that is not the tenant's name: nothing was deleted".to_owned()))
}

/// Deletes a tenant. `settle` is waited after the keys are revoked, while API Gateway may still
/// remember them. The last of the tenant's events, `tenant.deleted`, stays its 90 days.
///
/// # Errors
/// [`AdminError::NoTenant`]; as every call. What is left then, another run deletes.
pub async fn wipe(
    table: &Table,
    tenant: &TenantId,
    settle: std::time::Duration,
    now: OffsetDateTime,
) -> Result<Wiped, AdminError> {
    let failed = AdminError::table(table.name());
    mark(table, tenant, now).await?;
    let mut wiped = Wiped::default();
    let keys = super::key::list(table, tenant).await?;
    for key in keys.iter().filter(|key| key.record.status == Status::Active) {
        wiped.revoked += usize::from(super::key::revoke(table, tenant, &key.record.key_id, now).await?);
    }
    if !keys.is_empty() && !settle.is_zero() {
        output::progress(&format!("keys revoked; waiting {} s until they are forgotten", settle.as_secs()));
        tokio::time::sleep(settle).await;
    }
    // What is pending has nothing to be done to any more.
    let pending = Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: ACTOR.to_owned(),
        request_id: String::new(),
    };
    let pending = pending.pending_changes().await.map_err(&failed)?;
    table.batch_delete(pending.iter().map(Pending::key)).await.map_err(&failed)?;
    for _ in 0..PASSES {
        let parts = (0..SEGMENTS).map(|segment| sweep(table, tenant, segment));
        let found: usize = try_join_all(parts).await.map_err(&failed)?.into_iter().sum();
        wiped.items += found;
        output::progress(&format!("{} items deleted", wiped.items));
        if found == 0 {
            break;
        }
    }
    let listing = table.query_all(&keys::bearers(tenant), None).await.map_err(&failed)?;
    for entry in &listing {
        let entry = KeyListing::from_item(entry).map_err(&failed)?;
        let actions = || {
            vec![
                Action::delete(keys::bearer(entry.hash.as_str())),
                Action::delete(keys::bearer_listing(tenant, &entry.key_id)),
            ]
        };
        table.transact(actions).await.map_err(&failed)?;
    }
    let request = Uuid::now_v7().to_string();
    let event = Event::new("tenant.deleted", ("Tenant", tenant.to_string()), ACTOR, &request, now);
    let actions = || {
        vec![
            Action::delete(keys::tenant(tenant)),
            Action::delete(keys::tenant_listing(tenant)),
            event::action(tenant, &event),
        ]
    };
    table.transact(actions).await.map_err(&failed)?;
    output::end_progress();
    Ok(wiped)
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

/// Deletes what one part of the table holds of the tenant, but for the list of its keys, which the
/// keys themselves are found by. Says how much it was.
async fn sweep(table: &Table, tenant: &TenantId, segment: i32) -> Result<usize, StoreError> {
    let (prefix, bearers) = (keys::data(tenant), keys::bearers(tenant));
    let (mut start, mut count) = (None, 0);
    loop {
        let (found, next) = table.scan_page(&prefix, start, (segment, SEGMENTS)).await?;
        let found: Vec<_> = found.into_iter().filter(|key| key.pk != bearers).collect();
        count += found.len();
        table.batch_delete(found).await?;
        if count > 0 {
            output::progress(&format!("{count} items deleted"));
        }
        match next {
            Some(next) => start = Some(next),
            None => return Ok(count),
        }
    }
}
