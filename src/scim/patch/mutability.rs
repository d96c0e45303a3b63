//! What a PATCH cannot change: read-only, immutable and required values (RFC 7644 §3.5.2).

use serde_json::{Map, Value};

use super::request::{PatchOp, PatchStep};
use crate::scim::equality::{identity, is_equal};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::members::parts;
use crate::scim::note_texts::Rule;
use crate::scim::order::instant;
use crate::scim::policy::Policy;
use crate::scim::refusal::{refuse_member, refuse_read_only};
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::schema::{Attribute, Mutability};
use crate::scim::validate::{groups_named, names_core};
use crate::scim::values::is_unassigned;
use crate::scim::work::WorkBudget;

/// The steps that it takes to read the id of a group and to look it up.
const STEPS_PER_GROUP: u64 = 8;

/// What a step must leave: required values, and immutable ones as they are.
pub(super) struct Constant<'a> {
    attribute: &'a Attribute,
    /// What asks for a value.
    rule: Rule,
    was_there: bool,
    /// Whether the rules on the final state say better what is wrong with no value at all.
    left_to_rules: bool,
    /// The value, where it matters.
    immutable: Option<Value>,
    /// Of a single complex value: the required sub-attributes that it has, and the immutable ones
    /// with their values.
    subs: Vec<(&'a Attribute, Value)>,
}

impl<'a> Constant<'a> {
    /// What is fixed of a value, for the step that is about to change it.
    pub fn of(
        attribute: &'a Attribute,
        before: Option<&Value>,
        step: &PatchStep,
        (resource_type, policy): (&ResourceType, &Policy),
    ) -> Self {
        let is_immutable = |attribute: &Attribute| attribute.mutability == Mutability::Immutable;
        let value_of = |sub: &'a Attribute| Some((sub, before?.get(&sub.name)?.clone()));
        let subs = attribute.sub_attributes.iter().filter(|sub| sub.required || is_immutable(sub));
        let of_user = resource_type.kind == Some(Kind::User) && step.extension.is_none();
        Self {
            attribute,
            rule: if of_user { Rule::RequiredOfUser } else { Rule::Required },
            was_there: before.is_some(),
            // Who removes the primary email, the only one or not, offends a rule on values.
            left_to_rules: policy.primary_email_required
                && step.attribute() == Some("emails")
                && (step.filter.is_some() || step.value.as_ref().is_some_and(|value| !value.is_null()))
                && step.op == PatchOp::Remove,
            immutable: before.filter(|_| is_immutable(attribute)).cloned(),
            subs: if attribute.multi_valued { Vec::new() } else { subs.filter_map(value_of).collect() },
        }
    }

    /// Checks what the step made of it and returns that. An immutable value that is equal by its
    /// definition stays as it was written first.
    ///
    /// # Errors
    /// `mutability`, and 413 for more work than the budget holds.
    pub fn keep_values(
        self,
        after: Option<Value>,
        step: &PatchStep,
        work: &WorkBudget,
    ) -> Result<Option<Value>, ScimError> {
        let path = path_of(step, self.attribute);
        let required = |what: &str| Err(cannot_be_removed(what).by(self.rule, what));
        let immutable = || Err(is_immutable(&step.to_string()));
        if self.was_there && after.is_none() && self.attribute.required && !self.left_to_rules {
            return required(&path);
        }
        let Some(mut after) = after else {
            let fixed = self.subs.iter().find(|(sub, _)| sub.mutability == Mutability::Immutable);
            return match (self.immutable, fixed) {
                (Some(_), _) => immutable(),
                (None, Some((sub, _))) => Err(is_immutable(&format!("{path}.{}", sub.name))),
                (None, None) => Ok(None),
            };
        };
        if let Some(before) = self.immutable {
            return if is_equal(self.attribute, &before, &after, work)? {
                Ok(Some(before))
            } else {
                immutable()
            };
        }
        for (sub, before) in self.subs {
            let Some(now) = after.get_mut(&sub.name) else {
                let path = format!("{path}.{}", sub.name);
                return if sub.required { required(&path) } else { Err(is_immutable(&path)) };
            };
            if sub.mutability == Mutability::Immutable {
                if !is_equal(sub, &before, now, work)? {
                    return Err(is_immutable(&format!("{path}.{}", sub.name)));
                }
                *now = before;
            }
        }
        Ok(Some(after))
    }
}

/// The path of a step's attribute, with the URN of its extension.
fn path_of(step: &PatchStep, attribute: &Attribute) -> String {
    match &step.extension {
        Some(urn) => format!("{urn}:{}", attribute.name),
        None => attribute.name.clone(),
    }
}

/// The refusal of a step that leaves a required attribute without a value.
pub(super) fn cannot_be_removed(path: &str) -> ScimError {
    ScimError::mutability(format!("Attribute {path} is required and cannot be removed."))
        .by(Rule::Required, path)
}

/// The refusal of a step that changes an immutable attribute.
pub(super) fn is_immutable(path: &str) -> ScimError {
    ScimError::mutability(format!("Attribute {path} is immutable: it keeps the value it was given first."))
}

/// All attributes of an extension away.
pub(super) fn remove_extension(
    resource: &mut Map<String, Value>,
    step: &PatchStep,
    resource_type: &ResourceType,
) -> Result<(), ScimError> {
    let Some(schema) = step.extension.as_deref().and_then(|urn| resource_type.schema_of(urn)) else {
        return Ok(());
    };
    let Some(Value::Object(object)) = resource.get(&schema.id) else { return Ok(()) };
    let is_fixed = |attribute: &&Attribute| {
        let Some(value) = object.get(&attribute.name) else { return false };
        let holds_immutable = |sub: &Attribute| {
            sub.mutability == Mutability::Immutable
                && !attribute.multi_valued
                && value.get(&sub.name).is_some()
        };
        attribute.required
            || matches!(attribute.mutability, Mutability::ReadOnly | Mutability::Immutable)
            || attribute.sub_attributes.iter().any(holds_immutable)
    };
    let fixed = schema.attributes.iter().find(is_fixed);
    if let Some(fixed) = fixed {
        return Err(ScimError::mutability(format!(
            "Attribute {}:{} cannot be removed.",
            schema.id, fixed.name
        )));
    }
    resource.shift_remove(&schema.id);
    Ok(())
}

/// `schemas` follows from the attributes, so that a change of it is at most a repetition.
pub(super) fn schemas(
    step: &PatchStep,
    resource_type: &ResourceType,
    policy: &Policy,
) -> Result<(), ScimError> {
    let listed = match &step.value {
        Some(Value::Array(elements)) => elements.as_slice(),
        None | Some(Value::Null) => &[],
        Some(one) => std::slice::from_ref(one),
    };
    let Some(urns) = listed.iter().map(Value::as_str).collect::<Option<Vec<_>>>() else {
        let sent = step.value.as_ref();
        return Err(refuse_member(ErrorKind::InvalidSyntax, "schemas", "an array of texts", sent));
    };
    let core = &resource_type.schema.id;
    let names_core = urns.iter().any(|urn| names_core(urn, resource_type, policy));
    if urns.is_empty() && step.op != PatchOp::Remove {
        // No value at all is that of a resource whose `schemas` was left out.
        return match policy.tolerant {
            true => Ok(()),
            false => Err(ScimError::invalid_syntax(format!("schemas must contain {core}."))),
        };
    }
    if !policy.tolerant && urns.iter().any(|urn| resource_type.schema_of(urn).is_none()) {
        return Err(ScimError::invalid_syntax("schemas holds a URN that no schema of this resource has."));
    }
    match step.op {
        PatchOp::Replace if !names_core => {
            Err(ScimError::invalid_syntax(format!("schemas must contain {core}.")))
        }
        PatchOp::Remove if names_core || urns.is_empty() => {
            Err(ScimError::mutability(format!("{core} cannot be removed from schemas.")))
        }
        _ => Ok(()),
    }
}

/// A read-only value may be repeated, as Okta does with `id` before every change of a group, and be
/// null. Of `meta`, what was true when it was read may be sent back.
///
/// # Errors
/// `mutability` for any other value, 413 for more work than the budget holds.
pub(super) fn read_only(
    resource: &Map<String, Value>,
    step: &PatchStep,
    (attribute, sub): (&Attribute, Option<&Attribute>),
    work: &WorkBudget,
) -> Result<(), ScimError> {
    let values = match &step.extension {
        Some(urn) => resource.get(urn).and_then(Value::as_object),
        None => Some(resource),
    };
    let whole = values.and_then(|values| values.get(&step.attribute));
    let current = match &step.sub {
        Some(sub) => whole.and_then(|value| value.get(sub)),
        None => whole,
    };
    let value = step.value.as_ref().unwrap_or(&Value::Null);
    let same = match (step.op, step.attribute(), &step.sub) {
        (PatchOp::Remove, ..) => current.is_none(),
        (_, Some("meta"), sub) => whole.and_then(Value::as_object).is_some_and(|meta| match (sub, value) {
            (Some(name), value) => was_true(meta, name, value),
            (None, Value::Object(said)) => said.iter().all(|(name, value)| was_true(meta, name, value)),
            (None, value) => value.is_null(),
        }),
        _ => says_nothing_new(sub.unwrap_or(attribute), current.unwrap_or(&Value::Null), value, work)?,
    };
    if same { Ok(()) } else { Err(refuse_read_only(&step.to_string())) }
}

/// Whether a member of `meta` is or was so: an earlier version, an earlier time of change.
fn was_true(meta: &Map<String, Value>, name: &str, value: &Value) -> bool {
    let own = |name: &str| meta.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, own)| own);
    let current = own(name).unwrap_or(&Value::Null);
    if repeats(current, value) {
        return true;
    }
    let (Some(current), Some(said)) = (current.as_str(), value.as_str()) else { return false };
    let version = |text: &str| -> Option<u64> {
        text.trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?.parse().ok()
    };
    match name.to_ascii_lowercase().as_str() {
        "version" => version(said).zip(version(current)).is_some_and(|(said, now)| said > 0 && said <= now),
        "created" => instant(said).is_some() && instant(said) == instant(current),
        "lastmodified" => {
            let made = own("created").and_then(Value::as_str).and_then(instant);
            instant(said).is_some_and(|said| made.is_none_or(|made| said >= made))
                && instant(said) <= instant(current)
        }
        // Whichever host and stage the resource was read at.
        "location" => parts(said).is_some() && parts(said) == parts(current),
        _ => false,
    }
}

/// Whether a value that no schema defines is the current one, or nothing.
fn repeats(current: &Value, value: &Value) -> bool {
    value.is_null() || current == value || (current.is_null() && is_unassigned(value))
}

/// Whether a value is the current one by the attribute's definition, a part of it, or nothing
/// (RFC 7643 §2.5). The elements of an array come in any order.
fn says_nothing_new(
    attribute: &Attribute,
    current: &Value,
    value: &Value,
    work: &WorkBudget,
) -> Result<bool, ScimError> {
    work.spend(1)?;
    match (current, value) {
        (_, Value::Null) => Ok(true),
        (Value::Null, Value::Array(value)) => Ok(value.is_empty()),
        (Value::Null, Value::Object(value)) => Ok(value.is_empty()),
        (Value::Object(current), Value::Object(value)) => {
            for (name, value) in value {
                let own = current.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                let own = own.map_or(&Value::Null, |(_, own)| own);
                let is_known = match attribute.sub_attribute(name) {
                    Some(sub) => says_nothing_new(sub, own, value, work)?,
                    None => repeats(own, value),
                };
                if !is_known {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Array(current), Value::Array(value)) if current.len() == value.len() => {
            if all_repeated(attribute, current.iter().zip(value), work)? {
                return Ok(true);
            }
            let (current, value) = (in_order(attribute, current, work)?, in_order(attribute, value, work)?);
            all_repeated(attribute, current.into_iter().zip(value), work)
        }
        (current, value) => is_equal(attribute, current, value, work),
    }
}

/// Whether the second of each pair says nothing new.
fn all_repeated<'v>(
    attribute: &Attribute,
    pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    work: &WorkBudget,
) -> Result<bool, ScimError> {
    for (current, value) in pairs {
        if !says_nothing_new(attribute, current, value, work)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The elements in the order of their keys.
fn in_order<'v>(
    attribute: &Attribute,
    elements: &'v [Value],
    work: &WorkBudget,
) -> Result<Vec<&'v Value>, ScimError> {
    let keyed = elements.iter().map(|element| Ok((identity(attribute, element, work)?, element)));
    let mut keyed = keyed.collect::<Result<Vec<_>, ScimError>>()?;
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(keyed.into_iter().map(|(_, element)| element).collect())
}

/// A user's `groups` are those whose members hold the user. To name the same ones again changes
/// nothing; to add some of them, or none, does not either.
///
/// # Errors
/// `mutability` for any other value, 413 for more work than the budget holds.
pub(super) fn groups(
    resource: &Map<String, Value>,
    step: &PatchStep,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    let values = [resource.get("groups"), step.value.as_ref()].into_iter().flatten();
    let count: usize = values.map(|value| value.as_array().map_or(1, Vec::len)).sum();
    work.spend(STEPS_PER_GROUP * count as u64)?;
    let current = resource.get("groups").and_then(groups_named).unwrap_or_default();
    let value = step.value.as_ref().unwrap_or(&Value::Null);
    let same = match (step.op, step.filter.is_some() || step.sub.is_some()) {
        (PatchOp::Remove, _) => current.is_empty(),
        (_, true) => value.is_null(),
        (PatchOp::Add, false) => groups_named(value).is_some_and(|named| named.is_subset(&current)),
        (PatchOp::Replace, false) => value.is_null() || groups_named(value) == Some(current),
    };
    if same {
        return Ok(());
    }
    let detail = "A user's groups are changed through the groups' members.";
    Err(ScimError::mutability(detail).by(Rule::ReadOnly, "groups"))
}
