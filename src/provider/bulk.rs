//! `POST /Bulk` (RFC 7644 §3.7): many operations, each as if it came alone.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Provider, not_found};
use super::failure::Failure;
use super::precondition::{EntityTags, Preconditions};
use crate::scim::bulk::plan::Plan;
use crate::scim::bulk::references::{Referent, resolve};
use crate::scim::bulk::request::{BulkAction, BulkRequest, BulkTarget, TargetId};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::projection::Projection;
use crate::scim::resource::location;
use crate::scim::resource_type::Model;
use crate::scim::urn;
use crate::scim::values::shown;
use crate::store::keys::parse_id;

/// How many operations run side by side.
pub(super) const WIDTH: usize = 8;

/// The time that a request has: API Gateway waits for 29 seconds.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// After this nothing is begun.
    pub begin: Duration,
    /// After this nothing is waited for.
    pub answer: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { begin: Duration::from_secs(24), answer: Duration::from_secs(27) }
    }
}

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
struct BulkTask {
    unit: usize,
    circular: bool,
    steps: Vec<BulkStep>,
}

/// How far a request has come.
struct BulkRun<'a> {
    request: &'a BulkRequest,
    plan: &'a Plan,
    model: &'a Model,
    outcomes: Vec<Option<BulkOutcome>>,
    errors: u64,
    /// For every unit, how many others it waits for.
    waits: Vec<usize>,
    ready: BTreeSet<usize>,
    /// Units that met a unique value which an earlier operation may have set free since.
    again: BTreeSet<usize>,
}

impl Provider<'_> {
    /// Does the operations of a request and answers what became of each, in the client's order.
    ///
    /// Without `failOnErrors` independent operations run side by side. With it they run one by
    /// one, and after so many errors the rest is neither begun nor in the answer.
    ///
    /// # Errors
    /// None of an operation: those are in the answer.
    pub async fn bulk(&self, request: &BulkRequest, budget: Budget) -> Result<Value, Failure> {
        let began = Instant::now();
        let plan = Plan::new(request, self.model);
        let mut run = BulkRun::new(request, &plan, self.model);
        let projection = Projection::parse(&["id"], &[], &self.model.types())?;
        let (limit, width) = match request.fail_on_errors {
            Some(limit) => (limit, 1),
            None => (u64::MAX, WIDTH),
        };
        let mut retried = HashSet::new();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < width
                && run.errors < limit
                && let Some(unit) = run.next(running.is_empty())
            {
                if began.elapsed() >= budget.begin {
                    run.end_all(unit, &late(false));
                    continue;
                }
                match run.task(unit) {
                    Ok(task) => running.push(self.task(task, &projection, width, began + budget.begin)),
                    Err(outcomes) => run.end(unit, outcomes),
                }
            }
            let left = budget.answer.saturating_sub(began.elapsed());
            match tokio::time::timeout(left, running.next()).await {
                Ok(Some((unit, outcomes))) => {
                    let taken = outcomes.iter().any(|(_, outcome): &(usize, BulkOutcome)| {
                        outcome.as_ref().is_err_and(|failure| failure.error.kind == ErrorKind::Uniqueness)
                    });
                    if width > 1 && taken && run.follows_changes(unit) && retried.insert(unit) {
                        run.again.insert(unit);
                    } else {
                        run.end(unit, outcomes);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    run.give_up();
                    break;
                }
            }
        }
        Ok(self.answer_bulk(&run))
    }

    async fn task(
        &self,
        task: BulkTask,
        projection: &Projection,
        width: usize,
        until: Instant,
    ) -> (usize, Vec<(usize, BulkOutcome)>) {
        let BulkTask { unit, circular, steps } = task;
        if circular {
            return (unit, self.create_cyclic_resources(steps, projection, width, until).await);
        }
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            let at = step.at;
            outcomes.push((at, self.step(step, projection).await));
        }
        (unit, outcomes)
    }

    async fn step(&self, step: BulkStep, projection: &Projection) -> BulkOutcome {
        let id = |target: &BulkTarget| match &target.id {
            TargetId::Id(id) => parse_id(id).ok_or_else(|| not_found(target.kind)),
            TargetId::BulkId(_) => Err(not_found(target.kind)),
        };
        let preconditions = &step.preconditions;
        match &step.action {
            BulkAction::Create(kind, data) => {
                Ok(BulkSuccess::new(201, self.create(*kind, data, projection).await?))
            }
            BulkAction::Replace(target, data) => {
                let (kind, id) = (target.kind, id(target)?);
                let outcome = self.replace(kind, id, data, projection, preconditions).await;
                Ok(BulkSuccess::new(200, self.unless_missing(kind, id, outcome).await?))
            }
            BulkAction::Modify(target, data) => {
                let (kind, id) = (target.kind, id(target)?);
                let outcome = self.modify(kind, id, data, projection, preconditions).await;
                Ok(BulkSuccess::new(200, self.unless_missing(kind, id, outcome).await?))
            }
            BulkAction::Delete(target) => {
                let (kind, id) = (target.kind, id(target)?);
                self.delete(kind, id, preconditions).await?;
                let location = location(&self.base_url, kind, &id.to_string());
                Ok(BulkSuccess { status: 204, location, version: None })
            }
        }
    }

    /// The answer (RFC 7644 §3.7.3): a body only where an operation failed.
    fn answer_bulk(&self, run: &BulkRun<'_>) -> Value {
        let operations = run.request.operations.iter().zip(&run.outcomes);
        let shown = operations.filter_map(|(operation, outcome)| {
            let outcome = outcome.as_ref()?;
            let mut shown = Map::new();
            let place = match outcome {
                Ok(done) => Some(done.location.clone()),
                Err(_) => operation.target.as_ref().and_then(|target| match &target.id {
                    TargetId::Id(id) => Some(location(&self.base_url, target.kind, id)),
                    TargetId::BulkId(name) => run.done(name).map(|done| done.location.clone()),
                }),
            };
            let texts = [
                ("location", place),
                ("method", operation.method.clone()),
                ("bulkId", operation.bulk_id.clone()),
                ("version", outcome.as_ref().ok().and_then(|done| done.version.clone())),
            ];
            for (name, text) in texts {
                shown.extend(text.map(|text| (name.to_owned(), text.into())));
            }
            match outcome {
                Ok(done) => {
                    shown.insert("status".to_owned(), done.status.to_string().into());
                }
                Err(failure) => {
                    let (status, _) = failure.error.kind.wire();
                    if status >= 500 {
                        self.log(failure);
                    }
                    shown.insert("status".to_owned(), status.to_string().into());
                    shown.insert("response".to_owned(), failure.error.body());
                }
            }
            Some(Value::Object(shown))
        });
        let shown: Vec<Value> = shown.collect();
        json!({ "schemas": [urn::BULK_RESPONSE], "Operations": shown })
    }

    fn log(&self, failure: &Failure) {
        tracing::error!(
            request_id = self.store.request_id,
            tenant = %self.store.tenant,
            status = failure.error.kind.wire().0,
            source = failure.source.as_deref().unwrap_or("the time ran out"),
            "an operation of a Bulk request failed"
        );
    }
}

impl<'a> BulkRun<'a> {
    fn new(request: &'a BulkRequest, plan: &'a Plan, model: &'a Model) -> Self {
        let waits: Vec<usize> = plan.units.iter().map(|unit| unit.after.len()).collect();
        let ready = (0..waits.len()).filter(|unit| waits[*unit] == 0).collect();
        let outcomes = request.operations.iter().map(|_| None).collect();
        Self { request, plan, model, outcomes, errors: 0, waits, ready, again: BTreeSet::new() }
    }

    /// The next unit to begin. What is tried again runs alone, after all that can run.
    fn next(&mut self, idle: bool) -> Option<usize> {
        let ready = self.ready.pop_first();
        ready.or_else(|| idle.then(|| self.again.pop_first()).flatten())
    }

    /// Whether an operation that stands before the unit could set a unique value free: side by
    /// side, the unit may have met the value too early.
    fn follows_changes(&self, unit: usize) -> bool {
        let first = self.plan.units[unit].operations.first().copied().unwrap_or(0);
        self.request.operations[..first].iter().any(|earlier| !earlier.creates() && earlier.action.is_ok())
    }

    /// The unit with its references resolved, or what its operations fail with at once.
    fn task(&self, unit: usize) -> Result<BulkTask, Vec<(usize, BulkOutcome)>> {
        let planned = &self.plan.units[unit];
        let steps: Vec<Result<BulkStep, ScimError>> =
            planned.operations.iter().map(|at| self.step(*at, &planned.operations)).collect();
        let failed =
            planned.operations.iter().zip(&steps).find_map(|(at, step)| Some((*at, step.as_ref().err()?)));
        let Some((culprit, cause)) = failed else {
            let steps = steps.into_iter().filter_map(Result::ok).collect();
            return Ok(BulkTask { unit, circular: planned.circular, steps });
        };
        let shared = fails_with(self.name(culprit), cause);
        let outcomes = planned.operations.iter().zip(&steps);
        Err(outcomes
            .map(|(at, step)| (*at, Err(step.as_ref().err().unwrap_or(&shared).clone().into())))
            .collect())
    }

    fn step(&self, at: usize, unit: &[usize]) -> Result<BulkStep, ScimError> {
        let operation = &self.request.operations[at];
        let mut action = operation.action.clone()?;
        for name in &self.plan.references[at] {
            match self.plan.creators.get(name) {
                None => {
                    return Err(ScimError::invalid_value(format!(
                        "bulkId:{} is not resolved: no operation of this request creates it.",
                        shown(name)
                    )));
                }
                Some(creator) if unit.contains(creator) => {}
                Some(creator) => {
                    if let Some(Err(failure)) = &self.outcomes[*creator] {
                        return Err(fails_with(name, &failure.error));
                    }
                }
            }
        }
        let find = |name: &str| self.done(name).map(BulkSuccess::referent);
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
            self.aim(target);
        }
        let if_match = operation.version.as_deref().map(EntityTags::parse);
        let preconditions = Preconditions { if_match, if_none_match: None };
        Ok(BulkStep { at, bulk_id: operation.bulk_id.clone(), action, preconditions })
    }

    fn aim(&self, target: &mut BulkTarget) {
        if let TargetId::BulkId(name) = &target.id
            && let Some(done) = self.done(name)
        {
            target.id = TargetId::Id(done.id().to_owned());
        }
    }

    /// What the operation with this name created.
    fn done(&self, name: &str) -> Option<&BulkSuccess> {
        let creator = self.plan.creators.get(name)?;
        self.outcomes[*creator].as_ref()?.as_ref().ok()
    }

    fn name(&self, at: usize) -> &str {
        self.request.operations[at].bulk_id.as_deref().unwrap_or_default()
    }

    /// A unit has ended: what waited for it may begin.
    fn end(&mut self, unit: usize, outcomes: Vec<(usize, BulkOutcome)>) {
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

    fn end_all(&mut self, unit: usize, error: &ScimError) {
        let operations = &self.plan.units[unit].operations;
        let outcomes = operations.iter().map(|at| (*at, Err(error.clone().into()))).collect();
        self.end(unit, outcomes);
    }

    /// The time is over: what is under way may take effect or not.
    fn give_up(&mut self) {
        for unit in 0..self.plan.units.len() {
            let begun = self.waits[unit] == 0 && !self.ready.contains(&unit) && !self.again.contains(&unit);
            for at in &self.plan.units[unit].operations {
                self.outcomes[*at].get_or_insert_with(|| Err(late(begun).into()));
            }
        }
    }
}

/// An operation cannot be done because another failed.
pub(super) fn fails_with(name: &str, cause: &ScimError) -> ScimError {
    let kind = match cause.kind {
        ErrorKind::Unavailable => ErrorKind::Unavailable,
        _ => ErrorKind::InvalidValue,
    };
    let name = shown(name);
    ScimError::new(
        kind,
        format!("Nothing was done: the operation with the bulkId {name} failed, which this one needs."),
    )
}

/// An operation for which there was no time.
pub(super) fn late(begun: bool) -> ScimError {
    ScimError::new(
        ErrorKind::Unavailable,
        if begun {
            "The time of the request ended before the operation did; whether it took effect is not known. Send it again."
        } else {
            "The time of the request ended before the operation was begun. Send it again, in a smaller request."
        },
    )
}
