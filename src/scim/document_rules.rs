//! What holds for a whole resource, whichever operation made it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::attribute_holder::attribute_holder;
use super::equality::is_equal;
use super::error::ScimError;
use super::faults::Faults;
use super::json::written_length;
use super::note_texts::Rule;
use super::policy::Policy;
use super::resource_type::{Kind, ResourceType};
use super::schema::{Attribute, Mutability};
use super::username::{self, canonical};
use super::values::{is_blank, is_primary};
use super::work::WorkBudget;
use crate::limits::MAX_DOCUMENT_BYTES;

/// Refuses a document that the table could not hold.
///
/// # Errors
/// `invalidValue` that names the largest attribute.
pub fn check_size(document: &Map<String, Value>) -> Result<(), ScimError> {
    let sizes = || {
        document
            .iter()
            .filter(|(key, _)| *key != "members")
            .map(|(key, value)| (key, key.len() + written_length(value) + 4))
    };
    if sizes().map(|(_, size)| size).sum::<usize>() <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let largest = sizes().max_by_key(|(_, size)| *size).map_or("", |(key, _)| key.as_str());
    Err(too_large(largest))
}

/// The refusal of a document that the table could not hold.
pub fn too_large(largest: &str) -> ScimError {
    ScimError::invalid_value(format!(
        "The resource is larger than {MAX_DOCUMENT_BYTES} bytes; its largest attribute is {largest}."
    ))
}

/// A user that is created without a word about it is active.
pub fn activate_by_default(document: &mut Map<String, Value>) {
    document.entry("active").or_insert(Value::Bool(true));
}

/// A replacement of a user that leaves out `active` keeps it: who has left must not come back by what is only absent.
pub fn keep_active(before: &Map<String, Value>, after: &mut Map<String, Value>) {
    if let (false, Some(active)) = (after.contains_key("active"), before.get("active")) {
        after.insert("active".to_owned(), active.clone());
    }
}

/// Every required attribute has a value, and every required sub-attribute of a value that is there
/// (RFC 7643 §2.2). A blank text is no value.
///
/// # Errors
/// `invalidValue` that names each path without one.
pub fn check_required(document: &Map<String, Value>, resource_type: &ResourceType) -> Result<(), ScimError> {
    let mut faults = Faults::default();
    gather_missing(document, resource_type, &mut faults)?;
    faults.finish()
}

/// The same after a change. What the resource lacked before does not forbid other changes: an attribute can become
/// required later, and who leaves must still be deactivated.
///
/// # Errors
/// `invalidValue` that names each path that has no value since the change.
pub fn check_required_after(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    resource_type: &ResourceType,
) -> Result<(), ScimError> {
    let mut missing = find_all_missing(after, resource_type);
    if missing.is_empty() {
        return Ok(());
    }
    let before = find_all_missing(before, resource_type);
    let lacked: BTreeSet<&String> = before.iter().flat_map(|of| &of.paths).collect();
    missing.iter_mut().for_each(|of| of.paths.retain(|path| !lacked.contains(path)));
    let mut faults = Faults::default();
    missing.into_iter().try_for_each(|of| of.add(&mut faults))?;
    faults.finish()
}

/// The same as [`check_required`], beside other faults. An attribute that has a fault already is not called missing.
///
/// # Errors
/// Those of [`Faults::keep`]. A value that is missing is added to `faults`.
pub fn gather_missing(
    document: &Map<String, Value>,
    resource_type: &ResourceType,
    faults: &mut Faults,
) -> Result<(), ScimError> {
    find_all_missing(document, resource_type).into_iter().try_for_each(|of| of.add(faults))
}

/// What an attribute lacks.
struct Missing {
    /// The path of the attribute.
    root: String,
    /// What asks for a value.
    rule: Rule,
    /// The paths that have none.
    paths: Vec<String>,
}

impl Missing {
    fn add(self, faults: &mut Faults) -> Result<(), ScimError> {
        if faults.is_unread(&self.root) {
            return Ok(());
        }
        for path in self.paths {
            let missing =
                ScimError::invalid_value(format!("Attribute {path} is missing.")).by(self.rule, &path);
            faults.keep_of(&self.root, Err::<(), _>(missing))?;
        }
        Ok(())
    }
}

/// The attributes that lack something.
fn find_all_missing(document: &Map<String, Value>, resource_type: &ResourceType) -> Vec<Missing> {
    let of_user = resource_type.kind == Some(Kind::User);
    let rule = if of_user { Rule::RequiredOfUser } else { Rule::Required };
    let mut found = find_missing_in(&resource_type.schema.attributes, "", document, rule);
    for extension in &resource_type.extensions {
        if let Some(Value::Object(object)) = document.get(&extension.id) {
            let prefix = format!("{}:", extension.id);
            found.extend(find_missing_in(&extension.attributes, &prefix, object, Rule::Required));
        }
    }
    found
}

fn find_missing_in(
    attributes: &[Attribute],
    prefix: &str,
    object: &Map<String, Value>,
    rule: Rule,
) -> Vec<Missing> {
    let mut found = Vec::new();
    for attribute in attributes.iter().filter(|attribute| requires(attribute)) {
        let parts = find_missing(attribute, object.get(&attribute.name));
        if !parts.is_empty() {
            let root = format!("{prefix}{}", attribute.name);
            let path = |part: Option<&str>| part.map_or_else(|| root.clone(), |sub| format!("{root}.{sub}"));
            found.push(Missing { paths: parts.into_iter().map(path).collect(), root, rule });
        }
    }
    found
}

/// Whether an attribute or a part of it must have a value.
fn requires(attribute: &Attribute) -> bool {
    attribute.required || attribute.sub_attributes.iter().any(|sub| sub.required)
}

/// The rules on a whole user that a client has sent: required attributes, emails, the characters of the name. An
/// attribute that has a fault already is left out.
///
/// # Errors
/// Those of [`Faults::keep`]. What is wrong with the user is added to `faults`.
pub fn gather_faults_of_user(
    user: &Map<String, Value>,
    policy: &Policy,
    faults: &mut Faults,
) -> Result<(), ScimError> {
    if !faults.is_unread("emails") && !faults.is_unread("userName") {
        faults.keep(check_username_and_email(user, policy))?;
    }
    faults.keep(username::check_change(None, user))?;
    Ok(())
}

/// What must have a value, and has none: sub-attributes by their names, or the attribute itself as `None`.
fn find_missing<'a>(attribute: &'a Attribute, value: Option<&Value>) -> Vec<Option<&'a str>> {
    let values = match value {
        Some(Value::Array(elements)) if attribute.multi_valued => elements.as_slice(),
        Some(Value::Null) | None => &[],
        Some(one) => std::slice::from_ref(one),
    };
    let writable: Vec<_> =
        attribute.sub_attributes.iter().filter(|sub| sub.required && !sub.is_read_only()).collect();
    if attribute.required && !attribute.is_read_only() && !values.iter().any(is_assigned) {
        return match attribute.sub_attribute("value") {
            Some(value) if writable.is_empty() && !values.is_empty() => vec![Some(&value.name)],
            _ if writable.is_empty() => vec![None],
            _ => writable.iter().map(|sub| Some(sub.name.as_str())).collect(),
        };
    }
    let is_missing =
        |sub: &Attribute| !values.iter().all(|value| value.get(&sub.name).is_some_and(is_assigned));
    let missing = writable.into_iter().filter(|sub| is_missing(sub));
    missing.map(|sub| Some(sub.name.as_str())).collect()
}

/// Whether a value says anything: an object with a `value` does by that alone.
fn is_assigned(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !is_blank(text),
        Value::Array(elements) => elements.iter().any(is_assigned),
        Value::Object(object) => match object.get("value") {
            Some(value) => is_assigned(value),
            None => object.iter().any(|(key, value)| key != "primary" && key != "type" && is_assigned(value)),
        },
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The rules that tie `userName` to the emails, on the final state of a change. They follow
/// [`check_required`].
///
/// # Errors
/// - `invalidValue` if the policy requires a primary email, and no email is primary.
/// - `invalidValue` if the policy requires that `userName` is the primary email, and they differ.
pub fn check_username_and_email(document: &Map<String, Value>, policy: &Policy) -> Result<(), ScimError> {
    let primary = primary_email(document);
    if policy.primary_email_required && primary.is_none() {
        return Err(
            ScimError::invalid_value("Email must be marked as primary").by(Rule::PrimaryEmail, "emails")
        );
    }
    if policy.user_name_is_primary_email {
        let user_name = document.get("userName").and_then(Value::as_str).map(canonical);
        let email = primary.and_then(|email| email.get("value")).and_then(Value::as_str).map(canonical);
        if user_name != email {
            let detail = "userName must match the email marked as primary";
            return Err(ScimError::invalid_value(detail).by(Rule::UserNameIsEmail, "userName"));
        }
    }
    Ok(())
}

/// The same after a change. A user who offended the rules before can still be changed otherwise.
///
/// # Errors
/// As [`check_username_and_email`].
pub fn check_username_and_email_after(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    policy: &Policy,
) -> Result<(), ScimError> {
    let is_same = ["userName", "emails"].into_iter().all(|name| before.get(name) == after.get(name));
    if is_same { Ok(()) } else { check_username_and_email(after, policy) }
}

/// The element of `emails` that is marked primary.
pub fn primary_email(document: &Map<String, Value>) -> Option<&Value> {
    document.get("emails")?.as_array()?.iter().find(|email| is_primary(email))
}

/// An immutable attribute keeps the value that it has (RFC 7643 §2.2). So does an immutable part of a single complex value.
/// A replacement must bring a value that is equal by the attribute's definition, or none. The old one stays as it was
/// written first. An extension or a complex value that comes back for it alone comes back with its required parts.
///
/// # Errors
/// `mutability`, and the error of [`WorkBudget::spend`].
pub fn keep_immutable(
    before: &Map<String, Value>,
    after: &mut Map<String, Value>,
    resource_type: &ResourceType,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    keep_immutable_in(&resource_type.schema.attributes, (before, after), "", false, work)?;
    for extension in &resource_type.extensions {
        let Some(Value::Object(old)) = before.get(&extension.id) else { continue };
        let was_left_out = !after.contains_key(&extension.id);
        let prefix = format!("{}:", extension.id);
        let holder = attribute_holder(after, Some(&extension.id));
        keep_immutable_in(&extension.attributes, (old, holder), &prefix, was_left_out, work)?;
        if holder.is_empty() {
            after.shift_remove(&extension.id);
        }
    }
    Ok(())
}

/// The same for attributes of one object. `was_left_out`: the replacement does not have the object.
fn keep_immutable_in(
    attributes: &[Attribute],
    (before, after): (&Map<String, Value>, &mut Map<String, Value>),
    prefix: &str,
    was_left_out: bool,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    let is_immutable = |attribute: &Attribute| attribute.mutability == Mutability::Immutable;
    for attribute in attributes {
        let Some(old) = before.get(&attribute.name) else { continue };
        let path = format!("{prefix}{}", attribute.name);
        if is_immutable(attribute) {
            let new = after.get(&attribute.name).filter(|new| !new.is_null());
            if let Some(new) = new
                && !is_equal(attribute, old, new, work)?
            {
                return Err(ScimError::mutability(format!(
                    "Attribute {path} is immutable: it keeps the value it was given first."
                )));
            }
            after.insert(attribute.name.clone(), old.clone());
        } else if let (Value::Object(old), true) = (old, attribute.sub_attributes.iter().any(is_immutable)) {
            let was_left_out = !after.get(&attribute.name).is_some_and(Value::is_object);
            let part = attribute_holder(after, Some(&attribute.name));
            let subs = &attribute.sub_attributes;
            keep_immutable_in(subs, (old, part), &format!("{path}."), was_left_out, work)?;
            if part.is_empty() {
                after.shift_remove(&attribute.name);
            }
        }
    }
    if was_left_out && !after.is_empty() {
        for attribute in attributes.iter().filter(|attribute| attribute.required) {
            if let (false, Some(old)) = (after.contains_key(&attribute.name), before.get(&attribute.name)) {
                after.insert(attribute.name.clone(), old.clone());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::policy::{STANDARD, VEZA};
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::schema::Schema;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_user_who_offended_the_rules_before_can_be_changed_otherwise() {
        let before = map(json!({ "userName": "a@x", "emails": [{ "value": "a@x" }], "active": true }));
        let with = |name: &str, value: Value| {
            let mut after = before.clone();
            after.insert(name.to_owned(), value);
            after
        };
        let model = Model::new(&VEZA, &[]).expect("a model");
        let ty = model.of(Kind::User);
        let leaves = with("active", json!(false));
        assert!(check_username_and_email(&leaves, &VEZA).is_err());
        assert_eq!(check_username_and_email_after(&before, &leaves, &VEZA), Ok(()));
        assert_eq!(check_required_after(&before, &leaves, ty), Ok(()));
        let renamed = with("userName", json!("b@x"));
        assert!(check_username_and_email_after(&before, &renamed, &VEZA).is_err());
        let refused = check_required_after(&before, &with("emails", json!([])), ty).expect_err("no email");
        assert_eq!(refused.detail, "Attribute emails is missing.", "what was missing before is not named");
    }

    #[test]
    fn required_attributes_and_sub_attributes() {
        let whole = json!({
            "userName": "a@x", "name": { "givenName": "A", "familyName": "X" }, "displayName": "A X",
            "emails": [{ "value": "a@x", "primary": true }]
        });
        for (path, value, missing) in [
            ("title", json!("t"), None),
            ("userName", json!(null), Some("userName")),
            ("userName", json!(" "), Some("userName")),
            ("name", json!(null), Some("name.familyName name.givenName")),
            ("name", json!({ "familyName": "X" }), Some("name.givenName")),
            ("name", json!({ "familyName": "X", "givenName": "" }), Some("name.givenName")),
            ("displayName", json!("\t"), Some("displayName")),
            ("emails", json!([]), Some("emails")),
            ("emails", json!([{ "value": "", "primary": true }]), Some("emails.value")),
            ("emails", json!([{ "type": "work", "primary": true }]), Some("emails.value")),
            ("emails", json!([{ "display": "a" }]), None),
        ] {
            let mut document = map(whole.clone());
            document.insert(path.to_owned(), value.clone());
            let model = Model::new(&VEZA, &[]).expect("a model");
            let found = check_required(&document, model.of(Kind::User)).map_err(|e| e.detail);
            let sentences = |paths: &str| {
                let named = paths.split(' ').map(|path| format!("Attribute {path} is missing."));
                Err(named.collect::<Vec<_>>().join(" "))
            };
            let expected = missing.map_or(Ok(()), sentences);
            assert_eq!(found, expected, "{path} {value}");
        }
        let model = Model::new(&STANDARD, &[]).expect("a model");
        assert!(check_required(&map(json!({ "userName": "a" })), model.of(Kind::User)).is_ok());
        assert!(check_required(&Map::new(), model.of(Kind::Group)).is_err());
    }

    #[test]
    fn user_name_and_primary_email() {
        const NO_PRIMARY: &str = "Email must be marked as primary";
        const DIFFERENT: &str = "userName must match the email marked as primary";
        for (document, expected) in [
            (json!({ "userName": "A@x", "emails": [{ "value": "a@X", "primary": true }] }), Ok(())),
            (json!({ "userName": "a@x", "emails": [{ "value": "a@x" }] }), Err(NO_PRIMARY)),
            (json!({ "userName": "a@x" }), Err(NO_PRIMARY)),
            (
                json!({ "userName": "b@x", "emails": [{ "value": "a@x" }, { "value": "b@x", "primary": false }] }),
                Err(NO_PRIMARY),
            ),
            (json!({ "userName": "b@x", "emails": [{ "value": "a@x", "primary": true }] }), Err(DIFFERENT)),
            (json!({ "userName": "b@x", "emails": [{ "type": "work", "primary": true }] }), Err(DIFFERENT)),
        ] {
            let found = check_username_and_email(&map(document.clone()), &VEZA).map_err(|e| e.detail);
            assert_eq!(found, expected.map_err(str::to_owned), "{document}");
            assert!(check_username_and_email(&map(document), &STANDARD).is_ok());
        }
    }

    #[test]
    fn users_are_active_by_default() {
        for (document, by_default) in
            [(json!({ "active": true }), true), (json!({ "active": false }), false), (json!({}), true)]
        {
            let mut document = map(document);
            activate_by_default(&mut document);
            assert_eq!(document.get("active"), Some(&json!(by_default)));
        }
    }

    #[test]
    fn a_document_fits_its_item() {
        let text = "x".repeat(60_000);
        let mut document = map(json!({ "members": [text, text, text, text, text, text, text] }));
        assert!(check_size(&document).is_ok());
        document.insert("title".to_owned(), json!("t"));
        document.insert("roles".to_owned(), json!([text, text, text, text, text, text]));
        let detail = check_size(&document).map_err(|e| e.detail).expect_err("too large");
        assert!(detail.ends_with("its largest attribute is roles."), "{detail}");
    }

    #[test]
    fn immutable_attributes_stay() {
        let schema: Schema =
            serde_json::from_value(json!({ "id": "urn:x:badge", "name": "Badge", "attributes": [
            { "name": "number", "type": "string", "multiValued": false, "mutability": "immutable" },
            { "name": "code", "type": "string", "multiValued": false, "mutability": "immutable", "caseExact": true },
            { "name": "since", "type": "dateTime", "multiValued": false, "mutability": "immutable" } ] }))
            .expect("a schema");
        let model = Model::new(&STANDARD, &[(Kind::User, schema)]).expect("a model");
        let badge = |number: &str| map(json!({ "urn:x:badge": { "number": number } }));
        let other = |name: &str, value: &str| map(json!({ "urn:x:badge": { name: value } }));
        for (before, mut after, expected) in [
            (badge("1"), badge("1"), Some(badge("1"))),
            (badge("1"), badge("2"), None),
            (badge("a"), badge("A"), Some(badge("a"))),
            (other("code", "a"), other("code", "A"), None),
            (
                other("since", "2024-01-01T00:00:00Z"),
                other("since", "2024-01-01T01:00:00+01:00"),
                Some(other("since", "2024-01-01T00:00:00Z")),
            ),
            (other("since", "2024-01-01T00:00:00Z"), other("since", "2024-01-01T00:00:01Z"), None),
            (badge("1"), Map::new(), Some(badge("1"))),
            (Map::new(), badge("2"), Some(badge("2"))),
        ] {
            let kept = keep_immutable(&before, &mut after, model.of(Kind::User), &WorkBudget::of_body());
            assert_eq!(kept.ok().map(|()| after), expected);
        }
    }
}
