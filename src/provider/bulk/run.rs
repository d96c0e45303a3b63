//! Runs a Bulk request (RFC 7644 §3.7) within its time, and answers it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::try_join;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Bulk;
use super::progress::{BulkOutcome, BulkRun, BulkStep, BulkSuccess, BulkTask, out_of_time};
use crate::limits::{BULK_OPERATIONS_AT_ONCE, MAX_BULK_BEGIN_TIME, MAX_BULK_TIME};
use crate::provider::ResourceRequest;
use crate::provider::answer::not_found;
use crate::provider::failure::Failure;
use crate::scim::bulk::conflicts::{Name, TenantState, names as names_in};
use crate::scim::bulk::plan::Plan;
use crate::scim::bulk::request::{BulkAction, BulkOperation, BulkRequest, BulkTarget, TargetId};
use crate::scim::projection::Projection;
use crate::scim::resource::location;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::error::StoreError;
use crate::store::index::{self, Index};
use crate::store::keys::parse_id;

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
        Self { begin: MAX_BULK_BEGIN_TIME, answer: MAX_BULK_TIME }
    }
}

impl Bulk<'_> {
    /// Does the operations of a request and answers what became of each, in the client's order.
    ///
    /// Without `failOnErrors` operations that cannot meet run side by side. With it they run one by one. After
    /// that many errors no further operation begins, and the answer leaves out those that did not begin.
    ///
    /// # Errors
    /// 503 if the table does not answer while the operations are ordered. None of an operation: those are in the answer.
    pub async fn run(&self, request: &BulkRequest, budget: Budget) -> Result<Value, Failure> {
        let began = Instant::now();
        let plan = match tokio::time::timeout(budget.begin, self.plan(request)).await {
            Ok(plan) => plan?,
            // No operation is begun any more, so their order does not count.
            Err(_) => Plan::new(request, self.provider.model, &TenantState::default()),
        };
        let mut run = BulkRun::new(request, &plan, self.provider.model);
        let projection = Projection::parse(&["id"], &[], &self.provider.model.types())?;
        let (limit, width) = match request.fail_on_errors {
            Some(limit) => (limit, 1),
            None => (u64::MAX, BULK_OPERATIONS_AT_ONCE),
        };
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < width
                && run.errors < limit
                && let Some(unit) = run.next()
            {
                if began.elapsed() >= budget.begin {
                    run.end_all(unit, &out_of_time(false));
                    continue;
                }
                match run.task(unit) {
                    Ok(task) => running.push(self.run_task(task, &projection, width, began + budget.begin)),
                    Err(outcomes) => run.end(unit, outcomes),
                }
            }
            let left = budget.answer.saturating_sub(began.elapsed());
            match tokio::time::timeout(left, running.next()).await {
                Ok(Some((unit, outcomes))) => run.end(unit, outcomes),
                Ok(None) => break,
                Err(_) => {
                    run.give_up();
                    break;
                }
            }
        }
        Ok(self.answer_run(&run))
    }

    /// Plans a request, and reads what the order of its operations depends on. One by one in the client's order, they
    /// depend on nothing.
    ///
    /// # Errors
    /// 503 if the table does not answer.
    async fn plan(&self, request: &BulkRequest) -> Result<Plan, Failure> {
        if request.fail_on_errors.is_some() || request.operations.len() < 2 {
            let plan = Plan::new(request, self.provider.model, &TenantState::default());
            if plan.keeps_order() {
                return Ok(plan);
            }
        }
        Ok(Plan::new(request, self.provider.model, &self.tenant_state(request).await?))
    }

    async fn tenant_state(&self, request: &BulkRequest) -> Result<TenantState, Failure> {
        let changes = |operation: &BulkOperation| operation.kind().is_some() && !operation.creates();
        let administrators = async {
            match request.operations.iter().any(changes) {
                true => self.provider.store.admin_guard().fetch().await,
                false => Ok(None),
            }
        };
        let (guard, holders) = try_join(administrators, self.fetch_holders(request)).await?;
        let administrators = guard.into_iter().flat_map(|guard| {
            let ids = guard.admins.keys().chain(&guard.granting);
            ids.map(Uuid::to_string).collect::<Vec<_>>()
        });
        Ok(TenantState {
            administrators: administrators.collect(),
            holders,
            limits_deactivations: self.provider.breaker.is_some(),
            names_follow_emails: self.provider.model.policy.user_name_is_primary_email,
        })
    }

    /// Reads who holds the names that the operations give.
    async fn fetch_holders(&self, request: &BulkRequest) -> Result<BTreeMap<Name, String>, StoreError> {
        let mut names = Vec::new();
        let mut entries = Vec::new();
        for (name, text) in names_in(request, self.provider.model.policy.user_name_is_primary_email) {
            let path = match name.0 {
                Kind::User => "userName",
                Kind::Group => "displayName",
            };
            if let Some((Index::Claim, entry)) = index::entry(self.provider.ty(name.0), path, &text) {
                names.push(name);
                entries.push(entry);
            }
        }
        if entries.is_empty() {
            return Ok(BTreeMap::new());
        }
        let claims = self.provider.store.fetch_claims(&entries).await?;
        let held = names.into_iter().zip(claims);
        Ok(held.filter_map(|(name, claim)| Some((name, claim?.id.to_string()))).collect())
    }

    async fn run_task(
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
            outcomes.push((at, self.run_step(step, projection).await));
        }
        (unit, outcomes)
    }

    async fn run_step(&self, step: BulkStep, projection: &Projection) -> BulkOutcome {
        let id = |target: &BulkTarget| match &target.id {
            TargetId::Id(id) => parse_id(id).ok_or_else(|| not_found(target.kind)),
            TargetId::BulkId(_) => Err(not_found(target.kind)),
        };
        let preconditions = &step.preconditions;
        let (changing, reading) = (self.provider.changing(), self.provider.reading());
        match &step.action {
            BulkAction::Create(kind, data) => {
                Ok(BulkSuccess::new(201, changing.create(*kind, data, projection).await?))
            }
            BulkAction::Replace(target, data) => {
                let request =
                    ResourceRequest { kind: target.kind, id: id(target)?, projection, preconditions };
                let outcome = changing.replace(&request, data).await;
                Ok(BulkSuccess::new(200, reading.unless_missing(request.kind, request.id, outcome).await?))
            }
            BulkAction::Modify(target, data) => {
                let request =
                    ResourceRequest { kind: target.kind, id: id(target)?, projection, preconditions };
                let outcome = changing.modify(&request, data).await;
                Ok(BulkSuccess::new(200, reading.unless_missing(request.kind, request.id, outcome).await?))
            }
            BulkAction::Delete(target) => {
                let (kind, id) = (target.kind, id(target)?);
                changing.delete(kind, id, preconditions).await?;
                let location = location(&self.provider.base_url, kind, &id.to_string());
                Ok(BulkSuccess { status: 204, location, version: None })
            }
        }
    }

    /// The answer (RFC 7644 §3.7.3): a body only where an operation failed.
    fn answer_run(&self, run: &BulkRun<'_>) -> Value {
        let policy = self.provider.model.policy;
        let operations = run.request.operations.iter().zip(&run.outcomes);
        let shown = operations.filter_map(|(operation, outcome)| {
            let outcome = outcome.as_ref()?;
            let mut shown = Map::new();
            let place = match outcome {
                Ok(done) => Some(done.location.clone()),
                Err(_) => operation.target.as_ref().and_then(|target| match &target.id {
                    TargetId::Id(id) => Some(location(&self.provider.base_url, target.kind, id)),
                    TargetId::BulkId(name) => run.find_created(name).map(|done| done.location.clone()),
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
                    for note in failure.error.notes(policy) {
                        self.provider.work.notes.push(note);
                    }
                    let (status, _) = failure.error.kind.wire();
                    if status >= 500 {
                        self.log_failure(failure);
                    }
                    shown.insert("status".to_owned(), status.to_string().into());
                    shown.insert("response".to_owned(), failure.error.with_advice(policy).body());
                }
            }
            Some(Value::Object(shown))
        });
        let shown: Vec<Value> = shown.collect();
        json!({ "schemas": [urn::BULK_RESPONSE], "Operations": shown })
    }

    fn log_failure(&self, failure: &Failure) {
        tracing::error!(
            request_id = self.provider.store.request_id,
            tenant = %self.provider.store.tenant,
            status = failure.error.kind.wire().0,
            source = failure.source.as_deref().unwrap_or("the time ran out"),
            "an operation of a Bulk request failed"
        );
    }
}
