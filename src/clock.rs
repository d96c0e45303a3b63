//! The wall clock, and the one form of timestamps that Rollcall stores and answers.

use std::time::{SystemTime, UNIX_EPOCH};

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

const TIMESTAMP: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");

/// Now, as [`text`].
pub fn timestamp() -> String {
    text(OffsetDateTime::now_utc())
}

/// A moment in RFC 3339, UTC, with milliseconds: `2026-11-24T09:30:00.000Z`. Such texts sort as the
/// moments follow one another.
pub fn text(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(TIMESTAMP).expect("a date and time of day has every component")
}

/// A day: `2026-11-24`.
pub fn day(date: Date) -> String {
    date.format(DATE).expect("a date has every component")
}

/// Seconds since 1970, as DynamoDB's TTL counts them.
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
