//! When two JSON values are the same.

use std::collections::HashSet;

use serde_json::Value;

/// Keeps the first of equal elements. Members of objects compare in any order.
pub fn deduplicate(elements: &mut Vec<Value>) {
    if elements.len() > 1 {
        let mut seen = HashSet::with_capacity(elements.len());
        elements.retain(|element| seen.insert(sorted(element)));
    }
}

/// A text that is the same for equal values.
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

    #[test]
    fn the_order_of_names_does_not_matter() {
        let mut elements =
            vec![json!({ "a": 1, "b": [2] }), json!({ "b": [2], "a": 1 }), json!({ "a": "1" })];
        deduplicate(&mut elements);
        assert_eq!(elements, [json!({ "a": 1, "b": [2] }), json!({ "a": "1" })]);
        assert_ne!(sorted(&json!({ "a": "b" })), sorted(&json!(["a", "b"])));
        assert_ne!(sorted(&json!("a\":1")), sorted(&json!({ "a": 1 })));
    }
}
