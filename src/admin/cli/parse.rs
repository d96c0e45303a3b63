//! How arguments are read that several commands have.

use time::Duration;

use crate::admin::when;

/// Reads a span of time: `30m`, `24h`, `7d`.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn read_span(text: &str) -> Result<Duration, String> {
    when::span(text).ok_or_else(|| "give a span as 30m, 24h or 7d".to_owned())
}
