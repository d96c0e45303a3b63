//! The written forms of values that JSON knows as strings only (RFC 7643 §2.3).

use super::order::instant;

/// Whether a text is an `xsd:dateTime` with date and time (RFC 7643 §2.3.5). A zone is optional.
pub fn is_date_time(text: &str) -> bool {
    let Some((date, clock)) = text.split_once('T') else { return false };
    if !date.is_ascii() || !clock.is_ascii() {
        return false;
    }
    !clock.ends_with('z') && instant(text).is_some()
}

/// Whether a text is base64 or base64url, padded or not (RFC 7643 §2.3.6, RFC 4648 §4 and §5).
pub fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let alphabet = |extra: [u8; 2]| digits.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b));
    (alphabet(*b"+/") || alphabet(*b"-_"))
        && digits.len() % 4 != 1
        && (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times() {
        for (text, expected) in [
            ("2011-05-13T04:42:34Z", true),
            ("2011-05-13T04:42:34.123+02:00", true),
            ("2011-05-13T04:42:34", true),
            ("2011-05-13T04:42:34-08:00", true),
            ("2011-05-13T24:00:00Z", true),
            ("2011-05-13T24:00:00", true),
            ("2011-05-13T24:00:01Z", false),
            ("2011-05-13T04:42:34z", false),
            ("2011-05-13", false),
            ("2011-13-13T04:42:34Z", false),
            ("2011-05-13 04:42:34Z", false),
            ("T", false),
            ("", false),
            ("é T é", false),
        ] {
            assert_eq!(is_date_time(text), expected, "{text:?}");
        }
    }

    #[test]
    fn base64_texts() {
        for (text, expected) in [
            ("", true),
            ("aGk=", true),
            ("aGk", true),
            ("a-_k", true),
            ("a+/k", true),
            ("a+_k", false),
            ("a", false),
            ("aGk==", false),
            ("====", false),
            ("aG k", false),
            ("äGk", false),
        ] {
            assert_eq!(is_base64(text), expected, "{text:?}");
        }
    }
}
