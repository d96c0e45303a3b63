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
        if top && attribute.name.eq_ignore_ascii_case("schemas") {
            return wrong(
                "has a reserved name: clients may send the schemas of a resource in the object of an extension, too",
            );
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
    use crate::scim::filter::bind::bind;
    use crate::scim::filter::parse::parse;
    use crate::scim::policy::{POLICIES, STANDARD};
    use crate::scim::resource_type::Model;
    use crate::scim::validate;
    use crate::scim::work::WorkBudget;

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
            (json!([{ "name": "Schemas", "type": "string", "multiValued": true }]), "reserved name"),
        ] {
            let schema = json!({ "id": "urn:x:User", "name": "X", "attributes": attributes }).to_string();
            let refused = read(&schema).expect_err(expected).detail;
            assert!(refused.contains(expected), "{refused}");
        }
    }

    const URN: &str = "urn:x:2.0:User";

    /// A schema with binaries and references that say nothing about case, or the contrary.
    fn exact_types() -> (Kind, Schema) {
        let attribute =
            |name: &str, kind: &str, multi: bool| json!({ "name": name, "type": kind, "multiValued": multi });
        let mut site = attribute("site", "reference", false);
        site["caseExact"] = json!(false);
        let mut keys = attribute("keys", "complex", true);
        keys["subAttributes"] = json!([attribute("value", "binary", false)]);
        let attributes = [
            attribute("bin", "binary", false),
            attribute("bins", "binary", true),
            site,
            keys,
            attribute("text", "string", true),
        ];
        read(&json!({ "id": URN, "name": "X", "attributes": attributes }).to_string()).expect("a schema")
    }

    /// RFC 7643 §2.3.6, §2.3.7.
    #[test]
    fn binaries_and_references_are_announced_as_case_exact() {
        for policy in POLICIES {
            let model = Model::new(policy, &[exact_types()]).expect("a model");
            let schema = model.of(Kind::User).schema_of(URN).expect("the schema");
            let announced =
                |name: &str| json!(schema.attribute(name).expect("an attribute"))["caseExact"].clone();
            for name in ["bin", "bins", "site"] {
                assert_eq!(announced(name), json!(true), "{name}");
            }
            assert_eq!(announced("text"), json!(null));
            let keys = json!(schema.attribute("keys").expect("an attribute"));
            assert_eq!(keys["subAttributes"][0]["caseExact"], json!(true));
            assert_eq!(keys["caseExact"], json!(null));
        }
    }

    #[test]
    fn binaries_and_references_keep_their_case() {
        let model = Model::new(&STANDARD, &[exact_types()]).expect("a model");
        let (users, work) = (model.of(Kind::User), WorkBudget::of_body());
        let own = json!({
            "bin": "aGk=", "bins": ["aGk=", "AGK=", "agk=", "aGk="], "site": "https://x/A",
            "keys": [{ "value": "aGk=" }, { "value": "AGK=" }], "text": ["a", "A"]
        });
        let body = json!({ "schemas": [users.schema.id, URN], "userName": "a", URN: own });
        let body = body.as_object().expect("an object");
        let user = validate::read(body, users, &STANDARD, &work).expect("a user");
        let kept = json!({
            "bin": "aGk=", "bins": ["aGk=", "AGK=", "agk="], "site": "https://x/A",
            "keys": [{ "value": "aGk=" }, { "value": "AGK=" }], "text": ["a"]
        });
        assert_eq!(user[URN], kept);
        for (filter, found) in [
            (r#"bin eq "aGk=""#, true),
            (r#"bin eq "AGK=""#, false),
            (r#"bins eq "AGK=""#, true),
            (r#"bins eq "agK=""#, false),
            (r#"bins[value eq "agk="]"#, true),
            (r#"site eq "https://x/A""#, true),
            (r#"site eq "https://x/a""#, false),
            (r#"keys.value eq "AGK=""#, true),
            (r#"keys.value eq "AgK=""#, false),
            (r#"text eq "A""#, true),
        ] {
            let filter = format!("{URN}:{filter}");
            let bound = bind(&parse(&filter).expect(&filter), users, &[], false).expect(&filter);
            assert_eq!(bound.matches(&user, &work), Ok(found), "{filter}");
        }
    }

    #[test]
    fn the_built_in_schemas_announce_what_holds() {
        fn check(attributes: &[Attribute]) {
            for attribute in attributes {
                let announced = attribute.case_exact.unwrap_or(false);
                assert_eq!(announced, attribute.is_case_exact(), "{}", attribute.path);
                check(&attribute.sub_attributes);
            }
        }
        let model = Model::new(&STANDARD, &[]).expect("a model");
        for resource_type in model.types() {
            check(&resource_type.schema.attributes);
            resource_type.extensions.iter().for_each(|extension| check(&extension.attributes));
        }
    }
}
