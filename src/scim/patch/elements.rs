//! A step of a PATCH on a multi-valued attribute (RFC 7644 §3.5.2.1–3).

use serde_json::{Map, Value};

use super::attribute_change::{AttributeChange, Scan};
use super::listed::add;
use super::mutability::{cannot_be_removed, is_immutable};
use super::request::PatchOp;
use super::select::{Selector, equal_terms};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::scim::document_rules::too_large;
use crate::scim::equality::{deduplicate, is_equal, merge_into_equal};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::filter::ast::Filter;
use crate::scim::note_texts::Rule;
use crate::scim::policy::STANDARD;
use crate::scim::refusal::check_count;
use crate::scim::schema::{Attribute, Mutability, Type};
use crate::scim::values::{ValueReader, is_primary, is_unassigned, lists_nothing};

/// The elements after the step. `None` is no element. `scan` estimates what it takes to compare all
/// elements with something, before and, then, after it.
pub(super) fn change(
    change: &AttributeChange<'_>,
    before: Option<Value>,
    scan: &mut Scan,
) -> Result<Option<Value>, ScimError> {
    let mut elements = match before {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    scan.renew(&elements);
    let constants = constants_within(change, &elements)?;
    let written = match (&change.step.filter, &change.step.selector) {
        (Some(filter), Some(selector)) => change.change_selected((filter, selector), &mut elements)?,
        _ => change.change_all(&mut elements, scan.steps)?,
    };
    keep_constants(change, constants, &mut elements, &written)?;
    scan.steps += (1 + change.value_steps) * (written.0.len() as u64 + 1);
    check_count(&change.path(), elements.len())?;
    unmark_other_primaries(&mut elements, &written, &change.path())?;
    if change.sub.is_some() || change.step.filter.is_some() {
        merge_equal_elements(change, &mut elements, &written)?;
        elements.retain(|element| match element {
            Value::Null => false,
            Value::Object(object) => !object.is_empty(),
            _ => true,
        });
    }
    Ok((!elements.is_empty()).then_some(Value::Array(elements)))
}

/// What a step within elements must leave of each element: its required and its immutable sub-attributes. To take a whole
/// element away, or to send another list, is not a change within one.
fn constants_within<'a>(
    change: &AttributeChange<'a>,
    elements: &[Value],
) -> Result<Vec<Vec<(&'a Attribute, Value)>>, ScimError> {
    let subs: Vec<&Attribute> =
        change.attribute.sub_attributes.iter().filter(|sub| is_constant(sub)).collect();
    let is_within =
        change.sub.is_some() || (change.step.filter.is_some() && change.step.op != PatchOp::Remove);
    if subs.is_empty() || !is_within {
        return Ok(Vec::new());
    }
    change.work.spend((elements.len() * subs.len()) as u64)?;
    let of = |element: &Value| {
        subs.iter().filter_map(|sub| Some((*sub, element.get(&sub.name)?.clone()))).collect()
    };
    Ok(elements.iter().map(of).collect())
}

fn is_constant(sub: &Attribute) -> bool {
    (sub.required && !sub.is_read_only()) || sub.mutability == Mutability::Immutable
}

/// Checks the elements that the step wrote. An immutable value that is equal by its definition stays as it was written
/// first.
///
/// # Errors
/// `mutability` for a required sub-attribute that is gone, and for an immutable one that differs.
fn keep_constants(
    change: &AttributeChange<'_>,
    mut constants: Vec<Vec<(&Attribute, Value)>>,
    elements: &mut [Value],
    written: &Written,
) -> Result<(), ScimError> {
    for place in &written.0 {
        let (Some(constants), Some(element)) = (constants.get_mut(*place), elements.get_mut(*place)) else {
            continue;
        };
        for (sub, before) in std::mem::take(constants) {
            let path = || format!("{}.{}", change.path(), sub.name);
            let now = element.get_mut(&sub.name).filter(|now| !is_unassigned(now));
            if sub.mutability == Mutability::Immutable {
                match now {
                    Some(now) if is_equal(sub, &before, now, change.work)? => *now = before,
                    _ => return Err(is_immutable(&path())),
                }
            } else if now.is_none() {
                return Err(cannot_be_removed(&path()));
            }
        }
    }
    Ok(())
}

/// Checks the value of a step without the elements that there are.
///
/// # Errors
/// `invalidValue`, and the error of `WorkBudget::spend`.
pub(super) fn check_value(change: &AttributeChange<'_>) -> Result<(), ScimError> {
    let (step, path) = (change.step, change.path());
    if step.op == PatchOp::Remove {
        return change.read_listed().map(drop);
    }
    if step.filter.is_none() && change.sub.is_none() {
        let whole = change.whole_value();
        let value = if step.op == PatchOp::Add { Some(&whole) } else { step.value.as_ref() };
        return change.read_elements(value, &path).map(drop);
    }
    if step.value.as_ref().is_none_or(is_unassigned) {
        return Ok(());
    }
    let value = if step.filter.is_some() { change.element_value() } else { change.whole_value() };
    change.reader.element(change.attribute, &path, &value).map(drop)
}

/// The places of the elements that a step wrote, ascending.
struct Written(Vec<usize>);

impl Written {
    const fn none() -> Self {
        Self(Vec::new())
    }

    fn contains(&self, place: usize) -> bool {
        self.0.binary_search(&place).is_ok()
    }
}

impl AttributeChange<'_> {
    /// Without a filter. A sub-attribute is then one of every element.
    fn change_all(&self, elements: &mut Vec<Value>, scan: u64) -> Result<Written, ScimError> {
        let path = self.path();
        let value = self.step.value.as_ref();
        match (self.step.op, self.sub) {
            (PatchOp::Remove, None) => {
                match self.read_listed()? {
                    Some(listed) => listed.remove_from(elements, self.work)?,
                    None => elements.clear(),
                }
                Ok(Written::none())
            }
            (PatchOp::Replace, None) => {
                *elements = self.read_elements(value, &path)?;
                Ok(Written::none())
            }
            (PatchOp::Add, None) => {
                let more = self.read_elements(Some(&self.whole_value()), &path)?;
                // A listed element that is there already keeps no mark that another one takes.
                if more.iter().any(is_primary) {
                    elements.iter_mut().filter(|element| is_primary(element)).for_each(unmark);
                }
                let join = &mut |own: &mut Map<String, Value>, more| self.join(own, more);
                Ok(Written(add(self.attribute, elements, more, self.work, join)?))
            }
            (op, Some(sub)) => {
                self.work.spend(scan)?;
                let all = (0..elements.len()).collect();
                if op == PatchOp::Remove || value.is_none_or(is_unassigned) {
                    return self.unassign_in(elements, Written(all), sub);
                }
                if elements.is_empty() {
                    elements.push(Value::Object(Map::new()));
                }
                let all = (0..elements.len()).collect();
                self.write(&self.whole_value(), elements, Written(all), &path)
            }
        }
    }

    /// The elements that the filter selects.
    fn change_selected(
        &self,
        (filter, selector): (&Filter, &Selector),
        elements: &mut Vec<Value>,
    ) -> Result<Written, ScimError> {
        let path = self.path();
        let policy = self.reader.policy;
        let mut selected = Written::none();
        for (place, element) in elements.iter().enumerate() {
            if selector.matches(element, self.work)? {
                selected.0.push(place);
            }
        }
        let removes = self.step.op == PatchOp::Remove || self.step.value.as_ref().is_none_or(is_unassigned);
        if removes && self.step.op == PatchOp::Add && self.sub.is_none() {
            return Ok(Written::none());
        }
        if removes {
            if selected.0.is_empty() && !policy.tolerant && self.step.op != PatchOp::Add {
                return Err(self.no_target((filter, selector), elements));
            }
            if let Some(sub) = self.sub {
                return self.unassign_in(elements, selected, sub);
            }
            let lists =
                self.step.op == PatchOp::Remove && !self.step.value.as_ref().is_none_or(lists_nothing);
            if let (true, Some(listed)) = (lists, self.read_listed()?) {
                selected.0 = listed.meant_among(elements, &selected.0, self.work)?;
            }
            let mut place = 0;
            elements.retain(|_| {
                place += 1;
                !selected.contains(place - 1)
            });
            return Ok(Written::none());
        }
        let value = self.element_value();
        if !selected.0.is_empty() {
            return self.write_selected(filter, &value, elements, selected);
        }
        let terms = equal_terms(filter);
        let (Some(terms), true) = (terms, self.step.op == PatchOp::Add || policy.replace_creates) else {
            return Err(self.no_target((filter, selector), elements));
        };
        // Microsoft Entra ID: the element is made from what the filter says of it.
        let terms = Value::Object(terms);
        let described = if self.is_complex() { self.merge(None, &terms, &path)? } else { None };
        let Some(element) = self.merge(described, &value, &path)? else { return Ok(Written::none()) };
        elements.push(element);
        Ok(Written(vec![elements.len() - 1]))
    }

    fn is_complex(&self) -> bool {
        self.attribute.kind == Type::Complex
    }

    fn write_selected(
        &self,
        filter: &Filter,
        value: &Value,
        elements: &mut [Value],
        selected: Written,
    ) -> Result<Written, ScimError> {
        let path = self.path();
        if self.step.op == PatchOp::Replace && self.sub.is_none() && self.is_complex() {
            // All of the element is replaced (RFC 7644 §3.5.2.3); under tolerance it stays one that
            // the filter selects, unless the value says otherwise.
            let terms = equal_terms(filter).filter(|_| self.reader.policy.tolerant).map(Value::Object);
            let base = match terms {
                Some(terms) => self.merge(None, &terms, &path)?,
                None => None,
            };
            self.check_copies(value, selected.0.len())?;
            for place in &selected.0 {
                let Some(element) = elements.get_mut(*place) else { continue };
                *element = self.merge(base.clone(), value, &path)?.unwrap_or(Value::Object(Map::new()));
            }
            return Ok(selected);
        }
        self.write(value, elements, selected, &path)
    }

    fn write(
        &self,
        value: &Value,
        elements: &mut [Value],
        places: Written,
        path: &str,
    ) -> Result<Written, ScimError> {
        self.check_copies(value, places.0.len())?;
        for place in &places.0 {
            let Some(element) = elements.get_mut(*place) else { continue };
            let before = element.take();
            *element = self.merge(Some(before), value, path)?.unwrap_or(Value::Object(Map::new()));
        }
        Ok(places)
    }

    /// Refuses a value if the document could not hold this many copies of it.
    fn check_copies(&self, value: &Value, copies: usize) -> Result<(), ScimError> {
        if copies > 1 && value.to_string().len().saturating_mul(copies) > MAX_DOCUMENT_BYTES {
            return Err(too_large(&self.attribute.name));
        }
        Ok(())
    }

    fn unassign_in(
        &self,
        elements: &mut [Value],
        places: Written,
        sub: &Attribute,
    ) -> Result<Written, ScimError> {
        if self.step.op == PatchOp::Add && sub.multi_valued {
            return Ok(Written::none());
        }
        let listed = if self.step.op == PatchOp::Remove { self.read_listed()? } else { None };
        for place in &places.0 {
            let Some(Value::Object(object)) = elements.get_mut(*place) else { continue };
            if let (false, Some(listed)) = (sub.multi_valued, &listed) {
                let own = object.get(&sub.name);
                if !listed.lists_value(own.unwrap_or(&Value::Null), self.work)? {
                    continue;
                }
            }
            self.unassign(object, sub, listed.as_ref())?;
        }
        Ok(places)
    }

    /// The value for one element. Some clients send an array of one.
    fn element_value(&self) -> Value {
        match self.whole_value() {
            Value::Array(mut elements) if elements.len() == 1 && self.takes_one_of_array() => {
                elements.pop().unwrap_or(Value::Null)
            }
            value => value,
        }
    }

    /// Whether the value of the step may be an array of one, or was made one.
    fn takes_one_of_array(&self) -> bool {
        self.reader.policy.tolerant || !self.step.value.as_ref().is_some_and(Value::is_array)
    }

    fn read_elements(&self, value: Option<&Value>, path: &str) -> Result<Vec<Value>, ScimError> {
        match self.reader.value(self.attribute, path, value.unwrap_or(&Value::Null))? {
            Some(Value::Array(elements)) => Ok(elements),
            _ => Ok(Vec::new()),
        }
    }

    /// The refusal of a filter that selects none of the elements. It names the tenant's policy if the policy standard
    /// accepts the step, and the other faults of the step if it does not.
    fn no_target(&self, (filter, selector): (&Filter, &Selector), elements: &[Value]) -> ScimError {
        let path = self.step.to_string();
        let mut refusal = ScimError::no_target(format!("The path {path} selects nothing."));
        if self.reader.policy.replace_creates {
            return refusal.by(Rule::TargetFilter, &path);
        }
        // No element is selected, as if there were none.
        let tried = self.work.try_out(|work| {
            let (step, attribute, sub) = (self.step, self.attribute, self.sub);
            let reader = ValueReader::of_patch(&STANDARD, work);
            let change =
                AttributeChange { step, attribute, sub, reader, work, value_steps: self.value_steps };
            let mut made = Vec::new();
            change.change_selected((filter, selector), &mut made)?;
            Ok(made)
        });
        match tried {
            // What is immutable keeps its elements, and is given no more.
            Ok(made)
                if self.attribute.mutability == Mutability::Immutable
                    && !(made.is_empty() || elements.is_empty()) =>
            {
                refusal
            }
            Ok(_) => refusal.by(Rule::Target, &path),
            Err(error) if error.is_final() || error.kind == ErrorKind::NoTarget => error,
            Err(error) => {
                refusal.join(error);
                refusal
            }
        }
    }
}

/// Makes one of elements that have become the same by the step (RFC 7643 §2.4).
fn merge_equal_elements(
    change: &AttributeChange<'_>,
    elements: &mut Vec<Value>,
    written: &Written,
) -> Result<(), ScimError> {
    let attribute = change.attribute;
    match *written.0 {
        [] => {}
        [place] => merge_into_equal(attribute, elements, place, change.work)?,
        _ => deduplicate(attribute, elements, change.work)?,
    }
    Ok(())
}

/// A primary element that the step wrote takes the mark from the others (RFC 7644 §3.5.2).
fn unmark_other_primaries(elements: &mut [Value], written: &Written, path: &str) -> Result<(), ScimError> {
    let marked = written.0.iter().filter(|place| elements.get(**place).is_some_and(is_primary)).count();
    if marked > 1 {
        return Err(ScimError::invalid_value(format!(
            "Attribute {path} would have more than one value marked primary; mark one at most."
        )));
    }
    if marked == 1 {
        for (place, element) in elements.iter_mut().enumerate() {
            if !written.contains(place) && is_primary(element) {
                unmark(element);
            }
        }
    }
    Ok(())
}

fn unmark(element: &mut Value) {
    if let Value::Object(object) = element {
        object.insert("primary".to_owned(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests;
