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

/// Checks a tenant. With `repairs`, it also repairs what is safe to repair. A scan does not see the table as of one
/// moment, so a finding is reported only if a second scan has it too.
///
/// # Errors
/// [`StoreError`] if a call fails.
pub async fn check(
    table: &Table,
    tenant: &TenantId,
    model: &Model,
    repairs: bool,
) -> Result<CheckReport, StoreError> {
    check_with_progress(table, tenant, model, repairs, &Progress::hidden()).await
}

/// The same as [`check`], and tells how far it is.
///
/// # Errors
/// [`StoreError`] if a call fails.
pub async fn check_with_progress(
    table: &Table,
    tenant: &TenantId,
    model: &Model,
    repairs: bool,
    progress: &Progress,
) -> Result<CheckReport, StoreError> {
    let store = Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: "operator".to_owned(),
        request_id: String::new(),
    };
    let mut report = CheckReport::default();
    let (mut subjects, mut may_repair) = (Subjects::new(), repairs);
    for _ in 0..MAX_REPAIR_ROUNDS {
        if repairs {
            pending::apply_committed(&store).await?;
        }
        let (mut all, found) = confirm_findings(&store, model, progress).await?;
        report.items = all.items;
        report.resources = all.resources.len() as u64;
        report.memberships = all.memberships.len() as u64;
        report.pending = all.pending.iter().filter(|change| !change.in_grace_period()).count();
        report.findings.clear();
        let mut has_repaired = false;
        // What an item says that cannot be read is not known, so nothing that depends on it may be taken for wrong.
        may_repair = repairs && all.unreadable.is_empty();
        for finding in found {
            if may_repair && repair(&store, &all, &finding).await? {
                has_repaired = true;
                report.repaired.push(finding);
            } else {
                report.findings.push(finding);
            }
        }
        subjects = std::mem::take(&mut all.subjects);
        if !has_repaired {
            break;
        }
    }
    check_feed_of_tenant(&store, subjects, may_repair, &mut report, progress).await?;
    Ok(report)
}

/// Checks the changes of the tenant. It tells mirrors to read the tenant again if a repair changed what they see. With
/// `repairs`, it also does so if changes are missing.
async fn check_feed_of_tenant(
    store: &Store,
    mut subjects: Subjects,
    repairs: bool,
    report: &mut CheckReport,
    progress: &Progress,
) -> Result<(), StoreError> {
    let Some(item) = store.table.get(&keys::tenant(&store.tenant)).await? else { return Ok(()) };
    let incarnation = TenantRecord::from_item(&item)?.incarnation();
    let state = SubjectState::from_item(&item);
    subjects.insert(store.tenant.to_string(), CheckedSubject { resource_type: "Tenant", state });
    let found = check_changes(&store.table, &store.tenant, &incarnation, &subjects, progress).await?;
    let (settled, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| repairs && finding.problem.is_settled_by_resync());
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
