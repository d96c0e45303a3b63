//! A round of the worker, every minute: it finishes the changes that their requests had no time for, and erases
//! the deactivated accounts whose retention has ended.

use std::time::Instant;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};

use super::large_change::pending_change::{ChangeState, PendingChange};
use crate::clock;
use crate::limits::{
    MAX_STAGED_SECONDS, PENDING_CHANGE_SHARDS, WORKER_CHANGES_AT_ONCE, WORKER_ROUND, WORKER_TURN,
};
use crate::log::metrics::{self, Metric};
use crate::store::Store;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::expiry::purge_expired;
use crate::store::keys;

/// What a round of the worker did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// How many changes it finished.
    pub finished: usize,
    /// How many staged changes it aborted.
    pub aborted: usize,
    /// How many changes that were done or aborted already it deleted.
    pub cleared: usize,
    /// How many changes are left: for the next round, or staged by a request that is still running.
    pub left: usize,
    /// How many changes are done and kept for a while.
    pub resting: usize,
    /// How many deactivated accounts it erased.
    pub purged: usize,
    /// Why it could not finish changes or erase accounts.
    pub failures: Vec<String>,
}

impl WorkerReport {
    fn fail(&mut self, failed: &StoreError) {
        self.left += 1;
        self.failures.push(failed.to_string());
    }
}

/// Works on every pending change of every tenant, and then erases the accounts whose retention has ended.
/// Each change gets five seconds a turn, so none starves, however large another one is. A change that
/// fails does not stop the others.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`] if the changes cannot be listed.
pub async fn round(table: &Table) -> Result<WorkerReport, StoreError> {
    let until = Instant::now() + WORKER_ROUND;
    let mut report = WorkerReport::default();
    let listed = (0..PENDING_CHANGE_SHARDS)
        .map(|shard| async move { table.query_all(&keys::pending_changes_shard(shard), None).await });
    let mut open = Vec::new();
    for item in try_join_all(listed).await?.iter().flatten() {
        match PendingChange::from_item(item) {
            Ok(pending) => open.push(pending),
            Err(broken) => report.fail(&broken),
        }
    }
    // Changes that are not committed come first, because they take one call.
    open.sort_by_key(|pending| (pending.state == ChangeState::Committed, pending.created));
    // When the changes in force were written down that stay unfinished.
    let mut unfinished = Vec::new();
    while !open.is_empty() {
        let turns = open.into_iter().map(|pending| async move {
            let outcome = take_turn(table, &pending, until.min(Instant::now() + WORKER_TURN)).await;
            (pending, outcome)
        });
        let turns: Vec<_> = stream::iter(turns).buffer_unordered(WORKER_CHANGES_AT_ONCE).collect().await;
        open = Vec::new();
        for (pending, outcome) in turns {
            match (outcome, pending.state) {
                (Ok(true), ChangeState::Committed) => report.finished += 1,
                (Ok(true), ChangeState::Staged) => report.aborted += 1,
                (Ok(true), ChangeState::Aborted | ChangeState::Done) => report.cleared += 1,
                (Ok(false), ChangeState::Committed) if Instant::now() < until => open.push(pending),
                (Ok(false), ChangeState::Done) => report.resting += 1,
                (Ok(false), ChangeState::Committed) => {
                    report.left += 1;
                    unfinished.push(pending.created);
                }
                // It is not in force. Its request may be running, or was stopped.
                (Ok(false), ChangeState::Staged | ChangeState::Aborted) => report.left += 1,
                (Err(failed), _) => {
                    report.fail(&failed);
                    unfinished.push(pending.created);
                }
            }
        }
    }
    let oldest = unfinished.into_iter().min();
    let age = oldest.map_or(0, |created| clock::epoch_seconds().saturating_sub(created));
    metrics::write("pending changes", &[(Metric::OldestPendingChangeSeconds, age as f64)]);
    let purges = Box::pin(purge_expired(table, until)).await;
    report.purged = purges.purged;
    purges.failures.iter().for_each(|failed| report.fail(failed));
    Ok(report)
}

/// Works on one change until `until`. Returns whether nothing of it is left to do.
async fn take_turn(table: &Table, pending: &PendingChange, until: Instant) -> Result<bool, StoreError> {
    let store = Store {
        table: table.clone(),
        tenant: pending.tenant.clone(),
        actor: pending.actor.clone(),
        request_id: pending.request_id.clone(),
    };
    match pending.state {
        _ if pending.in_grace_period() => Ok(false),
        // The request that staged it may be about to commit it.
        ChangeState::Staged if clock::epoch_seconds() < pending.created + MAX_STAGED_SECONDS => Ok(false),
        ChangeState::Staged => store.large_changes().abort(pending).await,
        ChangeState::Committed | ChangeState::Aborted | ChangeState::Done => {
            store.large_changes().apply_until(pending, until).await
        }
    }
}
