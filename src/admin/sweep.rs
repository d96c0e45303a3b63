//! Emptying a tenant's part of the table.

use futures_util::future::try_join_all;

use super::progress::Progress;
use crate::limits::{MAX_SWEEP_PASSES, SCAN_SEGMENTS};
use crate::store::call::{ScanPage, ScanSegment, Table};
use crate::store::error::StoreError;
use crate::store::keys::{self, Key, TenantId};

/// Deletes everything that the table holds of a tenant's data, until nothing more is found. Tells `progress` how many
/// users and groups were deleted, and returns how many items that were.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn sweep(table: &Table, tenant: &TenantId, progress: &Progress) -> Result<usize, StoreError> {
    let mut swept = 0;
    for _ in 0..MAX_SWEEP_PASSES {
        let parts = (0..SCAN_SEGMENTS).map(|segment| sweep_part(table, tenant, segment, progress));
        let found: usize = try_join_all(parts).await?.into_iter().sum();
        swept += found;
        if found == 0 {
            break;
        }
    }
    Ok(swept)
}

/// Deletes what one part of the table holds of the tenant. Says how many items that were.
async fn sweep_part(
    table: &Table,
    tenant: &TenantId,
    segment: i32,
    progress: &Progress,
) -> Result<usize, StoreError> {
    let prefix = keys::data(tenant);
    let (mut start, mut count) = (None, 0);
    loop {
        let segment = ScanSegment { number: segment, total: SCAN_SEGMENTS };
        let ScanPage { found, next } = table.scan_page(&prefix, start, segment).await?;
        count += found.len();
        let is_resource = |key: &&Key| [keys::USER, keys::GROUP].contains(&key.sk.as_str());
        let resources = found.iter().filter(is_resource).count();
        table.batch_delete(found).await?;
        progress.advance(resources as u64);
        match next {
            Some(next) => start = Some(next),
            None => return Ok(count),
        }
    }
}
