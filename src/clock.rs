//! The wall clock, and the one form of timestamps that Rollcall stores and answers. No other module reads the wall
//! clock.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

const TIMESTAMP: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");

#[cfg(feature = "cli")]
tokio::task_local! {
    /// How many seconds the clock of this task is ahead.
    static SECONDS_AHEAD: i64;
}

/// Runs a task whose clock is some seconds ahead, or behind if negative. So a test can play functions whose
/// clocks differ. The deployed functions have no such clock.
#[cfg(feature = "cli")]
pub fn with_seconds_ahead<F: Future>(seconds: i64, task: F) -> impl Future<Output = F::Output> {
    SECONDS_AHEAD.scope(seconds, task)
}

/// Now, in UTC.
pub fn now() -> OffsetDateTime {
    #[cfg(feature = "cli")]
    if let Ok(seconds) = SECONDS_AHEAD.try_with(|seconds| *seconds) {
        return OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    }
    OffsetDateTime::now_utc()
}

/// Now, as [`text`].
pub fn timestamp() -> String {
    text(now())
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
    u64::try_from(now().unix_timestamp()).unwrap_or(0)
}
