//! One step of a PATCH and the attribute that it changes (RFC 7644 §3.5.2.1–3).

use serde_json::{Map, Value};

use super::listed::{Listed, add_to_set};
use super::request::{PatchOp, PatchStep};
use crate::scim::error::ScimError;
use crate::scim::schema::{Attribute, Type};
use crate::scim::values::{ValueReader, names_resource};
use crate::scim::work::{WorkBudget, scan_steps};

/// The steps that it takes to change one element, without those to look at the value.
const STEPS_PER_WRITE: u64 = 32;

/// How many steps it takes at most to compare all elements of an attribute with something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// The estimate. What is written adds to it, what goes away is not taken off.
    pub steps: u64,
    /// What it was when the elements were looked at.
    counted: u64,
}

impl Scan {
    /// Looks at the elements again once the estimate has doubled, which costs little on the whole.
    pub fn renew(&mut self, elements: &[Value]) {
        if self.steps >= 2 * self.counted {
            self.counted = scan_steps(elements);
            self.steps = self.counted;
        }
    }
}

/// A step and what it is about.
pub(super) struct AttributeChange<'a> {
    pub step: &'a PatchStep,
    pub attribute: &'a Attribute,
    pub sub: Option<&'a Attribute>,
    pub reader: ValueReader<'a>,
    pub work: &'a WorkBudget,
    /// What it takes to look at the step's value.
    pub value_steps: u64,
}

impl AttributeChange<'_> {
    /// The canonical path of the attribute.
    pub fn path(&self) -> String {
        match &self.step.extension {
            Some(urn) => format!("{urn}:{}", self.attribute.name),
            None => self.attribute.name.clone(),
        }
    }

    /// The value of the step as one for the whole attribute: `{ sub: value }` for a sub-attribute.
    /// A single value that is added to several counts as an array of one.
    pub fn whole_value(&self) -> Value {
        let value = match self.step.value.clone().unwrap_or(Value::Null) {
            value @ (Value::Null | Value::Array(_)) => value,
            one if self.step.op == PatchOp::Add && self.leaf().multi_valued => Value::Array(vec![one]),
            value => value,
        };
        match self.sub {
            Some(sub) => Value::Object(Map::from_iter([(sub.name.clone(), value)])),
            None => value,
        }
    }

    fn leaf(&self) -> &Attribute {
        self.sub.unwrap_or(self.attribute)
    }

    /// The elements that a `remove` lists, where it does: Microsoft Entra ID names so what is to
    /// go. Without a list everything goes.
    ///
    /// # Errors
    /// As [`ValueReader::listed`].
    pub fn read_listed(&self) -> Result<Option<Listed<'_>>, ScimError> {
        let value = self.step.value.as_ref().filter(|value| !value.is_null());
        let (Some(value), leaf) = (value, self.leaf()) else { return Ok(None) };
        // A single value is removed without a comparison, unless the path leads to it in all elements.
        let in_all = self.attribute.multi_valued && self.step.filter.is_none();
        if !leaf.multi_valued && !in_all {
            return Ok(None);
        }
        self.work.spend(4 * self.value_steps)?;
        let path = match self.sub {
            Some(sub) => format!("{}.{}", self.path(), sub.name),
            None => self.path(),
        };
        let elements = ValueReader::of_body(self.reader.policy, self.work).read_listed(leaf, &path, value)?;
        Ok(Some(Listed::new(leaf, &elements, self.work)?))
    }

    /// Returns the value of a single-valued attribute after the step. `None` is no value.
    ///
    /// # Errors
    /// `invalidValue`, and the error of [`WorkBudget::spend`].
    pub fn change_single(&self, mut before: Option<Value>) -> Result<Option<Value>, ScimError> {
        let path = self.path();
        match (self.step.op, self.sub) {
            (PatchOp::Remove, None) => Ok(None),
            // What else is known about a resource goes with its id.
            (PatchOp::Remove, Some(sub)) if sub.name == "value" && names_resource(self.attribute) => Ok(None),
            (PatchOp::Remove, Some(sub)) => {
                let listed = self.read_listed()?;
                if let Some(Value::Object(object)) = &mut before {
                    self.unassign(object, sub, listed.as_ref())?;
                }
                Ok(before.filter(|value| value.as_object().is_none_or(|object| !object.is_empty())))
            }
            _ if self.attribute.kind == Type::Complex => {
                let whole = self.whole_value();
                match self.reader.unwrap_single(self.attribute, &path, &whole)? {
                    Some(value) => self.merge(before, value, &path),
                    None => Ok(None),
                }
            }
            _ => self.reader.value(self.attribute, &path, &self.whole_value()),
        }
    }

    /// Removes a sub-attribute, or those of its values that are listed.
    pub fn unassign(
        &self,
        object: &mut Map<String, Value>,
        sub: &Attribute,
        listed: Option<&Listed<'_>>,
    ) -> Result<(), ScimError> {
        if let (Some(listed), Some(Value::Array(values))) = (listed, object.get_mut(&sub.name)) {
            listed.remove_from(values, self.work)?;
            if !values.is_empty() {
                return Ok(());
            }
        }
        object.shift_remove(&sub.name);
        Ok(())
    }

    /// Sub-attributes that the value does not name stay; those that it sets to null go
    /// (RFC 7644 §3.5.2.1, §3.5.2.3). What is added to a multi-valued one joins its values.
    pub fn merge(
        &self,
        before: Option<Value>,
        value: &Value,
        path: &str,
    ) -> Result<Option<Value>, ScimError> {
        self.work.spend(STEPS_PER_WRITE + self.value_steps)?;
        let read = self.reader.element(self.attribute, path, value)?;
        if self.attribute.kind != Type::Complex {
            return Ok(read);
        }
        let more = match read {
            Some(Value::Object(more)) => more,
            _ => Map::new(),
        };
        let mut object = match before {
            Some(Value::Object(object)) => object,
            _ => Map::new(),
        };
        // What was known about one resource does not hold for another.
        if names_resource(self.attribute)
            && more.get("value").is_some_and(|id| object.get("value") != Some(id))
        {
            object.clear();
        }
        let adds = self.step.op == PatchOp::Add;
        for name in value.as_object().into_iter().flat_map(Map::keys) {
            if let Some(sub) = self.attribute.sub_attribute(name)
                && !(sub.is_read_only() || more.contains_key(&sub.name) || (adds && sub.multi_valued))
            {
                object.shift_remove(&sub.name);
            }
        }
        if adds {
            self.join(&mut object, more)?;
        } else {
            object.extend(more);
        }
        Ok((!object.is_empty()).then_some(Value::Object(object)))
    }

    /// Adds sub-attributes to an object. The values of multi-valued ones are sets.
    pub fn join(&self, object: &mut Map<String, Value>, more: Map<String, Value>) -> Result<(), ScimError> {
        for (name, value) in more {
            let sub = self.attribute.sub_attribute(&name).filter(|sub| sub.multi_valued);
            match (sub, object.get_mut(&name), value) {
                (Some(sub), Some(Value::Array(own)), Value::Array(more)) => {
                    add_to_set(sub, own, more, self.work)?;
                }
                (_, _, value) => {
                    object.insert(name, value);
                }
            }
        }
        Ok(())
    }
}
