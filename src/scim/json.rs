//! JSON in which no object names a member twice (RFC 8259 §4 leaves open what that would mean).

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::limits::MAX_JSON_VALUES;

/// Why a text was not read.
#[derive(Debug)]
pub enum JsonError {
    /// It is not JSON, or nested too deeply.
    Malformed(serde_json::Error),
    /// An object names this member twice.
    Repeated(String),
    /// It holds more than [`MAX_JSON_VALUES`] values.
    TooManyValues,
    /// It holds a number beyond [`f64::MAX`]. The error says where.
    NumberTooLarge(serde_json::Error),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Repeated(name) => write!(f, "the member {name:?} is given more than once in one object"),
            Self::TooManyValues => write!(f, "it holds more than {MAX_JSON_VALUES} values"),
            Self::NumberTooLarge(error) => {
                write!(f, "the number at column {} is too large: {:e} is the limit", error.column(), f64::MAX)
            }
        }
    }
}

/// Reads a text as JSON. Members keep their order. Values may be nested as deeply as `serde_json`
/// allows, 127 levels.
///
/// # Errors
/// For what is not JSON, for a member that an object names twice, for too many values, and for a number that is too
/// large.
pub fn read(text: &[u8]) -> Result<Value, JsonError> {
    // What is UTF-8 as a whole need not be checked text by text.
    match std::str::from_utf8(text) {
        Ok(text) => read_from(serde_json::Deserializer::from_str(text)),
        Err(_) => read_from(serde_json::Deserializer::from_slice(text)),
    }
}

fn read_from<'t>(
    mut deserializer: serde_json::Deserializer<impl serde_json::de::Read<'t>>,
) -> Result<Value, JsonError> {
    let (repeated, left) = (RefCell::new(None), Cell::new(Some(MAX_JSON_VALUES)));
    let read = JsonReader { repeated: &repeated, left: &left }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| match repeated.into_inner() {
        Some(name) => JsonError::Repeated(name),
        None if left.get().is_none() => JsonError::TooManyValues,
        None if is_number_too_large(&error) => JsonError::NumberTooLarge(error),
        None => JsonError::Malformed(error),
    })
}

/// Whether the reading of a text ended at a number that no float holds.
pub fn is_number_too_large(error: &serde_json::Error) -> bool {
    // serde_json has no other sign of it.
    error.to_string().starts_with("number out of range")
}

/// Adds a text as a JSON string, with its quotes.
pub fn push_text(out: &mut String, text: &str) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
        out.push_str(&Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// How many bytes a value takes as compact JSON, without writing it.
pub fn written_length(value: &Value) -> usize {
    fn text_length(text: &str) -> usize {
        let extra = |byte: u8| match byte {
            b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 1,
            ..0x20 => 5,
            _ => 0,
        };
        2 + text.len() + text.bytes().map(extra).sum::<usize>()
    }
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text_length(text),
        // The brackets, and a comma after each element but the last one.
        Value::Array(elements) => {
            1 + elements.len().max(1) + elements.iter().map(written_length).sum::<usize>()
        }
        Value::Object(object) => {
            let members = object.iter().map(|(name, value)| text_length(name) + 1 + written_length(value));
            1 + object.len().max(1) + members.sum::<usize>()
        }
    }
}

/// Builds a value, and remembers the first name that stands twice.
#[derive(Clone, Copy)]
struct JsonReader<'r> {
    repeated: &'r RefCell<Option<String>>,
    /// How many values may still come; `None` when one came that may not.
    left: &'r Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for JsonReader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        if self.left.get().is_none() {
            return Err(D::Error::custom("there are too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonReader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            read.push(element);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match read.entry(name) {
                Entry::Vacant(place) => place.insert(members.next_value_seed(self)?),
                Entry::Occupied(first) => {
                    *self.repeated.borrow_mut() = Some(first.key().clone());
                    return Err(A::Error::custom("a member is given twice"));
                }
            };
        }
        Ok(Value::Object(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        for text in [
            "null",
            r#" {"b": [1, -1, 1.5, 1e30, 18446744073709551615, 123456789012345678901234567890], "a": {"a": true}} "#,
            r#"["é\u00e9\n", "", {}, [], {"": {"": 1}}]"#,
            r#"[{"a": 1}, {"a": 1}]"#,
            r#"{"a": 1, "A": 1}"#,
        ] {
            let expected: Value = serde_json::from_str(text).expect(text);
            let found = read(text.as_bytes()).expect(text);
            assert_eq!(found.to_string(), expected.to_string());
        }
    }

    #[test]
    fn a_value_is_as_long_as_it_is_written() {
        for text in [
            "null",
            "true",
            "false",
            "[]",
            "{}",
            r#"[1, -2.5e300, [[]], [{}], {"a": [], "b\n\"\\": {"": "\u0001\u0008\t\f\r\u007f é/"}}]"#,
        ] {
            let value: Value = serde_json::from_str(text).expect(text);
            assert_eq!(written_length(&value), value.to_string().len(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_where_serde_json_refuses_it() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let (fits, too_deep) = (deep(127), deep(128));
        assert!(read(fits.as_bytes()).is_ok());
        for text in ["", "{", "[1,]", "{\"a\":}", "01", "nul", "1 2", "\"\\ud800\"", "{1:2}", &too_deep] {
            let expected = serde_json::from_str::<Value>(text).expect_err(text);
            match read(text.as_bytes()) {
                Err(JsonError::Malformed(found)) => {
                    assert_eq!(
                        (found.line(), found.column()),
                        (expected.line(), expected.column()),
                        "{text}"
                    );
                }
                other => assert!(other.is_err(), "{text} was read: {other:?}"),
            }
        }
    }

    #[test]
    fn a_number_that_no_float_holds_is_not_taken_for_another_text() {
        let digits = format!("[{}]", "9".repeat(400));
        for text in ["1e400", r#"{"a": -1e309}"#, "[0, 1.5E+99999999999]", r#"{"a": 1e400"#, &digits] {
            let read = read(text.as_bytes());
            assert!(matches!(&read, Err(JsonError::NumberTooLarge(_))), "{text}: {read:?}");
        }
        for text in ["1e308", "-1.7976931348623157e308", "1e-400", "0e99999999999", "18446744073709551616"] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
        for text in ["1e", "-", "1e+", r#"{"number out of range": }"#] {
            assert!(matches!(read(text.as_bytes()), Err(JsonError::Malformed(_))), "{text}");
        }
        let error = read(b"[0, 1e400]").expect_err("a number that is too large");
        let expected = "the number at column 9 is too large: 1.7976931348623157e308 is the limit";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn values_are_counted() {
        let array = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
        assert!(read(array(MAX_JSON_VALUES).as_bytes()).is_ok());
        assert!(matches!(read(array(MAX_JSON_VALUES + 1).as_bytes()), Err(JsonError::TooManyValues)));
        assert!(matches!(read("[".repeat(MAX_JSON_VALUES).as_bytes()), Err(JsonError::Malformed(_))));
    }

    #[test]
    fn a_member_stands_once_wherever_it_is() {
        for (text, name) in [
            (r#"{"a": 1, "a": 1}"#, "a"),
            (r#"{"b": {"a": 1, "c": 2, "a": {}}}"#, "a"),
            (r#"[[{"": 1, "": 2}]]"#, ""),
            (r#"{"\u0061": 1, "a": "secret"#, "a"),
        ] {
            let found = read(text.as_bytes());
            assert!(matches!(&found, Err(JsonError::Repeated(found)) if found == name), "{text}: {found:?}");
        }
    }
}
