//! What runs every minute: finishes the changes that their requests had no time for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Table;
use super::error::StoreError;
use super::keys;
use super::resource::Store;
use super::work::{Pending, STAGED_SECONDS, State};
use crate::clock;

/// How long one round goes on; the next one takes over.
const BUDGET: Duration = Duration::from_secs(45);

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Changes that are applied now.
    pub finished: usize,
    /// Changes that were never committed, given up.
    pub aborted: usize,
    /// Leftovers of changes that were over already, removed.
    pub cleared: usize,
    /// Changes that the next round goes on with, and those that are being made right now.
    pub left: usize,
    /// Why changes could not be finished.
    pub failures: Vec<String>,
}

/// One round as a Lambda function runs it: an error where something failed, so that an alarm on
/// the function's errors tells of it, and otherwise the report.
///
/// # Errors
/// The failures, as one text.
pub async fn invoke(table: &Table) -> Result<Value, String> {
    let report = round(table).await.map_err(|failed| failed.to_string())?;
    let Report { finished, aborted, cleared, left, failures } = report;
    if finished + aborted + cleared + left > 0 {
        tracing::info!(finished, aborted, cleared, left, "pending changes");
    }
    if failures.is_empty() {
        Ok(json!({ "finished": finished, "aborted": aborted, "cleared": cleared, "left": left }))
    } else {
        Err(failures.join("; "))
    }
}

/// Goes through every pending change of every tenant once. A change that cannot be finished does
/// not keep the others from it.
///
/// # Errors
/// As every call, when the changes cannot be listed.
pub async fn round(table: &Table) -> Result<Report, StoreError> {
    let until = Instant::now() + BUDGET;
    let mut report = Report::default();
    for shard in 0..keys::WORK_SHARDS {
        for item in table.query_all(&keys::work_partition(shard), None).await? {
            let outcome = match Pending::from_item(&item) {
                Ok(pending) => one(table, &pending, until).await,
                Err(broken) => Err(broken),
            };
            match outcome {
                Ok(Some(State::Committed)) => report.finished += 1,
                Ok(Some(State::Staged)) => report.aborted += 1,
                Ok(Some(State::Aborted | State::Done)) => report.cleared += 1,
                Ok(None) => report.left += 1,
                Err(failed) => {
                    report.left += 1;
                    report.failures.push(failed.to_string());
                }
            }
        }
    }
    Ok(report)
}

/// Brings one change to its end: the state that it was in, or `None` where it is not there yet.
async fn one(table: &Table, pending: &Pending, until: Instant) -> Result<Option<State>, StoreError> {
    let store = Store {
        table: table.clone(),
        tenant: pending.tenant.clone(),
        actor: pending.actor.clone(),
        request_id: pending.request_id.clone(),
    };
    let over = match pending.state {
        // Whoever staged it may be about to commit.
        State::Staged if clock::epoch_seconds() < pending.created + STAGED_SECONDS => false,
        State::Staged => store.abort(pending).await?,
        State::Committed | State::Aborted | State::Done => store.carry_out(pending, until).await?,
    };
    Ok(over.then_some(pending.state))
}
