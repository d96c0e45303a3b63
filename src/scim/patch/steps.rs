//! The steps of a PATCH with what can be known of them without the resource (RFC 7644 §3.5.2).

use serde_json::{Map, Value};

use super::apply::check_values;
use super::members::MemberChange;
use super::request::{PatchStep, read_operations};
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::policy::Policy;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::work::WorkBudget;

/// What a PATCH changes.
#[derive(Debug)]
pub struct PatchSteps<'a> {
    /// The members of a group, if a step is about them.
    pub members: Option<MemberChange<'a>>,
    /// The steps on other attributes.
    pub others: Vec<PatchStep>,
}

impl<'a> PatchSteps<'a> {
    /// Reads the body of a PATCH. Values of attributes other than `members` are checked later, when the steps are applied.
    /// They are checked here too if there is a fault already, so that one answer names all faults.
    ///
    /// # Errors
    /// Those of [`parse`](super::request::parse) and of [`MemberChange::read`], and `invalidValue`.
    pub fn read(
        body: &Map<String, Value>,
        resource_type: &'a ResourceType,
        policy: &'a Policy,
        work: &WorkBudget,
    ) -> Result<Self, ScimError> {
        let (steps, mut faults) = read_operations(body, resource_type, policy, work)?;
        let is_group = resource_type.kind == Some(Kind::Group);
        let of_members = |step: &PatchStep| is_group && step.attribute() == Some(MEMBERS);
        let (of_members, others): (Vec<PatchStep>, Vec<PatchStep>) = steps.into_iter().partition(of_members);
        let mut members = None;
        if !of_members.is_empty() {
            members = faults.keep(MemberChange::read(&of_members, resource_type, policy, work))?;
        }
        if !faults.is_empty() {
            check_values(&others, resource_type, policy, work, &mut faults);
        }
        faults.finish()?;
        Ok(Self { members, others })
    }
}
