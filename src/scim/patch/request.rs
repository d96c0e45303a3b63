//! The body of a PATCH, read as steps (RFC 7644 §3.5.2).

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use super::path::{PatchPath, write_selection};
use super::select::{Selector, canonical};
use crate::limits::MAX_PATCH_OPERATIONS;
use crate::scim::attr_path::write_attribute;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::faults::Faults;
use crate::scim::filter::ast::Filter;
use crate::scim::note_texts::{NoteKind, Rule};
use crate::scim::policy::Policy;
use crate::scim::refusal::{expected, refuse_member, refuse_repeated_name, shorten_text, unknown_attribute};
use crate::scim::resource_type::{Kind, Resolved, ResourceType};
use crate::scim::schema::{Attribute, Schema};
use crate::scim::urn;
use crate::scim::validate::{check_message, check_schema_urns, is_password, schemas_in};
use crate::scim::work::WorkBudget;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchOp {
    /// RFC 7644 §3.5.2.1.
    Add,
    /// RFC 7644 §3.5.2.2.
    Remove,
    /// RFC 7644 §3.5.2.3.
    Replace,
}

/// One change of one attribute. An operation without a path is one step for each of its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchStep {
    /// What to do.
    pub op: PatchOp,
    /// The URN of the extension that defines the attribute; `None` for core and common ones.
    pub extension: Option<String>,
    /// The attribute in its schema's spelling. Empty for an extension as a whole, which can only
    /// be removed: other operations on it are steps on its attributes.
    pub attribute: String,
    /// Selects elements of the attribute.
    pub filter: Option<Filter>,
    /// The filter, ready to be put to elements.
    pub selector: Option<Selector>,
    /// The sub-attribute in its schema's spelling.
    pub sub: Option<String>,
    /// The value, as sent. `Value::Null` unassigns.
    pub value: Option<Value>,
}

impl PatchStep {
    /// The core or common attribute that the step changes; `None` in an extension.
    pub fn attribute(&self) -> Option<&str> {
        self.extension.is_none().then_some(self.attribute.as_str())
    }
}

/// The path of the step, for sentences.
impl fmt::Display for PatchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_attribute(f, self.extension.as_deref(), &self.attribute)?;
        write_selection(f, self.filter.as_ref(), self.sub.as_deref())
    }
}

/// Reads the body of a PATCH (RFC 7644 §3.5.2). An operation without a path becomes one step for each attribute of
/// its value. Letter case of names and of `op` does not count. Every step names an attribute of the schemas.
///
/// # Errors
/// One error names the faults of all operations:
/// - `invalidSyntax` for a malformed message
/// - `invalidPath` for a path that is malformed, or that no schema defines
/// - `noTarget` for a `remove` without a path
/// - `invalidValue` for a value that is missing
/// - `mutability` for a password
pub fn parse(
    body: &Map<String, Value>,
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<Vec<PatchStep>, ScimError> {
    let (steps, faults) = read_operations(body, resource_type, policy, work)?;
    faults.finish()?;
    Ok(steps)
}

/// The same, with the steps that have no fault beside the faults of the others.
///
/// # Errors
/// What ends the reading: too many operations, a member of the message that stands twice, 413.
pub(super) fn read_operations(
    body: &Map<String, Value>,
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<(Vec<PatchStep>, Faults), ScimError> {
    let mut faults = Faults::default();
    let schemas = schemas_in(body).and_then(|schemas| check_schema_urns(schemas, urn::PATCH_OP, policy));
    faults.keep(schemas)?;
    faults.keep(check_message(body, &["schemas", "Operations"], policy))?;
    let operations = match member(body, "Operations")? {
        Some(Value::Array(operations)) if !operations.is_empty() => operations,
        sent => {
            let what = "an array of at least one operation";
            let refused = refuse_member(ErrorKind::InvalidSyntax, "Operations", what, sent);
            faults.keep(Err::<(), _>(refused))?;
            &Vec::new()
        }
    };
    if operations.len() > MAX_PATCH_OPERATIONS {
        return Err(ScimError::invalid_syntax(format!(
            "Operations holds {} operations; send {MAX_PATCH_OPERATIONS} at most.",
            operations.len()
        )));
    }
    let mut request =
        Request { resource_type, policy, work, faults, steps: Vec::with_capacity(operations.len()) };
    for operation in operations {
        let read = match operation {
            Value::Object(operation) => request.operation(operation),
            sent => {
                let name = "Every element of Operations";
                Err(refuse_member(ErrorKind::InvalidSyntax, name, "an object", Some(sent)))
            }
        };
        request.faults.keep(read)?;
    }
    Ok((request.steps, request.faults))
}

struct Request<'a> {
    resource_type: &'a ResourceType,
    policy: &'a Policy,
    work: &'a WorkBudget,
    faults: Faults,
    steps: Vec<PatchStep>,
}

impl<'a> Request<'a> {
    fn operation(&mut self, operation: &Map<String, Value>) -> Result<(), ScimError> {
        self.faults.keep(check_message(operation, &["op", "path", "value"], self.policy))?;
        let op = op(member(operation, "op")?)?;
        let value = member(operation, "value")?;
        if op != PatchOp::Remove && value.is_none() {
            return Err(ScimError::invalid_value(
                "An operation that adds or replaces needs a value; nothing was sent.",
            ));
        }
        match member(operation, "path")? {
            Some(Value::String(path)) if !(path.trim().is_empty() && self.policy.tolerant) => {
                self.at_path(op, path.trim(), value)
            }
            None | Some(Value::Null | Value::String(_)) => self.without_path(op, value),
            sent => Err(refuse_member(ErrorKind::InvalidPath, "path", "a text", sent)),
        }
    }

    fn push(&mut self, step: PatchStep) -> Result<(), ScimError> {
        if self.steps.len() == MAX_PATCH_OPERATIONS {
            return Err(ScimError::invalid_syntax(format!(
                "Operations changes more than {MAX_PATCH_OPERATIONS} attributes. Send fewer in one request."
            )));
        }
        self.steps.push(step);
        Ok(())
    }

    fn at_path(&mut self, op: PatchOp, path: &str, value: Option<&Value>) -> Result<(), ScimError> {
        if is_of_password(path, self.resource_type) {
            return password(op, value);
        }
        if path.is_empty() {
            let advice =
                "path is empty. Name an attribute, or leave path out and send an object of attributes.";
            return Err(ScimError::invalid_path(advice));
        }
        let parsed = PatchPath::parse(path)
            .map_err(|error| ScimError::invalid_path(format!("path {}: {error}.", shorten_text(path))))?;
        match self.place(&parsed)? {
            Some(PatchTarget::Schema(schema)) => {
                let from = self.steps.len();
                self.schema(op, schema, value)?;
                self.check_once(from)
            }
            Some(PatchTarget::Attribute(step)) => self.push(PatchStep { op, value: value.cloned(), ..*step }),
            None => {
                let path = shorten_text(path);
                let detail = format!("No schema defines what the path {path} names.");
                Err(ScimError::invalid_path(detail).by(Rule::PatchPath, &path))
            }
        }
    }

    /// Every key of the value is a path of its own: `name.givenName`, an extension's URN with or
    /// without an attribute, `emails[type eq "work"].value` (Microsoft Entra ID sends them all).
    fn without_path(&mut self, op: PatchOp, value: Option<&Value>) -> Result<(), ScimError> {
        if op == PatchOp::Remove {
            return Err(ScimError::no_target("An operation that removes needs a path; nothing was sent."));
        }
        let Some(Value::Object(values)) = value else {
            let what = "an object of attributes";
            return Err(refuse_member(ErrorKind::InvalidValue, "Without a path, value", what, value));
        };
        let from = self.steps.len();
        for (key, value) in values {
            let read = self.key(op, key, value);
            self.faults.keep(read)?;
        }
        self.check_once(from)
    }

    /// Checks that the steps from this one on, which come of one object, are about different places.
    fn check_once(&self, from: usize) -> Result<(), ScimError> {
        let steps = self.steps.get(from..).unwrap_or_default();
        let mut seen = HashSet::with_capacity(steps.len());
        match steps.iter().map(ToString::to_string).find(|path| !seen.insert(path.clone())) {
            Some(path) => Err(refuse_repeated_name(&path)),
            None => Ok(()),
        }
    }

    fn key(&mut self, op: PatchOp, key: &str, value: &Value) -> Result<(), ScimError> {
        if is_of_password(key, self.resource_type) {
            return password(op, Some(value));
        }
        let place = match PatchPath::parse(key) {
            Ok(path) => self.place(&path)?,
            Err(error) if key.contains('[') => {
                return Err(ScimError::invalid_path(format!("path {}: {error}.", shorten_text(key))));
            }
            Err(_) => None,
        };
        match place {
            Some(PatchTarget::Schema(schema)) => self.schema(op, schema, Some(value)),
            Some(PatchTarget::Attribute(step)) => {
                self.push(PatchStep { op, value: Some(value.clone()), ..*step })
            }
            None if self.policy.tolerant => {
                self.work.notes.add(NoteKind::Unknown, key);
                Ok(())
            }
            None => Err(unknown_attribute(key)),
        }
    }

    /// A whole schema: its attributes one by one, or all of an extension away.
    fn schema(&mut self, op: PatchOp, schema: &Schema, value: Option<&Value>) -> Result<(), ScimError> {
        let core = schema.id == self.resource_type.schema.id;
        match (op, value) {
            (PatchOp::Remove, _) | (PatchOp::Replace, Some(Value::Null)) if core => {
                Err(ScimError::mutability("The core schema cannot be removed from a resource."))
            }
            // Of what only the server writes, null is nothing.
            (PatchOp::Replace, Some(Value::Null))
                if schema.attributes.iter().all(Attribute::is_read_only) =>
            {
                Ok(())
            }
            (PatchOp::Remove, _) | (PatchOp::Replace, Some(Value::Null)) => self.push(PatchStep {
                op: PatchOp::Remove,
                extension: Some(schema.id.clone()),
                attribute: String::new(),
                filter: None,
                selector: None,
                sub: None,
                value: None,
            }),
            (_, Some(Value::Object(values))) => {
                // Some clients repeat `schemas` inside the object of an extension.
                let own = values.iter().filter(|(key, _)| core || !key.eq_ignore_ascii_case("schemas"));
                for (key, value) in own {
                    let read = self.key(op, &format!("{}:{key}", schema.id), value);
                    self.faults.keep(read)?;
                }
                Ok(())
            }
            (_, None | Some(Value::Null)) => Ok(()),
            (_, Some(sent)) => Err(expected(&schema.id, "an object", sent)),
        }
    }

    /// What a path names, as a step without operation and value.
    fn place(&self, path: &PatchPath) -> Result<Option<PatchTarget<'a>>, ScimError> {
        let target = match self.resource_type.resolve(&path.attribute) {
            None => return Ok(None),
            Some(Resolved::Schema(schema)) => {
                let plain = path.filter.is_none() && path.sub.is_none();
                return Ok(plain.then_some(PatchTarget::Schema(schema)));
            }
            Some(Resolved::Attribute(target)) => target,
        };
        let (extension, attribute, sub) = (target.extension, target.attribute, target.sub);
        let sub = match (&path.sub, sub) {
            (Some(name), None) => match attribute.sub_attribute(name) {
                Some(sub) => Some(sub),
                None => return Ok(None),
            },
            (Some(_), Some(_)) => return Ok(None),
            (None, sub) => sub,
        };
        let schema = extension.unwrap_or(&self.resource_type.schema.id);
        let filter = path.filter.as_ref().map(|filter| canonical(filter, attribute, schema)).transpose()?;
        let selector =
            filter.as_ref().map(|filter| Selector::new(filter, target, self.resource_type, self.policy));
        Ok(Some(PatchTarget::Attribute(Box::new(PatchStep {
            op: PatchOp::Add,
            extension: extension.map(ToOwned::to_owned),
            attribute: attribute.name.clone(),
            selector: selector.transpose()?,
            filter,
            sub: sub.map(|sub| sub.name.clone()),
            value: None,
        }))))
    }
}

enum PatchTarget<'a> {
    Schema(&'a Schema),
    Attribute(Box<PatchStep>),
}

fn op(value: Option<&Value>) -> Result<PatchOp, ScimError> {
    let text = value.and_then(Value::as_str).unwrap_or("");
    [("add", PatchOp::Add), ("remove", PatchOp::Remove), ("replace", PatchOp::Replace)]
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, op)| op)
        .ok_or_else(|| {
            let what = "add, remove or replace";
            match value {
                Some(Value::String(text)) if !text.trim().is_empty() => {
                    let sent = shorten_text(text);
                    ScimError::invalid_syntax(format!("op must be {what}; {sent} was sent."))
                }
                sent => refuse_member(ErrorKind::InvalidSyntax, "op", what, sent),
            }
        })
}

/// Whether a path is about a user's password.
fn is_of_password(path: &str, resource_type: &ResourceType) -> bool {
    let name = path.split('[').next().unwrap_or(path);
    resource_type.kind == Some(Kind::User) && is_password(name, resource_type)
}

/// Refuses a password: it is neither stored nor changed. No answer repeats its value. Null is accepted, since
/// clients that send a whole user send it.
fn password(op: PatchOp, value: Option<&Value>) -> Result<(), ScimError> {
    match value {
        Some(Value::Null) if op != PatchOp::Remove => Ok(()),
        _ => {
            let detail = "Passwords are not accepted: accounts sign in through their provider.";
            Err(ScimError::mutability(detail).by(Rule::Password, "password"))
        }
    }
}

/// The member of a message by its name in any case.
fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Value>, ScimError> {
    let mut found = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let first = found.next().map(|(_, value)| value);
    if found.next().is_some() { Err(refuse_repeated_name(name)) } else { Ok(first) }
}

#[cfg(test)]
mod tests;
