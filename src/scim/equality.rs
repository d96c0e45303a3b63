//! When two JSON values are the same: as JSON, and as values of an attribute.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::fold::fold;
use super::order::{instant, whole};
use super::schema::{Attribute, Type};

/// The sub-attribute of which an absent value and `false` are the same (RFC 7643 §2.4).
const PRIMARY: &str = "primary";

/// Keeps each element once. Two elements with the same `value` and `type` are one (RFC 7643 §2.4):
/// it stands where the first of them stood, and the other sub-attributes of the later one win.
/// Elements without `value` are one if they are equal in everything.
pub fn deduplicate(attribute: &Attribute, elements: &mut Vec<Value>) {
    if elements.len() < 2 {
        return;
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(elements.len());
    let mut kept: Vec<Value> = Vec::with_capacity(elements.len());
    for element in elements.drain(..) {
        let next = kept.len();
        let place = *places.entry(identity(attribute, &element)).or_insert(next);
        match kept.get_mut(place) {
            Some(own) => absorb(own, element),
            None => kept.push(element),
        }
    }
    *elements = kept;
}

/// What `more` says besides `value` and `type` becomes true of `own`, which is the same element.
pub fn absorb(own: &mut Value, more: Value) {
    if let (Value::Object(own), Value::Object(more)) = (own, more)
        && own.contains_key("value")
    {
        own.extend(more.into_iter().filter(|(name, _)| name != "value" && name != "type"));
    }
}

/// A text that is the same for two elements that are one (RFC 7643 §2.4): of those with a `value`
/// it is made of `value` and `type`, of all others of the whole element.
pub fn identity(attribute: &Attribute, element: &Value) -> String {
    let mut out = String::new();
    match element {
        Value::Object(object) if object.contains_key("value") => {
            let named = attribute.sub_attributes.iter().filter(|sub| matches!(&*sub.name, "value" | "type"));
            named.for_each(|sub| write_sub(sub, object, &mut out));
        }
        whole => write_value(attribute, whole, &mut out),
    }
    out
}

/// A text that is the same for values that the attribute's definition holds to be equal: letter
/// case counts only where the attribute is case-exact, `primary` absent is `primary` false, and
/// the elements of a multi-valued sub-attribute come in any order.
pub fn key(attribute: &Attribute, value: &Value) -> String {
    let mut out = String::new();
    write_value(attribute, value, &mut out);
    out
}

/// The [`key`] of what an object says about these sub-attributes of its attribute.
pub fn key_of(subs: &[&Attribute], object: &Map<String, Value>) -> String {
    let mut out = String::new();
    subs.iter().for_each(|sub| write_sub(sub, object, &mut out));
    out
}

/// Whether two elements have the same [`identity`].
pub fn is_same_element(attribute: &Attribute, a: &Value, b: &Value) -> bool {
    match (a.get("value"), b.get("value")) {
        (Some(own), Some(other)) => {
            is_same_sub(attribute, "value", Some(own), Some(other))
                && is_same_sub(attribute, "type", a.get("type"), b.get("type"))
        }
        (None, None) => match (a, b) {
            // The cheap comparison comes first: most texts differ.
            (Value::String(a), Value::String(b)) => is_same_text(attribute, a, b),
            (a, b) => a == b || key(attribute, a) == key(attribute, b),
        },
        _ => false,
    }
}

fn is_same_sub(attribute: &Attribute, name: &str, a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b, attribute.sub_attribute(name)) {
        (Some(Value::String(a)), Some(Value::String(b)), Some(sub)) => is_same_text(sub, a, b),
        (Some(a), Some(b), Some(sub)) => a == b || key(sub, a) == key(sub, b),
        (a, b, _) => a == b,
    }
}

fn is_same_text(attribute: &Attribute, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match attribute.kind {
        Type::DateTime => normal(attribute, a) == normal(attribute, b),
        _ if attribute.is_case_exact() => false,
        _ if a.is_ascii() && b.is_ascii() => a.eq_ignore_ascii_case(b),
        _ => fold(a) == fold(b),
    }
}

fn write_value(attribute: &Attribute, value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_text(&normal(attribute, text), out),
        Value::Number(number) => {
            let whole = whole(number).map(|whole| whole.to_string());
            write_text(&whole.unwrap_or_else(|| number.to_string()), out);
        }
        Value::Object(object) => {
            out.push('{');
            attribute.sub_attributes.iter().for_each(|sub| write_sub(sub, object, out));
            out.push('}');
        }
        Value::Array(elements) => {
            let mut keys: Vec<String> = elements.iter().map(|element| key(attribute, element)).collect();
            keys.sort_unstable();
            keys.dedup();
            out.push('[');
            keys.iter().for_each(|key| write_text(key, out));
            out.push(']');
        }
        Value::Bool(value) => out.push(if *value { 't' } else { 'f' }),
        Value::Null => out.push('n'),
    }
}

fn write_sub(sub: &Attribute, object: &Map<String, Value>, out: &mut String) {
    match object.get(&sub.name) {
        Some(Value::Bool(false)) if sub.name == PRIMARY => {}
        Some(value) => {
            write_text(&sub.name, out);
            write_value(sub, value, out);
        }
        None => {}
    }
}

/// A text after its length, so that no two sequences of texts look alike.
fn write_text(text: &str, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}:{text}", text.len());
}

fn normal<'t>(attribute: &Attribute, text: &'t str) -> Cow<'t, str> {
    match attribute.kind {
        Type::DateTime => match instant(text) {
            Some(instant) => Cow::Owned(instant.unix_timestamp_nanos().to_string()),
            None => Cow::Borrowed(text),
        },
        _ if attribute.is_case_exact() => Cow::Borrowed(text),
        _ => Cow::Owned(fold(text)),
    }
}

/// A text that is the same for equal JSON values.
pub fn sorted(value: &Value) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                out.push('{');
                for (key, value) in entries {
                    write(&Value::String(key.clone()), out);
                    out.push(':');
                    write(value, out);
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(elements) => {
                out.push('[');
                for element in elements {
                    write(element, out);
                    out.push(',');
                }
                out.push(']');
            }
            simple => out.push_str(&simple.to_string()),
        }
    }
    let mut out = String::new();
    write(value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Elements with every type of sub-attribute; `exact` is case-exact.
    fn attribute() -> Attribute {
        serde_json::from_value(
            json!({ "name": "x", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "type": "string", "multiValued": false },
            { "name": "type", "type": "string", "multiValued": false },
            { "name": "exact", "type": "string", "multiValued": false, "caseExact": true },
            { "name": "primary", "type": "boolean", "multiValued": false },
            { "name": "since", "type": "dateTime", "multiValued": false },
            { "name": "weight", "type": "decimal", "multiValued": false },
            { "name": "tags", "type": "string", "multiValued": true },
        ] }),
        )
        .expect("an attribute")
    }

    #[test]
    fn the_order_of_names_does_not_matter() {
        assert_eq!(sorted(&json!({ "a": 1, "b": [2] })), sorted(&json!({ "b": [2], "a": 1 })));
        assert_ne!(sorted(&json!({ "a": "b" })), sorted(&json!(["a", "b"])));
        assert_ne!(sorted(&json!("a\":1")), sorted(&json!({ "a": 1 })));
    }

    #[test]
    fn elements_are_the_same_by_their_definition() {
        let attribute = attribute();
        for (a, b, one, equal) in [
            (json!({ "value": "A" }), json!({ "value": "a" }), true, true),
            (json!({ "value": "Straße" }), json!({ "value": "STRASSE" }), true, true),
            (json!({ "value": "\u{212a}" }), json!({ "value": "k" }), true, true),
            (json!({ "value": "a" }), json!({ "value": "b" }), false, false),
            (json!({ "value": "a", "type": "T" }), json!({ "type": "t", "value": "a" }), true, true),
            (json!({ "value": "a", "type": "T" }), json!({ "value": "a" }), false, false),
            (json!({ "value": "a", "exact": "E" }), json!({ "value": "a", "exact": "e" }), true, false),
            (json!({ "value": "a", "primary": false }), json!({ "value": "a" }), true, true),
            (json!({ "value": "a", "primary": true }), json!({ "value": "a" }), true, false),
            (json!({ "exact": "E" }), json!({ "exact": "e" }), false, false),
            (json!({ "exact": "E", "primary": false }), json!({ "exact": "E" }), true, true),
            (json!({ "exact": "E", "primary": true }), json!({ "exact": "E" }), false, false),
            (json!({ "weight": 1 }), json!({ "weight": 1.0 }), true, true),
            (json!({ "weight": 1 }), json!({ "weight": 1.5 }), false, false),
            (json!({ "tags": ["a", "B", "a"] }), json!({ "tags": ["b", "A"] }), true, true),
            (json!({ "tags": ["a", "b"] }), json!({ "tags": ["a"] }), false, false),
            (
                json!({ "since": "2024-01-01T00:00:00Z" }),
                json!({ "since": "2023-12-31T24:00:00Z" }),
                true,
                true,
            ),
            (json!({ "value": "a", "exact": "b" }), json!({ "value": "a5:exact1:b" }), false, false),
        ] {
            assert_eq!(is_same_element(&attribute, &a, &b), one, "{a} {b}");
            assert_eq!(identity(&attribute, &a) == identity(&attribute, &b), one, "{a} {b}");
            assert_eq!(key(&attribute, &a) == key(&attribute, &b), equal, "{a} {b}");
        }
    }

    #[test]
    fn the_later_of_two_says_the_rest() {
        let mut elements = vec![
            json!({ "value": "A", "type": "t", "exact": "1", "primary": true }),
            json!({ "value": "b" }),
            json!({ "exact": "E" }),
            json!({ "value": "a", "type": "T", "exact": "2", "weight": 3 }),
            json!({ "exact": "E", "primary": false }),
        ];
        deduplicate(&attribute(), &mut elements);
        let expected = [
            json!({ "value": "A", "type": "t", "exact": "2", "primary": true, "weight": 3 }),
            json!({ "value": "b" }),
            json!({ "exact": "E" }),
        ];
        assert_eq!(elements, expected);
    }
}
