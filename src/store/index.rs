//! The index: which values of a resource can be found by key. One attribute is unique, a few others are not.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::limits::MAX_INDEXED_VALUES;
use crate::scim::error::ScimError;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::schema::{Attribute, Uniqueness};
use crate::scim::work::WorkBudget;

/// The attributes that may be found by key. A unique one has a claim instead.
const INDEXED: &[(Kind, &str)] = &[
    (Kind::User, "userName"),
    (Kind::User, "externalId"),
    (Kind::User, "emails.value"),
    (Kind::Group, "displayName"),
    (Kind::Group, "externalId"),
];

/// An indexed value: the attribute's path and the value in its comparable form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The attribute's path.
    pub attribute: &'static str,
    /// The value in the form that keys are made of.
    pub value: String,
}

/// How a path can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// By a claim. At most one resource has the value.
    Claim,
    /// By look-up items. Any number of resources have the value.
    Lookup,
}

/// Returns how the values at a path can be found by key, and the form of `value` in the key. `None` if the
/// path is not indexed.
pub fn entry(ty: &ResourceType, path: &str, value: &str) -> Option<(Index, Entry)> {
    let (_, attribute) = INDEXED.iter().find(|(kind, indexed)| Some(*kind) == ty.kind && *indexed == path)?;
    let (index, leaf) = definition(ty, attribute)?;
    Some((index, Entry { attribute, value: leaf.comparison().form(value).into_owned() }))
}

/// The definition of an indexed attribute, and how it is found.
fn definition<'a>(ty: &'a ResourceType, path: &str) -> Option<(Index, &'a Attribute)> {
    let (name, sub) = path.split_once('.').map_or((path, None), |(name, sub)| (name, Some(sub)));
    let attribute = ty.core_attribute(name)?;
    let leaf = sub.map_or(Some(attribute), |sub| attribute.sub_attribute(sub))?;
    let is_unique = leaf.uniqueness == Uniqueness::Server;
    Some((if is_unique { Index::Claim } else { Index::Lookup }, leaf))
}

fn entries(ty: &ResourceType, doc: &Map<String, Value>, wanted: Index) -> BTreeSet<Entry> {
    let mut found = BTreeSet::new();
    for (kind, path) in INDEXED {
        if Some(*kind) != ty.kind {
            continue;
        }
        let Some((index, leaf)) = definition(ty, path) else { continue };
        if index != wanted {
            continue;
        }
        for text in texts(doc, path) {
            found.insert(Entry { attribute: path, value: leaf.comparison().form(text).into_owned() });
        }
    }
    found
}

fn texts<'a>(doc: &'a Map<String, Value>, path: &str) -> Vec<&'a str> {
    match path.split_once('.') {
        None => doc.get(path).and_then(Value::as_str).into_iter().collect(),
        Some((name, sub)) => doc
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|element| element.get(sub).and_then(Value::as_str))
            .collect(),
    }
}

/// The unique value that a document claims.
pub fn claim(ty: &ResourceType, doc: &Map<String, Value>) -> Option<Entry> {
    entries(ty, doc, Index::Claim).pop_first()
}

/// The values that a document is looked up by.
pub fn lookups(ty: &ResourceType, doc: &Map<String, Value>) -> BTreeSet<Entry> {
    entries(ty, doc, Index::Lookup)
}

/// Checks that a document has no more indexed values than are written. A filter must not miss one.
///
/// # Errors
/// - `invalidValue` for more than [`MAX_INDEXED_VALUES`] different values of one attribute.
/// - The error of the work budget if it is spent.
pub fn check(ty: &ResourceType, doc: &Map<String, Value>, work: &WorkBudget) -> Result<(), ScimError> {
    let left = work.left();
    for (_, path) in INDEXED.iter().filter(|(kind, _)| Some(*kind) == ty.kind) {
        let Some((index, leaf)) = definition(ty, path) else { continue };
        let mut values = BTreeSet::new();
        for text in texts(doc, path) {
            values.insert(leaf.comparison().form_within(text, work)?);
        }
        let count = values.len();
        if index == Index::Lookup && count > MAX_INDEXED_VALUES {
            return Err(ScimError::invalid_value(format!(
                "Attribute {path} has {count} different values; {MAX_INDEXED_VALUES} are the most, since each can be looked up."
            )));
        }
    }
    // The write makes these forms again, and those of the document before.
    work.spend(2 * (left - work.left()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::policy::{STANDARD, STRICT};
    use crate::scim::resource_type::Model;

    fn doc(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn values_that_fold_alike_are_one_entry() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let user = doc(json!({ "userName": "Ann", "externalId": "X",
            "emails": [{ "value": "A@x.com" }, { "value": "a@X.com" }, { "type": "work" }] }));
        let ty = model.of(Kind::User);
        assert_eq!(claim(ty, &user), Some(Entry { attribute: "userName", value: "ann".to_owned() }));
        let found: Vec<String> =
            lookups(ty, &user).into_iter().map(|e| format!("{} {}", e.attribute, e.value)).collect();
        assert_eq!(found, ["emails.value a@x.com", "externalId X"]);
    }

    #[test]
    fn a_groups_name_is_claimed_only_where_it_is_unique() {
        let group = doc(json!({ "displayName": "Team" }));
        for (policy, claimed) in [(&STANDARD, true), (&STRICT, false)] {
            let model = Model::new(policy, &[]).expect("a model");
            assert_eq!(claim(model.of(Kind::Group), &group).is_some(), claimed);
            assert_eq!(lookups(model.of(Kind::Group), &group).is_empty(), claimed);
        }
    }
}
