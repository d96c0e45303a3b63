//! How values that are not texts compare: instants and numbers (RFC 7644 §3.4.2.2, §3.4.2.3).

use std::cmp::Ordering;

use serde_json::Number;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// The instant that an `xsd:dateTime` names (RFC 7643 §2.3.5). Without a zone it is in UTC.
/// `24:00:00` is the first instant of the next day (XML Schema Part 2, §3.2.7).
pub fn instant(text: &str) -> Option<OffsetDateTime> {
    let (date, clock) = text.split_once(['T', 't'])?;
    let zone = if clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']) { "" } else { "Z" };
    if let Some(rest) = clock.strip_prefix("24:00:00") {
        let fraction = rest.strip_prefix('.').map(|digits| digits.trim_start_matches('0'));
        let is_zero = !fraction.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let midnight = OffsetDateTime::parse(&format!("{date}T00:00:00{rest}{zone}"), &Rfc3339).ok()?;
        return is_zero.then_some(midnight)?.checked_add(Duration::DAY);
    }
    if zone.is_empty() {
        OffsetDateTime::parse(text, &Rfc3339).ok()
    } else {
        OffsetDateTime::parse(&format!("{text}{zone}"), &Rfc3339).ok()
    }
}

/// The whole number that a JSON number is, written with a fraction of zero or not.
#[expect(
    clippy::cast_possible_truncation,
    reason = "beyond the bounds of a float's whole numbers it is none"
)]
pub fn whole(number: &Number) -> Option<i128> {
    const BOUND: f64 = 1e36;
    integer(number).or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < BOUND).then_some(float as i128)
    })
}

/// The order of numbers, exact however large they are: a total order, whole numbers and fractions
/// mixed.
pub fn numbers(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => whole_and_fraction(a, fraction(b)),
        (None, Some(b)) => whole_and_fraction(b, fraction(a)).reverse(),
        (None, None) => fraction(a).partial_cmp(&fraction(b)).unwrap_or(Ordering::Equal),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// JSON has neither infinities nor anything that is not a number.
fn fraction(number: &Number) -> f64 {
    number.as_f64().unwrap_or(0.0)
}

/// A cast of a float saturates, and `whole` is far from the bounds at which it would.
#[expect(clippy::cast_possible_truncation, reason = "fractions are compared on their own")]
fn whole_and_fraction(whole: i128, fraction: f64) -> Ordering {
    whole.cmp(&(fraction.trunc() as i128)).then_with(|| {
        if fraction.fract() > 0.0 {
            Ordering::Less
        } else if fraction.fract() < 0.0 {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_compare_whatever_their_zone() {
        let same = instant("2011-05-13T04:42:34Z");
        assert!(same.is_some());
        for text in [
            "2011-05-13T04:42:34",
            "2011-05-13T04:42:34.000",
            "2011-05-13t04:42:34.0z",
            "2011-05-13T06:42:34+02:00",
            "2011-05-12T20:42:34-08:00",
        ] {
            assert_eq!(instant(text), same, "{text:?}");
        }
        assert!(instant("2011-05-13T04:42:34.001") > same);
        for (text, expected) in [
            ("2024-02-29T24:00:00Z", Some("2024-03-01T00:00:00Z")),
            ("2024-12-31T24:00:00", Some("2025-01-01T00:00:00")),
            ("2024-12-31t24:00:00.000z", Some("2025-01-01T00:00:00Z")),
            ("2024-12-31T24:00:00.0-08:00", Some("2025-01-01T08:00:00Z")),
            ("2024-12-31T24:00:00.001Z", None),
            ("2024-12-31T24:00:01Z", None),
            ("2024-12-31T24:01:00Z", None),
            ("2024-12-31T25:00:00Z", None),
            ("2024-02-30T24:00:00Z", None),
            ("9999-12-31T24:00:00Z", None),
        ] {
            assert_eq!(instant(text), expected.and_then(instant), "{text:?}");
            assert_eq!(instant(text).is_some(), expected.is_some(), "{text:?}");
        }
        for text in ["", "T", "2011-05-13", "2011-05-13 04:42:34Z", "2011-02-30T00:00:00Z", "éTé", "2011"] {
            assert_eq!(instant(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_have_one_order() {
        let ordered = [
            "-1e300",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "0.5",
            "1",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994.0",
            "18446744073709551615",
            "18446744073709551616.0",
            "1e300",
        ];
        let numbers_: Vec<Number> =
            ordered.iter().map(|text| serde_json::from_str(text).expect("a number")).collect();
        for (i, a) in numbers_.iter().enumerate() {
            for (j, b) in numbers_.iter().enumerate() {
                assert_eq!(numbers(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
        let number = |text: &str| serde_json::from_str::<Number>(text).expect("a number");
        for (a, b) in
            [("1", "1.0"), ("0", "-0.0"), ("-0.0", "0.0"), ("9007199254740992", "9007199254740992.0")]
        {
            assert_eq!(numbers(&number(a), &number(b)), Ordering::Equal, "{a} and {b}");
        }
    }
}
