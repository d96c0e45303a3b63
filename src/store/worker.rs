//! What runs every minute: finishes the changes that their requests had no time for, and erases the
//! deactivated accounts whose time has passed.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::Store;
use super::call::Table;
use super::error::StoreError;
use super::expiry::purge_expired;
use super::keys;
use super::limits::MAX_STAGED_SECONDS;
use super::work::{Pending, State};
use crate::clock;

/// How long one round goes on; the next one takes over.
const BUDGET: Duration = Duration::from_secs(45);
/// How long one change keeps its turn while others wait.
const SLICE: Duration = Duration::from_secs(5);
/// So many changes are worked on side by side.
const AT_ONCE: usize = 4;
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
    /// Changes that are done, and kept for a moment.
    pub resting: usize,
    /// Deactivated accounts that were erased.
    pub purged: usize,
    /// Why changes could not be finished.
    pub failures: Vec<String>,
}

impl Report {
    fn fail(&mut self, failed: &StoreError) {
        self.left += 1;
        self.failures.push(failed.to_string());
    }
}

/// One round as a Lambda function runs it: an error where something failed, so that an alarm on
/// the function's errors tells of it, and otherwise the report.
///
/// # Errors
/// The failures, as one text.
pub async fn invoke(table: &Table) -> Result<Value, String> {
    let report = round(table).await.map_err(|failed| failed.to_string())?;
    let Report { finished, aborted, cleared, left, purged, failures, .. } = report;
    if finished + aborted + cleared + left + purged > 0 {
        tracing::info!(finished, aborted, cleared, left, purged, "what was left over");
    }
    if failures.is_empty() {
        Ok(json!({
            "finished": finished, "aborted": aborted, "cleared": cleared, "left": left, "purged": purged
        }))
    } else {
        Err(failures.join("; "))
    }
}

/// Goes through every pending change of every tenant, some side by side. None keeps the others from
/// their turn, however large it is or whatever is wrong with it: each has a slice of time, and
/// another when all have had theirs.
///
/// # Errors
/// As every call, when the changes cannot be listed.
pub async fn round(table: &Table) -> Result<Report, StoreError> {
    let until = Instant::now() + BUDGET;
    let mut report = Report::default();
    let listed = (0..keys::WORK_SHARDS)
        .map(|shard| async move { table.query_all(&keys::work_partition(shard), None).await });
    let mut open = Vec::new();
    for item in try_join_all(listed).await?.iter().flatten() {
        match Pending::from_item(item) {
            Ok(pending) => open.push(pending),
            Err(broken) => report.fail(&broken),
        }
    }
    // What takes one look first.
    open.sort_by_key(|pending| (pending.state == State::Committed, pending.created));
    while !open.is_empty() {
        let turns = open.into_iter().map(|pending| async move {
            let outcome = one(table, &pending, until.min(Instant::now() + SLICE)).await;
            (pending, outcome)
        });
        let turns: Vec<_> = stream::iter(turns).buffer_unordered(AT_ONCE).collect().await;
        open = Vec::new();
        for (pending, outcome) in turns {
            match (outcome, pending.state) {
                (Ok(true), State::Committed) => report.finished += 1,
                (Ok(true), State::Staged) => report.aborted += 1,
                (Ok(true), State::Aborted | State::Done) => report.cleared += 1,
                (Ok(false), State::Committed) if Instant::now() < until => open.push(pending),
                (Ok(false), State::Done) => report.resting += 1,
                (Ok(false), _) => report.left += 1,
                (Err(failed), _) => report.fail(&failed),
            }
        }
    }
    let purges = Box::pin(purge_expired(table, until)).await;
    report.purged = purges.purged;
    report.failures.extend(purges.failure.map(|failed| failed.to_string()));
    Ok(report)
}

/// Brings one change to its end, and says whether it is there.
async fn one(table: &Table, pending: &Pending, until: Instant) -> Result<bool, StoreError> {
    let store = Store {
        table: table.clone(),
        tenant: pending.tenant.clone(),
        actor: pending.actor.clone(),
        request_id: pending.request_id.clone(),
    };
    match pending.state {
        _ if pending.rests() => Ok(false),
        // Whoever staged it may be about to commit.
        State::Staged if clock::epoch_seconds() < pending.created + MAX_STAGED_SECONDS => Ok(false),
        State::Staged => store.abort(pending).await,
        State::Committed | State::Aborted | State::Done => store.carry_out(pending, until).await,
    }
}
