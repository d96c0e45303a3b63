//! New resources that refer to one another in a circle (RFC 7644 §3.7.1). All are created without
//! the references that cannot be resolved yet, which are then added. They come to be together:
//! when one fails, those that were created are deleted again, and every operation fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::answer::Provider;
use super::bulk::{Done, Outcome, Step, fails_with, late};
use super::failure::Failure;
use super::precondition::Preconditions;
use crate::scim::bulk::references::{Form, Referent, Subject, divide, resolve};
use crate::scim::bulk::request::Action;
use crate::scim::error::ErrorKind;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::keys::parse_id;

/// Says whether to go on: not after a failure, and not after the time.
struct Brake {
    failed: AtomicBool,
    until: Instant,
}

/// A new resource of the circle.
struct Part {
    at: usize,
    name: String,
    kind: Kind,
    now: Map<String, Value>,
    later: Map<String, Value>,
}

impl Provider<'_> {
    /// Creates the resources of a circle, all or none.
    pub(super) async fn circle(
        &self,
        steps: Vec<Step>,
        projection: &Projection,
        width: usize,
        until: Instant,
    ) -> Vec<(usize, Outcome)> {
        let open: BTreeSet<String> = steps.iter().filter_map(|step| step.bulk_id.clone()).collect();
        let parts: Vec<Part> = steps.into_iter().filter_map(|step| self.part(step, &open)).collect();
        let brake = Brake { failed: AtomicBool::new(false), until };
        let creations = parts.iter().map(|part| brake.run(self.create(part.kind, &part.now, projection)));
        let mut made: Vec<Option<Outcome>> = side_by_side(creations.collect(), width)
            .await
            .into_iter()
            .map(|outcome| outcome.map(|created| Ok(Done::new(201, created?))))
            .collect();
        let created: Vec<Option<Done>> =
            made.iter().map(|outcome| outcome.as_ref()?.as_ref().ok().cloned()).collect();
        if !brake.is_on() {
            let found: HashMap<&str, Referent> = parts
                .iter()
                .zip(&created)
                .filter_map(|(part, done)| Some((part.name.as_str(), done.as_ref()?.referent())))
                .collect();
            let additions = parts
                .iter()
                .zip(&created)
                .map(|(part, done)| brake.run(self.complete(part, done.as_ref(), &found, projection)));
            made = side_by_side(additions.collect(), width).await;
        }
        if !brake.is_on() {
            return parts.iter().zip(made).filter_map(|(part, outcome)| Some((part.at, outcome?))).collect();
        }
        self.undo(&parts, made, &created, width).await
    }

    fn part(&self, step: Step, open: &BTreeSet<String>) -> Option<Part> {
        let Action::Create(kind, data) = step.action else { return None };
        let (now, later) = divide(&data, self.ty(kind), open);
        Some(Part { at: step.at, name: step.bulk_id?, kind, now, later })
    }

    /// Adds to a new resource the references that were left out.
    async fn complete(
        &self,
        part: &Part,
        created: Option<&Done>,
        found: &HashMap<&str, Referent>,
        projection: &Projection,
    ) -> Outcome {
        let done = created.ok_or_else(|| Failure::from(late(false)))?;
        if part.later.is_empty() {
            return Ok(done.clone());
        }
        let mut later = part.later.clone();
        let subject = Subject { resource_type: self.ty(part.kind), form: Form::Resource };
        resolve(&mut later, subject, &|name| found.get(name).cloned());
        let patch = json!({ "schemas": [urn::PATCH_OP], "Operations": [{ "op": "add", "value": later }] });
        let (Some(id), Value::Object(patch)) = (parse_id(done.id()), patch) else {
            return Err(late(false).into());
        };
        let changed = self.modify(part.kind, id, &patch, projection, &Preconditions::default()).await?;
        Ok(Done::new(201, changed))
    }

    /// Deletes what was created, and tells every operation why.
    async fn undo(
        &self,
        parts: &[Part],
        made: Vec<Option<Outcome>>,
        created: &[Option<Done>],
        width: usize,
    ) -> Vec<(usize, Outcome)> {
        let deletions = parts.iter().zip(created).map(|(part, done)| async move {
            let done = done.as_ref()?;
            let id = parse_id(done.id())?;
            let deleted = self.delete(part.kind, id, &Preconditions::default()).await;
            let left = deleted.is_err_and(|failure| failure.error.kind != ErrorKind::NotFound);
            left.then(|| done.location.clone())
        });
        let left = side_by_side(deletions.collect(), width).await;
        let culprit = parts.iter().zip(&made).find_map(|(part, outcome)| match outcome {
            Some(Err(failure)) => Some((part.name.as_str(), failure.error.clone())),
            _ => None,
        });
        let (name, cause) = culprit.unwrap_or_else(|| ("", late(false)));
        let shared = fails_with(name, &cause);
        let outcomes = parts.iter().zip(made).zip(left).map(|((part, outcome), left)| {
            let mut failure = match outcome {
                Some(Err(failure)) => failure,
                _ => Failure::from(shared.clone()),
            };
            if let Some(location) = left {
                let error = &mut failure.error;
                error.detail =
                    format!("{} What was created at {location} could not be deleted again.", error.detail);
            }
            (part.at, Err(failure))
        });
        outcomes.collect()
    }
}

impl Brake {
    fn is_on(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The outcome of a step; none where an earlier failure kept it from being begun.
    async fn run<T>(&self, step: impl Future<Output = Result<T, Failure>>) -> Option<Result<T, Failure>> {
        if self.is_on() {
            return None;
        }
        let outcome = if Instant::now() < self.until { step.await } else { Err(late(false).into()) };
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        Some(outcome)
    }
}

/// Runs a few at once, and returns what they return in their order.
async fn side_by_side<F: Future>(steps: Vec<F>, width: usize) -> Vec<F::Output> {
    stream::iter(steps).buffered(width).collect().await
}
