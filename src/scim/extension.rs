//! Extension schemas of the operator's own, as JSON files (RFC 7643 §3.3, §7).

use serde_json::Value;

use super::attr_path::AttrPath;
use super::error::ScimError;
use super::resource_type::Kind;
use super::schema::{Attribute, Mutability, Returned, Schema, Type, Uniqueness};

/// Reads one schema in the form of `/Schemas` (RFC 7643 §7). The last part of its URN tells which
/// resource type it extends: `User` or `Group`.
///
/// # Errors
/// `invalidValue` with a sentence that names what is wrong: the text is no schema, its id is no URN, a name
/// cannot be part of a path, or a characteristic promises what the server does not do for extensions.
pub fn read(text: &str) -> Result<(Kind, Schema), ScimError> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| extension_error(&format!("is not JSON: {e}")))?;
    let schema: Schema =
        serde_json::from_value(value).map_err(|e| extension_error(&format!("is no schema: {e}")))?;
    let kind = Kind::ALL.into_iter().find(|kind| {
        let (prefix, last) = schema.id.rsplit_once(':').unwrap_or_default();
        last == kind.name() && prefix.len() > 4 && prefix[..4].eq_ignore_ascii_case("urn:")
    });
    let Some(kind) = kind else {
        return Err(extension_error("must have an id that is a URN and ends in :User or :Group"));
    };
    if AttrPath::parse(&schema.id).is_err() {
        return Err(extension_error("must have an id that is a URN"));
    }
    if schema.attributes.is_empty() {
        return Err(extension_error("defines no attribute"));
    }
    check(&schema.attributes, "", true)?;
    Ok((kind, schema))
}

fn check(attributes: &[Attribute], prefix: &str, top: bool) -> Result<(), ScimError> {
    for (at, attribute) in attributes.iter().enumerate() {
        let path = format!("{prefix}{}", attribute.name);
        let wrong = |what: &str| Err(extension_error(&format!("attribute {path} {what}")));
        let named = AttrPath::parse(&attribute.name);
        if !named.is_ok_and(|path| path.urn.is_none() && path.sub.is_none()) {
            return wrong("has a name that no path can hold");
        }
        if attributes[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&attribute.name)) {
            return wrong("is defined twice");
        }
        if attribute.uniqueness != Uniqueness::None {
            return wrong("must have the uniqueness none: only built-in attributes are kept unique");
        }
        if attribute.mutability == Mutability::WriteOnly && attribute.returned != Returned::Never {
            return wrong("is writeOnly, so returned must be never");
        }
        match (attribute.kind, attribute.sub_attributes.is_empty()) {
            (Type::Complex, _) if !top => return wrong("must not be complex inside a complex attribute"),
            (Type::Complex, true) => return wrong("is complex and defines no sub-attribute"),
            (Type::Complex, false) => check(&attribute.sub_attributes, &format!("{path}."), false)?,
            (_, false) => return wrong("has sub-attributes and is not complex"),
            (_, true) => {}
        }
    }
    Ok(())
}

fn extension_error(what: &str) -> ScimError {
    ScimError::invalid_value(format!("The extension schema {what}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_says_what_it_extends() {
        let schema = |id: &str| {
            json!({ "id": id, "name": "Badge", "attributes": [
                { "name": "badge", "type": "string", "multiValued": false, "caseExact": true }] })
        };
        let read = |value: Value| read(&value.to_string()).map(|(kind, schema)| (kind, schema.id));
        assert_eq!(read(schema("urn:x:User")), Ok((Kind::User, "urn:x:User".to_owned())));
        assert_eq!(read(schema("urn:x:1.0:Group")), Ok((Kind::Group, "urn:x:1.0:Group".to_owned())));
        for bad in ["User", "urn:User", "urn:x:Device", "urn:x y:User", ""] {
            assert!(read(schema(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn promises_that_cannot_be_kept_are_refused() {
        let string = json!({ "name": "a", "type": "string", "multiValued": false });
        for (attributes, expected) in [
            (json!([]), "defines no attribute"),
            (json!([{ "name": "a b", "type": "string", "multiValued": false }]), "no path can hold"),
            (json!([string, { "name": "A", "type": "boolean", "multiValued": false }]), "defined twice"),
            (
                json!([{ "name": "a", "type": "string", "multiValued": false, "uniqueness": "server" }]),
                "uniqueness",
            ),
            (
                json!([{ "name": "a", "type": "string", "multiValued": false, "mutability": "writeOnly" }]),
                "returned must be never",
            ),
            (json!([{ "name": "a", "type": "complex", "multiValued": false }]), "no sub-attribute"),
            (json!([{ "name": "a", "type": "text", "multiValued": false }]), "no schema"),
        ] {
            let schema = json!({ "id": "urn:x:User", "name": "X", "attributes": attributes }).to_string();
            let refused = read(&schema).expect_err(expected).detail;
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
