//! The attributes of a group that a policy lets clients change.

use serde_json::{Map, Value};

use crate::scim::error::ScimError;
use crate::scim::note_texts::{NoteKind, Rule};
use crate::scim::notes::Notes;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, ResourceType};

/// Refuses a PATCH that changed an attribute of a group which the policy does not let clients change.
///
/// # Errors
/// `mutability`, with the name of the attribute.
pub fn check_group_attributes(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    resource_type: &ResourceType,
    policy: &Policy,
) -> Result<(), ScimError> {
    let Some(allowed) = policy.group_attributes.filter(|_| resource_type.kind == Some(Kind::Group)) else {
        return Ok(());
    };
    let mut names = before.keys().chain(after.keys()).filter(|name| !allowed.contains(&name.as_str()));
    match names.find(|name| before.get(*name) != after.get(*name)) {
        None => Ok(()),
        Some(name) => {
            let detail = format!("Of a group only {} can be changed, not {name}.", allowed.join(", "));
            Err(ScimError::mutability(detail).by(Rule::GroupAttributes, name))
        }
    }
}

/// Removes the attributes that the policy does not let clients change from the body of a PUT.
pub fn keep_group_attributes(
    document: &mut Map<String, Value>,
    resource_type: &ResourceType,
    policy: &Policy,
    notes: &Notes,
) {
    if let Some(allowed) = policy.group_attributes.filter(|_| resource_type.kind == Some(Kind::Group)) {
        document.retain(|key, _| {
            let is_kept = allowed.contains(&key.as_str());
            if !is_kept {
                notes.add(NoteKind::Unknown, key);
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::error::ErrorKind::Mutability;
    use crate::scim::patch::apply::apply;
    use crate::scim::patch::request::parse;
    use crate::scim::policy::{STANDARD, VEZA};
    use crate::scim::resource_type::Model;
    use crate::scim::work::WorkBudget;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn what_of_a_group_may_change() {
        let current = map(&json!({ "id": "g", "displayName": "G", "meta": { "resourceType": "Group" } }));
        for (path, value, expected) in [
            ("displayName", json!("H"), Ok(())),
            ("externalId", json!("e"), Ok(())),
            ("members", json!([]), Ok(())),
            ("id", json!("g"), Ok(())),
            ("id", json!("h"), Err(Mutability)),
            ("urn:x:t:color", json!("red"), Err(Mutability)),
            ("urn:x:t:color", json!(null), Ok(())),
        ] {
            let schema = serde_json::from_value(json!({ "id": "urn:x:t", "name": "T", "attributes": [
                { "name": "color", "type": "string", "multiValued": false } ] }))
            .expect("a schema");
            let model = Model::new(&VEZA, &[(Kind::Group, schema)]).expect("a model");
            let groups = model.of(Kind::Group);
            let body = map(&json!({ "Operations": [{ "op": "replace", "path": path, "value": value }] }));
            let steps = parse(&body, groups, &VEZA, &WorkBudget::of_body()).expect("steps");
            let check = |policy| {
                let mut after = current.clone();
                apply(&mut after, &steps, groups, policy, &WorkBudget::of_body())?;
                check_group_attributes(&current, &after, groups, policy)
            };
            assert_eq!(check(&VEZA).map_err(|e| e.kind), expected, "{path}");
            let free = expected.or_else(|kind| if path == "id" { Err(kind) } else { Ok(()) });
            assert_eq!(check(&STANDARD).map_err(|e| e.kind), free, "{path}");
        }
        let model = Model::new(&VEZA, &[]).expect("a model");
        let mut document = map(&json!({ "displayName": "G", "urn:x:t": {} }));
        let notes = Notes::new();
        keep_group_attributes(&mut document, model.of(Kind::Group), &VEZA, &notes);
        assert_eq!(document, map(&json!({ "displayName": "G" })));
    }
}
