//! Where the attributes of a schema stand in a canonical document (RFC 7643 §3.3).

use serde_json::{Map, Value};

/// Returns the object that holds an attribute: the document itself for a core attribute, or the object
/// under the extension's URN. The object is inserted if it is absent.
pub fn attribute_holder<'m>(
    map: &'m mut Map<String, Value>,
    extension: Option<&str>,
) -> &'m mut Map<String, Value> {
    let Some(urn) = extension else { return map };
    let object = map.entry(urn).or_insert_with(|| Value::Object(Map::new()));
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    match object {
        Value::Object(object) => object,
        _ => unreachable!("an object was just put there"),
    }
}
