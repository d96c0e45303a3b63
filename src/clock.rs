//! The wall clock, and the one form of timestamps that Rollcall stores and answers.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Now, in UTC with milliseconds: `2026-11-24T09:30:00.000Z`. Such texts sort as they follow.
pub fn timestamp() -> String {
    // A year beyond 9999 is the only failure, and a clock so wrong is told by what it prints.
    OffsetDateTime::now_utc().format(FORMAT).unwrap_or_else(|_| "9999-12-31T23:59:59.999Z".to_owned())
}

/// Seconds since 1970, as DynamoDB's TTL counts them.
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
