//! One step of a PATCH onto a resource (RFC 7644 §3.5.2.1–3).

use serde_json::{Map, Value};

use super::elements;
use super::fixed::{Constant, read_only, remove_extension, schemas};
use super::request::{PatchOp, Step};
use crate::scim::error::ScimError;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::schema::{Attribute, Type};
use crate::scim::validate::holder;
use crate::scim::values::{Reader, is_unassigned, names_resource};

/// Applies a step to a whole resource: `id`, `meta` and `schemas` stand in it, so that a client
/// may repeat them. After an error the resource is in no particular state: a PATCH works on a copy.
/// The caller then asks for [`required`](crate::scim::rules::required) of the final state.
///
/// # Errors
/// `mutability` for what may not change, `invalidValue` for values, `noTarget` for a filter that
/// selects nothing where it must.
pub fn apply(
    resource: &mut Map<String, Value>,
    step: &Step,
    resource_type: &ResourceType,
    policy: &Policy,
) -> Result<(), ScimError> {
    if step.attribute.is_empty() {
        return remove_extension(resource, step, resource_type);
    }
    let unknown = || ScimError::invalid_path(format!("No schema defines what the path {step} names."));
    let attribute = match &step.extension {
        Some(urn) => resource_type.schema_of(urn).and_then(|schema| schema.attribute(&step.attribute)),
        None => resource_type.core_attribute(&step.attribute),
    };
    let attribute = attribute.ok_or_else(unknown)?;
    let sub = match &step.sub {
        Some(name) => Some(attribute.sub_attribute(name).ok_or_else(unknown)?),
        None => None,
    };
    match (resource_type.kind, step.attribute()) {
        (_, Some("schemas")) => return schemas(step, resource_type, policy),
        (Kind::User, Some("groups")) => {
            return Err(ScimError::mutability("A user's groups are changed through the groups' members."));
        }
        _ => {}
    }
    if attribute.is_read_only() || sub.is_some_and(Attribute::is_read_only) {
        return read_only(resource, step);
    }
    let change = Change { step, attribute, sub, resource_type, reader: Reader::of_patch(policy) };
    let extension = step.extension.as_deref();
    let holder = holder(resource, extension);
    let before = holder.get_mut(&attribute.name).map(Value::take);
    let constant = Constant::of(attribute, before.as_ref(), step, policy);
    let after =
        if attribute.multi_valued { elements::change(&change, before)? } else { change.single(before)? };
    constant.check(after.as_ref(), step)?;
    match after {
        Some(after) => holder.insert(attribute.name.clone(), after),
        None => holder.shift_remove(&attribute.name),
    };
    if let Some(urn) = extension
        && holder.is_empty()
    {
        resource.shift_remove(urn);
    }
    Ok(())
}

/// A step and what it is about.
pub(super) struct Change<'a> {
    pub step: &'a Step,
    pub attribute: &'a Attribute,
    pub sub: Option<&'a Attribute>,
    pub resource_type: &'a ResourceType,
    pub reader: Reader<'a>,
}

impl Change<'_> {
    /// The canonical path of the attribute.
    pub fn path(&self) -> String {
        match &self.step.extension {
            Some(urn) => format!("{urn}:{}", self.attribute.name),
            None => self.attribute.name.clone(),
        }
    }

    /// The value of the step as one for the whole attribute: `{ sub: value }` for a sub-attribute.
    pub fn whole_value(&self) -> Value {
        match (self.sub, &self.step.value) {
            (Some(sub), value) => {
                let value = value.clone().unwrap_or(Value::Null);
                Value::Object(Map::from_iter([(sub.name.clone(), value)]))
            }
            (None, value) => value.clone().unwrap_or(Value::Null),
        }
    }

    fn single(&self, before: Option<Value>) -> Result<Option<Value>, ScimError> {
        let path = self.path();
        match (self.step.op, self.sub) {
            (PatchOp::Remove, None) => Ok(None),
            // What else is known about a resource goes with its id.
            (PatchOp::Remove, Some(sub)) if sub.name == "value" && names_resource(self.attribute) => Ok(None),
            (PatchOp::Remove, Some(sub)) => {
                let mut before = before;
                if let Some(Value::Object(object)) = &mut before {
                    object.shift_remove(&sub.name);
                }
                Ok(before.filter(|value| value.as_object().is_none_or(|object| !object.is_empty())))
            }
            _ if self.attribute.kind == Type::Complex => {
                let whole = self.whole_value();
                match self.reader.unwrapped(self.attribute, &path, &whole)? {
                    Some(value) => self.merge(before, value, &path),
                    None => Ok(None),
                }
            }
            _ => self.reader.value(self.attribute, &path, &self.whole_value()),
        }
    }

    /// Sub-attributes that the value does not name stay; those that it sets to null go
    /// (RFC 7644 §3.5.2.1, §3.5.2.3).
    pub fn merge(
        &self,
        before: Option<Value>,
        value: &Value,
        path: &str,
    ) -> Result<Option<Value>, ScimError> {
        let more = match self.reader.element(self.attribute, path, value)? {
            Some(Value::Object(more)) => more,
            _ => Map::new(),
        };
        let mut object = match before {
            Some(Value::Object(object)) => object,
            _ => Map::new(),
        };
        // What was known about one resource does not hold for another.
        if names_resource(self.attribute)
            && more.get("value").is_some_and(|id| object.get("value") != Some(id))
        {
            object.clear();
        }
        for (name, _) in value.as_object().into_iter().flatten().filter(|(_, value)| is_unassigned(value)) {
            if let Some(sub) = self.attribute.sub_attribute(name)
                && !sub.is_read_only()
            {
                object.shift_remove(&sub.name);
            }
        }
        object.extend(more);
        Ok((!object.is_empty()).then_some(Value::Object(object)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::error::ErrorKind::{self, InvalidSyntax, InvalidValue, Mutability};
    use crate::scim::patch::request::parse;
    use crate::scim::policy::{STANDARD, STRICT, VEZA};
    use crate::scim::resource_type::Model;
    use crate::scim::urn::{ENTERPRISE_USER, PATCH_OP, ROLLCALL_USER, USER};

    /// The attribute at `path` after the operations, which must leave all others alone.
    pub fn patched(
        policy: &'static Policy,
        resource: &Value,
        operations: &Value,
        key: &str,
    ) -> Result<Value, ErrorKind> {
        let model = Model::new(policy, &[]).expect("a model");
        let users = model.of(Kind::User);
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
        let mut found = resource.as_object().cloned().expect("an object");
        let steps = parse(body.as_object().expect("an object"), users, policy).map_err(|e| e.kind)?;
        steps.iter().try_for_each(|step| apply(&mut found, step, users, policy)).map_err(|e| e.kind)?;
        let value = found.shift_remove(key).unwrap_or(Value::Null);
        let mut others = resource.as_object().cloned().expect("an object");
        others.shift_remove(key);
        assert_eq!(found, others, "{operations} changed more than {key}");
        Ok(value)
    }

    fn user() -> Value {
        json!({
            "schemas": [USER, ENTERPRISE_USER, ROLLCALL_USER],
            "id": "u1",
            "userName": "a@x",
            "name": { "givenName": "A", "familyName": "X" },
            "displayName": "A X",
            "active": true,
            "emails": [{ "value": "a@x", "type": "work", "primary": true }],
            "groups": [{ "value": "g" }],
            ENTERPRISE_USER: { "department": "d", "manager": { "value": "m", "$ref": "../Users/m" } },
            ROLLCALL_USER: { "account": "sso" },
            "meta": { "resourceType": "User", "location": "https://x/Users/u1", "version": "W/\"1\"" },
        })
    }

    #[test]
    fn single_values() {
        const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
        let e = ENTERPRISE_USER;
        let set = |path: &str, value: Value| json!({ "op": "replace", "path": path, "value": value });
        let gone = |path: &str| json!({ "op": "remove", "path": path });
        let manager = |manager: Value| Ok(json!({ "department": "d", "manager": manager }));
        let same = Ok(user()[e].clone());
        let no_manager = Ok(json!({ "department": "d" }));
        for (operation, key, tolerant, strict) in [
            // The value of a single attribute.
            (set("active", json!("False")), "active", Ok(json!(false)), Err(InvalidValue)),
            (
                json!({ "op": "Add", "path": "ACTIVE", "value": false }),
                "active",
                Ok(json!(false)),
                Ok(json!(false)),
            ),
            (
                json!({ "op": "replace", "value": { "active": false } }),
                "active",
                Ok(json!(false)),
                Ok(json!(false)),
            ),
            (
                json!({ "op": "add", "path": "displayName", "value": "B" }),
                "displayName",
                Ok(json!("B")),
                Ok(json!("B")),
            ),
            (set("title", json!("t")), "title", Ok(json!("t")), Ok(json!("t"))),
            (set("title", json!("")), "title", Ok(json!("")), Ok(json!(""))),
            (set("title", json!(true)), "title", Err(InvalidValue), Err(InvalidValue)),
            (set("displayName", json!(null)), "displayName", Ok(json!(null)), Ok(json!(null))),
            (gone("displayName"), "displayName", Ok(json!(null)), Ok(json!(null))),
            (gone("title"), "title", Ok(json!(null)), Ok(json!(null))),
            (gone("active"), "active", Ok(json!(null)), Ok(json!(null))),
            (gone("userName"), "userName", Err(Mutability), Err(Mutability)),
            (set("userName", json!(null)), "userName", Err(Mutability), Err(Mutability)),
            // Complex values merge one level.
            (
                set("name", json!({ "familyName": "Y" })),
                "name",
                Ok(json!({ "givenName": "A", "familyName": "Y" })),
                Ok(json!({ "givenName": "A", "familyName": "Y" })),
            ),
            (
                json!({ "op": "add", "path": "name", "value": { "givenname": null, "middleName": "M" } }),
                "name",
                Ok(json!({ "familyName": "X", "middleName": "M" })),
                Ok(json!({ "familyName": "X", "middleName": "M" })),
            ),
            (
                set("name.givenName", json!("B")),
                "name",
                Ok(json!({ "givenName": "B", "familyName": "X" })),
                Ok(json!({ "givenName": "B", "familyName": "X" })),
            ),
            (
                set("name.givenName", json!(null)),
                "name",
                Ok(json!({ "familyName": "X" })),
                Ok(json!({ "familyName": "X" })),
            ),
            (
                gone("name.givenName"),
                "name",
                Ok(json!({ "familyName": "X" })),
                Ok(json!({ "familyName": "X" })),
            ),
            (gone("name.middleName"), "name", Ok(user()["name"].clone()), Ok(user()["name"].clone())),
            (gone("name"), "name", Ok(json!(null)), Ok(json!(null))),
            (set("name", json!({})), "name", Ok(user()["name"].clone()), Ok(user()["name"].clone())),
            (set("name", json!("B")), "name", Err(InvalidValue), Err(InvalidValue)),
            (set("name", json!({ "shoe": 1 })), "name", Ok(user()["name"].clone()), Err(InvalidSyntax)),
            // Extensions, whole and in part.
            (
                set(&format!("{e}:department"), json!("x")),
                e,
                Ok(json!({ "department": "x", "manager": { "value": "m", "$ref": "../Users/m" } })),
                Ok(json!({ "department": "x", "manager": { "value": "m", "$ref": "../Users/m" } })),
            ),
            (set(e, json!({ "department": null, "manager": null })), e, Ok(json!(null)), Ok(json!(null))),
            (
                json!({ "op": "add", "value": { e: { "department": "y", "manager": null } } }),
                e,
                Ok(json!({ "department": "y" })),
                Ok(json!({ "department": "y" })),
            ),
            (gone(e), e, Ok(json!(null)), Ok(json!(null))),
            (set(e, json!(null)), e, Ok(json!(null)), Ok(json!(null))),
            (gone(ROLLCALL_USER), ROLLCALL_USER, Err(Mutability), Err(Mutability)),
            // Microsoft Entra ID's managers.
            (set(MANAGER, json!("n")), e, manager(json!({ "value": "n" })), Err(InvalidValue)),
            (
                json!({ "op": "Add", "path": MANAGER, "value": [{ "value": "n" }] }),
                e,
                manager(json!({ "value": "n" })),
                Err(InvalidValue),
            ),
            (
                set(MANAGER, json!({ "value": "n" })),
                e,
                manager(json!({ "value": "n" })),
                manager(json!({ "value": "n" })),
            ),
            (set(MANAGER, json!({ "value": "m" })), e, same.clone(), same.clone()),
            (
                set(&format!("{MANAGER}.value"), json!("n")),
                e,
                manager(json!({ "value": "n" })),
                manager(json!({ "value": "n" })),
            ),
            (set(MANAGER, json!("")), e, no_manager.clone(), Err(InvalidValue)),
            (set(MANAGER, json!(null)), e, no_manager.clone(), no_manager.clone()),
            (
                set(&format!("{MANAGER}.value"), json!("")),
                e,
                no_manager.clone(),
                manager(json!({ "value": "" })),
            ),
            (gone(&format!("{MANAGER}.value")), e, no_manager.clone(), no_manager.clone()),
            (set(&format!("{MANAGER}.displayName"), json!("M")), e, Err(Mutability), Err(Mutability)),
            (
                json!({ "op": "replace", "value": { MANAGER: "n" } }),
                e,
                manager(json!({ "value": "n" })),
                Err(InvalidValue),
            ),
        ] {
            assert_eq!(patched(&STANDARD, &user(), &json!([operation]), key), tolerant, "{operation}");
            assert_eq!(patched(&STRICT, &user(), &json!([operation]), key), strict, "strict: {operation}");
        }
    }

    #[test]
    fn what_only_the_server_writes_may_be_repeated() {
        let set = |path: &str, value: Value| json!({ "op": "replace", "path": path, "value": value });
        for (operation, good) in [
            (json!({ "op": "replace", "value": { "id": "u1", "ID": "u1" } }), true),
            (set("id", json!("u1")), true),
            (set("id", json!("U1")), false),
            (json!({ "op": "remove", "path": "id" }), false),
            (set("meta", user()["meta"].clone()), true),
            (set("meta", json!({ "RESOURCETYPE": "User" })), true),
            (set("meta", json!({ "resourceType": "Group" })), false),
            (set("meta.version", json!("W/\"1\"")), true),
            (set("meta.version", json!("W/\"2\"")), false),
            (set(ROLLCALL_USER, json!({ "account": "sso" })), true),
            (set(ROLLCALL_USER, json!({ "account": "local" })), false),
            (set("groups", json!([{ "value": "g" }])), false),
            (set("groups", json!([])), false),
            (json!({ "op": "remove", "path": "groups[value eq \"g\"]" }), false),
            (json!({ "op": "replace", "value": { "groups": [] } }), false),
            (set("schemas", json!([USER])), true),
            (json!({ "op": "add", "path": "schemas", "value": ENTERPRISE_USER }), true),
            (json!({ "op": "remove", "path": "schemas", "value": [ENTERPRISE_USER] }), true),
            (json!({ "op": "remove", "path": "schemas" }), false),
        ] {
            for policy in [&VEZA, &STANDARD, &STRICT] {
                let expected = if good { Ok(json!(null)) } else { Err(Mutability) };
                assert_eq!(patched(policy, &user(), &json!([operation]), "x"), expected, "{operation}");
            }
        }
        for (urns, tolerant) in
            [(json!([USER, "urn:x"]), true), (json!(["urn:x"]), false), (json!([3]), false)]
        {
            let expected = if tolerant { Ok(json!(null)) } else { Err(InvalidSyntax) };
            let operations = json!([set("schemas", urns)]);
            assert_eq!(patched(&STANDARD, &user(), &operations, "x"), expected, "{operations}");
            assert_eq!(patched(&STRICT, &user(), &operations, "x"), Err(InvalidSyntax), "{operations}");
        }
    }

    #[test]
    fn required_values_cannot_be_removed() {
        for path in ["userName", "displayName", "name", "name.givenName", "emails"] {
            let operations = json!([{ "op": "remove", "path": path }]);
            assert_eq!(patched(&VEZA, &user(), &operations, "x"), Err(Mutability), "{path}");
        }
        // The rules on the final state refuse this one.
        let operations = json!([{ "op": "remove", "path": "emails[type eq \"work\"]" }]);
        assert_eq!(patched(&VEZA, &user(), &operations, "emails"), Ok(json!(null)));
    }
}
