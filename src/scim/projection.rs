//! Which attributes an answer holds: `attributes` and `excludedAttributes` (RFC 7644 §3.9).

use serde_json::{Map, Value};

use super::attr_path::AttrPath;
use super::error::ScimError;
use super::resource_type::{Kind, Resolved, ResourceType};
use super::schema::{Attribute, Returned, find};

/// What the client asked to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    mode: Mode,
    /// Of every type that the answer may hold.
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Default,
    Only,
    Except,
}

/// One name of the list, in the spelling of one type's schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    kind: Kind,
    /// The URN of the extension; `None` for core and common attributes.
    extension: Option<String>,
    /// `None` is the whole schema.
    attribute: Option<String>,
    sub: Option<String>,
}

impl Projection {
    /// Reads the two parameters: lists of comma-separated names, in any case, with or without
    /// their URN, or the URN of a whole schema. Names that no type defines select nothing; a list
    /// without any text counts as not given.
    ///
    /// # Errors
    /// `invalidValue` if both are given: they exclude one another.
    pub fn parse(attributes: &[&str], excluded: &[&str], types: &[&ResourceType]) -> Result<Self, ScimError> {
        let texts = |lists: &[&str]| -> Vec<String> {
            let names = lists.iter().flat_map(|list| list.split(',')).map(str::trim);
            names.filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
        };
        let (only, except) = (texts(attributes), texts(excluded));
        let (mode, texts) = match (only.is_empty(), except.is_empty()) {
            (true, true) => return Ok(Self::default()),
            (false, true) => (Mode::Only, only),
            (true, false) => (Mode::Except, except),
            (false, false) => {
                return Err(ScimError::invalid_value(
                    "attributes and excludedAttributes exclude one another: send one of them.",
                ));
            }
        };
        let mut names = Vec::new();
        for path in texts.iter().filter_map(|text| AttrPath::parse(text).ok()) {
            names.extend(types.iter().filter_map(|resource_type| Name::new(&path, resource_type)));
        }
        Ok(Self { mode, names })
    }

    /// Whether nothing was asked for in particular.
    pub fn is_default(&self) -> bool {
        self.mode == Mode::Default
    }

    /// Whether an answer would show this core attribute, or a part of it: if not, it need not be
    /// read from the table. The attribute is one that is returned by default.
    pub fn wants(&self, core_attribute: &str) -> bool {
        match self.mode {
            Mode::Default => true,
            Mode::Only => self.explicitly(core_attribute),
            Mode::Except => !self.of_core(core_attribute).any(|name| name.sub.is_none()),
        }
    }

    /// Whether `attributes` names this core attribute, a part of it, or the schema that holds it.
    pub fn explicitly(&self, core_attribute: &str) -> bool {
        self.mode == Mode::Only && self.of_core(core_attribute).next().is_some()
    }

    /// Whether `attributes` names an extension or a part of it.
    pub fn names_extension(&self, urn: &str) -> bool {
        self.mode == Mode::Only && self.names.iter().any(|name| name.extension.as_deref() == Some(urn))
    }

    fn of_core<'s>(&'s self, core_attribute: &'s str) -> impl Iterator<Item = &'s Name> {
        self.names.iter().filter(move |name| {
            name.extension.is_none()
                && name.attribute.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(core_attribute))
        })
    }

    /// Takes out of a whole resource what the answer must not hold. `id` and `schemas` stay
    /// whatever is asked, since they are always returned (RFC 7643 §7).
    pub fn apply(&self, resource: &mut Map<String, Value>, resource_type: &ResourceType) {
        resource.retain(|key, value| {
            if let Some(extension) = resource_type.extensions.iter().find(|schema| schema.id == *key) {
                let Value::Object(object) = value else { return false };
                object.retain(|key, value| {
                    let attribute = find(&extension.attributes, key);
                    self.keep(resource_type, Some(&extension.id), key, attribute, value)
                });
                return !object.is_empty();
            }
            self.keep(resource_type, None, key, resource_type.core_attribute(key), value)
        });
    }

    fn keep(
        &self,
        resource_type: &ResourceType,
        extension: Option<&str>,
        key: &str,
        attribute: Option<&Attribute>,
        value: &mut Value,
    ) -> bool {
        // What no schema describes is the server's own: shown unless names are picked.
        let Some(attribute) = attribute else { return self.mode != Mode::Only };
        let names: Vec<&Name> =
            self.names.iter().filter(|name| name.covers(resource_type, extension, key)).collect();
        let whole = names.iter().any(|name| name.attribute.is_some() && name.sub.is_none());
        let schema = names.iter().any(|name| name.attribute.is_none());
        let named = |sub: &str| {
            names.iter().any(|name| name.sub.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(sub)))
        };
        let kept = match (attribute.returned, self.mode) {
            (Returned::Never, _) => return false,
            (Returned::Always, _) => true,
            (Returned::Request, Mode::Only) => !names.is_empty() && (whole || !schema),
            (Returned::Request, _) => false,
            (Returned::Default, Mode::Default) => true,
            (Returned::Default, Mode::Only) => !names.is_empty(),
            (Returned::Default, Mode::Except) => !whole && !schema,
        };
        if !kept || attribute.sub_attributes.is_empty() {
            return kept;
        }
        let every = whole || schema || attribute.returned == Returned::Always;
        let keep_sub = |name: &str| {
            let Some(sub) = attribute.sub_attribute(name) else { return self.mode != Mode::Only || every };
            match (sub.returned, self.mode) {
                (Returned::Never, _) => false,
                (Returned::Always, _) => true,
                (Returned::Request, mode) => mode == Mode::Only && named(&sub.name),
                (Returned::Default, Mode::Default) => true,
                (Returned::Default, Mode::Only) => every || named(&sub.name),
                (Returned::Default, Mode::Except) => !named(&sub.name),
            }
        };
        match value {
            Value::Object(object) => {
                object.retain(|name, _| keep_sub(name));
                !object.is_empty()
            }
            Value::Array(elements) => {
                elements.retain_mut(|element| match element {
                    Value::Object(object) => {
                        object.retain(|name, _| keep_sub(name));
                        !object.is_empty()
                    }
                    _ => true,
                });
                !elements.is_empty()
            }
            _ => true,
        }
    }
}

impl Name {
    fn new(path: &AttrPath, resource_type: &ResourceType) -> Option<Self> {
        let kind = resource_type.kind;
        Some(match resource_type.resolve(path)? {
            Resolved::Schema(schema) => Self {
                kind,
                extension: (schema.id != resource_type.schema.id).then(|| schema.id.clone()),
                attribute: None,
                sub: None,
            },
            Resolved::Attribute(target) => Self {
                kind,
                extension: target.extension.map(ToOwned::to_owned),
                attribute: Some(target.attribute.name.clone()),
                sub: target.sub.map(|sub| sub.name.clone()),
            },
        })
    }

    /// Whether the name is this attribute, a part of it, or the schema that defines it. A schema's
    /// URN does not cover the common attributes, which belong to none (RFC 7643 §3.1).
    fn covers(&self, resource_type: &ResourceType, extension: Option<&str>, attribute: &str) -> bool {
        self.kind == resource_type.kind
            && self.extension.as_deref() == extension
            && match &self.attribute {
                Some(own) => own.eq_ignore_ascii_case(attribute),
                None => extension.is_some() || resource_type.schema.attribute(attribute).is_some(),
            }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::Model;
    use crate::scim::schema::Schema;
    use crate::scim::urn::{ENTERPRISE_USER, USER};

    fn resource() -> Map<String, Value> {
        let value = json!({
            "schemas": [USER, ENTERPRISE_USER], "id": "1", "externalId": "e", "userName": "a",
            "name": { "givenName": "A", "familyName": "B" },
            "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }],
            ENTERPRISE_USER: { "department": "d", "manager": { "value": "m", "$ref": "r" } },
            "meta": { "resourceType": "User", "location": "l" }
        });
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn projections() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let user = model.of(Kind::User);
        let schemas = json!([USER, ENTERPRISE_USER]);
        for (attributes, excluded, expected) in [
            ("userName", "", json!({ "userName": "a" })),
            (" USERNAME , nonsense,,", "", json!({ "userName": "a" })),
            ("nonsense,1,urn:x:y", "", json!({})),
            ("schemas,id", "", json!({})),
            (
                "urn:ietf:params:scim:schemas:core:2.0:user:name.FAMILYNAME",
                "",
                json!({ "name": { "familyName": "B" } }),
            ),
            ("emails.type", "", json!({ "emails": [{ "type": "work" }] })),
            ("emails.display", "", json!({})),
            (
                "emails.type,emails",
                "",
                json!({ "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }] }),
            ),
            ("meta.location", "", json!({ "meta": { "location": "l" } })),
            (
                ENTERPRISE_USER,
                "",
                json!({ ENTERPRISE_USER: { "department": "d", "manager": { "value": "m", "$ref": "r" } } }),
            ),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
                "",
                json!({ ENTERPRISE_USER: { "manager": { "value": "m" } } }),
            ),
            (
                USER,
                "",
                json!({ "externalId": "e", "userName": "a", "name": { "givenName": "A", "familyName": "B" },
                    "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }] }),
            ),
            (
                "",
                "id,schemas,meta,emails,name.givenName,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
                json!({ "externalId": "e", "userName": "a", "name": { "familyName": "B" } }),
            ),
            (
                "",
                "urn:ietf:params:scim:schemas:core:2.0:User,meta,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
                json!({ ENTERPRISE_USER: { "department": "d" } }),
            ),
        ] {
            let projection = Projection::parse(&[attributes], &[excluded], &[user]).expect("a projection");
            let mut found = resource();
            projection.apply(&mut found, user);
            assert_eq!(found.remove("schemas"), Some(schemas.clone()), "{attributes} {excluded}");
            assert_eq!(found.remove("id"), Some(json!("1")), "{attributes} {excluded}");
            assert_eq!(Value::Object(found), expected, "{attributes} {excluded}");
        }
        let mut found = resource();
        Projection::parse(&[], &[" "], &[user]).expect("a projection").apply(&mut found, user);
        assert_eq!(found, resource());
        assert!(Projection::parse(&["a"], &["b"], &[user]).is_err());
    }

    #[test]
    fn wishes_are_known_before_anything_is_read() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        for (attributes, excluded, wants, explicitly) in [
            ("", "", true, false),
            ("displayName", "", false, false),
            ("members", "", true, true),
            ("MEMBERS.value", "", true, true),
            ("urn:ietf:params:scim:schemas:core:2.0:Group", "", true, true),
            ("", "members", false, false),
            ("", "members.display", true, false),
            ("", "urn:ietf:params:scim:schemas:core:2.0:Group:members", false, false),
        ] {
            let found = Projection::parse(&[attributes], &[excluded], &model.types()).expect("a projection");
            assert_eq!(
                (found.wants("members"), found.explicitly("members")),
                (wants, explicitly),
                "{attributes} {excluded}"
            );
            assert_eq!(found.is_default(), attributes.is_empty() && excluded.is_empty());
        }
    }

    #[test]
    fn the_returned_characteristic() {
        let attribute = |name: &str, returned: &str| json!({ "name": name, "type": "string", "multiValued": false, "returned": returned });
        let all = || ["always", "never", "default", "request"].map(|returned| attribute(returned, returned));
        let mut attributes = all().to_vec();
        attributes
            .push(json!({ "name": "c", "type": "complex", "multiValued": false, "subAttributes": all() }));
        let schema: Schema =
            serde_json::from_value(json!({ "id": "urn:x:t", "name": "T", "attributes": attributes }))
                .expect("a schema");
        let model = Model::new(&STANDARD, &[(Kind::User, schema)]).expect("a model");
        let user = model.of(Kind::User);
        let values = || json!({ "always": 1, "never": 1, "default": 1, "request": 1 });
        for (attributes, excluded, expected) in [
            ("", "", json!({ "always": 1, "default": 1, "c": { "always": 1, "default": 1 } })),
            ("urn:x:t:request", "", json!({ "always": 1, "request": 1 })),
            ("urn:x:t:never", "", json!({ "always": 1 })),
            ("urn:x:t", "", json!({ "always": 1, "default": 1, "c": { "always": 1, "default": 1 } })),
            ("urn:x:t:c.request", "", json!({ "always": 1, "c": { "always": 1, "request": 1 } })),
            ("urn:x:t:c.default", "", json!({ "always": 1, "c": { "always": 1, "default": 1 } })),
            (
                "",
                "urn:x:t:always,urn:x:t:default,urn:x:t:c.always",
                json!({ "always": 1, "c": { "always": 1, "default": 1 } }),
            ),
        ] {
            let mut extension = values();
            extension["c"] = values();
            let mut found = Map::from_iter([("urn:x:t".to_owned(), extension)]);
            Projection::parse(&[attributes], &[excluded], &[user])
                .expect("a projection")
                .apply(&mut found, user);
            assert_eq!(found.get("urn:x:t"), Some(&expected), "{attributes} {excluded}");
        }
    }
}
