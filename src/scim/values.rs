//! Values as clients send them, read against an attribute's definition (RFC 7643 §2).

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::equality::deduplicate;
use super::error::ScimError;
use super::faults::Faults;
use super::lexical;
use super::note_texts::{NoteKind, Rule};
use super::order::numbers;
use super::policy::{Policy, STANDARD};
use super::refusal::{
    ANOTHER_TEXT, check_count, describe_array, description, expected, refuse_read_only, refuse_repeated_name,
    refuse_value, shorten_text, text_within_limit, unknown_attribute,
};
use super::schema::{Attribute, Type, find};
use super::work::WorkBudget;

/// Reads values under one policy.
#[derive(Clone, Copy, Debug)]
pub struct ValueReader<'a> {
    /// Decides what is tolerated.
    pub policy: &'a Policy,
    /// Refuses read-only sub-attributes, as PATCH under the letter of the RFC does, instead of
    /// ignoring them as POST and PUT must (RFC 7644 §3.3, §3.5.1).
    pub refuse_read_only: bool,
    /// Pays for the texts that are folded.
    pub work: &'a WorkBudget,
}

impl<'a> ValueReader<'a> {
    /// For POST and PUT.
    pub const fn of_body(policy: &'a Policy, work: &'a WorkBudget) -> Self {
        Self { policy, refuse_read_only: false, work }
    }

    /// For PATCH.
    pub const fn of_patch(policy: &'a Policy, work: &'a WorkBudget) -> Self {
        Self { policy, refuse_read_only: !policy.tolerant, work }
    }

    /// The canonical form of an attribute's whole value. `None` is unassigned: null, `[]` or an
    /// object without values (RFC 7643 §2.5).
    ///
    /// # Errors
    /// `invalidValue` names the path and what was expected there. 413 for more work than the budget
    /// holds.
    pub fn value(
        &self,
        attribute: &Attribute,
        path: &str,
        value: &Value,
    ) -> Result<Option<Value>, ScimError> {
        let read = if attribute.multi_valued {
            self.read_several(attribute, path, value)
        } else {
            self.read_single(attribute, path, value)
        };
        match read {
            Err(refusal) if refusal.is_accepted_by(&STANDARD) => {
                Err(self.with_fault_of_standard(refusal, attribute, path, value))
            }
            read => read,
        }
    }

    /// The whole of a multi-valued attribute.
    fn read_several(
        &self,
        attribute: &Attribute,
        path: &str,
        value: &Value,
    ) -> Result<Option<Value>, ScimError> {
        let elements = match value {
            Value::Null => return Ok(None),
            Value::Array(elements) => elements.as_slice(),
            // A text on its own is a value only where it can be nothing else: a reference.
            Value::String(_) if attribute.kind == Type::Complex && !names_resource(attribute) => {
                return Err(expected(path, describe_array(attribute), value));
            }
            one if self.policy.tolerant => {
                self.work.notes.add(NoteKind::Coerced, path);
                std::slice::from_ref(one)
            }
            one => {
                let refusal = expected(path, describe_array(attribute), one);
                let reads = self.does_standard_read(attribute, |reader| reader.value(attribute, path, one));
                return Err(name_rule(refusal, Rule::ExactType, path, reads));
            }
        };
        let elements = self.elements(attribute, path, elements)?;
        Ok((!elements.is_empty()).then_some(Value::Array(elements)))
    }

    /// The canonical forms of elements that a client lists, to be found among those that are
    /// there. A single one need not stand in an array. Elements without values are left out.
    ///
    /// # Errors
    /// As [`ValueReader::value`].
    pub fn read_listed(
        &self,
        attribute: &Attribute,
        path: &str,
        value: &Value,
    ) -> Result<Vec<Value>, ScimError> {
        let values = match value {
            Value::Array(elements) => elements.as_slice(),
            one => std::slice::from_ref(one),
        };
        check_count(path, values.len())?;
        self.read_each(attribute, path, values)
    }

    /// Reads all elements, and names the faults of all.
    fn read_each(
        &self,
        attribute: &Attribute,
        path: &str,
        values: &[Value],
    ) -> Result<Vec<Value>, ScimError> {
        let (mut elements, mut faults) = (Vec::with_capacity(values.len()), Faults::default());
        for value in values {
            elements.extend(faults.keep(self.element(attribute, path, value))?.flatten());
        }
        faults.finish()?;
        Ok(elements)
    }

    /// The elements of a multi-valued attribute, each once, at most one of them primary
    /// (RFC 7643 §2.4).
    fn elements(&self, attribute: &Attribute, path: &str, values: &[Value]) -> Result<Vec<Value>, ScimError> {
        // Elements that stand twice count twice: what is read first is what takes memory.
        check_count(path, values.len())?;
        let mut elements = self.read_each(attribute, path, values)?;
        deduplicate(attribute, &mut elements, self.work)?;
        if elements.iter().filter(|element| is_primary(element)).count() > 1 {
            let detail =
                format!("Attribute {path} has more than one value marked primary; mark one at most.");
            return Err(ScimError::invalid_value(detail).by(Rule::Type, path));
        }
        Ok(elements)
    }

    /// One value: the whole of a single-valued attribute.
    fn read_single(
        &self,
        attribute: &Attribute,
        path: &str,
        value: &Value,
    ) -> Result<Option<Value>, ScimError> {
        match self.unwrap_single(attribute, path, value)? {
            Some(value) => self.element(attribute, path, value),
            None => Ok(None),
        }
    }

    /// The value of a single-valued attribute; `None` for null and `[]` (RFC 7643 §2.5). Under
    /// tolerance it comes without what Microsoft Entra ID wraps around it: an array of one, in which
    /// the value may stand as `{"$ref": null, "value": …}`. Of a reference to a resource, a blank id
    /// is no value.
    ///
    /// # Errors
    /// `invalidValue` for an array of several.
    pub fn unwrap_single<'v>(
        &self,
        attribute: &Attribute,
        path: &str,
        value: &'v Value,
    ) -> Result<Option<&'v Value>, ScimError> {
        if is_unassigned(value) {
            return Ok(None);
        }
        if !self.policy.tolerant {
            return Ok(Some(value));
        }
        if !names_resource(attribute) {
            let wrapped = self.find_wrapped_value(attribute, value);
            if wrapped.is_some() {
                self.work.notes.add(NoteKind::Coerced, path);
            }
            return Ok(Some(wrapped.unwrap_or(value)).filter(|value| !is_unassigned(value)));
        }
        let one = match value {
            Value::Array(elements) => match elements.as_slice() {
                [one] => {
                    self.work.notes.add(NoteKind::Coerced, path);
                    one
                }
                several => {
                    let sent = format!("an array of {} was sent", several.len());
                    return Err(refuse_value(path, "one value", &sent));
                }
            },
            one => one,
        };
        let id = match one {
            Value::Object(object) => member_value(object),
            id => Some(id),
        };
        let cleared = id.is_some_and(|id| is_unassigned(id) || id.as_str().is_some_and(is_blank));
        Ok((!cleared).then_some(one))
    }

    /// What stands in `[{"$ref": null, "value": …}]`. An attribute with a sub-attribute `value` is
    /// written as the object itself.
    fn find_wrapped_value<'v>(&self, attribute: &Attribute, value: &'v Value) -> Option<&'v Value> {
        let [one] = value.as_array()?.as_slice() else { return None };
        let object = one.as_object()?;
        if attribute.sub_attribute("value").is_some() {
            return Some(one);
        }
        let is_wrapper = |key: &String| key.eq_ignore_ascii_case("value") || key.eq_ignore_ascii_case("$ref");
        object.keys().all(is_wrapper).then(|| member_value(object))?
    }

    /// One element of a multi-valued attribute, or the value of a single-valued one.
    ///
    /// # Errors
    /// As [`ValueReader::value`].
    pub fn element(
        &self,
        attribute: &Attribute,
        path: &str,
        value: &Value,
    ) -> Result<Option<Value>, ScimError> {
        match value {
            Value::Null => Ok(None),
            Value::Object(object) if attribute.kind == Type::Complex => {
                let read = self.object(attribute, path, object)?;
                // An element without what it must have does not vanish: it is refused for what it lacks.
                let is_refused = attribute.multi_valued
                    && attribute.sub_attributes.iter().any(|sub| sub.required && !sub.is_read_only());
                Ok((is_refused || !read.is_empty()).then_some(Value::Object(read)))
            }
            // roles: ["Admin"]; members and managers as bare ids.
            Value::String(_)
                if self.policy.tolerant
                    && (attribute.multi_valued || names_resource(attribute))
                    && attribute.sub_attribute("value").is_some() =>
            {
                self.work.notes.add(NoteKind::Coerced, path);
                let whole = Map::from_iter([("value".to_owned(), value.clone())]);
                Ok(Some(Value::Object(self.object(attribute, path, &whole)?)))
            }
            // Microsoft Entra ID: [{"value": "x"}] for ["x"].
            Value::Object(object)
                if self.policy.tolerant && attribute.multi_valued && member_value(object).is_some() =>
            {
                match member_value(object) {
                    None | Some(Value::Null) => Ok(None),
                    Some(value) => {
                        self.work.notes.add(NoteKind::Coerced, path);
                        self.read_simple(attribute, path, value).map(Some)
                    }
                }
            }
            value if attribute.kind == Type::Complex => {
                // An array stands for all elements, and here is one.
                let is_whole = attribute.multi_valued && !value.is_array();
                let what = if is_whole { describe_array(attribute) } else { "an object" };
                Err(self.refuse_type(attribute, path, value, what))
            }
            value => self.read_simple(attribute, path, value).map(Some),
        }
    }

    fn object(
        &self,
        attribute: &Attribute,
        path: &str,
        object: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ScimError> {
        let (mut read, mut faults) = (Map::with_capacity(object.len()), Faults::default());
        let mut seen: Vec<&str> = Vec::with_capacity(attribute.sub_attributes.len());
        for (key, value) in object {
            let Some(sub) = find(&attribute.sub_attributes, key) else {
                let path = format!("{path}.{}", shorten_text(key));
                if self.policy.tolerant {
                    self.work.notes.add(NoteKind::Unknown, &path);
                } else {
                    faults.keep(Err::<(), _>(unknown_attribute(&path)))?;
                }
                continue;
            };
            // The path differs from the attribute's own where a PATCH selects elements.
            let sub_path = if path == attribute.path {
                Cow::Borrowed(sub.path.as_str())
            } else {
                Cow::Owned(format!("{path}.{}", sub.name))
            };
            let value = if seen.contains(&sub.name.as_str()) {
                Err(refuse_repeated_name(&sub_path))
            } else {
                seen.push(&sub.name);
                self.sub_attribute(sub, &sub_path, value)
            };
            if let Some(value) = faults.keep(value)?.flatten() {
                read.insert(sub.name.clone(), value);
            }
        }
        faults.finish()?;
        Ok(read)
    }

    fn sub_attribute(&self, sub: &Attribute, path: &str, value: &Value) -> Result<Option<Value>, ScimError> {
        if !sub.is_read_only() {
            return self.value(sub, path, value);
        }
        if self.refuse_read_only && !is_unassigned(value) {
            return Err(refuse_read_only(path));
        }
        Ok(None)
    }

    /// The refusal of a value of a wrong type. It names a rule of the tenant's policy if the policy standard reads the
    /// same value.
    fn refuse_type(&self, attribute: &Attribute, path: &str, value: &Value, what: &str) -> ScimError {
        let rule = if attribute.kind == Type::Boolean { Rule::ExactBoolean } else { Rule::ExactType };
        let reads = self.does_standard_read(attribute, |reader| {
            if attribute.multi_valued {
                reader.element(attribute, path, value)
            } else {
                reader.value(attribute, path, value)
            }
        });
        name_rule(expected(path, what, value), rule, path, reads)
    }

    /// Whether the policy standard reads what this policy refuses. A required attribute without a value is refused there,
    /// too.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    fn does_standard_read(
        &self,
        attribute: &Attribute,
        read: impl FnOnce(&ValueReader<'_>) -> Result<Option<Value>, ScimError>,
    ) -> Result<bool, ScimError> {
        if self.policy.tolerant {
            return Ok(false);
        }
        match self.work.try_out(|work| read(&ValueReader::of_body(&STANDARD, work))) {
            Ok(read) => Ok(read.is_some() || !attribute.required),
            Err(error) if error.is_final() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Adds the fault that the policy standard finds in a value of which this policy alone refused the parts: two
    /// elements that are primary, if one of them says so in a text.
    fn with_fault_of_standard(
        &self,
        mut refusal: ScimError,
        attribute: &Attribute,
        path: &str,
        value: &Value,
    ) -> ScimError {
        let read =
            self.work.try_out(|work| ValueReader::of_body(&STANDARD, work).value(attribute, path, value));
        match read {
            Ok(_) => {}
            Err(error) if error.is_final() => return error,
            Err(error) => refusal.join(error),
        }
        refusal
    }

    fn read_simple(&self, attribute: &Attribute, path: &str, value: &Value) -> Result<Value, ScimError> {
        match (attribute.kind, value) {
            (Type::Boolean, Value::Bool(_)) | (Type::Decimal, Value::Number(_)) => Ok(value.clone()),
            (Type::Boolean, Value::String(text)) if self.policy.tolerant => {
                // Microsoft Entra ID: "True" and "False".
                let read = boolean(text).map(Value::Bool);
                if read.is_some() {
                    self.work.notes.add(NoteKind::Coerced, path);
                }
                read.ok_or_else(|| refuse_value(path, description(Type::Boolean), ANOTHER_TEXT))
            }
            (Type::Integer, Value::Number(number)) if !number.is_f64() => Ok(value.clone()),
            (Type::String | Type::Reference | Type::DateTime | Type::Binary, Value::String(text)) => {
                text_within_limit(attribute, path, text)?;
                self.text(attribute, path, text)?;
                Ok(value.clone())
            }
            (Type::Integer, Value::Number(number)) if is_beyond_integers(number) => {
                let what = format!("a whole number from {} to {}", i64::MIN, u64::MAX);
                Err(refuse_value(path, &what, "a number beyond these limits was sent"))
            }
            (kind, value) => Err(self.refuse_type(attribute, path, value, description(kind))),
        }
    }

    fn text(&self, attribute: &Attribute, path: &str, text: &str) -> Result<(), ScimError> {
        match attribute.kind {
            Type::DateTime if !lexical::is_date_time(text) => {
                Err(refuse_value(path, description(Type::DateTime), ANOTHER_TEXT))
            }
            Type::Binary if !lexical::is_base64(text) => {
                Err(refuse_value(path, description(Type::Binary), ANOTHER_TEXT))
            }
            _ if !self.policy.tolerant && !is_canonical(attribute, text, self.work)? => {
                let what = format!("one of {}", attribute.canonical_values.join(", "));
                Err(refuse_value(path, &what, ANOTHER_TEXT).by(Rule::CanonicalValue, path))
            }
            _ => Ok(()),
        }
    }
}

/// The member `value` of an object, its name in any case.
fn member_value(object: &Map<String, Value>) -> Option<&Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case("value")).map(|(_, value)| value)
}

/// Whether values of the attribute name another resource by its id: they may come as a bare id.
pub fn names_resource(attribute: &Attribute) -> bool {
    attribute.sub_attribute("$ref").is_some() && attribute.sub_attribute("value").is_some()
}

/// A refusal, by a rule of the tenant's policy if another policy reads the value.
fn name_rule(refusal: ScimError, rule: Rule, path: &str, reads: Result<bool, ScimError>) -> ScimError {
    match reads {
        Ok(true) => refusal.by(rule, path),
        Ok(false) => refusal,
        Err(error) => error,
    }
}

/// Whether a number that is kept as a float is beyond all integers. The least one is kept as an integer.
fn is_beyond_integers(number: &Number) -> bool {
    numbers(number, &i64::MIN.into()).is_le() || numbers(number, &u64::MAX.into()).is_gt()
}

/// Whether a text is one of the canonical values, compared as the attribute's texts are.
fn is_canonical(attribute: &Attribute, text: &str, work: &WorkBudget) -> Result<bool, ScimError> {
    if attribute.canonical_values.is_empty() {
        return Ok(true);
    }
    let comparison = attribute.comparison();
    let form = comparison.form_within(text, work)?;
    Ok(attribute.canonical_values.iter().any(|canonical| comparison.form(canonical) == form))
}

/// `true` and `false` in any case.
pub fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Whether a value is unassigned: null and `[]` are the same (RFC 7643 §2.5).
pub fn is_unassigned(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether what a `remove` lists beside a filter is nothing: then all that the filter selects goes.
pub fn lists_nothing(value: &Value) -> bool {
    is_unassigned(value) || value.as_str().is_some_and(is_blank)
}

/// Whether an element is marked primary (RFC 7643 §2.4).
pub fn is_primary(element: &Value) -> bool {
    element.get("primary") == Some(&Value::Bool(true))
}

/// Whether a text is empty or spaces only.
pub fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

#[cfg(test)]
mod tests;
