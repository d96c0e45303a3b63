//! The index: which values of a resource can be found by key. One attribute is unique, a few others are not.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::limits::MAX_INDEXED_VALUES;
use crate::scim::error::ScimError;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::schema::{Attribute, Uniqueness};
use crate::scim::work::WorkBudget;

const USER_NAME: &str = "userName";
const EMAIL: &str = "emails.value";

/// An attribute that may be found by key. A unique one has a claim instead.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    kind: Kind,
    path: &'static str,
    /// The attribute, and the sub-attribute, that the path names.
    name: &'static str,
    sub: Option<&'static str>,
}

impl Indexed {
    const fn simple(kind: Kind, path: &'static str) -> Self {
        Self { kind, path, name: path, sub: None }
    }

    /// Those of a resource type.
    fn of(ty: &ResourceType) -> impl Iterator<Item = Self> + use<> {
        let kind = ty.kind;
        INDEXED.into_iter().filter(move |indexed| Some(indexed.kind) == kind)
    }

    /// The definition of the attribute, and how it is found.
    fn definition(self, ty: &ResourceType) -> Option<(Index, &Attribute)> {
        let attribute = ty.core_attribute(self.name)?;
        let leaf = self.sub.map_or(Some(attribute), |sub| attribute.sub_attribute(sub))?;
        let is_unique = leaf.uniqueness == Uniqueness::Server;
        Some((if is_unique { Index::Claim } else { Index::Lookup }, leaf))
    }

    /// The texts that a document has there.
    fn texts(self, doc: &Map<String, Value>) -> impl Iterator<Item = &str> {
        let value = doc.get(self.name);
        let elements = value.filter(|_| self.sub.is_some()).and_then(Value::as_array);
        let own = value.filter(|_| self.sub.is_none());
        let subs = elements.into_iter().flatten().filter_map(move |element| element.get(self.sub?));
        own.into_iter().chain(subs).filter_map(Value::as_str)
    }
}

const INDEXED: [Indexed; 5] = [
    Indexed::simple(Kind::User, USER_NAME),
    Indexed::simple(Kind::User, "externalId"),
    Indexed { kind: Kind::User, path: EMAIL, name: "emails", sub: Some("value") },
    Indexed::simple(Kind::Group, "displayName"),
    Indexed::simple(Kind::Group, "externalId"),
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
    let indexed = Indexed::of(ty).find(|indexed| indexed.path == path)?;
    let (index, leaf) = indexed.definition(ty)?;
    Some((index, Entry { attribute: indexed.path, value: leaf.comparison().form(value).into_owned() }))
}

/// The entries by which a document is found.
#[derive(Debug, Default)]
pub struct IndexEntries {
    /// The unique value that it claims.
    pub claim: Option<Entry>,
    /// The values that it may be looked up by.
    pub lookups: BTreeSet<Entry>,
}

impl IndexEntries {
    /// The entries of a document.
    pub fn of(ty: &ResourceType, doc: &Map<String, Value>) -> Self {
        let mut found = Self::default();
        for indexed in Indexed::of(ty) {
            let Some((index, leaf)) = indexed.definition(ty) else { continue };
            for text in indexed.texts(doc) {
                let value = leaf.comparison().form(text).into_owned();
                let entry = Entry { attribute: indexed.path, value };
                match index {
                    Index::Claim => found.claim = Some(entry),
                    Index::Lookup => drop(found.lookups.insert(entry)),
                }
            }
        }
        found
    }

    /// Leaves out the look-up of an address that the claim finds too. A stored document may lack it.
    #[must_use]
    pub fn with_required_lookups(mut self) -> Self {
        if let Some(claim) = self.claim.as_ref().filter(|claim| claim.attribute == USER_NAME) {
            self.lookups.remove(&Entry { attribute: EMAIL, value: claim.value.clone() });
        }
        self
    }
}

/// Whether two documents have the same indexed values, so that the same claim and look-ups find them.
pub fn finds_alike(ty: &ResourceType, before: &Map<String, Value>, after: &Map<String, Value>) -> bool {
    Indexed::of(ty).all(|indexed| indexed.texts(before).eq(indexed.texts(after)))
}

/// The claim that may find a user instead of this look-up: an address whose comparable form is that of the user's
/// `userName` needs no look-up. `None` for another look-up.
pub fn claim_beside(lookup: &Entry) -> Option<Entry> {
    (lookup.attribute == EMAIL).then(|| Entry { attribute: USER_NAME, value: lookup.value.clone() })
}

/// Checks that a document has no more indexed values than are written. A filter must not miss one.
///
/// # Errors
/// - `invalidValue` for more than [`MAX_INDEXED_VALUES`] different values of one attribute.
/// - The error of the work budget if it is spent.
pub fn check(ty: &ResourceType, doc: &Map<String, Value>, work: &WorkBudget) -> Result<(), ScimError> {
    let left = work.left();
    for indexed in Indexed::of(ty) {
        let Some((index, leaf)) = indexed.definition(ty) else { continue };
        let values = indexed.texts(doc).map(|text| leaf.comparison().form_within(text, work));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        if index == Index::Claim || values.len() <= MAX_INDEXED_VALUES {
            continue;
        }
        let count = values.iter().collect::<BTreeSet<_>>().len();
        if count > MAX_INDEXED_VALUES {
            return Err(ScimError::invalid_value(format!(
                "Attribute {} has {count} different values; {MAX_INDEXED_VALUES} are the most, since each can be looked up.",
                indexed.path
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
        let IndexEntries { claim, lookups } = IndexEntries::of(ty, &user);
        assert_eq!(claim, Some(Entry { attribute: "userName", value: "ann".to_owned() }));
        let found: Vec<String> =
            lookups.into_iter().map(|e| format!("{} {}", e.attribute, e.value)).collect();
        assert_eq!(found, ["emails.value a@x.com", "externalId X"]);
    }

    #[test]
    fn an_address_needs_no_look_up_if_the_claim_has_the_same_form() {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let ty = model.of(Kind::User);
        for (name, address, is_required) in [
            ("Ann@X", "ann@x", false),
            ("ann", "ann@x", true),
            ("É@x", "e\u{301}@x", false),
            ("Ａnn@x", "ann@x", false),
            // The claim keeps the letter, the look-up has it folded.
            ("straße@x", "straße@x", true),
            ("straße@x", "strasse@x", true),
            ("strasse@x", "straße@x", false),
            ("ﬁn@x", "fin@x", true),
        ] {
            let user =
                doc(json!({ "userName": name, "externalId": address, "emails": [{ "value": address }] }));
            let IndexEntries { claim: own, lookups: all } = IndexEntries::of(ty, &user);
            let required = IndexEntries::of(ty, &user).with_required_lookups().lookups;
            assert_eq!(
                required.iter().any(|entry| entry.attribute == EMAIL),
                is_required,
                "{name} {address}"
            );
            assert!(required.iter().any(|entry| entry.attribute == "externalId"));
            // A filter asks for the claim by the form that it has for the look-up.
            let claims: Vec<Entry> = all.difference(&required).filter_map(claim_beside).collect();
            assert!(claims.iter().all(|claim| Some(claim) == own.as_ref()), "{name} {address}");
        }
    }

    #[test]
    fn a_groups_name_is_claimed_only_where_it_is_unique() {
        let group = doc(json!({ "displayName": "Team" }));
        for (policy, claimed) in [(&STANDARD, true), (&STRICT, false)] {
            let model = Model::new(policy, &[]).expect("a model");
            let found = IndexEntries::of(model.of(Kind::Group), &group);
            assert_eq!((found.claim.is_some(), found.lookups.is_empty()), (claimed, claimed));
        }
    }
}
