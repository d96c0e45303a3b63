//! How values that are not texts compare: instants and numbers (RFC 7644 §3.4.2.2, §3.4.2.3).

use std::cmp::Ordering;

use serde_json::Number;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The instant that an `xsd:dateTime` names (RFC 7643 §2.3.5). Without a zone it is in UTC.
pub fn instant(text: &str) -> Option<OffsetDateTime> {
    let (_, clock) = text.split_once(['T', 't'])?;
    if clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']) {
        OffsetDateTime::parse(text, &Rfc3339).ok()
    } else {
        OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok()
    }
}

/// The order of numbers, exact however large they are: a total order, whole numbers and fractions
/// mixed.
pub fn numbers(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => whole_and_fraction(a, fraction(b)),
        (None, Some(b)) => whole_and_fraction(b, fraction(a)).reverse(),
        (None, None) => fraction(a).partial_cmp(&fraction(b)).unwrap_or(Ordering::Equal),
    }
}

fn whole(number: &Number) -> Option<i128> {
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
