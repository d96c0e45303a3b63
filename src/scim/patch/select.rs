//! The brackets of a PATCH path: which elements they select, and which element they describe
//! (RFC 7644 §3.5.2).

use serde_json::{Map, Value};

use crate::scim::attr_path::AttrPath;
use crate::scim::error::ScimError;
use crate::scim::filter::ast::{CompareOp, Filter};
use crate::scim::filter::bind::{self, Bound};
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Resolved, ResourceType};
use crate::scim::work::WorkBudget;

/// A filter on the elements of one attribute.
#[derive(Debug)]
pub struct Selector {
    bound: Bound,
}

impl Selector {
    /// Reads the filter against the attribute's definition. `"True"` is a boolean for a boolean
    /// sub-attribute under tolerance: Microsoft Entra ID writes `roles[primary eq "True"]`.
    ///
    /// # Errors
    /// `invalidFilter` for what cannot be compared.
    pub fn new(
        filter: &Filter,
        extension: Option<&str>,
        attribute: &str,
        resource_type: &ResourceType,
        policy: &Policy,
    ) -> Result<Self, ScimError> {
        let path =
            AttrPath { urn: extension.map(ToOwned::to_owned), attribute: attribute.to_owned(), sub: None };
        let Some(Resolved::Attribute(target)) = resource_type.resolve(&path) else {
            return Err(ScimError::invalid_path(format!("No schema defines the attribute {path}.")));
        };
        Ok(Self { bound: bind::bind_element(filter, resource_type, target, policy.tolerant)? })
    }

    /// Whether the filter selects this element.
    ///
    /// # Errors
    /// That of the budget.
    pub fn matches(&self, element: &Value, work: &WorkBudget) -> Result<bool, ScimError> {
        self.bound.matches_element(element, work)
    }
}

/// What a filter says an element is, if it says just that: `eq` terms, joined by `and`.
pub fn equal_terms(filter: &Filter) -> Option<Map<String, Value>> {
    match filter {
        Filter::Compare(path, CompareOp::Eq, value) if path.sub.is_none() && path.urn.is_none() => {
            Some(Map::from_iter([(path.attribute.clone(), value.clone())]))
        }
        Filter::And(filters) => {
            let mut terms = Map::new();
            for filter in filters {
                for (name, value) in equal_terms(filter)? {
                    let differs =
                        |(key, own): (&String, &Value)| key.eq_ignore_ascii_case(&name) && *own != value;
                    if terms.iter().any(differs) {
                        return None;
                    }
                    if !terms.keys().any(|key| key.eq_ignore_ascii_case(&name)) {
                        terms.insert(name, value);
                    }
                }
            }
            Some(terms)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::scim::members::{MEMBERS, Member, take};
    use crate::scim::patch::apply::apply;
    use crate::scim::patch::members::MemberChange;
    use crate::scim::patch::request::parse;
    use crate::scim::policy::POLICIES;
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::rules::{required, user_rules};
    use crate::scim::schema::Schema;
    use crate::scim::validate::{groups_in_body, read};

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "schemas",
                "userName",
                "name",
                "name.givenName",
                "emails",
                "emails.value",
                "value",
                "type",
                "primary",
                "members",
                "groups",
                "id",
                "meta",
                "$ref",
                "display",
                "active",
                "True",
                "",
                "é",
                "members[value eq \"a\"]",
                "emails[type eq \"work\"].value",
                "emails[primary eq \"True\"]",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
                "manager",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
                "urn:ietf:params:scim:schemas:core:2.0:User",
                "displayName",
                "roles[not (value pr)]",
            ])
            .prop_map(str::to_owned),
            ".{0,6}",
        ]
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i8>().prop_map(Value::from),
            text().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((text(), inner), 0..4)
                    .prop_map(|v| Value::Object(v.into_iter().collect())),
            ]
        })
    }

    fn operation() -> impl Strategy<Value = Value> {
        let op = prop::sample::select(vec!["add", "Remove", "replace"]);
        (op, prop::option::of(text()), json_value()).prop_map(|(op, path, value)| match path {
            Some(path) => json!({ "op": op, "path": path, "value": value }),
            None => json!({ "op": op, "value": value }),
        })
    }

    /// Multi-valued simple attributes of extensions have no sub-attributes: `value` is the element.
    #[test]
    fn brackets_select_simple_elements() {
        let schema: Schema =
            serde_json::from_value(json!({ "id": "urn:x:2.0:User", "name": "X", "attributes": [
                { "name": "assurance", "type": "string", "multiValued": true },
            ]}))
            .expect("a schema");
        for policy in POLICIES {
            let model = Model::new(policy, &[(Kind::User, schema.clone())]).expect("a model");
            let users = model.of(Kind::User);
            for (filter, left) in [
                (r#"value eq "MID""#, json!(["low", "high"])),
                (r#"value ne "mid""#, json!(["mid"])),
                (r#"urn:x:2.0:User:assurance.value sw "h" or value sw "l""#, json!(["mid"])),
            ] {
                let message = json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": [{ "op": "remove", "path": format!("urn:x:2.0:User:assurance[{filter}]") }]
                });
                let message = message.as_object().expect("an object");
                let steps = parse(message, users, policy).expect(filter);
                let document = json!({ "urn:x:2.0:User": { "assurance": ["low", "mid", "high"] } });
                let mut document = document.as_object().cloned().expect("an object");
                for step in &steps {
                    apply(&mut document, step, users, policy).expect(filter);
                }
                assert_eq!(document["urn:x:2.0:User"]["assurance"], left, "{filter}");
            }
        }
    }

    proptest! {
        /// What a client sends is read or refused; what was read reads the same again.
        #[test]
        fn bodies_and_patches_are_read_or_refused(
            body in json_value(),
            operations in prop::collection::vec(operation(), 1..4),
        ) {
            for policy in POLICIES {
                let model = Model::new(policy, &[]).expect("a model");
                for kind in Kind::ALL {
                    let resource_type = model.of(kind);
                    let mut document = Map::new();
                    if let Some(body) = body.as_object() {
                        let _ = groups_in_body(body);
                        if let Ok(read_once) = read(body, resource_type, policy) {
                            let mut again = read_once.clone();
                            again.insert("schemas".to_owned(), json!([resource_type.schema.id]));
                            let again = read(&again, resource_type, policy);
                            prop_assert_eq!(again.as_ref(), Ok(&read_once));
                            document = read_once;
                        }
                    }
                    let _ = take(&mut document, resource_type, policy);
                    document.shift_remove(MEMBERS);
                    let message = json!({
                        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations
                    });
                    let steps = message.as_object().map(|message| parse(message, resource_type, policy));
                    let Some(Ok(steps)) = steps else { continue };
                    let current = [("a".to_owned(), Member::of_id("a"))].into();
                    let _ = MemberChange::read(&steps, resource_type, policy).and_then(|c| c.net(&current));
                    if steps.iter().try_for_each(|s| apply(&mut document, s, resource_type, policy)).is_ok() {
                        let _ = required(&document, resource_type).and_then(|()| user_rules(&document, policy));
                        // What PATCH stores, PUT would store, too.
                        let mut again = document.clone();
                        again.insert("schemas".to_owned(), json!([resource_type.schema.id]));
                        let again = read(&again, resource_type, policy);
                        prop_assert_eq!(again.as_ref(), Ok(&document), "{}", message);
                    }
                }
            }
        }
    }
}
