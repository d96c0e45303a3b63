//! Whether the feed of the whole deployment is in order: its pages, the outbox, the positions of its consumers, and
//! the changes of what belongs to no tenant.
//!
//! Pages are read one after another and not kept. The ids of the changes in the outbox are kept. What another
//! process is just changing is read again at a moment when no transaction on it is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::changes::{Subjects, check_changes};
use super::inventory::CheckedSubject;
use super::ledger::SubjectState;
use super::report::{FeedReport, Finding, Problem};
use crate::admin::progress::Progress;
use crate::admin::when;
use crate::clock;
use crate::limits::{APPLY_TIMEOUT, FEED_BUCKET, FEED_PAGES_PER_READ, MAX_OUTBOX_SECONDS};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;
use crate::store::feed::consumer::ConsumerState;
use crate::store::feed::outbox::{self, QueuedChange};
use crate::store::feed::page::FeedPage;
use crate::store::feed::sequencer::Sequencer;
use crate::store::feed::state::FeedState;
use crate::store::feed::subject::unique_name;
use crate::store::item::{Item, get_text, key_of, must_text};
use crate::store::keys::{self, Key, TenantId};
use crate::store::webhook::Webhook;

/// The consumer that is not a webhook.
const BUS: &str = "bus";

/// Checks the feed. With `repairs`, the sequencer runs before, so that changes which were left in the outbox enter the
/// feed. Nothing else is repaired.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn check_feed(table: &Table, repairs: bool) -> Result<FeedReport, StoreError> {
    check_feed_with_progress(table, repairs, &Progress::hidden()).await
}

/// The same as [`check_feed`], and tells how far it is.
///
/// # Errors
/// As [`check_feed`].
pub async fn check_feed_with_progress(
    table: &Table,
    repairs: bool,
    progress: &Progress,
) -> Result<FeedReport, StoreError> {
    let mut report = FeedReport::default();
    if repairs {
        report.moved = Sequencer::new(table).run(Instant::now() + APPLY_TIMEOUT).await?.moved;
    }
    let state = FeedState::fetch(table).await?;
    let mut check = FeedCheck { table, state, report, progress, waiting: BTreeMap::new(), next: 0 };
    check.read_outbox().await?;
    let consumers = ConsumerState::list(table).await?;
    check.read_pages().await?;
    check.check_state();
    check.check_consumers(&consumers).await?;
    check.confirm().await?;
    let mut report = check.report;
    report.consumers = consumers.len() as u64;
    // Where pages are missing, changes cannot be looked for.
    if !report.findings.iter().any(|finding| is_of_pages(finding.problem)) {
        let deployment = TenantId::deployment();
        let subjects = read_subjects(table).await?;
        report
            .findings
            .extend(check_changes(table, &deployment, deployment.as_str(), &subjects, progress).await?);
    }
    report.findings.sort();
    report.findings.dedup();
    Ok(report)
}

/// The application keys and webhooks.
async fn read_subjects(table: &Table) -> Result<Subjects, StoreError> {
    let mut subjects = Subjects::new();
    let mut add = |resource_type, id: &str, item: &Item| {
        let state = SubjectState::from_item(item);
        subjects.insert(id.to_owned(), CheckedSubject { resource_type, state });
    };
    let listed = table.query_all(keys::APPLICATIONS, None).await?;
    let places: Vec<Key> =
        listed.iter().filter_map(|item| get_text(item, "hash")).map(keys::application).collect();
    for item in table.batch_get(&places).await? {
        add("Application", must_text(&item, "appId")?, &item);
    }
    for item in Webhook::list_items(table).await? {
        add("Webhook", must_text(&item, "sk")?, &item);
    }
    Ok(subjects)
}

struct FeedCheck<'t> {
    table: &'t Table,
    state: FeedState,
    progress: &'t Progress,
    report: FeedReport,
    /// The keys of the changes in the outbox, by their ids.
    waiting: BTreeMap<String, Key>,
    /// The number of the next change.
    next: u64,
}

impl FeedCheck<'_> {
    fn add(&mut self, problem: Problem, key: Key, other: Option<Key>) {
        self.report.findings.push(Finding { problem, key, other });
    }

    async fn read_outbox(&mut self) -> Result<(), StoreError> {
        let now = clock::epoch_seconds();
        for item in outbox::list(self.table, None).await? {
            self.report.outbox += 1;
            let key = key_of(&item).ok_or_else(|| StoreError::Broken("an item has no key".to_owned()))?;
            let Ok(queued) = QueuedChange::from_item(&item) else {
                self.add(Problem::OutboxBroken, key, None);
                continue;
            };
            // A note about departures has no change.
            let Some(change) = &queued.change else { continue };
            let Some(time) = time_of(change).filter(|_| is_named(&queued, change)) else {
                self.add(Problem::OutboxBroken, key, None);
                continue;
            };
            if time + MAX_OUTBOX_SECONDS < now {
                self.add(Problem::OutboxOld, key.clone(), None);
            }
            self.waiting.insert(change.id.clone(), key);
        }
        Ok(())
    }

    /// Reads all pages from the oldest change that can be read.
    async fn read_pages(&mut self) -> Result<(), StoreError> {
        self.next = self.state.floor;
        // A page at the end that cannot be read is found below.
        let end = self.state.find_end(self.table).await.ok();
        let total = end.map(|end| end.next.saturating_sub(self.next));
        self.progress.begin(total, "changes read");
        let mut bucket = self.state.floor / FEED_BUCKET;
        let last = self.state.near_end / FEED_BUCKET;
        loop {
            let after = (bucket == self.state.floor / FEED_BUCKET)
                .then(|| keys::feed_page(self.state.floor.saturating_sub(1)).sk);
            let mut range = Range { after, limit: Some(FEED_PAGES_PER_READ), ..Range::default() };
            loop {
                let page = self.table.query(&keys::feed_bucket(bucket * FEED_BUCKET), &range).await?;
                let before = self.next;
                for item in &page.items {
                    self.read_page(item).await?;
                }
                self.progress.advance(self.next.saturating_sub(before));
                range.after = page.next;
                if range.after.is_none() {
                    break;
                }
            }
            // Pages may follow a gap at the end of a partition.
            match self.next / FEED_BUCKET {
                following if following > bucket => bucket = following,
                _ if last > bucket => bucket = last,
                _ => return Ok(()),
            }
        }
    }

    async fn read_page(&mut self, item: &Item) -> Result<(), StoreError> {
        let key = key_of(item).ok_or_else(|| StoreError::Broken("an item has no key".to_owned()))?;
        self.report.pages += 1;
        let Ok(page) = FeedPage::from_item(item) else {
            self.add(Problem::PageBroken, key, None);
            return Ok(());
        };
        if page.first > self.next {
            // The page between may have become visible since then.
            if let Some(between) = self.fetch_at_rest(keys::feed_page(self.next)).await? {
                Box::pin(self.read_page(&between)).await?;
            }
        }
        if page.first > self.next {
            self.add(Problem::PageMissing, keys::feed_page(self.next), Some(key.clone()));
        } else if page.first < self.next {
            self.add(Problem::PageOverlap, key.clone(), Some(keys::feed_page(self.next)));
        }
        self.next = self.next.max(page.last + 1);
        let changes = page.changes().ok().filter(|changes| is_whole(&page, changes));
        let Some(changes) = changes else {
            self.add(Problem::PageBroken, key, None);
            return Ok(());
        };
        self.report.changes += changes.len() as u64;
        for change in &changes {
            if let Some(repeated) = self.waiting.get(&change.id).cloned() {
                self.add(Problem::OutboxRepeated, repeated, Some(key.clone()));
            }
        }
        Ok(())
    }

    async fn fetch_at_rest(&self, key: Key) -> Result<Option<Item>, StoreError> {
        Ok(self.table.get_together(&[key]).await?.pop().flatten())
    }

    /// The search for the end begins at a number that is not behind it, and the id has its form.
    fn check_state(&mut self) {
        let state = &self.state;
        let has_id = state.id.len() == 16 && state.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !has_id || state.floor == 0 || state.near_end > self.next {
            self.add(Problem::FeedState, keys::feed_state(), Some(keys::feed_page(self.next)));
        }
    }

    async fn check_consumers(&mut self, consumers: &[ConsumerState]) -> Result<(), StoreError> {
        let (feed, floor, end) = (self.state.id.clone(), self.state.floor, self.next);
        for consumer in consumers {
            let seq = consumer.position.seq;
            let is_in_feed = consumer.position.feed == feed && seq + 1 >= floor && seq < end;
            let has_batch = consumer.batch_end.is_none_or(|last| last > seq && last < end);
            if !is_in_feed || !has_batch {
                self.add(Problem::ConsumerLost, keys::consumer(&consumer.name), None);
            }
        }
        let webhooks = Webhook::list_items(self.table).await?;
        let webhooks = webhooks.iter().filter_map(|item| get_text(item, "sk")).map(str::to_owned);
        let names = consumers.iter().map(|consumer| consumer.name.clone()).filter(|name| name != BUS);
        let (webhooks, names): (BTreeSet<String>, BTreeSet<String>) = (webhooks.collect(), names.collect());
        for name in webhooks.symmetric_difference(&names) {
            let both = [keys::webhook(name), keys::consumer(name)];
            let found = self.table.get_together(&both).await?;
            if found.iter().flatten().count() == 1 {
                let [webhook, consumer] = both;
                self.add(Problem::ConsumerUnknown, consumer, Some(webhook));
            }
        }
        Ok(())
    }

    /// Drops findings about items of the outbox that have moved meanwhile.
    async fn confirm(&mut self) -> Result<(), StoreError> {
        let is_moving =
            |problem| matches!(problem, Problem::OutboxBroken | Problem::OutboxOld | Problem::OutboxRepeated);
        let mut confirmed = Vec::new();
        for finding in std::mem::take(&mut self.report.findings) {
            if !is_moving(finding.problem) || self.fetch_at_rest(finding.key.clone()).await?.is_some() {
                confirmed.push(finding);
            }
        }
        self.report.findings = confirmed;
        Ok(())
    }
}

const fn is_of_pages(problem: Problem) -> bool {
    matches!(problem, Problem::FeedState | Problem::PageMissing | Problem::PageOverlap | Problem::PageBroken)
}

/// When a change was made, in seconds since 1970.
fn time_of(change: &FeedChange) -> Option<u64> {
    u64::try_from(when::moment(&change.time)?.unix_timestamp()).ok()
}

/// Whether a change in the outbox is the one that its key names.
fn is_named(queued: &QueuedChange, change: &FeedChange) -> bool {
    let name = &queued.name;
    queued.key == name.key()
        && change.tenant == name.tenant.as_str()
        && unique_name(&change.resource_type, &change.resource_id) == name.resource
        && change.version == name.version
        && change.part.unwrap_or(0) == name.part
}

/// Whether a page has as many changes as it says, and each of them is whole.
fn is_whole(page: &FeedPage, changes: &[FeedChange]) -> bool {
    let is_change = |change: &FeedChange| {
        !change.id.is_empty()
            && !change.incarnation.is_empty()
            && !change.resource_id.is_empty()
            && change.tenant.parse::<TenantId>().is_ok()
            && change.version > 0
    };
    // A page without changes stands for numbers that were left out.
    let has_all = changes.is_empty() || changes.len() as u64 == page.last + 1 - page.first;
    has_all && changes.iter().all(is_change)
}
