//! Values that a client lists, found among those that are there (RFC 7643 §2.4).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::scim::equality::{absorb, identity, is_same_element, key, key_of};
use crate::scim::error::ScimError;
use crate::scim::schema::Attribute;
use crate::scim::work::{WorkBudget, scan_steps};

/// What it takes to make the key of an element and to look it up.
const STEPS_PER_LOOK_UP: u64 = 8;

/// The elements that a `remove` lists. A listed element means each one that is there of which all
/// is true that it says; it may say less.
pub(super) struct Listed<'a> {
    attribute: &'a Attribute,
    /// What elements say that name the same sub-attributes, by the places of those.
    forms: HashMap<Vec<usize>, ListedShape<'a>>,
}

/// Elements that name the same sub-attributes.
struct ListedShape<'a> {
    /// The single-valued ones.
    subs: Vec<&'a Attribute>,
    /// The multi-valued ones.
    sets: Vec<&'a Attribute>,
    /// By the key of the single-valued ones: what each element says of the multi-valued ones.
    said: HashMap<String, Vec<Vec<HashSet<String>>>>,
}

impl<'a> Listed<'a> {
    /// Takes elements in canonical form.
    pub fn new(attribute: &'a Attribute, elements: &[Value]) -> Self {
        let mut forms: HashMap<Vec<usize>, ListedShape<'a>> = HashMap::new();
        for element in elements {
            let names = |sub: &Attribute| element.as_object().is_some_and(|o| o.contains_key(&sub.name));
            let named = attribute.sub_attributes.iter().enumerate().filter(|(_, sub)| names(sub));
            let places = named.clone().map(|(place, _)| place).collect();
            let form = forms.entry(places).or_insert_with(|| {
                let (sets, subs) = named.map(|(_, sub)| sub).partition(|sub| sub.multi_valued);
                ListedShape { subs, sets, said: HashMap::new() }
            });
            let sets = form.sets.iter().map(|sub| values_of(sub, element)).collect();
            form.said.entry(form.key(attribute, element)).or_default().push(sets);
        }
        Self { attribute, forms }
    }

    /// Removes the elements that are meant.
    ///
    /// # Errors
    /// 413 for more work than the budget holds.
    pub fn remove_from(&self, elements: &mut Vec<Value>, work: &WorkBudget) -> Result<(), ScimError> {
        let steps = scan_steps(elements) + STEPS_PER_LOOK_UP * elements.len() as u64;
        work.spend(steps * self.forms.len() as u64)?;
        let mut meant = Vec::with_capacity(elements.len());
        for element in elements.iter() {
            meant.push(self.means(element, work)?);
        }
        let mut meant = meant.into_iter();
        elements.retain(|_| !meant.next().unwrap_or(false));
        Ok(())
    }

    fn means(&self, element: &Value, work: &WorkBudget) -> Result<bool, ScimError> {
        for form in self.forms.values() {
            let Some(said) = form.said.get(&form.key(self.attribute, element)) else { continue };
            if form.sets.is_empty() {
                return Ok(true);
            }
            let own: Vec<HashSet<String>> = form.sets.iter().map(|sub| values_of(sub, element)).collect();
            for sets in said {
                work.spend(STEPS_PER_LOOK_UP * sets.iter().map(HashSet::len).sum::<usize>() as u64)?;
                if sets.iter().zip(&own).all(|(said, own)| said.is_subset(own)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl ListedShape<'_> {
    fn key(&self, attribute: &Attribute, element: &Value) -> String {
        match element {
            Value::Object(object) => key_of(&self.subs, object),
            simple => key(attribute, simple),
        }
    }
}

/// The keys of the values of a multi-valued sub-attribute.
fn values_of(sub: &Attribute, element: &Value) -> HashSet<String> {
    let values = element.get(&sub.name).and_then(Value::as_array);
    values.into_iter().flatten().map(|value| key(sub, value)).collect()
}

/// Tells an element what else is said of it.
type Join<'j> = dyn FnMut(&mut Map<String, Value>, Map<String, Value>) -> Result<(), ScimError> + 'j;

/// Adds simple values to a set.
///
/// # Errors
/// 413 for more work than the budget holds.
pub(super) fn add_to_set(
    attribute: &Attribute,
    own: &mut Vec<Value>,
    more: Vec<Value>,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    add(attribute, own, more, work, &mut |_, _| Ok(()))?;
    Ok(())
}

/// Adds elements to a set: one with the `value` and `type` of one that is there is that one, which
/// `join` then tells what else is said of it. Returns the places of the elements, ascending.
///
/// # Errors
/// 413 for more work than the budget holds, and those of `join`.
pub(super) fn add(
    attribute: &Attribute,
    own: &mut Vec<Value>,
    mut more: Vec<Value>,
    work: &WorkBudget,
    join: &mut Join<'_>,
) -> Result<Vec<usize>, ScimError> {
    let scan = scan_steps(own);
    let mut put = |own: &mut Vec<Value>, place: Option<usize>, element: Value| {
        match (place.and_then(|place| own.get_mut(place)), element) {
            (Some(Value::Object(own)), Value::Object(mut element)) => {
                if own.contains_key("value") {
                    element.retain(|name, _| name != "value" && name != "type");
                }
                join(own, element)?;
            }
            (Some(own), element) => absorb(own, element),
            (None, element) => own.push(element),
        }
        Ok(place.unwrap_or(own.len() - 1))
    };
    if more.len() == 1 {
        work.spend(scan)?;
        let Some(element) = more.pop() else { return Ok(Vec::new()) };
        let place = own.iter().position(|own| is_same_element(attribute, own, &element));
        return Ok(vec![put(own, place, element)?]);
    }
    work.spend(scan + STEPS_PER_LOOK_UP * (own.len() + more.len()) as u64)?;
    let mut places: HashMap<String, usize> =
        own.iter().enumerate().map(|(place, element)| (identity(attribute, element), place)).collect();
    let mut written = Vec::with_capacity(more.len());
    for element in more {
        let identity = identity(attribute, &element);
        let place = put(own, places.get(&identity).copied(), element)?;
        places.insert(identity, place);
        written.push(place);
    }
    written.sort_unstable();
    written.dedup();
    Ok(written)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::error::ErrorKind::{
        self, InvalidFilter, InvalidPath, InvalidSyntax, InvalidValue, NoTarget,
    };
    use crate::scim::patch::apply::tests::patched_in;
    use crate::scim::policy::{POLICIES, STANDARD, STRICT, VEZA};
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::schema::Schema;

    const URN: &str = "urn:x:2.0:User";

    /// A schema with every kind of multi-valued attribute.
    pub fn extension() -> Schema {
        let text = |name: &str, multi: bool, exact: bool| json!({ "name": name, "type": "string", "multiValued": multi, "caseExact": exact });
        serde_json::from_value(json!({ "id": URN, "name": "X", "attributes": [
            { "name": "profile", "type": "complex", "multiValued": false, "subAttributes": [
                text("langs", true, false), text("label", false, false)] },
            { "name": "sites", "type": "complex", "multiValued": true, "subAttributes": [
                text("value", false, true), text("type", false, false), text("tags", true, true)] },
            text("assurance", true, false),
            text("codes", true, true),
        ] }))
        .expect("a schema")
    }

    /// A user's attribute after one operation, under the policy and with the extension.
    fn patched(
        policy: &'static crate::scim::policy::Policy,
        user: &Value,
        operation: &Value,
        key: &str,
    ) -> Result<Value, ErrorKind> {
        let model = Model::new(policy, &[(Kind::User, extension())]).expect("a model");
        patched_in(&model, user, &json!([operation]), key)
    }

    #[test]
    fn listed_elements_go() {
        let roles = json!([
            { "value": "Admin", "type": "T", "display": "A" },
            { "value": "Reader", "primary": true },
            { "display": "D" },
        ]);
        let user = json!({ "userName": "a", "roles": roles, "x509Certificates": [{ "value": "aGk=" }] });
        let without = |place: usize| {
            let mut roles = roles.clone();
            roles.as_array_mut().expect("an array").remove(place);
            Ok(roles)
        };
        let same = || Ok(roles.clone());
        let (unknown, wrong) = (|| Err(InvalidSyntax), || Err(InvalidValue));
        for (value, tolerant, strict) in [
            // What Microsoft Entra ID added is what it removes.
            (
                json!([{ "value": "Admin", "type": "T", "displayName": "Admin", "primary": false }]),
                without(0),
                unknown(),
            ),
            (json!([{ "value": "admin", "type": "t" }]), without(0), without(0)),
            (json!([{ "VALUE": "Admin", "primary": "False" }]), without(0), wrong()),
            (json!([{ "value": "Admin", "primary": false, "display": null }]), without(0), without(0)),
            (json!({ "value": "Admin" }), without(0), without(0)),
            (json!([{ "type": "T" }]), without(0), without(0)),
            (json!(["ADMIN"]), without(0), wrong()),
            (json!("Admin"), without(0), wrong()),
            (json!(["Nobody", { "value": "Reader", "primary": true }, null]), without(1), wrong()),
            (json!([{ "display": "d" }]), without(2), without(2)),
            (json!([{ "value": "Reader" }]), without(1), without(1)),
            // What is said must be so.
            (json!([{ "value": "Reader", "primary": false }]), same(), same()),
            (json!([{ "value": "Admin", "primary": true }]), same(), same()),
            (json!([{ "value": "Admin", "type": "U" }]), same(), same()),
            (json!([{ "value": "Reader", "type": "T" }]), same(), same()),
            (json!([{ "shoe": 1 }]), same(), unknown()),
            (json!([{}]), same(), same()),
            (json!([]), same(), same()),
            (json!([{ "value": 1 }]), wrong(), wrong()),
            (
                json!([{ "value": "Admin" }, { "value": "READER" }]),
                Ok(json!([{ "display": "D" }])),
                Ok(json!([{ "display": "D" }])),
            ),
            (json!(null), Ok(json!(null)), Ok(json!(null))),
        ] {
            let operation = json!({ "op": "Remove", "path": "roles", "value": value });
            assert_eq!(patched(&STANDARD, &user, &operation, "roles"), tolerant, "{operation}");
            assert_eq!(patched(&VEZA, &user, &operation, "roles"), tolerant, "{operation}");
            assert_eq!(patched(&STRICT, &user, &operation, "roles"), strict, "strict: {operation}");
        }
        for (value, expected) in [("aGk=", json!(null)), ("AGK=", json!([{ "value": "aGk=" }]))] {
            let operation =
                json!({ "op": "remove", "path": "x509Certificates", "value": [{ "value": value }] });
            for policy in POLICIES {
                assert_eq!(
                    patched(policy, &user, &operation, "x509Certificates"),
                    Ok(expected.clone()),
                    "{operation}"
                );
            }
        }
    }

    #[test]
    fn several_values_of_an_extension() {
        let of = |value: Value| json!({ URN: value });
        let mut user = of(json!({
            "profile": { "langs": ["x", "y"], "label": "L" },
            "sites": [{ "value": "a", "tags": ["1", "2"] }, { "value": "b" }],
            "assurance": ["low", "mid"],
            "codes": ["A", "a"],
        }));
        user["userName"] = json!("u");
        let now = |attribute: &str, value: Value| {
            let mut all = user[URN].clone();
            match value {
                Value::Null => drop(all.as_object_mut().expect("an object").remove(attribute)),
                value => all[attribute] = value,
            }
            Ok(all)
        };
        let langs = |langs: &[&str]| now("profile", json!({ "langs": langs, "label": "L" }));
        let tags = |tags: &[&str]| now("sites", json!([{ "value": "a", "tags": tags }, { "value": "b" }]));
        let same = || Ok(user[URN].clone());
        let (xyz, low) = (|| langs(&["x", "y", "z"]), || now("assurance", json!(["low"])));
        let op = |op: &str, path: &str, value: Value| json!({ "op": op, "path": format!("{URN}:{path}"), "value": value });
        let bare = |op: &str, value: Value| json!({ "op": op, "value": { URN: value } });
        for (operation, tolerant, strict) in [
            (op("add", "profile.langs", json!(["z"])), xyz(), xyz()),
            (op("add", "profile.langs", json!(["Y", "z"])), xyz(), xyz()),
            (op("add", "profile.langs", json!("z")), xyz(), xyz()),
            (op("add", "profile.langs", json!([{ "value": "z" }])), xyz(), Err(InvalidValue)),
            (op("add", "profile", json!({ "langs": ["z"] })), xyz(), xyz()),
            (
                op("add", "profile", json!([{ "$ref": null, "value": { "langs": ["z"] } }])),
                xyz(),
                Err(InvalidValue),
            ),
            (bare("add", json!({ "profile": { "langs": ["z"] } })), xyz(), xyz()),
            (json!({ "op": "add", "value": { format!("{URN}:profile.langs"): ["z"] } }), xyz(), xyz()),
            (op("add", "profile.langs", json!([])), same(), same()),
            (op("add", "profile.langs", json!(null)), same(), same()),
            (op("add", "profile", json!({ "langs": null })), same(), same()),
            (op("add", "profile", json!({ "langs": [], "label": "L" })), same(), same()),
            (op("replace", "profile.langs", json!(["z"])), langs(&["z"]), langs(&["z"])),
            (
                op("replace", "profile.langs", json!([])),
                now("profile", json!({ "label": "L" })),
                now("profile", json!({ "label": "L" })),
            ),
            (op("replace", "profile", json!({ "langs": ["z"] })), langs(&["z"]), langs(&["z"])),
            (op("remove", "profile.langs", json!(["X"])), langs(&["y"]), langs(&["y"])),
            (op("remove", "profile.langs", json!([{ "value": "x" }])), langs(&["y"]), Err(InvalidValue)),
            (op("remove", "profile.langs", json!(["q"])), same(), same()),
            (
                op("remove", "profile.langs", json!(["x", "y"])),
                now("profile", json!({ "label": "L" })),
                now("profile", json!({ "label": "L" })),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:profile.langs") }),
                now("profile", json!({ "label": "L" })),
                now("profile", json!({ "label": "L" })),
            ),
            (
                op("add", "sites[value eq \"a\"].tags", json!(["3"])),
                tags(&["1", "2", "3"]),
                tags(&["1", "2", "3"]),
            ),
            (op("add", "sites[value eq \"a\"].tags", json!("2")), same(), same()),
            (op("add", "sites[value eq \"a\"].tags", json!([])), same(), same()),
            (
                op("add", "sites[value eq \"a\"]", json!({ "tags": ["3"] })),
                tags(&["1", "2", "3"]),
                tags(&["1", "2", "3"]),
            ),
            (
                op("add", "sites", json!([{ "value": "a", "tags": ["2", "3"] }])),
                tags(&["1", "2", "3"]),
                tags(&["1", "2", "3"]),
            ),
            (
                op("add", "sites", json!({ "value": "a", "tags": ["3"] })),
                tags(&["1", "2", "3"]),
                tags(&["1", "2", "3"]),
            ),
            (op("replace", "sites[value eq \"a\"].tags", json!(["3"])), tags(&["3"]), tags(&["3"])),
            (op("remove", "sites[value eq \"a\"].tags", json!(["1"])), tags(&["2"]), tags(&["2"])),
            (op("remove", "sites.tags", json!(["1"])), tags(&["2"]), tags(&["2"])),
            (
                op("remove", "sites", json!([{ "value": "a", "tags": ["2"] }])),
                now("sites", json!([{ "value": "b" }])),
                now("sites", json!([{ "value": "b" }])),
            ),
            (op("remove", "sites", json!([{ "value": "a", "tags": ["2", "3"] }])), same(), same()),
            (op("remove", "sites", json!([{ "value": "A" }])), same(), same()),
            (
                op("add", "assurance", json!(["MID", "high"])),
                now("assurance", json!(["low", "mid", "high"])),
                now("assurance", json!(["low", "mid", "high"])),
            ),
            (
                op("add", "assurance", json!("high")),
                now("assurance", json!(["low", "mid", "high"])),
                now("assurance", json!(["low", "mid", "high"])),
            ),
            (op("add", "assurance", json!([{ "value": "mid" }])), same(), Err(InvalidValue)),
            (op("add", "assurance", json!(null)), same(), same()),
            (op("add", "assurance", json!([])), same(), same()),
            (op("replace", "assurance", json!([{ "value": "low" }])), low(), Err(InvalidValue)),
            (op("remove", "assurance", json!([{ "value": "MID" }])), low(), Err(InvalidValue)),
            (op("remove", "assurance", json!(["mid"])), low(), low()),
            (op("remove", "codes", json!(["A"])), now("codes", json!(["a"])), now("codes", json!(["a"]))),
            (json!({ "op": "remove", "path": format!("{URN}:assurance[value eq \"Mid\"]") }), low(), low()),
            (
                json!({ "op": "remove", "path": format!("{URN}:assurance[value sw \"l\" or value pr]") }),
                now("assurance", json!(null)),
                now("assurance", json!(null)),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:assurance[value eq \"none\"]") }),
                same(),
                Err(NoTarget),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:assurance[display eq \"x\"]") }),
                Err(InvalidPath),
                Err(InvalidPath),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:assurance[value eq 1]") }),
                Err(InvalidFilter),
                Err(InvalidFilter),
            ),
            (
                op("replace", "assurance[value eq \"mid\"]", json!("high")),
                now("assurance", json!(["low", "high"])),
                now("assurance", json!(["low", "high"])),
            ),
            (op("replace", "assurance[value eq \"mid\"]", json!("LOW")), low(), low()),
            (
                op("replace", "assurance[value eq \"mid\"]", json!([{ "value": "high" }])),
                now("assurance", json!(["low", "high"])),
                Err(InvalidValue),
            ),
            (
                op("add", "assurance[value eq \"high\"]", json!("high")),
                now("assurance", json!(["low", "mid", "high"])),
                now("assurance", json!(["low", "mid", "high"])),
            ),
            // Within brackets a name may stand with its URN.
            (
                json!({ "op": "remove", "path": format!("{URN}:assurance[{URN}:assurance.value eq \"mid\"]") }),
                low(),
                low(),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:sites[{URN}:sites.tags eq \"1\"]") }),
                now("sites", json!([{ "value": "b" }])),
                now("sites", json!([{ "value": "b" }])),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:sites[{URN}:value eq \"a\"]") }),
                now("sites", json!([{ "value": "b" }])),
                now("sites", json!([{ "value": "b" }])),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:sites[{URN}:assurance.value eq \"a\"]") }),
                Err(InvalidPath),
                Err(InvalidPath),
            ),
            (
                json!({ "op": "remove", "path": format!("{URN}:sites[urn:y:User:value eq \"a\"]") }),
                Err(InvalidPath),
                Err(InvalidPath),
            ),
        ] {
            assert_eq!(patched(&STANDARD, &user, &operation, URN), tolerant, "{operation}");
            assert_eq!(patched(&STRICT, &user, &operation, URN), strict, "strict: {operation}");
        }
    }

    #[test]
    fn core_attributes_within_brackets() {
        const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
        let user =
            json!({ "userName": "u", "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x" }] });
        let path = |name: &str| format!("emails[{name} eq \"Work\"].value");
        for (path, good) in [
            (path("type"), true),
            (path(&format!("{USER}:emails.type")), true),
            (path(&format!("{}:EMAILS.TYPE", USER.to_uppercase())), true),
            (path(&format!("{USER}:type")), true),
            (path("emails.type"), false),
            (path(&format!("{USER}:phoneNumbers.type")), false),
            (path(&format!("{USER}:emails")), false),
        ] {
            let operation = json!({ "op": "replace", "path": path, "value": "c@x" });
            let expected = json!([{ "value": "c@x", "type": "work" }, { "value": "b@x" }]);
            for policy in POLICIES {
                let expected = if good { Ok(expected.clone()) } else { Err(InvalidPath) };
                assert_eq!(patched(policy, &user, &operation, "emails"), expected, "{operation}");
            }
        }
    }
}
