//! Waiting while the table is busy.

use std::time::Instant;

use crate::store::call::back_off;
use crate::store::error::StoreError;

/// Runs a write again for as long as the table is busy, at most until `until`. Returns whether the
/// write succeeded; `false` means that there was no time left.
///
/// # Errors
/// The errors of the write that waiting does not help against: all but [`StoreError::Conflict`],
/// [`StoreError::Throttled`] and [`StoreError::Unavailable`].
pub(super) async fn retry_while_busy<F>(until: Instant, write: impl Fn() -> F) -> Result<bool, StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut attempt = 0;
    while Instant::now() < until {
        match write().await {
            Err(StoreError::Conflict | StoreError::Throttled | StoreError::Unavailable(_)) => {
                back_off(attempt).await;
                attempt += 1;
            }
            outcome => return outcome.map(|()| true),
        }
    }
    Ok(false)
}
