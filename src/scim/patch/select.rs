//! The brackets of a PATCH path: which elements they select, and which element they describe
//! (RFC 7644 §3.5.2).

use serde_json::{Map, Value};

use crate::scim::attr_path::AttrPath;
use crate::scim::error::ScimError;
use crate::scim::filter::ast::{CompareOp, Filter};
use crate::scim::filter::bind::{self, Bound};
use crate::scim::filter::strip_urns;
use crate::scim::policy::Policy;
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::{AttributeTarget, ResourceType};
use crate::scim::schema::Attribute;
use crate::scim::work::WorkBudget;

/// A filter on the elements of one attribute.
#[derive(Clone, Debug, PartialEq)]
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
        target: AttributeTarget<'_>,
        resource_type: &ResourceType,
        policy: &Policy,
    ) -> Result<Self, ScimError> {
        let target = AttributeTarget { sub: None, ..target };
        Ok(Self { bound: bind::bind_element(filter, resource_type, target, policy.tolerant)? })
    }

    /// Whether the filter selects this element.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub fn matches(&self, element: &Value, work: &WorkBudget) -> Result<bool, ScimError> {
        self.bound.matches_element(element, work)
    }
}

/// The filter with the sub-attributes in their schema's spelling, without the URN of `schema`, in
/// which the attribute is defined. Of a simple attribute, `value` is the element.
///
/// # Errors
/// `invalidPath` for an attribute that has no elements to select, and for a name that is not one of its
/// sub-attributes.
pub fn canonical(filter: &Filter, attribute: &Attribute, schema: &str) -> Result<Filter, ScimError> {
    // No extension may define an attribute of this name.
    if attribute.name == "schemas" {
        return Err(ScimError::invalid_path(
            "schemas follows from the other attributes, so that no filter can select what to change in it. To remove an extension, send its URN as the path.",
        ));
    }
    if !attribute.multi_valued {
        return Err(ScimError::invalid_path(format!(
            "{} has no elements that a filter could select.",
            attribute.name
        )));
    }
    spell_names(&strip_urns(filter, attribute, schema), attribute)
}

fn spell_names(filter: &Filter, attribute: &Attribute) -> Result<Filter, ScimError> {
    let all = |filters: &[Filter]| {
        filters.iter().map(|filter| spell_names(filter, attribute)).collect::<Result<Vec<_>, _>>()
    };
    let sub = |path: &AttrPath| {
        sub_attribute(path, attribute).ok_or_else(|| {
            let name = shorten_text(&path.to_string());
            ScimError::invalid_path(format!("{} has no sub-attribute {name}.", attribute.name))
        })
    };
    Ok(match filter {
        Filter::And(filters) => Filter::And(all(filters)?),
        Filter::Or(filters) => Filter::Or(all(filters)?),
        Filter::Not(filter) => Filter::Not(Box::new(spell_names(filter, attribute)?)),
        Filter::Present(path) => Filter::Present(sub(path)?),
        Filter::Compare(path, op, value) => Filter::Compare(sub(path)?, *op, value.clone()),
        Filter::ValuePath(path, filter) => Filter::ValuePath(sub(path)?, filter.clone()),
    })
}

/// What a path within the brackets of an attribute names.
fn sub_attribute(path: &AttrPath, attribute: &Attribute) -> Option<AttrPath> {
    if path.urn.is_some() || path.sub.is_some() {
        return None;
    }
    let is_element = attribute.is_list_of_simple_values() && path.attribute.eq_ignore_ascii_case("value");
    let name = if is_element { "value" } else { &attribute.sub_attribute(&path.attribute)?.name };
    Some(AttrPath { urn: None, attribute: name.to_owned(), sub: None })
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::scim::document_rules::{check_required, check_username_and_email};
    use crate::scim::members::{MEMBERS, Member, take};
    use crate::scim::patch::apply::apply;
    use crate::scim::patch::listed::tests::extension;
    use crate::scim::patch::members::MemberChange;
    use crate::scim::patch::request::parse;
    use crate::scim::policy::POLICIES;
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::schema::Schema;
    use crate::scim::validate::{groups_in_body, read};
    use crate::scim::work::WorkBudget;

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
                "roles[primary eq false].value",
                "urn:x:2.0:User",
                "urn:x:2.0:User:sites",
                "urn:x:2.0:User:sites.tags",
                "urn:x:2.0:User:sites[value eq \"a\"].tags",
                "urn:x:2.0:User:profile.langs",
                "urn:x:2.0:User:profile",
                "urn:x:2.0:User:assurance",
                "urn:x:2.0:User:assurance[value eq \"a\"]",
                "tags",
                "langs",
                "a",
                "roles",
                "roles.display",
                "password",
                "groups",
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
                inner.clone().prop_map(|value| json!([{ "$ref": null, "value": value }])),
                (text(), text()).prop_map(|(value, kind)| json!([{ "value": value, "type": kind }, value])),
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
                let steps = parse(message, users, policy, &WorkBudget::of_body()).expect(filter);
                let document = json!({ "urn:x:2.0:User": { "assurance": ["low", "mid", "high"] } });
                let mut document = document.as_object().cloned().expect("an object");
                let work = WorkBudget::of_body();
                apply(&mut document, &steps, users, policy, &work).expect(filter);
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
                let model = Model::new(policy, &[(Kind::User, extension())]).expect("a model");
                for kind in Kind::ALL {
                    let resource_type = model.of(kind);
                    let mut document = Map::new();
                    if let Some(body) = body.as_object() {
                        let _ = groups_in_body(body);
                        if let Ok(read_once) = read(body, resource_type, policy, &WorkBudget::of_body()) {
                            let mut again = read_once.clone();
                            again.insert("schemas".to_owned(), json!([resource_type.schema.id]));
                            let again = read(&again, resource_type, policy, &WorkBudget::of_body());
                            prop_assert_eq!(again.as_ref(), Ok(&read_once));
                            document = read_once;
                        }
                    }
                    let _ = take(&mut document, policy);
                    document.shift_remove(MEMBERS);
                    let message = json!({
                        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations
                    });
                    let steps = message.as_object().map(|message| parse(message, resource_type, policy, &WorkBudget::of_body()));
                    let Some(Ok(steps)) = steps else { continue };
                    let current = [("a".to_owned(), Member::of_id("a"))].into();
                    let work = WorkBudget::of_body();
                    let _ = MemberChange::read(&steps, resource_type, policy, &work).and_then(|change| {
                        change.members_to_identify(&work);
                        change.net(&current, &BTreeMap::new(), &work)
                    });
                    if apply(&mut document, &steps, resource_type, policy, &work).is_ok() {
                        let _ = check_required(&document, resource_type).and_then(|()| check_username_and_email(&document, policy));
                        // What PATCH stores, PUT would store, too.
                        let mut again = document.clone();
                        again.insert("schemas".to_owned(), json!([resource_type.schema.id]));
                        let again = read(&again, resource_type, policy, &WorkBudget::of_body());
                        prop_assert_eq!(again.as_ref(), Ok(&document), "{}", message);
                    }
                }
            }
        }
    }
}
