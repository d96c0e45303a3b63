//! When two values of an attribute are the same.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::mem::discriminant;

use serde_json::{Map, Value};

use super::comparison::Comparison;
use super::error::ScimError;
use super::order::{instant, whole};
use super::schema::{Attribute, Type};
use super::work::WorkBudget;

/// The sub-attribute of which an absent value and `false` are the same (RFC 7643 §2.4).
const PRIMARY: &str = "primary";

/// The steps that it takes to make the identity of an element and to look it up, beside its texts.
const STEPS_PER_IDENTITY: u64 = 8;

/// Removes repeated elements (RFC 7643 §2.4). Elements with the same `value` and `type` become one. It keeps the
/// place of the first one, and takes the other sub-attributes of the later one. Elements without `value` become
/// one if all but `primary` is equal. Whether that one is primary is what the last one with `primary` says.
///
/// # Errors
/// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
pub fn deduplicate(
    attribute: &Attribute,
    elements: &mut Vec<Value>,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    if elements.len() < 2 {
        return Ok(());
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(elements.len());
    let mut kept: Vec<Value> = Vec::with_capacity(elements.len());
    for element in elements.drain(..) {
        let next = kept.len();
        let place = *places.entry(identity(attribute, &element, work)?).or_insert(next);
        match kept.get_mut(place) {
            Some(own) => absorb(attribute, own, element),
            None => kept.push(element),
        }
    }
    *elements = kept;
    Ok(())
}

/// Makes one of the element at `place` and another one that has the same [`identity`]. It takes the place of the other
/// one, and what it says of the other sub-attributes stays.
///
/// # Errors
/// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
pub fn merge_into_equal(
    attribute: &Attribute,
    elements: &mut Vec<Value>,
    place: usize,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    let Some(own) = elements.get(place) else { return Ok(()) };
    let mut matcher = ElementMatcher::new(attribute, own, work);
    let mut same = None;
    for (other, element) in elements.iter().enumerate().filter(|(other, _)| *other != place) {
        if matcher.matches(element)? {
            same = Some(other);
            break;
        }
    }
    if let Some(other) = same {
        let later = elements.get_mut(place).map(Value::take).unwrap_or_default();
        if let Some(own) = elements.get_mut(other) {
            absorb(attribute, own, later);
        }
        elements.remove(place);
    }
    Ok(())
}

/// Adds the other sub-attributes of `more` to `own`. Both have the same [`identity`].
fn absorb(attribute: &Attribute, own: &mut Value, more: Value) {
    if let (Value::Object(own), Value::Object(mut more)) = (own, more) {
        remove_common_subs(attribute, own, &mut more);
        own.extend(more);
    }
}

/// Removes from `more` what it has in common with `own`, which has the same [`identity`]: `value` and `type`. If there is
/// no `value`, it removes all except a `primary` that differs.
pub fn remove_common_subs(attribute: &Attribute, own: &Map<String, Value>, more: &mut Map<String, Value>) {
    if own.contains_key("value") {
        more.retain(|name, _| name != "value" && name != "type");
        return;
    }
    let was_marked = own.get(PRIMARY) == Some(&Value::Bool(true));
    more.retain(|name, said| {
        attribute.sub_attribute(name).is_some_and(is_mark) && (*said == Value::Bool(true)) != was_marked
    });
}

/// Returns a text that is the same for elements that count as one (RFC 7643 §2.4). It is made of `value` and
/// `type`, or of all sub-attributes except `primary` if the element has no `value`. `primary` says which element is
/// preferred, and the service provider moves it from one to another (RFC 7644 §3.5.2).
///
/// # Errors
/// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
pub fn identity(attribute: &Attribute, element: &Value, work: &WorkBudget) -> Result<String, ScimError> {
    work.spend(STEPS_PER_IDENTITY)?;
    let mut out = String::new();
    match element {
        Value::Object(object) if object.contains_key("value") => {
            for sub in identifying(attribute) {
                write_sub(sub, object, work, &mut out)?;
            }
        }
        Value::Object(object) => {
            out.push('{');
            for sub in attribute.sub_attributes.iter().filter(|sub| !is_mark(sub)) {
                write_sub(sub, object, work, &mut out)?;
            }
            out.push('}');
        }
        simple => write_value(attribute, simple, work, &mut out)?,
    }
    Ok(out)
}

/// Whether a sub-attribute marks the preferred element (RFC 7643 §2.4).
fn is_mark(sub: &Attribute) -> bool {
    sub.name == PRIMARY && sub.kind == Type::Boolean
}

/// The sub-attributes that tell elements with a `value` apart.
fn identifying(attribute: &Attribute) -> impl Iterator<Item = &Attribute> {
    attribute.sub_attributes.iter().filter(|sub| matches!(&*sub.name, "value" | "type"))
}

/// Returns a text that is the same for equal values of an attribute. Letter case counts only if the attribute is
/// case-exact. An absent `primary` equals `false`. The order of a multi-valued sub-attribute does not count.
///
/// # Errors
/// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
pub fn key(attribute: &Attribute, value: &Value, work: &WorkBudget) -> Result<String, ScimError> {
    let mut out = String::new();
    write_value(attribute, value, work, &mut out)?;
    Ok(out)
}

/// Whether two values of an attribute are equal: their [`key`]s are the same.
///
/// # Errors
/// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
pub fn is_equal(attribute: &Attribute, a: &Value, b: &Value, work: &WorkBudget) -> Result<bool, ScimError> {
    if a == b {
        return Ok(true);
    }
    // Values of different types have the same key where they are written alike.
    Ok(discriminant(a) == discriminant(b) && key(attribute, a, work)? == key(attribute, b, work)?)
}

/// The [`key`] of what an object says about these sub-attributes of its attribute.
///
/// # Errors
/// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
pub fn key_of(
    subs: &[&Attribute],
    object: &Map<String, Value>,
    work: &WorkBudget,
) -> Result<String, ScimError> {
    let mut out = String::new();
    for sub in subs {
        write_sub(sub, object, work, &mut out)?;
    }
    Ok(out)
}

/// Finds the elements that have the same [`identity`] as one element. The identity of that one is
/// made at most once, however many elements are compared with it.
pub struct ElementMatcher<'a> {
    attribute: &'a Attribute,
    element: &'a Value,
    /// Whether the texts of the element that matter are all ASCII.
    is_ascii: bool,
    identity: Option<String>,
    work: &'a WorkBudget,
}

impl<'a> ElementMatcher<'a> {
    /// Takes the element and the budget that pays for all comparisons.
    pub fn new(attribute: &'a Attribute, element: &'a Value, work: &'a WorkBudget) -> Self {
        let is_ascii = match element {
            Value::String(text) => text.is_ascii(),
            element => {
                identifying(attribute).filter_map(|sub| element.get(&sub.name)?.as_str()).all(str::is_ascii)
            }
        };
        Self { attribute, element, is_ascii, identity: None, work }
    }

    /// Whether another element is the same.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub fn matches(&mut self, other: &Value) -> Result<bool, ScimError> {
        self.work.spend(1)?;
        if let Some(is_same) = self.compare_plain(other)? {
            return Ok(is_same);
        }
        let theirs = identity(self.attribute, other, self.work)?;
        let own = match self.identity.take() {
            Some(own) => own,
            None => identity(self.attribute, self.element, self.work)?,
        };
        Ok(*self.identity.insert(own) == theirs)
    }

    /// Compares two elements without a copy, where nothing has to be folded. Most texts are ASCII.
    /// `None` leaves it to the identities.
    fn compare_plain(&self, other: &Value) -> Result<Option<bool>, ScimError> {
        let (own, other) = match (self.element, other) {
            (Value::String(own), Value::String(other)) => {
                return self.compare_texts(self.attribute, own, other);
            }
            (Value::Object(own), Value::Object(other)) => (own, other),
            _ => return Ok(None),
        };
        match (own.contains_key("value"), other.contains_key("value")) {
            (true, true) => {}
            (false, false) => return Ok(None),
            _ => return Ok(Some(false)),
        }
        let mut is_same = Some(true);
        for sub in identifying(self.attribute) {
            let same_sub = match (own.get(&sub.name), other.get(&sub.name)) {
                (Some(Value::String(own)), Some(Value::String(other))) => {
                    self.compare_texts(sub, own, other)?
                }
                (None, None) => Some(true),
                (None, _) | (_, None) => Some(false),
                _ => None,
            };
            match same_sub {
                Some(true) => {}
                Some(false) => return Ok(Some(false)),
                None => is_same = None,
            }
        }
        Ok(is_same)
    }

    fn compare_texts(
        &self,
        attribute: &Attribute,
        own: &str,
        other: &str,
    ) -> Result<Option<bool>, ScimError> {
        self.work.spend_on_text(other.len())?;
        Ok(match attribute.comparison() {
            _ if own == other => Some(true),
            _ if attribute.kind == Type::DateTime => None,
            Comparison::Exact => Some(false),
            _ if self.is_ascii && other.is_ascii() => Some(own.eq_ignore_ascii_case(other)),
            _ => None,
        })
    }
}

fn write_value(
    attribute: &Attribute,
    value: &Value,
    work: &WorkBudget,
    out: &mut String,
) -> Result<(), ScimError> {
    work.spend(1)?;
    match value {
        Value::String(text) => write_text(&normal(attribute, text, work)?, out),
        Value::Number(number) => {
            let whole = whole(number).map(|whole| whole.to_string());
            write_text(&whole.unwrap_or_else(|| number.to_string()), out);
        }
        Value::Object(object) => {
            out.push('{');
            for sub in &attribute.sub_attributes {
                write_sub(sub, object, work, out)?;
            }
            out.push('}');
        }
        Value::Array(elements) => {
            let keys = elements.iter().map(|element| key(attribute, element, work));
            let mut keys = keys.collect::<Result<Vec<String>, _>>()?;
            keys.sort_unstable();
            keys.dedup();
            out.push('[');
            keys.iter().for_each(|key| write_text(key, out));
            out.push(']');
        }
        Value::Bool(value) => out.push(if *value { 't' } else { 'f' }),
        Value::Null => out.push('n'),
    }
    Ok(())
}

fn write_sub(
    sub: &Attribute,
    object: &Map<String, Value>,
    work: &WorkBudget,
    out: &mut String,
) -> Result<(), ScimError> {
    match object.get(&sub.name) {
        Some(Value::Bool(false)) if sub.name == PRIMARY => Ok(()),
        Some(value) => {
            write_text(&sub.name, out);
            write_value(sub, value, work, out)
        }
        None => Ok(()),
    }
}

/// A text after its length, so that no two sequences of texts look alike.
fn write_text(text: &str, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}:{text}", text.len());
}

fn normal<'t>(attribute: &Attribute, text: &'t str, work: &WorkBudget) -> Result<Cow<'t, str>, ScimError> {
    if attribute.kind != Type::DateTime {
        return attribute.comparison().form_within(text, work);
    }
    work.spend_on_text(text.len())?;
    Ok(match instant(text) {
        Some(instant) => Cow::Owned(instant.unix_timestamp_nanos().to_string()),
        None => Cow::Borrowed(text),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Elements with every type of sub-attribute; `exact` is case-exact.
    fn attribute() -> Attribute {
        serde_json::from_value(
            json!({ "name": "x", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "type": "string", "multiValued": false },
            { "name": "type", "type": "string", "multiValued": false },
            { "name": "exact", "type": "string", "multiValued": false, "caseExact": true },
            { "name": "primary", "type": "boolean", "multiValued": false },
            { "name": "since", "type": "dateTime", "multiValued": false },
            { "name": "weight", "type": "decimal", "multiValued": false },
            { "name": "tags", "type": "string", "multiValued": true },
        ] }),
        )
        .expect("an attribute")
    }

    #[test]
    fn elements_are_the_same_by_their_definition() {
        let attribute = attribute();
        for (a, b, one, equal) in [
            (json!({ "value": "A" }), json!({ "value": "a" }), true, true),
            (json!({ "value": "Straße" }), json!({ "value": "STRASSE" }), true, true),
            (json!({ "value": "\u{212a}" }), json!({ "value": "k" }), true, true),
            (json!({ "value": "a" }), json!({ "value": "b" }), false, false),
            (json!({ "value": "a", "type": "T" }), json!({ "type": "t", "value": "a" }), true, true),
            (json!({ "value": "a", "type": "T" }), json!({ "value": "a" }), false, false),
            (json!({ "value": "a", "exact": "E" }), json!({ "value": "a", "exact": "e" }), true, false),
            (json!({ "value": "a", "primary": false }), json!({ "value": "a" }), true, true),
            (json!({ "value": "a", "primary": true }), json!({ "value": "a" }), true, false),
            (json!({ "exact": "E" }), json!({ "exact": "e" }), false, false),
            (json!({ "exact": "E", "primary": false }), json!({ "exact": "E" }), true, true),
            (json!({ "exact": "E", "primary": true }), json!({ "exact": "E" }), true, false),
            (json!({ "weight": 1 }), json!({ "weight": 1.0 }), true, true),
            (json!({ "weight": 1 }), json!({ "weight": 1.5 }), false, false),
            (json!({ "tags": ["a", "B", "a"] }), json!({ "tags": ["b", "A"] }), true, true),
            (json!({ "tags": ["a", "b"] }), json!({ "tags": ["a"] }), false, false),
            (
                json!({ "since": "2024-01-01T00:00:00Z" }),
                json!({ "since": "2023-12-31T24:00:00Z" }),
                true,
                true,
            ),
            (json!({ "value": "a", "exact": "b" }), json!({ "value": "a5:exact1:b" }), false, false),
        ] {
            let work = WorkBudget::of_body();
            let identity = |value| identity(&attribute, value, &work).expect("little work");
            let key = |value| key(&attribute, value, &work).expect("little work");
            for (a, b) in [(&a, &b), (&b, &a)] {
                let found = ElementMatcher::new(&attribute, a, &work).matches(b);
                assert_eq!(found, Ok(one), "{a} {b}");
            }
            assert_eq!(identity(&a) == identity(&b), one, "{a} {b}");
            assert_eq!(is_equal(&attribute, &a, &b, &work), Ok(equal), "{a} {b}");
            assert_eq!(key(&a) == key(&b), equal, "{a} {b}");
        }
    }

    #[test]
    fn the_later_of_two_says_the_rest() {
        let mut elements = vec![
            json!({ "value": "A", "type": "t", "exact": "1", "primary": true }),
            json!({ "value": "b" }),
            json!({ "exact": "E" }),
            json!({ "value": "a", "type": "T", "exact": "2", "weight": 3 }),
            json!({ "exact": "E", "primary": false }),
            json!({ "type": "T", "tags": ["1", "2"], "primary": true }),
            json!({ "type": "t", "tags": ["2", "1"] }),
            json!({ "exact": "F" }),
            json!({ "exact": "F", "primary": true }),
        ];
        deduplicate(&attribute(), &mut elements, &WorkBudget::of_body()).expect("little work");
        let expected = [
            json!({ "value": "A", "type": "t", "exact": "2", "primary": true, "weight": 3 }),
            json!({ "value": "b" }),
            json!({ "exact": "E" }),
            json!({ "type": "T", "tags": ["1", "2"], "primary": true }),
            json!({ "exact": "F", "primary": true }),
        ];
        assert_eq!(elements, expected);
    }
}
