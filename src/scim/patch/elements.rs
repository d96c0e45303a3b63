//! A step of a PATCH on a multi-valued attribute (RFC 7644 §3.5.2.1–3).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::apply::{Change, is_unassigned};
use super::fixed::says_nothing_new;
use super::request::PatchOp;
use super::select::{Selector, equal_terms};
use crate::scim::equality::deduplicate;
use crate::scim::error::ScimError;
use crate::scim::filter::ast::Filter;
use crate::scim::schema::Attribute;
use crate::scim::values::{check_count, is_primary};
use crate::scim::work::WorkBudget;

/// The elements after the step. `None` is no element.
pub(super) fn change(change: &Change<'_>, before: Option<Value>) -> Result<Option<Value>, ScimError> {
    let mut elements = match before {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    let written = match &change.step.filter {
        Some(filter) => change.selected(filter, &mut elements)?,
        None => change.all(&mut elements)?,
    };
    check_count(&change.path(), elements.len())?;
    one_primary(&mut elements, &written, &change.path())?;
    if change.sub.is_some() || change.step.filter.is_some() {
        elements.retain(|element| element.as_object().is_none_or(|object| !object.is_empty()));
        deduplicate(&mut elements);
    }
    Ok((!elements.is_empty()).then_some(Value::Array(elements)))
}

/// The places of the elements that a step wrote.
type Written = BTreeSet<usize>;

impl Change<'_> {
    /// Without a filter. A sub-attribute is then one of every element.
    fn all(&self, elements: &mut Vec<Value>) -> Result<Written, ScimError> {
        let path = self.path();
        let value = self.step.value.as_ref();
        match (self.step.op, self.sub) {
            (PatchOp::Remove, None) => {
                match value.filter(|value| !value.is_null()) {
                    // Microsoft Entra ID lists the elements that are to go.
                    Some(Value::Array(gone)) => {
                        elements.retain(|element| !gone.iter().any(|gone| is_meant(element, gone)));
                    }
                    Some(gone) => elements.retain(|element| !is_meant(element, gone)),
                    None => elements.clear(),
                }
                Ok(Written::new())
            }
            (PatchOp::Replace, None) => {
                *elements = self.read_elements(value, &path)?;
                Ok(Written::new())
            }
            (PatchOp::Add, None) => Ok(add(elements, self.read_elements(value, &path)?)),
            (op, Some(sub)) => {
                let all: Written = (0..elements.len()).collect();
                if op == PatchOp::Remove || value.is_none_or(is_unassigned) {
                    unassign(elements, &all, sub);
                    return Ok(Written::new());
                }
                if elements.is_empty() {
                    elements.push(Value::Object(Map::new()));
                }
                let all = (0..elements.len()).collect();
                self.write(&self.whole_value(), elements, all, &path)
            }
        }
    }

    /// The elements that the filter selects.
    fn selected(&self, filter: &Filter, elements: &mut Vec<Value>) -> Result<Written, ScimError> {
        let path = self.path();
        let extension = self.step.extension.as_deref();
        let policy = self.reader.policy;
        let selector = Selector::new(filter, extension, &self.attribute.name, self.resource_type, policy)?;
        let work = WorkBudget::of_body();
        let mut selected = Written::new();
        for (place, element) in elements.iter().enumerate() {
            if selector.matches(element, &work)? {
                selected.insert(place);
            }
        }
        let removes = self.step.op == PatchOp::Remove || self.step.value.as_ref().is_none_or(is_unassigned);
        if removes && self.step.op == PatchOp::Add && self.sub.is_none() {
            return Ok(Written::new());
        }
        if removes {
            if selected.is_empty() && !policy.tolerant {
                return Err(self.no_target());
            }
            match self.sub {
                Some(sub) => unassign(elements, &selected, sub),
                None => {
                    let mut place = 0;
                    elements.retain(|_| {
                        place += 1;
                        !selected.contains(&(place - 1))
                    });
                }
            }
            return Ok(Written::new());
        }
        let value = self.element_value();
        if !selected.is_empty() {
            return self.write_selected(filter, &value, elements, selected, &path);
        }
        let terms = equal_terms(filter);
        let (Some(terms), true) = (terms, self.step.op == PatchOp::Add || policy.replace_creates) else {
            return Err(self.no_target());
        };
        // Microsoft Entra ID: the element is made from what the filter says of it.
        let terms = Value::Object(terms);
        let described = self.merge(None, &terms, &path)?;
        let Some(element) = self.merge(described, &value, &path)? else { return Ok(Written::new()) };
        elements.push(element);
        Ok(Written::from([elements.len() - 1]))
    }

    fn write_selected(
        &self,
        filter: &Filter,
        value: &Value,
        elements: &mut [Value],
        selected: Written,
        path: &str,
    ) -> Result<Written, ScimError> {
        if self.step.op == PatchOp::Replace && self.sub.is_none() {
            // All of the element is replaced (RFC 7644 §3.5.2.3); under tolerance it stays one that
            // the filter selects, unless the value says otherwise.
            let terms = equal_terms(filter).filter(|_| self.reader.policy.tolerant).map(Value::Object);
            let base = match terms {
                Some(terms) => self.merge(None, &terms, path)?,
                None => None,
            };
            for place in &selected {
                let Some(element) = elements.get_mut(*place) else { continue };
                *element = self.merge(base.clone(), value, path)?.unwrap_or(Value::Object(Map::new()));
            }
            return Ok(selected);
        }
        self.write(value, elements, selected, path)
    }

    fn write(
        &self,
        value: &Value,
        elements: &mut [Value],
        places: Written,
        path: &str,
    ) -> Result<Written, ScimError> {
        for place in &places {
            let Some(element) = elements.get_mut(*place) else { continue };
            let before = element.take();
            *element = self.merge(Some(before), value, path)?.unwrap_or(Value::Object(Map::new()));
        }
        Ok(places)
    }

    /// The value for one element. Some clients send an array of one.
    fn element_value(&self) -> Value {
        match self.whole_value() {
            Value::Array(mut elements) if self.reader.policy.tolerant && elements.len() == 1 => {
                elements.pop().unwrap_or(Value::Null)
            }
            value => value,
        }
    }

    fn read_elements(&self, value: Option<&Value>, path: &str) -> Result<Vec<Value>, ScimError> {
        match self.reader.value(self.attribute, path, value.unwrap_or(&Value::Null))? {
            Some(Value::Array(elements)) => Ok(elements),
            _ => Ok(Vec::new()),
        }
    }

    fn no_target(&self) -> ScimError {
        ScimError::no_target(format!("The path {} selects nothing.", self.step))
    }
}

/// Adds to a set: an element with the `value` and `type` of one that is there is that one
/// (RFC 7643 §2.4), otherwise equal elements are the same.
fn add(elements: &mut Vec<Value>, more: Vec<Value>) -> Written {
    let mut written = Written::new();
    for element in more {
        let same = |own: &Value| match element.get("value") {
            Some(value) => own.get("value") == Some(value) && own.get("type") == element.get("type"),
            None => *own == element,
        };
        let place = elements.iter().position(same);
        match (place.and_then(|place| elements.get_mut(place)), element) {
            (Some(Value::Object(own)), Value::Object(element)) => own.extend(element),
            (Some(_), _) => {}
            (None, element) => elements.push(element),
        }
        written.insert(place.unwrap_or(elements.len() - 1));
    }
    written
}

/// Whether a client that lists an element for removal means this one: all that it says of it is so.
fn is_meant(element: &Value, gone: &Value) -> bool {
    match (element, gone) {
        (Value::Object(_), Value::Object(said)) => !said.is_empty() && says_nothing_new(element, gone),
        (Value::Object(own), simple) => own.get("value") == Some(simple),
        (element, gone) => element == gone,
    }
}

fn unassign(elements: &mut [Value], places: &Written, sub: &Attribute) {
    for place in places {
        if let Some(Value::Object(object)) = elements.get_mut(*place) {
            object.shift_remove(&sub.name);
        }
    }
}

/// A primary element that the step wrote takes the mark from the others (RFC 7644 §3.5.2).
fn one_primary(elements: &mut [Value], written: &Written, path: &str) -> Result<(), ScimError> {
    let marked = written.iter().filter(|place| elements.get(**place).is_some_and(is_primary)).count();
    if marked > 1 {
        return Err(ScimError::invalid_value(format!(
            "Attribute {path} would have more than one value marked primary; mark one at most."
        )));
    }
    if marked == 1 {
        for (place, element) in elements.iter_mut().enumerate() {
            if !written.contains(&place)
                && is_primary(element)
                && let Value::Object(object) = element
            {
                object.insert("primary".to_owned(), Value::Bool(false));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::scim::error::ErrorKind::{InvalidFilter, InvalidValue, NoTarget};
    use crate::scim::patch::apply::tests::patched;
    use crate::scim::policy::{STANDARD, STRICT};

    #[test]
    fn emails() {
        let work = json!({ "value": "w@x", "type": "work", "primary": true });
        let home = json!({ "value": "h@x", "type": "home" });
        let user = json!({ "userName": "a", "emails": [work, home] });
        let unmarked = json!({ "value": "w@x", "type": "work", "primary": false });
        let is = |elements: &[&serde_json::Value]| Ok(json!(elements));
        let same = is(&[&work, &home]);
        let new = json!({ "value": "n@x" });
        let other = json!({ "type": "other", "value": "n@x" });
        let op = |op: &str, path: &str, value: serde_json::Value| json!({ "op": op, "path": path, "value": value });
        let gone = |path: &str| json!({ "op": "remove", "path": path });
        for (operation, tolerant, strict) in [
            // add (RFC 7644 §3.5.2.1)
            (op("add", "emails", json!([new])), is(&[&work, &home, &new]), is(&[&work, &home, &new])),
            (op("add", "emails", json!([new, new])), is(&[&work, &home, &new]), is(&[&work, &home, &new])),
            (op("add", "emails", new.clone()), is(&[&work, &home, &new]), Err(InvalidValue)),
            (op("add", "emails", json!([home, work])), same.clone(), same.clone()),
            (op("add", "emails", json!(null)), same.clone(), same.clone()),
            (
                op("add", "emails", json!([{ "value": "n@x", "primary": true }])),
                is(&[&unmarked, &home, &json!({ "value": "n@x", "primary": true })]),
                is(&[&unmarked, &home, &json!({ "value": "n@x", "primary": true })]),
            ),
            (
                op("add", "emails", json!([{ "value": "h@x", "type": "home", "display": "H" }])),
                is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
                is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
            ),
            (
                op(
                    "add",
                    "emails",
                    json!([{ "value": "1", "primary": true }, { "value": "2", "primary": true }]),
                ),
                Err(InvalidValue),
                Err(InvalidValue),
            ),
            (
                op("add", "emails[type eq \"other\"].value", json!("n@x")),
                is(&[&work, &home, &other]),
                is(&[&work, &home, &other]),
            ),
            (
                op("add", "emails[type eq \"other\"]", new.clone()),
                is(&[&work, &home, &other]),
                is(&[&work, &home, &other]),
            ),
            (
                op("add", "emails[type eq \"home\"]", json!({ "display": "H" })),
                is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
                is(&[&work, &json!({ "value": "h@x", "type": "home", "display": "H" })]),
            ),
            (
                op("add", "emails[type eq \"other\" or type eq \"fax\"].value", json!("n@x")),
                Err(NoTarget),
                Err(NoTarget),
            ),
            // replace (RFC 7644 §3.5.2.3)
            (op("replace", "emails", json!([new])), is(&[&new]), is(&[&new])),
            (op("replace", "emails", json!([])), Ok(json!(null)), Ok(json!(null))),
            (
                op("replace", "emails[type eq \"home\"].value", json!("n@x")),
                is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
                is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
            ),
            (
                op("replace", "emails[TYPE EQ \"HOME\"].value", json!("n@x")),
                is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
                is(&[&work, &json!({ "value": "n@x", "type": "home" })]),
            ),
            (
                op("replace", "emails[type eq \"other\"].value", json!("n@x")),
                is(&[&work, &home, &other]),
                Err(NoTarget),
            ),
            (
                op("replace", "emails[type eq \"other\" and primary eq \"True\"].value", json!("n@x")),
                is(&[&unmarked, &home, &json!({ "type": "other", "primary": true, "value": "n@x" })]),
                Err(InvalidFilter),
            ),
            (
                op("replace", "emails[type eq \"home\"]", json!({ "value": "n@x" })),
                is(&[&work, &json!({ "type": "home", "value": "n@x" })]),
                is(&[&work, &new]),
            ),
            (op("replace", "emails[type eq \"home\"]", json!(null)), is(&[&work]), is(&[&work])),
            (
                op("replace", "emails[type eq \"home\"].type", json!(null)),
                is(&[&work, &json!({ "value": "h@x" })]),
                is(&[&work, &json!({ "value": "h@x" })]),
            ),
            (
                op("replace", "emails[type eq \"home\"].primary", json!(true)),
                is(&[&unmarked, &json!({ "value": "h@x", "type": "home", "primary": true })]),
                is(&[&unmarked, &json!({ "value": "h@x", "type": "home", "primary": true })]),
            ),
            (op("replace", "emails[type pr].primary", json!(true)), Err(InvalidValue), Err(InvalidValue)),
            (
                op("replace", "emails[primary eq true].value", json!("n@x")),
                is(&[&json!({ "value": "n@x", "type": "work", "primary": true }), &home]),
                is(&[&json!({ "value": "n@x", "type": "work", "primary": true }), &home]),
            ),
            (
                op("replace", "emails.display", json!("D")),
                is(&[
                    &json!({ "value": "w@x", "type": "work", "primary": true, "display": "D" }),
                    &json!({ "value": "h@x", "type": "home", "display": "D" }),
                ]),
                is(&[
                    &json!({ "value": "w@x", "type": "work", "primary": true, "display": "D" }),
                    &json!({ "value": "h@x", "type": "home", "display": "D" }),
                ]),
            ),
            (
                op("replace", "phoneNumbers[type eq \"mobile\"].value", json!("1")),
                same.clone(),
                Err(NoTarget),
            ),
            (op("replace", "emails[type eq \"home\"].value", json!(1)), Err(InvalidValue), Err(InvalidValue)),
            (op("replace", "emails[type eq \"home\"]", json!("n@x")), Err(InvalidValue), Err(InvalidValue)),
            // remove (RFC 7644 §3.5.2.2)
            (gone("emails"), Ok(json!(null)), Ok(json!(null))),
            (gone("emails[type eq \"home\"]"), is(&[&work]), is(&[&work])),
            (gone("emails[type eq \"home\" and value co \"h@\"]"), is(&[&work]), is(&[&work])),
            (gone("emails[type eq \"fax\"]"), same.clone(), Err(NoTarget)),
            (
                gone("emails[type eq \"home\"].type"),
                is(&[&work, &json!({ "value": "h@x" })]),
                is(&[&work, &json!({ "value": "h@x" })]),
            ),
            (
                gone("emails.type"),
                is(&[&json!({ "value": "w@x", "primary": true }), &json!({ "value": "h@x" })]),
                is(&[&json!({ "value": "w@x", "primary": true }), &json!({ "value": "h@x" })]),
            ),
            (op("remove", "emails", json!([{ "value": "h@x" }])), is(&[&work]), is(&[&work])),
            (op("remove", "emails", json!("h@x")), is(&[&work]), is(&[&work])),
            (op("remove", "emails", json!([{}])), same.clone(), same.clone()),
        ] {
            let key = if operation["path"].as_str().is_some_and(|path| path.starts_with("phone")) {
                "phoneNumbers"
            } else {
                "emails"
            };
            let created = Ok(json!([{ "type": "mobile", "value": "1" }]));
            let tolerant = if key == "phoneNumbers" { created } else { tolerant };
            let operations = json!([operation]);
            assert_eq!(patched(&STANDARD, &user, &operations, key), tolerant, "{operation}");
            assert_eq!(patched(&STRICT, &user, &operations, key), strict, "strict: {operation}");
        }
    }

    #[test]
    fn the_first_element() {
        let user = json!({ "userName": "a" });
        for (path, value, key, expected) in [
            ("emails.value", json!("a@x"), "emails", json!([{ "value": "a@x" }])),
            (
                "addresses[type eq \"work\"].formatted",
                json!("Street 1"),
                "addresses",
                json!([{ "type": "work", "formatted": "Street 1" }]),
            ),
            (
                "roles[primary eq \"True\"].value",
                json!("admin"),
                "roles",
                json!([{ "primary": true, "value": "admin" }]),
            ),
        ] {
            for op in ["Add", "Replace"] {
                let operations = json!([{ "op": op, "path": path, "value": value }]);
                assert_eq!(patched(&STANDARD, &user, &operations, key), Ok(expected.clone()), "{operations}");
                let pathless = json!([{ "op": op, "value": { path: value } }]);
                assert_eq!(patched(&STANDARD, &user, &pathless, key), Ok(expected.clone()), "{pathless}");
            }
        }
    }

    #[test]
    fn figures_of_the_rfc() {
        let address =
            json!({ "type": "work", "streetAddress": "911 Universal City Plaza", "locality": "Hollywood" });
        let user =
            json!({ "userName": "b", "addresses": [{ "type": "work", "locality": "L", "country": "US" }] });
        for policy in [&STANDARD, &STRICT] {
            let operations =
                json!([{ "op": "replace", "path": "addresses[type eq \"work\"]", "value": address }]);
            assert_eq!(patched(policy, &user, &operations, "addresses"), Ok(json!([address])));
            let operations = json!([
                { "op": "replace", "path": "addresses[type eq \"work\"].streetAddress", "value": "1010 Broadway Ave" }
            ]);
            let expected = json!([{ "type": "work", "locality": "L", "country": "US", "streetAddress": "1010 Broadway Ave" }]);
            assert_eq!(patched(policy, &user, &operations, "addresses"), Ok(expected));
            let mixed = json!([
                { "op": "remove", "path": "addresses[type eq \"work\"]" },
                { "op": "add", "path": "addresses", "value": [{ "type": "home", "locality": "M" }] },
            ]);
            let expected = json!([{ "type": "home", "locality": "M" }]);
            assert_eq!(patched(policy, &user, &mixed, "addresses"), Ok(expected));
        }
    }
}
