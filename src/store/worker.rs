//! What runs every minute: finishes the changes that their requests had no time for, and erases the
//! deactivated accounts whose time has passed.

use std::cell::LazyCell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::{Range, Table};
use super::error::StoreError;
use super::item::get_text;
use super::keys::{self, TenantId};
use super::resource::Store;
use super::work::{Pending, STAGED_SECONDS, State};
use crate::clock;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::{Kind, Model};

/// How long one round goes on; the next one takes over.
const BUDGET: Duration = Duration::from_secs(45);
/// How long one change keeps its turn while others wait.
const SLICE: Duration = Duration::from_secs(5);
/// So many changes are worked on side by side.
const AT_ONCE: usize = 4;
/// So many accounts that are to be erased are read at once.
const PURGES_AT_ONCE: i32 = 100;
/// Who erases accounts, in their events.
const ACTOR: &str = "worker";

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
    if let Err(failed) = purge_expired(table, until, &mut report).await {
        report.failures.push(failed.to_string());
    }
    Ok(report)
}

/// Erases the deactivated accounts whose time has passed, those that passed first.
async fn purge_expired(table: &Table, until: Instant, report: &mut Report) -> Result<(), StoreError> {
    let model = LazyCell::new(|| Model::new(&STANDARD, &[]));
    for shard in 0..keys::EXPIRY_SHARDS {
        let range = Range {
            through: Some(keys::expiry_until(clock::epoch_seconds())),
            limit: Some(PURGES_AT_ONCE),
            ..Range::default()
        };
        while Instant::now() < until {
            let page = table.query(&keys::expiry_partition(shard), &range).await?;
            for item in &page.items {
                let sk = get_text(item, "sk").unwrap_or_default();
                let Some((tenant, id, kept_until)) = keys::parse_expiry(sk) else { continue };
                let Ok(model) = &*model else { continue };
                report.purged += usize::from(purge_one(table, tenant, id, kept_until, model).await?);
            }
            if page.next.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Erases one account, and says whether it was still there. An account that came back, or was
/// deactivated again and is kept longer, stays.
async fn purge_one(
    table: &Table,
    tenant: TenantId,
    id: Uuid,
    kept_until: u64,
    model: &Model,
) -> Result<bool, StoreError> {
    let key = keys::expiry(&tenant, kept_until, id);
    let request_id = Uuid::now_v7().to_string();
    let store = Store { table: table.clone(), tenant, actor: ACTOR.to_owned(), request_id };
    if let Some(found) = store.any_tombstone(id).await?.filter(|found| found.kept_until == kept_until) {
        let event = store.event_of_version("user.purged", &found.record, found.record.version + 1);
        match store.purge(&found, model.of(Kind::User), &event).await {
            Ok(()) => return Ok(true),
            // It came back in this moment.
            Err(StoreError::Refused(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    table.batch_delete([key]).await?;
    Ok(false)
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
        State::Staged if clock::epoch_seconds() < pending.created + STAGED_SECONDS => Ok(false),
        State::Staged => store.abort(pending).await,
        State::Committed | State::Aborted | State::Done => store.carry_out(pending, until).await,
    }
}
