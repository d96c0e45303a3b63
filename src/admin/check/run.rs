//! A check from the first walk to the last.

use super::inventory::Inventory;
use super::repair::repair;
use super::report::{CheckReport, Finding};
use super::rules::find_violations;
use crate::limits::MAX_REPAIR_ROUNDS;
use crate::scim::resource_type::Model;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::keys::TenantId;

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
    let store = Store {
        table: table.clone(),
        tenant: tenant.clone(),
        actor: "operator".to_owned(),
        request_id: String::new(),
    };
    let mut report = CheckReport::default();
    for _ in 0..MAX_REPAIR_ROUNDS {
        let (all, found) = confirm_findings(&store, model).await?;
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
        if !mended {
            break;
        }
    }
    Ok(report)
}

/// What two walks agree on.
async fn confirm_findings(store: &Store, model: &Model) -> Result<(Inventory, Vec<Finding>), StoreError> {
    let all = Inventory::read(store, model).await?;
    let suspected = find_violations(&store.tenant, &all);
    if suspected.is_empty() {
        return Ok((all, suspected));
    }
    let again = Inventory::read(store, model).await?;
    let mut found = find_violations(&store.tenant, &again);
    found.retain(|finding| suspected.contains(finding));
    Ok((again, found))
}
