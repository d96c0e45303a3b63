//! What an attribute is compared with: a JSON literal (RFC 7644 §3.4.2.2, RFC 8259).

use serde_json::{Number, Value};

use crate::scim::attr_path::ParseError;
use crate::scim::json::is_number_too_large;

/// Reads the literal at the start of a text; how many bytes it has.
///
/// ```abnf
/// compValue = false / null / true / number / string
/// ```
///
/// # Errors
/// The first byte that is not as expected.
pub(super) fn read(text: &str) -> Result<(Value, usize), ParseError> {
    let (value, length) = if text.starts_with('"') { string(text)? } else { word(text)? };
    match text.as_bytes().get(length) {
        None | Some(b' ' | b'\t' | b'\r' | b'\n' | b')' | b']') => Ok((value, length)),
        Some(_) => Err(ParseError { at: length, expected: "expected a space" }),
    }
}

fn word(text: &str) -> Result<(Value, usize), ParseError> {
    let length = text.find([' ', '\t', '\r', '\n', ')', ']']).unwrap_or(text.len());
    let wrong = |expected| ParseError { at: 0, expected };
    // An id begins with a digit, too: without quotation marks it is a text that lacks them.
    let is_number = |literal: &str| {
        literal.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && literal.chars().all(|c| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
    };
    let value = match &text[..length] {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        literal if is_number(literal) => Value::Number(number(literal).map_err(wrong)?),
        _ => return Err(wrong("expected a text in double quotation marks, a number, true, false or null")),
    };
    Ok((value, length))
}

/// A number. Fractions are read to the nearest float, which `serde_json` by itself may miss by one:
/// what a filter prints must parse back.
///
/// # Errors
/// What is expected instead.
fn number(text: &str) -> Result<Number, &'static str> {
    const NUMBER: &str = "expected a number as JSON writes it";
    let number = serde_json::from_str::<Number>(text)
        .map_err(|error| if is_number_too_large(&error) { "expected a smaller number" } else { NUMBER })?;
    if !number.is_f64() {
        return Ok(number);
    }
    text.parse().ok().and_then(Number::from_f64).ok_or(NUMBER)
}

/// Where a string is broken is found here; what it means is left to `serde_json`.
fn string(text: &str) -> Result<(Value, usize), ParseError> {
    let bytes = text.as_bytes();
    let wrong = |at: usize, expected| Err(ParseError { at: at.min(bytes.len()), expected });
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return wrong(at, "expected a closing quotation mark"),
            Some(b'"') => break,
            Some(..0x20) => return wrong(at, "expected control characters to be escaped"),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'u') => at += 6,
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                _ => return wrong(at + 1, "expected an escape as JSON writes it"),
            },
            Some(_) => at += 1,
        }
    }
    match serde_json::from_str(&text[..=at]) {
        Ok(value) => Ok((Value::String(value), at + 1)),
        Err(_) => wrong(0, "expected a string as JSON writes it"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_literal_of_json() {
        for (text, value, length) in [
            ("true", json!(true), 4),
            ("false)", json!(false), 5),
            ("null]", json!(null), 4),
            ("-12 and", json!(-12), 3),
            ("1.5e-3", json!(0.0015), 6),
            ("2E2", json!(200.0), 3),
            ("-100893606.89487411", json!(-100893606.89487411), 19),
            ("18446744073709551615", json!(u64::MAX), 20),
            (r#""""#, json!(""), 2),
            (r#""a\"b" and"#, json!("a\"b"), 6),
            (r#""\"\\\/\b\f\n\r\t""#, json!("\"\\/\u{8}\u{c}\n\r\t"), 18),
            (r#""\u00e9\uD83d\ude00""#, json!("é😀"), 20),
            (r#""é] and (" "#, json!("é] and ("), 11),
        ] {
            assert_eq!(read(text), Ok((value, length)), "{text:?}");
        }
    }

    #[test]
    fn where_a_text_stops_being_a_literal() {
        const NUMBER: &str = "expected a number as JSON writes it";
        const VALUE: &str = "expected a text in double quotation marks, a number, true, false or null";
        const STRING: &str = "expected a string as JSON writes it";
        for (text, at, expected) in [
            ("", 0, VALUE),
            ("True", 0, VALUE),
            ("'x'", 0, VALUE),
            ("x", 0, VALUE),
            ("[1]", 0, VALUE),
            ("01", 0, NUMBER),
            ("-", 0, NUMBER),
            ("1.", 0, NUMBER),
            ("+1", 0, VALUE),
            ("1e999", 0, "expected a smaller number"),
            ("-1e400", 0, "expected a smaller number"),
            ("1and", 0, VALUE),
            ("01890a5d-ac96-774b-bcce-b302099a8057", 0, VALUE),
            ("\"x\"y", 3, "expected a space"),
            ("\"x", 2, "expected a closing quotation mark"),
            ("\"\\u", 3, "expected a closing quotation mark"),
            ("\"x\\\"", 4, "expected a closing quotation mark"),
            ("\"x\\", 3, "expected an escape as JSON writes it"),
            ("\"\\a\"", 2, "expected an escape as JSON writes it"),
            ("\"\\uZZZZ\"", 0, STRING),
            ("\"\\ufe\" or a eq \"a\"", 0, STRING),
            ("\"\\ud83d\"", 0, STRING),
            ("\"\n\"", 1, "expected control characters to be escaped"),
        ] {
            assert_eq!(read(text), Err(ParseError { at, expected }), "{text:?}");
        }
    }
}
