//! Whether a resource is as a filter says (RFC 7644 §3.4.2.2).

use serde_json::{Map, Value};

use super::ast::CompareOp;
use super::bind::{Bound, Node, Place};
use super::operand::Operand;

impl Bound {
    /// Whether the filter selects the resource, which is complete and in canonical names:
    /// extensions stand in objects under their URNs. A filter that was bound to an element is asked
    /// with the element.
    ///
    /// A multi-valued attribute matches if any of its values does (RFC 7644 §3.4.2.2), with `ne`
    /// too; an unassigned one differs from every value.
    pub fn matches(&self, resource: &Map<String, Value>) -> bool {
        self.root.matches(resource)
    }
}

impl Node {
    pub(super) fn matches(&self, object: &Map<String, Value>) -> bool {
        match self {
            Self::Known(known) => *known,
            Self::Present(place) => {
                place.elements(object).iter().any(|element| place.value_in(element).is_some_and(is_assigned))
            }
            Self::Compare(place, op, operand) => compares(place, *op, operand, object),
            Self::Elements(place, node) => place
                .elements(object)
                .iter()
                .any(|element| element.as_object().is_some_and(|element| node.matches(element))),
            Self::And(nodes) => nodes.iter().all(|node| node.matches(object)),
            Self::Or(nodes) => nodes.iter().any(|node| node.matches(object)),
            Self::Not(node) => !node.matches(object),
        }
    }
}

impl Place {
    /// The values of the attribute; of a single-valued one there is at most one.
    fn elements<'a>(&self, object: &'a Map<String, Value>) -> &'a [Value] {
        let value = match &self.extension {
            None => object.get(&self.attribute),
            Some(urn) => object.get(urn).and_then(|holder| holder.get(&self.attribute)),
        };
        value.map(each).unwrap_or_default()
    }

    /// The value itself, or the sub-attribute's.
    fn value_in<'a>(&self, element: &'a Value) -> Option<&'a Value> {
        match &self.sub {
            None => Some(element),
            Some(sub) => element.get(sub),
        }
    }
}

fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        one => std::slice::from_ref(one),
    }
}

/// Whether anything is there: neither null nor empty (RFC 7643 §2.5, RFC 7644 §3.4.2.2, `pr`).
fn is_assigned(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => elements.iter().any(is_assigned),
        Value::Object(object) => object.values().any(is_assigned),
    }
}

fn compares(place: &Place, op: CompareOp, operand: &Operand, object: &Map<String, Value>) -> bool {
    let elements = place.elements(object);
    let values = |element| place.value_in(element).map(each).unwrap_or_default();
    if op == CompareOp::Ne {
        let differs = |value| !operand.is(CompareOp::Eq, value);
        return elements.is_empty()
            || elements.iter().any(|element| {
                let values: &[Value] = values(element);
                values.is_empty() || values.iter().any(differs)
            });
    }
    elements.iter().any(|element| values(element).iter().any(|value| operand.is(op, value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::filter::bind::{bind, bind_element};
    use crate::scim::filter::parse::parse;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::urn::ENTERPRISE_USER;

    fn object(value: &Value) -> &Map<String, Value> {
        value.as_object().expect("an object")
    }

    fn check(resource: &Value, cases: &[(&str, bool)]) {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        for (text, expected) in cases {
            let filter = parse(text).expect(text);
            let bound = bind(&filter, model.of(Kind::User), &[], false).expect(text);
            assert_eq!(bound.matches(object(resource)), *expected, "{text}");
        }
    }

    #[test]
    fn texts() {
        let user = json!({
            "id": "aB", "userName": "BJensen", "displayName": "Straße É", "title": "", "nickName": null,
            "profileUrl": "https://X/a",
        });
        check(
            &user,
            &[
                (r#"userName eq "bjENSEN""#, true),
                (r#"userName eq "bjensen ""#, false),
                (r#"userName ne "bjensen""#, false),
                (r#"userName ne "x""#, true),
                (r#"userName co "JEN""#, true),
                (r#"userName co """#, true),
                (r#"userName co "jem""#, false),
                (r#"userName co "bjensenbjensen""#, false),
                (r#"userName sw "bJ""#, true),
                (r#"userName ew "SEN""#, true),
                (r#"userName ew "xxbjensen""#, false),
                (r#"userName gt "BJENSEM""#, true),
                (r#"userName gt "bjensen""#, false),
                (r#"userName ge "bjensen""#, true),
                (r#"userName lt "BJENSENS""#, true),
                (r#"userName le "a""#, false),
                (r#"displayName eq "STRASSE é""#, true),
                (r#"displayName co "SSE""#, true),
                (r#"displayName ew "é""#, true),
                (r#"displayName sw "é""#, false),
                (r#"id eq "aB""#, true),
                (r#"id eq "ab""#, false),
                (r#"id sw "a""#, true),
                (r#"id ew "b""#, false),
                (r#"profileUrl co "x""#, false),
                ("title pr", false),
                (r#"title eq """#, true),
                ("nickName pr", false),
                ("nickName eq null", true),
                (r#"nickName ne "x""#, true),
                (r#"locale ne "x""#, true),
                (r#"locale eq "x""#, false),
                (r#"locale lt "x""#, false),
                ("locale ne null", false),
                (r#"not (locale eq "x")"#, true),
                (r#"userName pr and (title pr or id pr)"#, true),
                (r#"userName pr and title pr or nickName pr"#, false),
            ],
        );
        let long = json!({ "displayName": "a".repeat(300) + "B" });
        check(&long, &[(r#"displayName co "AB""#, true), (r#"displayName co "ba""#, false)]);
    }

    #[test]
    fn several_values() {
        let user = json!({
            "schemas": ["urn:a", "urn:b"],
            "emails": [
                { "value": "a@Work", "type": "work", "primary": true },
                { "value": "a@home", "type": "home" },
                { "value": "a@none", "primary": false },
            ],
            "addresses": [{ "region": "" }],
            "phoneNumbers": [],
            "name": { "givenName": "Al" },
        });
        check(
            &user,
            &[
                (r#"emails co "HOME""#, true),
                (r#"emails.value eq "a@work""#, true),
                (r#"emails.type eq "work" and emails.value eq "a@home""#, true),
                (r#"emails[type eq "work" and value eq "a@home"]"#, false),
                (r#"emails[type eq "work" and value eq "a@work"]"#, true),
                (r#"emails[type eq "work"].value eq "a@work""#, true),
                (r#"emails[not (type pr)]"#, true),
                (r#"emails[type ne "work" and type ne "home"]"#, true),
                (r#"emails.type ne "work""#, true),
                (r#"not (emails.type eq "work")"#, false),
                (r#"emails[primary eq null and value sw "a"]"#, true),
                ("emails.primary eq false", true),
                ("emails[primary ne true and value eq \"a@work\"]", false),
                ("emails pr", true),
                ("emails eq null", false),
                ("addresses pr", false),
                ("phoneNumbers pr", false),
                (r#"phoneNumbers ne "1""#, true),
                (r#"phoneNumbers[value ne "1"]"#, false),
                (r#"schemas eq "urn:b""#, true),
                (r#"schemas eq "URN:b""#, false),
                (r#"name[givenName eq "al"]"#, true),
                (r#"name.givenName eq "al""#, true),
                ("name pr", true),
                ("name.familyName pr", false),
            ],
        );
    }

    #[test]
    fn instants_booleans_and_extensions() {
        let user = json!({
            "active": false,
            "meta": { "created": "2024-01-01T00:00:00.000Z", "lastModified": "2024-01-01T01:00:00+02:00" },
            ENTERPRISE_USER: { "department": "D", "manager": { "value": "M" } },
        });
        let extension = |rest: &str| format!("{ENTERPRISE_USER}{rest}");
        check(
            &user,
            &[
                ("active eq false", true),
                ("active ne false", false),
                ("active ne true", true),
                ("active pr", true),
                (r#"meta.created eq "2024-01-01T00:00:00Z""#, true),
                (r#"meta.created gt "2023-12-31T23:59:59.999""#, true),
                (r#"meta.lastModified lt "2024-01-01T00:00:00Z""#, true),
                (r#"meta.lastModified ge "2024-01-01T00:00:00Z""#, false),
                (r#"meta.created sw "2024-""#, true),
                (&extension(r#":department eq "d""#), true),
                (&extension(r#":manager eq "M""#), true),
                (&extension(r#":manager.value eq "m""#), false),
                (&extension(r#":manager[value eq "M"]"#), true),
                (&extension(" pr"), true),
                ("urn:ietf:params:scim:schemas:extension:rollcall:2.0:User pr", false),
            ],
        );
        check(&json!({ ENTERPRISE_USER: {} }), &[(&extension(" pr"), false)]);
    }

    #[test]
    fn any_json_is_answered() {
        for user in [
            json!({ "emails": { "value": "x" }, "active": "no", "meta": [1] }),
            json!({ "emails": "x", "active": [], "meta": { "created": 1 } }),
            json!({ "emails": [[], null, { "value": ["x"] }], ENTERPRISE_USER: 3 }),
        ] {
            check(
                &user,
                &[
                    (r#"emails.value eq "y""#, false),
                    ("active eq true", false),
                    ("active ne true", true),
                    (r#"meta.created gt "2024-01-01T00:00:00Z""#, false),
                    (&format!("{ENTERPRISE_USER}:department pr"), false),
                ],
            );
        }
        check(&json!({ "emails": { "value": "x" } }), &[(r#"emails[value eq "x"]"#, true)]);
    }

    #[test]
    fn an_element_on_its_own() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let members = model.of(Kind::Group).core_attribute("members").expect("members");
        let filter = parse(r#"value eq "u" and type ne "Group""#).expect("a filter");
        let bound = bind_element(&filter, members, true).expect("a filter on members");
        assert!(bound.matches(object(&json!({ "value": "u", "type": "User" }))));
        assert!(bound.matches(object(&json!({ "value": "u" }))));
        assert!(!bound.matches(object(&json!({ "value": "u", "type": "Group" }))));
        let other = parse("userName pr").expect("a filter");
        let error = bind_element(&other, members, true).expect_err("not a member's");
        assert_eq!(error.detail, "No schema defines the attribute members.userName.");
    }
}
