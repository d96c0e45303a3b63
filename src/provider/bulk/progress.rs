//! How far a Bulk request has come: which units may begin, which references are resolved, and what became
//! of each operation.

use std::collections::BTreeSet;

use crate::provider::answer::Answer;
use crate::provider::failure::Failure;
use crate::provider::precondition::{EntityTags, Preconditions};
use crate::scim::bulk::plan::Plan;
use crate::scim::bulk::references::{Referent, resolve};
use crate::scim::bulk::request::{BulkAction, BulkRequest, BulkTarget, TargetId};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::Model;

/// An operation that was done.
#[derive(Clone, Debug)]
pub(super) struct BulkSuccess {
    pub status: u16,
    pub location: String,
    /// Of the resource as the operation left it; none where it is gone.
    pub version: Option<String>,
}

impl BulkSuccess {
    pub fn new(status: u16, answer: Answer) -> Self {
        let version = Some(answer.etag());
        Self { status, location: answer.location, version }
    }

    /// The id of the resource.
    pub fn id(&self) -> &str {
        self.location.rsplit('/').next().unwrap_or_default()
    }

    /// What a reference to the resource stands for.
    pub fn referent(&self) -> Referent {
        Referent { id: self.id().to_owned(), location: self.location.clone() }
    }
}

/// What became of an operation.
pub(super) type BulkOutcome = Result<BulkSuccess, Failure>;

/// An operation with its references resolved.
#[derive(Clone, Debug)]
pub(super) struct BulkStep {
    /// Its place in the request.
    pub at: usize,
    pub bulk_id: Option<String>,
    pub action: BulkAction,
    pub preconditions: Preconditions,
}

/// One unit of the plan, ready to run.
pub(super) struct BulkTask {
    pub unit: usize,
    pub circular: bool,
    pub steps: Vec<BulkStep>,
}

/// How far a request has come.
pub(super) struct BulkRun<'a> {
    pub request: &'a BulkRequest,
    plan: &'a Plan,
    model: &'a Model,
    /// What became of each operation, in the request's order.
    pub outcomes: Vec<Option<BulkOutcome>>,
    /// How many operations failed.
    pub errors: u64,
    /// For every unit, how many others it waits for.
    waits: Vec<usize>,
    ready: BTreeSet<usize>,
}

impl<'a> BulkRun<'a> {
    /// A request of which nothing is done yet.
    pub fn new(request: &'a BulkRequest, plan: &'a Plan, model: &'a Model) -> Self {
        let waits: Vec<usize> = plan.units.iter().map(|unit| unit.after.len()).collect();
        let ready = (0..waits.len()).filter(|unit| waits[*unit] == 0).collect();
        let outcomes = request.operations.iter().map(|_| None).collect();
        Self { request, plan, model, outcomes, errors: 0, waits, ready }
    }

    /// The next unit to begin.
    pub fn next(&mut self) -> Option<usize> {
        self.ready.pop_first()
    }

    /// The unit with its references resolved, or what its operations fail with at once.
    pub fn task(&self, unit: usize) -> Result<BulkTask, Vec<(usize, BulkOutcome)>> {
        let planned = &self.plan.units[unit];
        let steps: Vec<Result<BulkStep, ScimError>> =
            planned.operations.iter().map(|at| self.step(*at, &planned.operations)).collect();
        let failed =
            planned.operations.iter().zip(&steps).find_map(|(at, step)| Some((*at, step.as_ref().err()?)));
        let Some((culprit, cause)) = failed else {
            let steps = steps.into_iter().filter_map(Result::ok).collect();
            return Ok(BulkTask { unit, circular: planned.circular, steps });
        };
        let shared = needed_operation_failed(self.name(culprit), cause);
        let outcomes = planned.operations.iter().zip(&steps);
        Err(outcomes
            .map(|(at, step)| (*at, Err(step.as_ref().err().unwrap_or(&shared).clone().into())))
            .collect())
    }

    /// The operation with its references resolved.
    fn step(&self, at: usize, unit: &[usize]) -> Result<BulkStep, ScimError> {
        let operation = &self.request.operations[at];
        let mut action = operation.action.clone()?;
        for name in &self.plan.references[at] {
            match self.plan.creators.get(name) {
                None => {
                    return Err(ScimError::invalid_value(format!(
                        "bulkId:{} is not resolved: no operation of this request creates it.",
                        shorten_text(name)
                    )));
                }
                Some(creator) if unit.contains(creator) => {}
                Some(creator) => {
                    if let Some(Err(failure)) = &self.outcomes[*creator] {
                        return Err(needed_operation_failed(name, &failure.error));
                    }
                }
            }
        }
        let find = |name: &str| self.find_created(name).map(BulkSuccess::referent);
        let subject = action.subject(self.model);
        if let BulkAction::Create(_, data) | BulkAction::Replace(_, data) | BulkAction::Modify(_, data) =
            &mut action
            && let Some(subject) = subject
        {
            resolve(data, subject, &find);
        }
        if let BulkAction::Replace(target, _) | BulkAction::Modify(target, _) | BulkAction::Delete(target) =
            &mut action
        {
            self.resolve_target(target);
        }
        let if_match = operation.version.as_deref().map(EntityTags::parse);
        let preconditions = Preconditions { if_match, if_none_match: None };
        Ok(BulkStep { at, bulk_id: operation.bulk_id.clone(), action, preconditions })
    }

    /// Replaces the `bulkId` in a path by the id of what was created.
    fn resolve_target(&self, target: &mut BulkTarget) {
        if let TargetId::BulkId(name) = &target.id
            && let Some(done) = self.find_created(name)
        {
            target.id = TargetId::Id(done.id().to_owned());
        }
    }

    /// What the operation with this name created.
    pub fn find_created(&self, name: &str) -> Option<&BulkSuccess> {
        let creator = self.plan.creators.get(name)?;
        self.outcomes[*creator].as_ref()?.as_ref().ok()
    }

    fn name(&self, at: usize) -> &str {
        self.request.operations[at].bulk_id.as_deref().unwrap_or_default()
    }

    /// A unit has ended: what waited for it may begin.
    pub fn end(&mut self, unit: usize, outcomes: Vec<(usize, BulkOutcome)>) {
        for (at, outcome) in outcomes {
            self.errors += u64::from(outcome.is_err());
            self.outcomes[at] = Some(outcome);
        }
        for (other, planned) in self.plan.units.iter().enumerate().skip(unit + 1) {
            if planned.after.contains(&unit) {
                self.waits[other] -= 1;
                if self.waits[other] == 0 {
                    self.ready.insert(other);
                }
            }
        }
    }

    /// Ends a unit none of whose operations was begun.
    pub fn end_all(&mut self, unit: usize, error: &ScimError) {
        let operations = &self.plan.units[unit].operations;
        let outcomes = operations.iter().map(|at| (*at, Err(error.clone().into()))).collect();
        self.end(unit, outcomes);
    }

    /// The time is over: what is under way may take effect or not.
    pub fn give_up(&mut self) {
        for unit in 0..self.plan.units.len() {
            let begun = self.waits[unit] == 0 && !self.ready.contains(&unit);
            for at in &self.plan.units[unit].operations {
                self.outcomes[*at].get_or_insert_with(|| Err(out_of_time(begun).into()));
            }
        }
    }
}

/// An operation cannot be done because another failed.
pub(super) fn needed_operation_failed(name: &str, cause: &ScimError) -> ScimError {
    let kind = match cause.kind {
        kind @ (ErrorKind::Unavailable | ErrorKind::Busy) => kind,
        _ => ErrorKind::InvalidValue,
    };
    let name = shorten_text(name);
    ScimError::new(
        kind,
        format!("Nothing was done: the operation with the bulkId {name} failed, which this one needs."),
    )
}

/// An operation for which there was no time.
pub(super) fn out_of_time(begun: bool) -> ScimError {
    ScimError::new(
        ErrorKind::Unavailable,
        if begun {
            "The time of the request ended before the operation did; whether it took effect is not known. Send it again."
        } else {
            "The time of the request ended before the operation was begun. Send it again, in a smaller request."
        },
    )
}
