//! How arguments are read that several commands have.

use time::{Duration, OffsetDateTime};

use crate::admin::when;
use crate::clock;

/// Reads a span of time: `30m`, `24h`, `7d`.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn read_span(text: &str) -> Result<Duration, String> {
    when::span(text).ok_or_else(|| "give a span as 30m, 24h or 7d".to_owned())
}

/// Reads the time from which on a key is refused. It must be in the future.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn read_expiry(text: &str) -> Result<OffsetDateTime, String> {
    let now = clock::now();
    let expires = when::parse_future(text, now)
        .ok_or("give a date as 2027-01-31, an RFC 3339 time as 2027-01-31T18:00:00Z, or 12h, 30d, 52w")?;
    if expires <= now { Err("that time has passed".to_owned()) } else { Ok(expires) }
}
