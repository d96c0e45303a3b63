//! The steps of a PATCH onto a resource (RFC 7644 §3.5.2.1–3).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::attribute_change::{AttributeChange, Scan};
use super::elements;
use super::mutability::{Constant, groups, read_only, remove_extension, schemas};
use super::request::PatchStep;
use crate::scim::attribute_holder::attribute_holder;
use crate::scim::error::ScimError;
use crate::scim::faults::Faults;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::schema::{Attribute, Mutability};
use crate::scim::values::ValueReader;
use crate::scim::work::{WorkBudget, value_steps};

/// The steps of the budget that an operation takes, without its work on values.
const STEPS_PER_OPERATION: u64 = 16;

/// Applies the steps of a PATCH to a whole resource (RFC 7644 §3.5.2). The resource holds `id`, `meta`, `schemas`
/// and a user's `groups`, so that a client may repeat their values.
///
/// Afterwards the caller calls [`check_required`](crate::scim::document_rules::check_required). After an error the
/// resource may be changed in part, so the caller passes a copy.
///
/// ```
/// # use rollcall::scim::{patch, policy::STANDARD, resource_type::{Kind, Model}, work::WorkBudget};
/// # use serde_json::json;
/// let model = Model::new(&STANDARD, &[])?;
/// let users = model.of(Kind::User);
/// let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [
///     { "op": "Replace", "path": "active", "value": "False" },
///     { "op": "add", "path": "emails", "value": [{ "value": "a@example.com" }] },
/// ] });
/// let work = WorkBudget::of_body();
/// let mut user = json!({ "id": "1", "userName": "a", "active": true });
///
/// let steps = patch::request::parse(body.as_object().unwrap(), users, &STANDARD, &work)?;
/// patch::apply::apply(user.as_object_mut().unwrap(), &steps, users, &STANDARD, &work)?;
///
/// let emails = json!([{ "value": "a@example.com" }]);
/// assert_eq!(user, json!({ "id": "1", "userName": "a", "active": false, "emails": emails }));
/// # Ok::<(), rollcall::scim::error::ScimError>(())
/// ```
///
/// # Errors
/// One error names the faults of all steps:
/// - `mutability` for an attribute that must not change
/// - `invalidValue` for a value that does not fit the attribute
/// - `noTarget` for a filter that selects nothing, if it must select something
/// - 413 for more work than the budget allows
pub fn apply(
    resource: &mut Map<String, Value>,
    steps: &[PatchStep],
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    let mut run = PatchRun { resource_type, policy, work, scans: BTreeMap::new(), failed: BTreeSet::new() };
    let mut faults = Faults::default();
    for step in steps {
        let path = (step.extension.clone(), step.attribute.clone());
        // A step that failed left its attribute half-way.
        if run.failed.contains(&path) {
            continue;
        }
        if faults.keep(run.step(resource, step))?.is_none() {
            run.failed.insert(path);
        }
    }
    faults.finish()
}

/// Checks the values of steps without a resource, and adds their faults. What depends on the resource is not checked:
/// whether a filter selects something, and whether an attribute may change. The check ends with the budget.
pub(super) fn check_values(
    steps: &[PatchStep],
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
    faults: &mut Faults,
) {
    for step in steps {
        if faults.keep(check_value(step, resource_type, policy, work)).is_err() {
            return;
        }
    }
}

fn check_value(
    step: &PatchStep,
    resource_type: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    work.spend(STEPS_PER_OPERATION)?;
    if step.attribute.is_empty() {
        return Ok(());
    }
    let (attribute, sub) = find(step, resource_type)?;
    match (resource_type.kind, step.attribute()) {
        (_, Some("schemas")) => return schemas(step, resource_type, policy),
        (Some(Kind::User), Some("groups")) => return Ok(()),
        _ if attribute.is_read_only() || sub.is_some_and(Attribute::is_read_only) => return Ok(()),
        _ => {}
    }
    let change = attribute_change(step, (attribute, sub), policy, work);
    work.spend(change.value_steps)?;
    if attribute.multi_valued { elements::check_value(&change) } else { change.change_single(None).map(drop) }
}

/// The attribute and the sub-attribute that a step names.
fn find<'a>(
    step: &PatchStep,
    resource_type: &'a ResourceType,
) -> Result<(&'a Attribute, Option<&'a Attribute>), ScimError> {
    let unknown = || ScimError::invalid_path(format!("No schema defines what the path {step} names."));
    let attribute = match &step.extension {
        Some(urn) => resource_type.schema_of(urn).and_then(|schema| schema.attribute(&step.attribute)),
        None => resource_type.core_attribute(&step.attribute),
    };
    let attribute = attribute.ok_or_else(unknown)?;
    let sub = match &step.sub {
        Some(name) => Some(attribute.sub_attribute(name).ok_or_else(unknown)?),
        None => None,
    };
    Ok((attribute, sub))
}

fn attribute_change<'a>(
    step: &'a PatchStep,
    (attribute, sub): (&'a Attribute, Option<&'a Attribute>),
    policy: &'a Policy,
    work: &'a WorkBudget,
) -> AttributeChange<'a> {
    AttributeChange {
        step,
        attribute,
        sub,
        reader: ValueReader::of_patch(policy, work),
        work,
        value_steps: step.value.as_ref().map_or(0, value_steps),
    }
}

/// What holds for all steps.
struct PatchRun<'a> {
    resource_type: &'a ResourceType,
    policy: &'a Policy,
    work: &'a WorkBudget,
    /// For every multi-valued attribute that was met, by its path.
    scans: BTreeMap<String, Scan>,
    /// The attributes, with the URNs of their extensions, on which a step failed.
    failed: BTreeSet<(Option<String>, String)>,
}

impl PatchRun<'_> {
    fn step(&mut self, resource: &mut Map<String, Value>, step: &PatchStep) -> Result<(), ScimError> {
        self.work.spend(STEPS_PER_OPERATION)?;
        if step.attribute.is_empty() {
            return remove_extension(resource, step, self.resource_type);
        }
        let (attribute, sub) = find(step, self.resource_type)?;
        match (self.resource_type.kind, step.attribute()) {
            (_, Some("schemas")) => return schemas(step, self.resource_type, self.policy),
            (Some(Kind::User), Some("groups")) => return groups(resource, step, self.work),
            _ => {}
        }
        if attribute.is_read_only() || sub.is_some_and(Attribute::is_read_only) {
            return read_only(resource, step, (attribute, sub), self.work);
        }
        self.write(resource, &attribute_change(step, (attribute, sub), self.policy, self.work))
    }

    fn write(
        &mut self,
        resource: &mut Map<String, Value>,
        change: &AttributeChange<'_>,
    ) -> Result<(), ScimError> {
        let (step, attribute) = (change.step, change.attribute);
        self.work.spend(change.value_steps)?;
        let extension = step.extension.as_deref();
        let holder = attribute_holder(resource, extension);
        let before = holder.get_mut(&attribute.name).map(Value::take);
        if let (Mutability::Immutable, Some(before)) = (attribute.mutability, &before) {
            // The whole value is kept, and compared at the end.
            self.work.spend(8 * value_steps(before))?;
        }
        let constant = Constant::of(attribute, before.as_ref(), step, (self.resource_type, self.policy));
        let after = if attribute.multi_valued {
            let scan = self.scans.entry(change.path()).or_default();
            elements::change(change, before, scan)?
        } else {
            change.change_single(before)?
        };
        match constant.keep_values(after, step, self.work)? {
            Some(after) => holder.insert(attribute.name.clone(), after),
            None => holder.shift_remove(&attribute.name),
        };
        if let Some(urn) = extension
            && holder.is_empty()
        {
            resource.shift_remove(urn);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
