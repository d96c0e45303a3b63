//! References to what other operations create: `bulkId:` and the name of the operation
//! (RFC 7644 §3.7.2).

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

/// What a reference begins with.
pub const PREFIX: &str = "bulkId:";

/// What a reference stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referent {
    /// The id of the resource.
    pub id: String,
    /// Where it is.
    pub location: String,
}

/// The names in all references in a value; `key` is what holds it.
pub fn names_in(key: &str, value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each_text(key, value, &mut |key, text| {
        names.extend(spans(key, text).into_iter().map(|span| text[span][PREFIX.len()..].to_owned()));
    });
    names
}

/// The names in all references in an operation's data.
pub fn names(data: &Map<String, Value>) -> BTreeSet<String> {
    data.iter().flat_map(|(key, value)| names_in(key, value)).collect()
}

/// The data with what its references stand for, where that is known.
pub fn resolve(data: &mut Map<String, Value>, find: &impl Fn(&str) -> Option<Referent>) {
    for (key, value) in data.iter_mut() {
        resolve_in(key, value, find);
    }
}

fn resolve_in(key: &str, value: &mut Value, find: &impl Fn(&str) -> Option<Referent>) {
    match value {
        Value::String(text) => {
            // From the last, so that what comes before keeps its place.
            for span in spans(key, text).into_iter().rev() {
                let Some(referent) = find(&text[span.clone()][PREFIX.len()..]) else { continue };
                let uri = is_uri(key) && span == (0..text.len());
                text.replace_range(span, if uri { &referent.location } else { &referent.id });
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| resolve_in(key, element, find)),
        Value::Object(object) => resolve(object, find),
        _ => {}
    }
}

/// Divides data into what can be written now and what waits for one of these names: elements of
/// an array, attributes otherwise. Both parts have the form of a resource, so that the second can
/// be added to what the first made.
pub fn divide(
    data: &Map<String, Value>,
    open: &BTreeSet<String>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut now, mut later) = (Map::new(), Map::new());
    for (key, value) in data {
        let waits = |value: &Value| !names_in(key, value).is_disjoint(open);
        match value {
            value if !waits(value) => {
                now.insert(key.clone(), value.clone());
            }
            Value::Array(elements) => {
                let (waiting, ready): (Vec<Value>, Vec<Value>) = elements.iter().cloned().partition(waits);
                later.insert(key.clone(), waiting.into());
                if !ready.is_empty() {
                    now.insert(key.clone(), ready.into());
                }
            }
            // The attributes of one schema, under its URN.
            Value::Object(attributes) if key.contains(':') => {
                let (ready, waiting) = divide(attributes, open);
                later.insert(key.clone(), waiting.into());
                if !ready.is_empty() {
                    now.insert(key.clone(), ready.into());
                }
            }
            value => {
                later.insert(key.clone(), value.clone());
            }
        }
    }
    (now, later)
}

/// Calls back with every text and the key that holds it.
pub fn each_text<'v>(key: &'v str, value: &'v Value, call: &mut impl FnMut(&'v str, &'v str)) {
    match value {
        Value::String(text) => call(key, text),
        Value::Array(elements) => elements.iter().for_each(|element| each_text(key, element, call)),
        Value::Object(object) => object.iter().for_each(|(key, value)| each_text(key, value, call)),
        _ => {}
    }
}

/// Where references stand in a text: it is one; it is a URI that ends in one; it is a PATCH path
/// whose filter compares with one.
fn spans(key: &str, text: &str) -> Vec<Range<usize>> {
    if text.len() <= PREFIX.len() || !text.contains(PREFIX) {
        return Vec::new();
    }
    if text.starts_with(PREFIX) {
        return std::iter::once(0..text.len()).collect();
    }
    if is_uri(key) {
        let end = text.trim_end_matches('/').len();
        return match text[..end].rfind('/') {
            Some(at) if text[at + 1..end].starts_with(PREFIX) && end > at + 1 + PREFIX.len() => {
                std::iter::once(at + 1..end).collect()
            }
            _ => Vec::new(),
        };
    }
    if !key.eq_ignore_ascii_case("path") {
        return Vec::new();
    }
    let quoted = text.match_indices('"').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let end = rest.find('"')?;
        (rest.starts_with(PREFIX) && end > PREFIX.len()).then_some(at + 1..at + 1 + end)
    });
    quoted.collect()
}

fn is_uri(key: &str) -> bool {
    key.eq_ignore_ascii_case("$ref")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }

    #[test]
    fn references_are_found_and_resolved() {
        let find = |name: &str| {
            (name != "?").then(|| Referent { id: format!("<{name}>"), location: format!("https://x/{name}") })
        };
        for (data, names, resolved) in [
            (
                json!({ "members": [{ "value": "bulkId:a" }] }),
                "a",
                json!({ "members": [{ "value": "<a>" }] }),
            ),
            (json!({ "members": ["bulkId:a b", "c"] }), "a b", json!({ "members": ["<a b>", "c"] })),
            (json!({ "m": { "$ref": "bulkId:a" } }), "a", json!({ "m": { "$ref": "https://x/a" } })),
            (
                json!({ "m": { "$REF": "https://y/Users/bulkId:a/" } }),
                "a",
                json!({ "m": { "$REF": "https://y/Users/<a>/" } }),
            ),
            (
                json!({ "Operations": [{ "path": "members[value eq \"bulkId:a\" or value eq \"bulkId:b\"]" }] }),
                "a,b",
                json!({ "Operations": [{ "path": "members[value eq \"<a>\" or value eq \"<b>\"]" }] }),
            ),
            (json!({ "v": "bulkId:?" }), "?", json!({ "v": "bulkId:?" })),
            (json!({ "v": "bulkId:" }), "", json!({ "v": "bulkId:" })),
            (json!({ "v": "see bulkId:a" }), "", json!({ "v": "see bulkId:a" })),
            (json!({ "bulkId:a": 1 }), "", json!({ "bulkId:a": 1 })),
        ] {
            let mut data = object(data);
            assert_eq!(super::names(&data).into_iter().collect::<Vec<_>>().join(","), names);
            resolve(&mut data, &find);
            assert_eq!(Value::Object(data), resolved);
        }
    }

    #[test]
    fn what_waits_is_set_apart() {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let open = BTreeSet::from(["b".to_owned()]);
        for (data, now, later) in [
            (
                json!({ "displayName": "A", "members": [{ "value": "bulkId:a" }, { "value": "bulkId:b" }] }),
                json!({ "displayName": "A", "members": [{ "value": "bulkId:a" }] }),
                json!({ "members": [{ "value": "bulkId:b" }] }),
            ),
            (json!({ "members": ["bulkId:b"] }), json!({}), json!({ "members": ["bulkId:b"] })),
            (
                json!({ urn: { "manager": { "value": "bulkId:b", "displayName": "B" }, "department": "d" } }),
                json!({ urn: { "department": "d" } }),
                json!({ urn: { "manager": { "value": "bulkId:b", "displayName": "B" } } }),
            ),
            (json!({ "userName": "bulkId:b" }), json!({}), json!({ "userName": "bulkId:b" })),
        ] {
            let (first, second) = divide(&object(data), &open);
            assert_eq!((Value::Object(first), Value::Object(second)), (now, later));
        }
    }
}
