//! Whether a resource is as a filter says (RFC 7644 §3.4.2.2).

use serde_json::{Map, Value};

use super::ast::CompareOp;
use super::bind::{Bound, FilterNode};
use super::context::EvaluationContext;
use super::operand::Operand;
use super::place::ValueLocation;
use crate::scim::error::ScimError;
use crate::scim::work::WorkBudget;

impl Bound {
    /// Whether the filter selects the resource, which is complete and in canonical names:
    /// extensions stand in objects under their URNs.
    ///
    /// A multi-valued attribute matches if any of its values does (RFC 7644 §3.4.2.2), with `ne`
    /// too; an unassigned one differs from every value.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`], if the filter needs more steps than are left.
    pub fn matches(&self, resource: &Map<String, Value>, work: &WorkBudget) -> Result<bool, ScimError> {
        self.evaluate(FilterSubject { object: Some(resource), element: None }, work)
    }

    /// Whether a filter of [`super::bind::bind_element`] selects the element.
    ///
    /// # Errors
    /// As [`Bound::matches`].
    pub fn matches_element(&self, element: &Value, work: &WorkBudget) -> Result<bool, ScimError> {
        self.evaluate(FilterSubject::of_element(element), work)
    }

    fn evaluate(&self, subject: FilterSubject<'_>, work: &WorkBudget) -> Result<bool, ScimError> {
        let mut evaluation = EvaluationContext::new(work);
        let matches = evaluation.node(&self.root, subject)?;
        evaluation.finish()?;
        Ok(matches)
    }
}

/// What a node is asked about: a resource, or an element of an attribute.
#[derive(Clone, Copy)]
struct FilterSubject<'a> {
    object: Option<&'a Map<String, Value>>,
    element: Option<&'a Value>,
}

impl<'a> FilterSubject<'a> {
    fn of_element(element: &'a Value) -> Self {
        Self { object: element.as_object(), element: Some(element) }
    }

    /// The values of the attribute at a place; of a single-valued one there is at most one.
    fn elements(self, place: &ValueLocation) -> &'a [Value] {
        if place.is_element {
            return self.element.map(std::slice::from_ref).unwrap_or_default();
        }
        let value = self.object.and_then(|object| match &place.extension {
            None => object.get(&place.attribute),
            Some(urn) => object.get(urn).and_then(|holder| holder.get(&place.attribute)),
        });
        value.map(each).unwrap_or_default()
    }
}

impl ValueLocation {
    /// What stands at the place in one of the attribute's elements: the element itself, or the values
    /// of its sub-attribute.
    fn values_in<'a>(&self, element: &'a Value) -> &'a [Value] {
        match &self.sub {
            None => each(element),
            Some(sub) => element.get(sub).map(each).unwrap_or_default(),
        }
    }
}

fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        one => std::slice::from_ref(one),
    }
}

impl EvaluationContext<'_> {
    fn node(&mut self, node: &FilterNode, subject: FilterSubject<'_>) -> Result<bool, ScimError> {
        self.spend(1)?;
        match node {
            FilterNode::Known(known) => Ok(*known),
            FilterNode::Present(place) => any(subject.elements(place), |element| {
                self.spend(1)?;
                any(place.values_in(element), |value| self.is_assigned(value))
            }),
            FilterNode::Compare(place, op, operand) => self.compares(place, *op, operand, subject),
            FilterNode::Elements(place, node) => any(subject.elements(place), |element| {
                self.spend(1)?;
                any(place.values_in(element), |value| self.node(node, FilterSubject::of_element(value)))
            }),
            FilterNode::And(nodes) => Ok(!any(nodes, |node| Ok(!self.node(node, subject)?))?),
            FilterNode::Or(nodes) => any(nodes, |node| self.node(node, subject)),
            FilterNode::Not(node) => Ok(!self.node(node, subject)?),
        }
    }

    /// Whether anything is there: neither null nor empty (RFC 7643 §2.5, RFC 7644 §3.4.2.2, `pr`).
    fn is_assigned(&mut self, value: &Value) -> Result<bool, ScimError> {
        self.spend(1)?;
        match value {
            Value::Null => Ok(false),
            Value::Bool(_) | Value::Number(_) => Ok(true),
            Value::String(text) => Ok(!text.is_empty()),
            Value::Array(elements) => any(elements, |element| self.is_assigned(element)),
            Value::Object(object) => any(object.values(), |value| self.is_assigned(value)),
        }
    }

    fn compares(
        &mut self,
        place: &ValueLocation,
        op: CompareOp,
        operand: &Operand,
        subject: FilterSubject<'_>,
    ) -> Result<bool, ScimError> {
        let elements = subject.elements(place);
        // An unassigned value differs from every other, unless it counts as one.
        let when_absent = match place.absent {
            Some(counted) => operand.is_boolean(op, counted),
            None => op == CompareOp::Ne,
        };
        if elements.is_empty() {
            // An attribute without elements has none whose sub-attribute could count as anything.
            return Ok(if place.sub.is_none() { when_absent } else { op == CompareOp::Ne });
        }
        any(elements, |element| {
            self.spend(1)?;
            let values = place.values_in(element);
            let is_absent = match place.absent {
                Some(_) => values.iter().all(Value::is_null),
                None => values.is_empty(),
            };
            if is_absent {
                return Ok(when_absent);
            }
            any(values, |value| {
                self.spend(1)?;
                match op {
                    CompareOp::Ne => Ok(!operand.is(CompareOp::Eq, value, self)?),
                    op => operand.is(op, value, self),
                }
            })
        })
    }
}

/// Whether any of these is so.
fn any<T>(
    items: impl IntoIterator<Item = T>,
    mut is: impl FnMut(T) -> Result<bool, ScimError>,
) -> Result<bool, ScimError> {
    for item in items {
        if is(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
