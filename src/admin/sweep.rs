//! Emptying a tenant's part of the table.

use futures_util::future::try_join_all;

use super::output;
use crate::limits::{MAX_SWEEP_PASSES, SCAN_SEGMENTS};
use crate::store::call::{ScanPage, ScanSegment, Table};
use crate::store::error::StoreError;
use crate::store::keys::{self, Key, TenantId};

/// What becomes of a tenant's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRetention {
    /// They are deleted with everything else.
    Deleted,
    /// They stay as long as they would have.
    Kept,
}

/// Deletes everything that the table holds of a tenant's data, until nothing more is found. Says how
/// many items that were.
///
/// # Errors
/// As every call.
pub async fn sweep(table: &Table, tenant: &TenantId, events: EventRetention) -> Result<usize, StoreError> {
    let mut swept = 0;
    for _ in 0..MAX_SWEEP_PASSES {
        let parts = (0..SCAN_SEGMENTS).map(|segment| sweep_part(table, tenant, events, segment));
        let found: usize = try_join_all(parts).await?.into_iter().sum();
        swept += found;
        if found == 0 {
            break;
        }
        output::progress(&format!("{swept} items deleted"));
    }
    Ok(swept)
}

/// Deletes what one part of the table holds of the tenant. Says how many items that were.
async fn sweep_part(
    table: &Table,
    tenant: &TenantId,
    events: EventRetention,
    segment: i32,
) -> Result<usize, StoreError> {
    let prefix = keys::data(tenant);
    let (mut start, mut count) = (None, 0);
    loop {
        let segment = ScanSegment { number: segment, total: SCAN_SEGMENTS };
        let ScanPage { found, next } = table.scan_page(&prefix, start, segment).await?;
        let goes = |key: &Key| events == EventRetention::Deleted || !keys::is_event(tenant, key);
        let found: Vec<Key> = found.into_iter().filter(goes).collect();
        count += found.len();
        table.batch_delete(found).await?;
        match next {
            Some(next) => start = Some(next),
            None => return Ok(count),
        }
    }
}
