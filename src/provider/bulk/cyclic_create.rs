//! Creates resources of a Bulk request that refer to one another in a circle (RFC 7644 §3.7.1).
//!
//! First all are created without the references that cannot be resolved yet. Then these references are
//! added. If one operation fails, what was created is deleted again, and every operation fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::Bulk;
use super::progress::{BulkOutcome, BulkStep, BulkSuccess, needed_operation_failed, out_of_time};
use crate::provider::ResourceRequest;
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::scim::bulk::references::{BulkDataForm, BulkSubject, Referent, divide, resolve};
use crate::scim::bulk::request::BulkAction;
use crate::scim::error::ErrorKind;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::keys::parse_id;

/// Tells the operations of a circle to stop: after the first failure, and when the time is over.
struct StopFlag {
    failed: AtomicBool,
    until: Instant,
}

/// A new resource of the circle.
struct PendingCreate {
    at: usize,
    name: String,
    kind: Kind,
    now: Map<String, Value>,
    later: Map<String, Value>,
}

impl Bulk<'_> {
    /// Creates the resources of a circle, all or none.
    pub(super) async fn create_cyclic_resources(
        &self,
        steps: Vec<BulkStep>,
        projection: &Projection,
        width: usize,
        until: Instant,
    ) -> Vec<(usize, BulkOutcome)> {
        let open: BTreeSet<String> = steps.iter().filter_map(|step| step.bulk_id.clone()).collect();
        let creates: Vec<PendingCreate> =
            steps.into_iter().filter_map(|step| self.pending_create(step, &open)).collect();
        let stop = StopFlag { failed: AtomicBool::new(false), until };
        let changing = self.provider.changing();
        let creations =
            creates.iter().map(|create| stop.run(changing.create(create.kind, &create.now, projection)));
        let mut made: Vec<Option<BulkOutcome>> = side_by_side(creations.collect(), width)
            .await
            .into_iter()
            .map(|outcome| outcome.map(|created| Ok(BulkSuccess::new(201, created?))))
            .collect();
        let created: Vec<Option<BulkSuccess>> =
            made.iter().map(|outcome| outcome.as_ref()?.as_ref().ok().cloned()).collect();
        if !stop.is_set() {
            let found: HashMap<&str, Referent> = creates
                .iter()
                .zip(&created)
                .filter_map(|(create, done)| Some((create.name.as_str(), done.as_ref()?.referent())))
                .collect();
            let additions = creates.iter().zip(&created).map(|(create, done)| {
                stop.run(self.add_missing_references(create, done.as_ref(), &found, projection))
            });
            made = side_by_side(additions.collect(), width).await;
        }
        if !stop.is_set() {
            return creates
                .iter()
                .zip(made)
                .filter_map(|(create, outcome)| Some((create.at, outcome?)))
                .collect();
        }
        self.delete_created(&creates, made, &created, width).await
    }

    fn pending_create(&self, step: BulkStep, open: &BTreeSet<String>) -> Option<PendingCreate> {
        let BulkAction::Create(kind, data) = step.action else { return None };
        let (now, later) = divide(&data, self.provider.ty(kind), open);
        Some(PendingCreate { at: step.at, name: step.bulk_id?, kind, now, later })
    }

    /// Adds to a new resource the references that were left out.
    async fn add_missing_references(
        &self,
        create: &PendingCreate,
        created: Option<&BulkSuccess>,
        found: &HashMap<&str, Referent>,
        projection: &Projection,
    ) -> BulkOutcome {
        let done = created.ok_or_else(|| Failure::from(out_of_time(false)))?;
        if create.later.is_empty() {
            return Ok(done.clone());
        }
        let mut later = create.later.clone();
        let subject =
            BulkSubject { resource_type: self.provider.ty(create.kind), form: BulkDataForm::Resource };
        resolve(&mut later, subject, &|name| found.get(name).cloned());
        let patch = json!({ "schemas": [urn::PATCH_OP], "Operations": [{ "op": "add", "value": later }] });
        let (Some(id), Value::Object(patch)) = (parse_id(done.id()), patch) else {
            return Err(out_of_time(false).into());
        };
        let preconditions = &Preconditions::default();
        let request = ResourceRequest { kind: create.kind, id, projection, preconditions };
        let changed = self.provider.changing().modify(&request, &patch).await?;
        Ok(BulkSuccess::new(201, changed))
    }

    /// Deletes what was created, and tells every operation why.
    async fn delete_created(
        &self,
        creates: &[PendingCreate],
        made: Vec<Option<BulkOutcome>>,
        created: &[Option<BulkSuccess>],
        width: usize,
    ) -> Vec<(usize, BulkOutcome)> {
        let deletions = creates.iter().zip(created).map(|(create, done)| async move {
            let done = done.as_ref()?;
            let id = parse_id(done.id())?;
            let deleted = self.provider.changing().delete(create.kind, id, &Preconditions::default()).await;
            let left = deleted.is_err_and(|failure| failure.error.kind != ErrorKind::NotFound);
            left.then(|| done.location.clone())
        });
        let left = side_by_side(deletions.collect(), width).await;
        let culprit = creates.iter().zip(&made).find_map(|(create, outcome)| match outcome {
            Some(Err(failure)) => Some((create.name.as_str(), failure.error.clone())),
            _ => None,
        });
        let (name, cause) = culprit.unwrap_or_else(|| ("", out_of_time(false)));
        let shared = needed_operation_failed(name, &cause);
        let outcomes = creates.iter().zip(made).zip(left).map(|((create, outcome), left)| {
            let mut failure = match outcome {
                Some(Err(failure)) => failure,
                _ => Failure::from(shared.clone()),
            };
            if let Some(location) = left {
                let error = &mut failure.error;
                error.detail =
                    format!("{} What was created at {location} could not be deleted again.", error.detail);
            }
            (create.at, Err(failure))
        });
        outcomes.collect()
    }
}

impl StopFlag {
    fn is_set(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Runs a step and returns its outcome. `None` if an earlier failure set the flag before the step began.
    async fn run<T>(&self, step: impl Future<Output = Result<T, Failure>>) -> Option<Result<T, Failure>> {
        if self.is_set() {
            return None;
        }
        let outcome = if Instant::now() < self.until { step.await } else { Err(out_of_time(false).into()) };
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
