//! Moments and spans of time as an operator writes them.

use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use crate::clock;

/// Years that RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

/// A span: `90s`, `15m`, `12h`, `30d`, `52w`.
pub fn span(text: &str) -> Option<Duration> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let (unit, seconds) = units.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::seconds(i64::from(count) * seconds))
}

/// A moment: a date (00:00 UTC) or an RFC 3339 time.
pub fn moment(text: &str) -> Option<OffsetDateTime> {
    let date = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    let midnight =
        date().map(|date| date.midnight().assume_utc()).filter(|date| YEARS.contains(&date.year()));
    midnight.or_else(|| clock::parse(text))
}

/// A moment, or a span from `now` on.
pub fn parse_future(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let after = || now.checked_add(span(text)?).filter(|time| YEARS.contains(&time.year()));
    after().or_else(|| moment(text))
}

/// A moment, or a span before `now`.
pub fn parse_past(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let before = || now.checked_sub(span(text)?).filter(|time| YEARS.contains(&time.year()));
    before().or_else(|| moment(text))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_a_span() {
        let now = datetime!(2026-06-01 12:00 UTC);
        for (text, expected) in [
            ("30d", Some(datetime!(2026-07-01 12:00 UTC))),
            ("1h", Some(datetime!(2026-06-01 13:00 UTC))),
            ("2w", Some(datetime!(2026-06-15 12:00 UTC))),
            ("90s", Some(datetime!(2026-06-01 12:01:30 UTC))),
            ("2027-01-31", Some(datetime!(2027-01-31 0:00 UTC))),
            ("2027-01-31T18:00:00+01:00", Some(datetime!(2027-01-31 17:00 UTC))),
            ("", None),
            ("d", None),
            ("-1d", None),
            ("30", None),
            ("30y", None),
            ("tomorrow", None),
            ("2027-02-30", None),
            ("4294967295w", None),
            ("99999999999d", None),
            ("9999-12-31T23:59:59-01:00", None),
            ("0000-01-01T00:00:00+01:00", None),
        ] {
            assert_eq!(parse_future(text, now), expected, "{text:?}");
        }
        assert_eq!(parse_past("1h", now), Some(datetime!(2026-06-01 11:00 UTC)));
        assert_eq!(parse_past("2026-01-31", now), Some(datetime!(2026-01-31 0:00 UTC)));
    }
}
