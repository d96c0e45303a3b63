//! A check from the first walk to the last.

use super::changes::{Subjects, check_changes};
use super::inventory::{CheckedSubject, Inventory};
use super::ledger::SubjectState;
use super::pending;
use super::repair::repair;
use super::report::{CheckReport, Finding};
use super::rules::find_violations;
use crate::admin::progress::Progress;
use crate::auth::tenant::TenantRecord;
use crate::clock;
use crate::limits::MAX_REPAIR_ROUNDS;
use crate::scim::resource_type::Model;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::keys::{self, TenantId};
use crate::tenants::actor::Actor;
use crate::tenants::error::TenantError;
use crate::tenants::record::resync;

/// Checks a tenant, and mends what is safe to mend if it is asked to. A walk is no picture of one
/// moment, so what it finds is reported only if a second walk finds it too.
///
/// # Errors
/// [`StoreError`] if a call fails.
pub async fn check(
    table: &Table,
    tenant: &TenantId,
    model: &Model,
    mend: bool,
) -> Result<CheckReport, StoreError> {
    check_with_progress(table, tenant, model, mend, &Progress::hidden()).await
}

/// The same as [`check`], and tells how far it is.
///
/// # Errors
/// [`StoreError`] if a call fails.
pub async fn check_with_progress(
    table: &Table,
    tenant: &TenantId,
    model: &Model,
    mend: bool,
    progress: &Progress,
) -> Result<CheckReport, StoreError> {
    let store = Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: "operator".to_owned(),
        request_id: String::new(),
    };
    let mut report = CheckReport::default();
    let mut subjects = Subjects::new();
    for _ in 0..MAX_REPAIR_ROUNDS {
        if mend {
            pending::apply_committed(&store).await?;
        }
        let (mut all, found) = confirm_findings(&store, model, progress).await?;
        report.items = all.items;
        report.resources = all.resources.len() as u64;
        report.memberships = all.memberships.len() as u64;
        report.pending = all.pending.iter().filter(|change| !change.in_grace_period()).count();
        report.findings.clear();
        let mut mended = false;
        for finding in found {
            if mend && repair(&store, &all, &finding).await? {
                mended = true;
                report.repaired.push(finding);
            } else {
                report.findings.push(finding);
            }
        }
        subjects = std::mem::take(&mut all.subjects);
        if !mended {
            break;
        }
    }
    check_feed_of_tenant(&store, subjects, mend, &mut report, progress).await?;
    Ok(report)
}

/// Checks the changes of the tenant. If a repair changed what mirrors see, or if changes are missing, `mend` tells
/// mirrors to read the tenant again.
async fn check_feed_of_tenant(
    store: &Store,
    mut subjects: Subjects,
    mend: bool,
    report: &mut CheckReport,
    progress: &Progress,
) -> Result<(), StoreError> {
    let Some(item) = store.table.get(&keys::tenant(&store.tenant)).await? else { return Ok(()) };
    let incarnation = TenantRecord::from_item(&item)?.incarnation();
    let state = SubjectState::from_item(&item);
    subjects.insert(store.tenant.to_string(), CheckedSubject { resource_type: "Tenant", state });
    let found = check_changes(&store.table, &store.tenant, &incarnation, &subjects, progress).await?;
    let (settled, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| mend && finding.problem.is_settled_by_resync());
    report.findings.extend(other);
    let is_seen = report.repaired.iter().any(|finding| finding.problem.is_seen_by_mirrors());
    if is_seen || !settled.is_empty() {
        let now = clock::now();
        match resync(&store.table, &Actor::operator(), &store.tenant, now, &[]).await {
            Ok(_) => {}
            Err(TenantError::Table(error)) => return Err(error),
            // The tenant is deleted meanwhile.
            Err(_) => return Ok(()),
        }
        report.resync = true;
    }
    report.repaired.extend(settled);
    Ok(())
}

/// What two walks agree on.
async fn confirm_findings(
    store: &Store,
    model: &Model,
    progress: &Progress,
) -> Result<(Inventory, Vec<Finding>), StoreError> {
    let all = Inventory::read(store, model, progress).await?;
    let suspected = find_violations(&store.tenant, &all);
    if suspected.is_empty() {
        return Ok((all, suspected));
    }
    let again = Inventory::read(store, model, progress).await?;
    let mut found = find_violations(&store.tenant, &again);
    found.retain(|finding| suspected.contains(finding));
    Ok((again, found))
}
