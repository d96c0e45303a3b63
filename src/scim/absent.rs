//! What a boolean counts as where a resource does not have it. Filters, sorting and the rules on
//! administrators ask here.

use serde_json::{Map, Value};

use super::resource_type::{AttributeTarget, Kind};
use super::schema::{Attribute, Type};

/// A user without `active` is active.
const ACTIVE: bool = true;

/// Whether a user's document says that the user is active, or says nothing about it.
pub fn is_active(user: &Map<String, Value>) -> bool {
    user.get("active").and_then(Value::as_bool).unwrap_or(ACTIVE)
}

/// What the boolean at this place counts as where a resource of this kind does not have it. `None`
/// for every attribute that is unassigned then: it equals no value, and differs from each.
pub fn counts_as(kind: Option<Kind>, target: &AttributeTarget<'_>) -> Option<bool> {
    match (target.extension, target.sub) {
        (_, Some(sub)) => counts_as_in_element(target.attribute, sub),
        (None, None) if kind == Some(Kind::User) && is_boolean(target.attribute, "active") => Some(ACTIVE),
        (_, None) => None,
    }
}

/// The same for a sub-attribute of an element: `primary` is false unless it is true (RFC 7643 §2.4).
pub fn counts_as_in_element(attribute: &Attribute, sub: &Attribute) -> Option<bool> {
    (attribute.multi_valued && is_boolean(sub, "primary")).then_some(false)
}

fn is_boolean(attribute: &Attribute, name: &str) -> bool {
    attribute.kind == Type::Boolean && attribute.name == name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::attr_path::AttrPath;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::{Model, Resolved};

    #[test]
    fn active_and_primary_alone_count_as_something() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        for (path, expected) in [
            ("active", Some(true)),
            ("ACTIVE", Some(true)),
            ("emails.primary", Some(false)),
            ("roles.primary", Some(false)),
            ("emails.value", None),
            ("emails", None),
            ("title", None),
            ("name.givenName", None),
        ] {
            let parsed = AttrPath::parse(path).expect(path);
            let Some(Resolved::Attribute(target)) = model.of(Kind::User).resolve(&parsed) else {
                unreachable!("{path}")
            };
            assert_eq!(counts_as(Some(Kind::User), &target), expected, "{path}");
        }
        for (user, active) in [
            (json!({}), true),
            (json!({ "active": null }), true),
            (json!({ "active": true }), true),
            (json!({ "active": false }), false),
        ] {
            assert_eq!(is_active(user.as_object().expect("an object")), active, "{user}");
        }
    }
}
