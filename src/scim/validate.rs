//! What a client may store: the body of POST and PUT becomes a canonical document
//! (RFC 7643 §2–4, RFC 7644 §3.3, §3.5.1).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::attr_path::AttrPath;
use super::attribute_holder::attribute_holder;
use super::document_rules::check_size;
use super::error::{ErrorKind, ScimError};
use super::faults::Faults;
use super::note_texts::{NoteKind, Rule};
use super::policy::{Policy, STANDARD};
use super::refusal::{
    expected, name_key, refuse_member, refuse_repeated_name, shorten_text, unknown_attribute,
};
use super::resource_type::{Kind, Resolved, ResourceType};
use super::schema::{Attribute, Schema};
use super::urn;
use super::values::{ValueReader, is_unassigned};
use super::work::WorkBudget;

/// Reads the body of a POST or PUT as a canonical document (RFC 7644 §3.3, §3.5.1). Names have the schemas'
/// spelling, values the schemas' types, and attributes of an extension are under its URN. The document does not
/// hold read-only attributes, `password` and `schemas`. It holds a group's `members`, as objects.
///
/// ```
/// # use rollcall::scim::{policy::STANDARD, resource_type::{Kind, Model}, validate, work::WorkBudget};
/// # use serde_json::json;
/// let model = Model::new(&STANDARD, &[])?;
/// let body = json!({ "USERNAME": "a", "active": "True", "id": "ignored", "shoe": 43 });
///
/// let users = model.of(Kind::User);
/// let user = validate::read(body.as_object().unwrap(), users, &STANDARD, &WorkBudget::of_body())?;
///
/// assert_eq!(json!(user), json!({ "userName": "a", "active": true }));
/// # Ok::<(), rollcall::scim::error::ScimError>(())
/// ```
///
/// # Errors
/// One error names all faults of the body ([`Faults`]):
/// - `invalidSyntax` for `schemas`, for a name that is given twice and, under `strict`, for an unknown name
/// - `invalidValue` for a value that does not fit its attribute
/// - 413 for more work than the budget allows
pub fn read(
    body: &Map<String, Value>,
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<Map<String, Value>, ScimError> {
    let mut faults = Faults::default();
    let document = read_and_gather(body, resource_type, policy, work, &mut faults)?;
    faults.finish()?;
    Ok(document)
}

/// The same, for a caller that applies further rules: what is wrong is gathered. The document holds what could be read.
///
/// # Errors
/// 413 for more work than the budget allows.
pub fn read_and_gather(
    body: &Map<String, Value>,
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
    faults: &mut Faults,
) -> Result<Map<String, Value>, ScimError> {
    let schemas = schemas_in(body).and_then(|schemas| check_schemas(schemas, resource_type, policy, work));
    faults.keep(schemas)?;
    let mut document = DocumentReader {
        resource_type,
        policy,
        work,
        faults,
        seen: Vec::new(),
        map: Map::with_capacity(body.len() + 1),
    };
    for (key, value) in body {
        document.put(key, value)?;
    }
    let map = document.map;
    faults.keep(check_size(&map))?;
    Ok(map)
}

/// The document while it is read.
struct DocumentReader<'a> {
    resource_type: &'a ResourceType,
    policy: &'a Policy,
    work: &'a WorkBudget,
    faults: &'a mut Faults,
    /// The paths of attributes, and the URNs of schemas, that the body has named: at most those of the
    /// resource type.
    seen: Vec<&'a str>,
    map: Map<String, Value>,
}

impl<'a> DocumentReader<'a> {
    fn put(&mut self, key: &str, value: &Value) -> Result<(), ScimError> {
        if key.eq_ignore_ascii_case("schemas") || self.is_password(key, value) {
            return Ok(());
        }
        let resource_type = self.resource_type;
        // Most names are plain, and most others are the URN of an extension.
        if let Some(attribute) = resource_type.core_attribute(key) {
            return self.attribute(None, attribute, value);
        }
        if let Some(schema) = resource_type.schema_of(key) {
            return self.schema(schema, value);
        }
        match AttrPath::parse(key).ok().and_then(|path| resource_type.resolve(&path)) {
            Some(Resolved::Attribute(target)) if target.sub.is_none() => {
                self.attribute(target.extension, target.attribute, value)
            }
            _ => self.leave_out_unknown(key),
        }
    }

    /// Whether a key names the password, which is left out.
    fn is_password(&self, key: &str, value: &Value) -> bool {
        let is_password = is_password(key, self.resource_type);
        if is_password && !value.is_null() {
            self.work.notes.add(NoteKind::Password, "password");
        }
        is_password
    }

    /// All attributes of one schema, as an object under its URN (RFC 7643 §3.3).
    fn schema(&mut self, schema: &'a Schema, value: &Value) -> Result<(), ScimError> {
        if !self.is_first(&schema.id) {
            return self.add_fault(&schema.id, refuse_repeated_name(&schema.id));
        }
        let attributes = match value {
            Value::Null => return Ok(()),
            Value::Object(attributes) => attributes,
            sent => return self.add_fault(&schema.id, expected(&schema.id, "an object", sent)),
        };
        let core = schema.id == self.resource_type.schema.id;
        for (key, value) in attributes {
            // Some clients repeat `schemas` inside the object of an extension.
            if key.eq_ignore_ascii_case("schemas") || (core && self.is_password(key, value)) {
                continue;
            }
            match schema.attribute(key) {
                Some(attribute) => {
                    self.attribute((!core).then_some(schema.id.as_str()), attribute, value)?;
                }
                None => self.leave_out_unknown(&format!("{}:{key}", schema.id))?,
            }
        }
        Ok(())
    }

    fn attribute(
        &mut self,
        extension: Option<&str>,
        attribute: &'a Attribute,
        value: &Value,
    ) -> Result<(), ScimError> {
        let path = attribute.path.as_str();
        if !self.is_first(path) {
            return self.add_fault(path, refuse_repeated_name(path));
        }
        if attribute.is_read_only() {
            // Clients send back what they have read.
            let is_usual = ["id", "meta", "groups"].contains(&path);
            if !is_usual && !is_unassigned(value) {
                self.work.notes.add(NoteKind::ReadOnly, path);
            }
        } else {
            let read = ValueReader::of_body(self.policy, self.work).value(attribute, path, value);
            if let Some(value) = self.faults.keep_of(path, read)?.flatten() {
                attribute_holder(&mut self.map, extension).insert(attribute.name.clone(), value);
            }
        }
        Ok(())
    }

    /// Notes that the body names this. Returns whether it did not before.
    fn is_first(&mut self, name: &'a str) -> bool {
        let is_first = !self.seen.contains(&name);
        if is_first {
            self.seen.push(name);
        }
        is_first
    }

    fn add_fault(&mut self, path: &str, fault: ScimError) -> Result<(), ScimError> {
        self.faults.keep_of(path, Err::<(), _>(fault)).map(|_| ())
    }

    fn leave_out_unknown(&mut self, key: &str) -> Result<(), ScimError> {
        if !self.policy.tolerant {
            return self.add_fault(key, unknown_attribute(key));
        }
        self.work.notes.add(NoteKind::Unknown, key);
        Ok(())
    }
}

/// What the attribute is called that is never kept.
const PASSWORD: &str = "password";

/// Whether a key names a user's password, which is known but never kept (RFC 7643 §4.1.1).
pub fn is_password(key: &str, resource_type: &ResourceType) -> bool {
    // No other path can name it.
    let ends_alike = key.len().checked_sub(PASSWORD.len()).and_then(|at| key.get(at..));
    resource_type.kind == Some(Kind::User)
        && ends_alike.is_some_and(|end| end.eq_ignore_ascii_case(PASSWORD))
        && AttrPath::parse(key).is_ok_and(|path| {
            path.attribute.eq_ignore_ascii_case(PASSWORD)
                && path.urn.as_ref().is_none_or(|urn| urn.eq_ignore_ascii_case(&resource_type.schema.id))
        })
}

/// The value of `groups` in the body of a user, however its name is written: some policies refuse
/// to ignore it.
pub fn groups_in_body(body: &Map<String, Value>) -> Option<&Value> {
    fn member(object: &Map<String, Value>, is_it: impl Fn(&str) -> bool) -> Option<&Value> {
        object.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }
    let is_groups = |key: &str| key.eq_ignore_ascii_case("groups");
    let is_core = |key: &str| key.eq_ignore_ascii_case(urn::USER);
    let is_both = |key: &str| key.rsplit_once(':').is_some_and(|(urn, name)| is_core(urn) && is_groups(name));
    member(body, is_groups)
        .or_else(|| member(body, is_both))
        .or_else(|| member(member(body, is_core)?.as_object()?, is_groups))
}

/// Returns the ids in a value of a user's `groups`. Null names none. Returns `None` for a value of another form.
pub fn groups_named(value: &Value) -> Option<BTreeSet<&str>> {
    let elements = match value {
        Value::Null => &[],
        Value::Array(elements) => elements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let id = |element: &'_ Value| match element {
        Value::Object(object) => object.keys().find(|key| key.eq_ignore_ascii_case("value")).cloned(),
        _ => None,
    };
    let named = elements.iter().map(|element| match id(element) {
        Some(key) => element.get(&key)?.as_str(),
        None => element.as_str(),
    });
    named.collect()
}

/// The value of `schemas`, in any case.
///
/// # Errors
/// `invalidSyntax` if it is given twice.
pub fn schemas_in(body: &Map<String, Value>) -> Result<Option<&Value>, ScimError> {
    let mut found = body.iter().filter(|(key, _)| key.eq_ignore_ascii_case("schemas"));
    let first = found.next().map(|(_, value)| value);
    if found.next().is_some() { Err(refuse_repeated_name("schemas")) } else { Ok(first) }
}

/// The URNs of the core schema before the RFC, for users and groups alike: OneLogin sends them.
const LEGACY_CORE: [&str; 2] = ["urn:scim:schemas:core:1.0", "urn:scim:schemas:core:2.0"];

/// Whether a URN in the `schemas` of a resource names its core schema, under tolerance by an older
/// name too.
pub fn names_core(urn: &str, resource_type: &ResourceType, policy: &Policy) -> bool {
    let is = |own: &str| own.eq_ignore_ascii_case(urn);
    is(&resource_type.schema.id) || (policy.tolerant && LEGACY_CORE.into_iter().any(is))
}

/// `schemas` names the resource's own schema, and extensions (RFC 7643 §3). Absent it is accepted,
/// and further URNs are ignored, only under tolerance: Microsoft Entra ID adds its own.
fn check_schemas(
    schemas: Option<&Value>,
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    let own = &resource_type.schema.id;
    let Some(urns) = listed_urns(schemas, own, policy)? else { return Ok(()) };
    let is_named = |policy: &Policy| urns.iter().any(|urn| names_core(urn, resource_type, policy));
    if !is_named(policy) {
        let rule = if is_named(&STANDARD) { Rule::Schemas } else { Rule::OwnSchema };
        let detail = format!("schemas must contain {own}.");
        return Err(ScimError::invalid_syntax(detail).by(rule, "schemas"));
    }
    let refused = |detail: String| Err(ScimError::invalid_syntax(detail).by(Rule::Schemas, "schemas"));
    let mut seen = BTreeSet::new();
    let repeated = urns.iter().find(|urn| !seen.insert(urn.to_ascii_lowercase()));
    if let (false, Some(repeated)) = (policy.tolerant, repeated) {
        return refused(format!("schemas holds the URN {} twice.", shorten_text(repeated)));
    }
    let is_unknown =
        |urn: &&str| resource_type.schema_of(urn).is_none() && !names_core(urn, resource_type, policy);
    match urns.into_iter().find(is_unknown) {
        Some(unknown) if !policy.tolerant => {
            refused(format!("schemas holds the unknown URN {}.", shorten_text(unknown)))
        }
        Some(_) => {
            work.notes.add(NoteKind::Unknown, "schemas");
            Ok(())
        }
        None => Ok(()),
    }
}

/// Checks the `schemas` of a message, in which the URN given must stand.
///
/// # Errors
/// `invalidSyntax`.
pub fn check_schema_urns(schemas: Option<&Value>, own: &str, policy: &Policy) -> Result<(), ScimError> {
    match listed_urns(schemas, own, policy)? {
        Some(urns) if !urns.iter().any(|urn| urn.eq_ignore_ascii_case(own)) => {
            Err(ScimError::invalid_syntax(format!("schemas must contain {own}.")))
        }
        _ => Ok(()),
    }
}

/// Refuses a member of a message that no schema defines, unless the policy is tolerant. A misspelled `filter` would
/// find everything.
///
/// # Errors
/// `invalidSyntax`.
pub fn check_message(message: &Map<String, Value>, known: &[&str], policy: &Policy) -> Result<(), ScimError> {
    let is_known = |key: &&String| known.iter().any(|name| name.eq_ignore_ascii_case(key));
    let sent = message.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key);
    match sent.into_iter().find(|key| !is_known(key)) {
        Some(unknown) if !policy.tolerant => {
            let unknown = name_key(unknown);
            let known = known.join(", ");
            let detail = format!("The message has the unknown member {unknown}. Its members are {known}.");
            Err(ScimError::invalid_syntax(detail).by(Rule::KnownMember, &unknown))
        }
        _ => Ok(()),
    }
}

/// The URNs in a `schemas`. Absent, null and `[]` are the same (RFC 7643 §2.5): `None`, under
/// tolerance alone.
fn listed_urns<'v>(
    schemas: Option<&'v Value>,
    own: &str,
    policy: &Policy,
) -> Result<Option<Vec<&'v str>>, ScimError> {
    let refusal = || Err(refuse_member(ErrorKind::InvalidSyntax, "schemas", "an array of texts", schemas));
    match schemas.filter(|value| !is_unassigned(value)) {
        None if policy.tolerant => Ok(None),
        None => {
            let detail = format!("schemas is missing. It must contain {own}.");
            Err(ScimError::invalid_syntax(detail).by(Rule::Schemas, "schemas"))
        }
        Some(Value::Array(elements)) => {
            match elements.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                Some(urns) => Ok(Some(urns)),
                None => refusal(),
            }
        }
        Some(_) => refusal(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::error::ErrorKind::{InvalidSyntax, InvalidValue};
    use crate::scim::policy::STRICT;
    use crate::scim::resource_type::Model;
    use crate::scim::urn::{ENTERPRISE_USER, USER};

    fn read_as(policy: &'static Policy, kind: Kind, body: &Value) -> Result<Value, ErrorKind> {
        let model = Model::new(policy, &[]).expect("a model");
        let body = body.as_object().expect("an object");
        read(body, model.of(kind), policy, &WorkBudget::of_body()).map(Value::Object).map_err(|e| e.kind)
    }

    #[test]
    fn bodies_become_canonical_documents() {
        for (body, expected) in [
            (
                json!({ "schemas": [USER], "USERNAME": "a", "id": "x", "meta": {}, "groups": [], "externalID": "e" }),
                json!({ "userName": "a", "externalId": "e" }),
            ),
            (json!({ "schemas": [USER], format!("{USER}:userName"): "a" }), json!({ "userName": "a" })),
            (
                json!({ "schemas": [USER], USER: { "userName": "a", "PASSWORD": "p" } }),
                json!({ "userName": "a" }),
            ),
            (
                json!({ "schemas": [USER], format!("{}:DEPARTMENT", ENTERPRISE_USER.to_lowercase()): "d",
                    ENTERPRISE_USER: { "employeenumber": "1" } }),
                json!({ ENTERPRISE_USER: { "department": "d", "employeeNumber": "1" } }),
            ),
            (json!({ "schemas": [USER], "Password": "p", format!("{USER}:password"): 3 }), json!({})),
            (json!({ "schemas": [USER], urn::ROLLCALL_USER: { "account": "local" } }), json!({})),
            (json!({ "schemas": [USER], "title": null, "emails": [], ENTERPRISE_USER: null }), json!({})),
            (json!({ "schemas": [USER], ENTERPRISE_USER: { "manager": null } }), json!({})),
        ] {
            for policy in [&STANDARD, &STRICT] {
                assert_eq!(
                    read_as(policy, Kind::User, &body),
                    Ok(expected.clone()),
                    "{} {body}",
                    policy.name
                );
            }
        }
    }

    #[test]
    fn refusals_and_what_tolerance_accepts() {
        let empty = || Ok(json!({}));
        for (body, tolerant, strict) in [
            (json!({}), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": null }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": [] }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": ["urn:scim:schemas:core:1.0"] }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": ["URN:scim:schemas:core:2.0", "urn:x:y"] }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": ["urn:scim:schemas:core:3.0"] }), Err(InvalidSyntax), Err(InvalidSyntax)),
            (json!({ "schemas": USER }), Err(InvalidSyntax), Err(InvalidSyntax)),
            (json!({ "schemas": [USER, 3] }), Err(InvalidSyntax), Err(InvalidSyntax)),
            (json!({ "schemas": [ENTERPRISE_USER] }), Err(InvalidSyntax), Err(InvalidSyntax)),
            (json!({ "schemas": [USER, "urn:x:y"] }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": [USER, ENTERPRISE_USER] }), empty(), empty()),
            (json!({ "schemas": [USER], "SCHEMAS": [USER] }), Err(InvalidSyntax), Err(InvalidSyntax)),
            (json!({ "schemas": [USER], "shoeSize": 3 }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": [USER], "": 3, "a b": 1, "urn:x": 4 }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": [USER], "name.givenName": "J" }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": [USER], ENTERPRISE_USER: { "x": 1 } }), empty(), Err(InvalidSyntax)),
            (json!({ "schemas": [USER], ENTERPRISE_USER: 1 }), Err(InvalidValue), Err(InvalidValue)),
            (
                json!({ "schemas": [USER], "title": null, "Title": "t" }),
                Err(InvalidSyntax),
                Err(InvalidSyntax),
            ),
            (json!({ "schemas": [USER], "id": "a", "ID": "a" }), Err(InvalidSyntax), Err(InvalidSyntax)),
            (
                json!({ "schemas": [USER], "title": "t", format!("{USER}:title"): "t" }),
                Err(InvalidSyntax),
                Err(InvalidSyntax),
            ),
            (json!({ "schemas": [USER], "displayName": 3 }), Err(InvalidValue), Err(InvalidValue)),
        ] {
            assert_eq!(read_as(&STANDARD, Kind::User, &body), tolerant, "{body}");
            assert_eq!(read_as(&STRICT, Kind::User, &body), strict, "strict: {body}");
        }
    }

    #[test]
    fn a_group_keeps_its_members_and_knows_no_password() {
        let body = json!({ "schemas": [urn::GROUP], "displayName": "G", "members": ["a", { "value": "a" }] });
        let expected = json!({ "displayName": "G", "members": [{ "value": "a" }] });
        assert_eq!(read_as(&STANDARD, Kind::Group, &body), Ok(expected));
        let body = json!({ "schemas": [urn::GROUP], "password": "p" });
        assert_eq!(read_as(&STANDARD, Kind::Group, &body), Ok(json!({})));
        assert_eq!(read_as(&STRICT, Kind::Group, &body), Err(InvalidSyntax));
    }

    #[test]
    fn groups_are_found_however_they_are_written() {
        for (body, expected) in [
            (json!({ "GROUPS": 1 }), Some(json!(1))),
            (json!({ format!("{USER}:groups"): 2 }), Some(json!(2))),
            (json!({ USER: { "Groups": 3 } }), Some(json!(3))),
            (json!({ USER: 3 }), None),
            (json!({ "userName": "a" }), None),
        ] {
            assert_eq!(groups_in_body(body.as_object().expect("an object")), expected.as_ref(), "{body}");
        }
    }
}
