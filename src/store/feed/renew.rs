//! A new id for the feed of a table that was restored from a backup.
//!
//! Readers of the table from before know numbers that the restored feed does not have yet. If it went on at its
//! end, it would give these numbers to other changes. So:
//!
//! - The feed gets a new id. Every position that a reader has stored is lost, and the reader takes a snapshot.
//! - The numbers go on far behind those of any reader. A page without changes stands for the numbers between. It is
//!   put on the condition that no page begins there, so a sequencer that runs meanwhile cannot put one.
//!
//! A backup may hold half of a transaction that was under way. A page that is missing is made up for by a page
//! without changes. A change in the outbox is dropped if a page has it, or if its resource lacks its version.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::consumer::ConsumerState;
use super::outbox::{self, QueuedChange};
use super::page::FeedPage;
use super::state::FeedState;
use super::subject::state_keys;
use crate::clock;
use crate::limits::{FEED_BUCKET, FEED_PAGES_PER_READ, RENEWAL_RETRIES, RENEWED_FEED_STEP};
use crate::store::call::{Range, Table};
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::item::get_number;
use crate::store::keys;
use crate::store::retry::Attempts;
use crate::store::transaction::Action;

/// What became of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedRenewal {
    /// Its new id.
    pub feed: String,
    /// The number of the last change from before.
    pub last: u64,
    /// The number of the next change.
    pub next: u64,
    /// How many gaps between pages were filled.
    pub gaps: u64,
    /// How many changes were dropped from the outbox.
    pub dropped: u64,
    /// How many consumers go on from where they were.
    pub consumers: u64,
}

/// Gives the feed a new id, and settles what a backup holds in part. Consumers keep their positions: they get the
/// changes that the restored feed has after these, some of them a second time.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
/// [`StoreError::Refused`] if the feed kept changing.
pub async fn renew(table: &Table) -> Result<FeedRenewal, StoreError> {
    let mut renewal = FeedRenewal::default();
    let mut attempts = Attempts::new(RENEWAL_RETRIES);
    let mut last = StoreError::Conflict;
    while attempts.start_next().await {
        let state = FeedState::fetch(table).await?;
        settle_outbox(table, &state, &mut renewal).await?;
        match replace_id(table, &state, &mut renewal).await {
            Ok(()) => return Ok(renewal),
            // A sequencer has put a page meanwhile.
            Err(refused @ StoreError::Refused(_)) => last = refused,
            Err(failed) => return Err(failed),
        }
    }
    Err(last)
}

/// Reads all pages, fills the gaps between them, and drops from the outbox what is no change of the feed to come.
async fn settle_outbox(
    table: &Table,
    state: &FeedState,
    renewal: &mut FeedRenewal,
) -> Result<(), StoreError> {
    let mut waiting = BTreeMap::new();
    for item in outbox::list(table, None).await? {
        let Ok(queued) = QueuedChange::from_item(&item) else { continue };
        let Some(change) = &queued.change else { continue };
        if lacks_version(table, &queued).await? {
            drop_change(table, &queued, renewal).await?;
        } else {
            waiting.insert(change.id.clone(), queued);
        }
    }
    let (mut next, mut bucket) = (state.floor, state.floor / FEED_BUCKET);
    loop {
        let after = (bucket == state.floor / FEED_BUCKET).then(|| keys::feed_page(state.floor - 1).sk);
        let mut range = Range { after, limit: Some(FEED_PAGES_PER_READ), ..Range::default() };
        loop {
            let found = table.query(&keys::feed_bucket(bucket * FEED_BUCKET), &range).await?;
            for item in &found.items {
                let page = FeedPage::from_item(item)?;
                if page.first > next {
                    let filler = FeedPage::without_changes(next, page.first - 1, clock::epoch_seconds())?;
                    table.transact(|| vec![filler.put(state.kept)]).await?;
                    renewal.gaps += 1;
                }
                next = page.last + 1;
                for change in page.changes()? {
                    if let Some(queued) = waiting.remove(&change.id) {
                        drop_change(table, &queued, renewal).await?;
                    }
                }
            }
            range.after = found.next;
            if range.after.is_none() {
                break;
            }
        }
        match next / FEED_BUCKET {
            following if following > bucket => bucket = following,
            // Pages may follow a gap at the end of a partition.
            _ if state.near_end / FEED_BUCKET > bucket => bucket = state.near_end / FEED_BUCKET,
            _ => break,
        }
    }
    renewal.last = next - 1;
    Ok(())
}

/// Whether the table does not have what a change tells: its transaction is in the backup in part.
async fn lacks_version(table: &Table, queued: &QueuedChange) -> Result<bool, StoreError> {
    let Some(change) = &queued.change else { return Ok(false) };
    let name = &queued.name;
    let keys = state_keys(table, &name.tenant, &change.resource_type, &change.resource_id).await?;
    if keys.is_empty() {
        return Ok(false);
    }
    let items = table.get_together(&keys).await?;
    let version = items.iter().flatten().next().map(|item| get_number(item, "ver").unwrap_or(1_u64));
    let is_deletion = change.event_type.ends_with(".deleted");
    Ok(version.map_or(!is_deletion, |version| version < name.version))
}

async fn drop_change(
    table: &Table,
    queued: &QueuedChange,
    renewal: &mut FeedRenewal,
) -> Result<(), StoreError> {
    match table.transact(|| vec![queued.take_out()]).await {
        Ok(()) => renewal.dropped += 1,
        // A sequencer was faster.
        Err(StoreError::Refused(_)) => {}
        Err(failed) => return Err(failed),
    }
    Ok(())
}

/// Writes the new id, the page without changes, and the positions of the consumers, in one transaction.
async fn replace_id(table: &Table, state: &FeedState, renewal: &mut FeedRenewal) -> Result<(), StoreError> {
    let id = FeedState::new_id()?;
    let end = renewal.last;
    // So far behind that no place of the restored feed is looked for in the partitions of the new numbers.
    let next = (end + 2 * FEED_BUCKET).div_ceil(RENEWED_FEED_STEP) * RENEWED_FEED_STEP;
    let filler = FeedPage::without_changes(end + 1, next - 1, clock::epoch_seconds())?;
    let consumers = ConsumerState::list(table).await?;
    let known = || consumers.iter().filter(|consumer| consumer.position.feed == state.id);
    let actions = || {
        let mut actions = vec![filler.put(state.kept), state.renew(&id, next)];
        actions.extend(known().map(|consumer| {
            let position = consumer.position.seq.min(end);
            let update = Expression::update()
                .set("feed", AttributeValue::S(id.clone()))
                .set("position", AttributeValue::N(position.to_string()))
                .remove("batchEnd");
            Action::update(keys::consumer(&consumer.name), update)
                .only_if(Expression::exists(), Refusal::Gone)
        }));
        actions
    };
    table.transact(actions).await?;
    (renewal.consumers, renewal.feed, renewal.next) = (known().count() as u64, id.clone(), next);
    Ok(())
}
