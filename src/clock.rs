//! The wall clock, and the one form of timestamps that Rollcall stores and answers. No other module reads the wall
//! clock.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

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
/// moments follow one another. The year is from 0 to 9999: [`parse`] reads no other moment.
///
/// Each request writes several: the general formatter of `time` takes five times as long.
pub fn text(time: OffsetDateTime) -> String {
    let time = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, millisecond) = time.to_hms_milli();
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, number) in [
        (4, u16::try_from(year).unwrap_or(0)),
        (7, u8::from(month).into()),
        (10, day.into()),
        (13, hour.into()),
        (16, minute.into()),
        (19, second.into()),
        (23, millisecond),
    ] {
        write_digits(&mut text[..end], number);
    }
    String::from_utf8(text.to_vec()).unwrap_or_default()
}

/// Reads a moment in RFC 3339, as UTC. `None` for another text. Also `None` for a moment outside the years 0 to 9999 of
/// UTC, which may be in those years of its own offset.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    (0..=9999).contains(&time.year()).then_some(time)
}

/// Writes a number before the end of a text of zeros.
fn write_digits(text: &mut [u8], mut number: u16) {
    for digit in text.iter_mut().rev().take_while(|digit| digit.is_ascii_digit()) {
        *digit += (number % 10) as u8;
        number /= 10;
    }
}

/// A day: `2026-11-24`.
pub fn day(date: Date) -> String {
    date.format(DATE).expect("a date has every component")
}

/// Seconds since 1970, as DynamoDB's TTL counts them.
pub fn epoch_seconds() -> u64 {
    u64::try_from(now().unix_timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use time::macros::{datetime, format_description};

    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339_in_utc() {
        let format =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        for moment in [
            datetime!(2026-11-24 09:30 UTC),
            datetime!(2026-12-31 23:59:59.999_999 UTC),
            datetime!(1970-01-01 0:00 UTC),
            datetime!(0033-04-03 15:00:07.08 UTC),
            datetime!(9999-10-20 10:20:30.405 UTC),
            datetime!(2026-03-01 01:30:00.5 +2),
        ] {
            let expected = moment.to_offset(UtcOffset::UTC).format(format).expect("a text");
            assert_eq!(text(moment), expected);
        }
    }

    #[test]
    fn only_moments_in_the_years_0_to_9999_of_utc_are_read() {
        for (written, expected) in [
            ("2026-11-24T09:30:00Z", Some(datetime!(2026-11-24 09:30 UTC))),
            ("2026-11-24T09:30:00.250+02:00", Some(datetime!(2026-11-24 07:30:00.25 UTC))),
            ("0000-01-01T00:00:00Z", Some(datetime!(0000-01-01 0:00 UTC))),
            ("9999-12-31T23:59:59Z", Some(datetime!(9999-12-31 23:59:59 UTC))),
            ("9999-12-31T23:59:59+01:00", Some(datetime!(9999-12-31 22:59:59 UTC))),
            ("9999-12-31T23:59:59-01:00", None),
            ("9999-12-31T23:59:59-23:59", None),
            ("0000-01-01T00:00:00+01:00", None),
            ("2026-11-24", None),
            ("", None),
        ] {
            let read = parse(written);
            assert_eq!(read, expected, "{written}");
            assert_eq!(read.map(OffsetDateTime::offset), expected.map(OffsetDateTime::offset), "{written}");
            assert_eq!(read.and_then(|read| parse(&text(read))), expected, "{written}");
        }
    }

    #[test]
    fn a_moment_that_utc_cannot_name_is_written_without_a_panic() {
        assert_eq!(text(datetime!(9999-12-31 23:59:59 -1)), "9999-12-31T23:59:59.000Z");
    }
}
