//! The sequencer: moves changes from the outbox into the feed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::change::FeedChange;
use super::departures::{self, DepartureState};
use super::kept::KeptDays;
use super::order::{self, KnownNames, predecessors};
use super::outbox::{QueuedChange, keep_departures};
use super::page::FeedPage;
use super::state::FeedState;
use crate::clock;
use crate::limits::{
    MAX_ACTIONS_PER_TX, MAX_CHANGES_PER_PAGE, MAX_OUTBOX_ITEMS_SEEN, OUTBOX_ITEMS_PER_TURN,
    OUTBOX_LOOKS_AHEAD, OUTBOX_READS_AT_ONCE, OUTBOX_SHARDS, SEQUENCER_PAUSE, SEQUENCER_TRIES,
};
use crate::store::call::{Range, ReadTogether, Table};
use crate::store::error::StoreError;
use crate::store::item::{Item, get_number, get_text};
use crate::store::keys::outbox::OutboxName;
use crate::store::keys::{self, Key, TenantId};
use crate::store::transaction::Action;

/// The actions that a page takes in addition to those of its changes: the page, and the state of the feed.
const OWN_ACTIONS: usize = 2;
/// The event that ends a tenant: nothing of the tenant may follow it.
const LAST_EVENT: &str = "tenant.deleted";

/// What a run of the sequencer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequencerReport {
    /// How many changes entered the feed.
    pub moved: u64,
    /// How many pages they are in.
    pub pages: u64,
    /// Whether changes are left in the outbox.
    pub left: bool,
}

/// Moves changes from the outbox into the feed.
#[derive(Debug)]
pub struct Sequencer<'t> {
    table: &'t Table,
    /// The tenant of each shard whose turn was the last one.
    turns: Vec<Option<TenantId>>,
    /// Whether the next page leaves departures to a later one.
    postpones_departures: bool,
    /// How many items of the outbox the next page takes at most.
    most_items: usize,
    /// For how many days the changes of the next page stay.
    kept: KeptDays,
}

/// A part of the outbox, as one turn sees it.
struct Turn {
    items: Vec<QueuedChange>,
    /// The tenants whose turn it was, by shard.
    tenants: Vec<Option<TenantId>>,
    /// Whether a shard has more items of these tenants.
    has_more: bool,
}

/// A page that is ready to be written.
struct PageDraft {
    /// How many items of the outbox it takes.
    items: usize,
    changes: Vec<FeedChange>,
    actions: Vec<Action>,
}

/// What became of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PageOutcome {
    /// It is in the feed.
    Written,
    /// Another sequencer was faster, or a group that members have left changed meanwhile.
    Refused,
    /// Its items are more than one transaction takes.
    TooLarge,
}

impl<'t> Sequencer<'t> {
    /// A sequencer of this table.
    pub fn new(table: &'t Table) -> Self {
        let turns = vec![None; usize::from(OUTBOX_SHARDS)];
        Self {
            table,
            turns,
            postpones_departures: false,
            most_items: MAX_ACTIONS_PER_TX,
            kept: KeptDays::default(),
        }
    }

    /// Moves changes until the outbox has none that may enter the feed, or the time is `until`. It waits a
    /// short time for transactions that are under way.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    /// What has moved stays in the feed.
    pub async fn run(&mut self, until: Instant) -> Result<SequencerReport, StoreError> {
        let mut report = SequencerReport::default();
        let (mut next, mut window, mut tries) = (None, OUTBOX_ITEMS_PER_TURN, 0);
        loop {
            let turn = self.read_turn(window).await?;
            report.left = !turn.items.is_empty();
            if !report.left || Instant::now() >= until {
                return Ok(report);
            }
            let first = match next {
                Some(first) => first,
                None => self.find_end().await?,
            };
            let Some(draft) = self.draft_page(turn.items).await? else {
                if turn.has_more && window < MAX_OUTBOX_ITEMS_SEEN {
                    window *= 2;
                    continue;
                }
                self.turns = turn.tenants;
                // Only departures may be left, which the last page left to this one.
                self.postpones_departures = false;
                tries += 1;
                if tries > SEQUENCER_TRIES {
                    return Ok(report);
                }
                tokio::time::sleep(SEQUENCER_PAUSE * tries).await;
                continue;
            };
            let (count, items) = (draft.changes.len() as u64, draft.items);
            let outcome = self.write_page(first, draft).await?;
            // After a page that is too large, the same tenants have a smaller one, if there is one.
            let can_be_smaller = items > 1 || !self.postpones_departures;
            if !(outcome == PageOutcome::TooLarge && can_be_smaller) {
                self.turns = turn.tenants;
            }
            next = (outcome == PageOutcome::Written).then_some(first + count);
            self.prepare_next(outcome, items);
            if next.is_some() {
                (report.moved, report.pages) = (report.moved + count, report.pages + u64::from(count > 0));
                (window, tries) = (OUTBOX_ITEMS_PER_TURN, 0);
            } else {
                tries += 1;
                tokio::time::sleep(SEQUENCER_PAUSE).await;
            }
        }
    }

    /// Decides what the next page takes. `items` is how many items of the outbox this page took.
    fn prepare_next(&mut self, outcome: PageOutcome, items: usize) {
        // The changes of a group that changes all the time must not keep back the others. The departures of one change
        // from many groups become items of their own, one for each group.
        self.postpones_departures = match outcome {
            PageOutcome::Written => false,
            PageOutcome::Refused => true,
            PageOutcome::TooLarge => items <= 1,
        };
        self.most_items = match outcome {
            PageOutcome::TooLarge => (items / 2).max(1),
            PageOutcome::Written => (2 * self.most_items).min(MAX_ACTIONS_PER_TX),
            PageOutcome::Refused => self.most_items,
        };
    }

    /// Reads the state of the feed. Returns the number of the next change.
    async fn find_end(&mut self) -> Result<u64, StoreError> {
        let state = FeedState::fetch(self.table).await?;
        self.kept = state.kept;
        Ok(state.find_end(self.table).await?.next)
    }

    /// Reads some items of each shard, those of the tenants whose turn it is first.
    async fn read_turn(&self, window: usize) -> Result<Turn, StoreError> {
        let shards = (0..OUTBOX_SHARDS).zip(&self.turns).map(|(shard, last)| async move {
            let pk = keys::outbox::outbox_shard(shard);
            let limit = i32::try_from(window).ok();
            let after = last.as_ref().map(keys::outbox::outbox_end);
            let mut page =
                self.table.query(&pk, &Range { after: after.clone(), limit, ..Range::default() }).await?;
            if page.items.is_empty() && after.is_some() {
                page = self.table.query(&pk, &Range { limit, ..Range::default() }).await?;
            }
            Ok::<_, StoreError>(page)
        });
        let mut turn = Turn { items: Vec::new(), tenants: Vec::new(), has_more: false };
        for page in try_join_all(shards).await? {
            turn.has_more |= page.next.is_some();
            let items: Vec<QueuedChange> = page.items.iter().filter_map(read_item).collect();
            turn.tenants.push(items.last().map(|item| item.name.tenant.clone()));
            turn.items.extend(items);
        }
        Ok(turn)
    }

    /// Drafts a page of items that may enter the feed: of these, or of those that they wait for. `None` if there are
    /// none.
    async fn draft_page(&self, mut items: Vec<QueuedChange>) -> Result<Option<PageDraft>, StoreError> {
        let mut waiting = self.read_waiting(&items, &items).await?;
        let mut read = BTreeSet::new();
        for _ in 0..OUTBOX_LOOKS_AHEAD {
            if let Some(draft) = self.draft_page_of(&items, &waiting).await? {
                return Ok(Some(draft));
            }
            // Any number of items may stand between an item and the one that it waits for.
            let Some(first) = self.read_first_of(&waiting, &mut read).await? else { return Ok(None) };
            let known: BTreeSet<&Key> = items.iter().map(|item| &item.key).collect();
            let new: Vec<_> = first.into_iter().filter(|item| !known.contains(&item.key)).collect();
            let found: BTreeSet<&OutboxName> = new.iter().map(|item| &item.name).collect();
            waiting.retain(|name| !found.contains(name));
            items.extend(new.iter().cloned());
            waiting.extend(self.read_waiting(&new, &items).await?);
        }
        self.draft_page_of(&items, &waiting).await
    }

    /// Drafts a page of those of these items that may enter the feed. `waiting` is what they wait for.
    async fn draft_page_of(
        &self,
        items: &[QueuedChange],
        waiting: &BTreeSet<OutboxName>,
    ) -> Result<Option<PageDraft>, StoreError> {
        let mut waiting = waiting.clone();
        waiting.extend(self.read_early_ends(items).await?);
        let items = items.iter().filter(|item| !waiting.contains(&item.name)).cloned().collect();
        let mut ordered = order::order(items, &KnownNames { waiting });
        loop {
            let taken = &ordered[..count_fitting(&ordered, self.most_items)];
            let (mut draft, kept) = self.draft_of(taken).await?;
            if !draft.actions.is_empty() {
                return match self.fill_in_tenants(&mut draft).await {
                    // A tenant is made or deleted, or its end moves. The page waits.
                    Err(StoreError::Conflict) => Ok(None),
                    filled => filled.map(|()| Some(draft)),
                };
            }
            if kept.is_empty() {
                return Ok(None);
            }
            // Departures that wait for their group do not keep back what stands behind them.
            ordered.retain(|item| !kept.contains(&item.key));
        }
    }

    /// Drafts a page of these items. Returns with it the keys of those that must stay in the outbox.
    async fn draft_of(&self, taken: &[QueuedChange]) -> Result<(PageDraft, BTreeSet<Key>), StoreError> {
        let mut draft = PageDraft { items: taken.len(), changes: Vec::new(), actions: Vec::new() };
        for item in taken {
            if let Some(change) = &item.change {
                if let (false, Ok(group)) = (item.trail.departed.is_empty(), item.name.resource.parse()) {
                    let departed = &item.trail.departed;
                    let version = item.name.version - 1;
                    draft.changes.extend(departures::as_changes(&item.name.tenant, group, departed, version));
                }
                draft.changes.push(change.clone());
            }
        }
        let kept = self.add_departures(taken, &mut draft).await?;
        let moved = taken.iter().filter(|item| !kept.contains(&item.key));
        draft.actions.extend(moved.map(QueuedChange::take_out));
        Ok((draft, kept))
    }

    /// Reads which predecessors of the items are not in the feed, and not among these known ones.
    async fn read_waiting(
        &self,
        items: &[QueuedChange],
        known: &[QueuedChange],
    ) -> Result<BTreeSet<OutboxName>, StoreError> {
        let own: BTreeSet<&OutboxName> = known.iter().map(|item| &item.name).collect();
        let before = items.iter().flat_map(|item| predecessors(&item.name, &item.trail));
        let unknown = before.filter(|name| !own.contains(name)).collect();
        self.read_not_moved(unknown).await
    }

    /// Reads the first items of some of the resources that these changes are of, and that were not `read` yet. `None` if
    /// all were.
    async fn read_first_of(
        &self,
        names: &BTreeSet<OutboxName>,
        read: &mut BTreeSet<Key>,
    ) -> Result<Option<Vec<QueuedChange>>, StoreError> {
        let places = names.iter().map(|name| keys::outbox::outbox_changes(&name.tenant, &name.resource));
        let places: BTreeSet<Key> = places.filter(|place| !read.contains(place)).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let places: Vec<Key> = places.into_iter().take(MAX_ACTIONS_PER_TX).collect();
        read.extend(places.iter().cloned());
        let limit = i32::try_from(OUTBOX_ITEMS_PER_TURN).ok();
        let pages = places.into_iter().map(|place| async move {
            let range = Range { prefix: Some(place.sk), limit, ..Range::default() };
            self.table.query(&place.pk, &range).await
        });
        let pages: Vec<_> = stream::iter(pages).buffered(OUTBOX_READS_AT_ONCE).try_collect().await?;
        Ok(Some(pages.iter().flat_map(|page| &page.items).filter_map(read_item).collect()))
    }

    /// Reads which of these changes are not in the feed: they are in the outbox, or a transaction on their
    /// items is under way.
    async fn read_not_moved(&self, names: BTreeSet<OutboxName>) -> Result<BTreeSet<OutboxName>, StoreError> {
        let keys: Vec<_> = names.iter().map(OutboxName::key).collect();
        let found = self.table.get_resting(&keys).await?;
        let moved = |state: &Option<_>| matches!(state, Some(None));
        Ok(names.into_iter().zip(found).filter(|(_, state)| !moved(state)).map(|(name, _)| name).collect())
    }

    /// Reads which items end their tenant too early: other changes of the tenant are in the outbox.
    async fn read_early_ends(&self, items: &[QueuedChange]) -> Result<BTreeSet<OutboxName>, StoreError> {
        let mut early = BTreeSet::new();
        let is_last = |item: &&QueuedChange| item.change.as_ref().is_some_and(|c| c.event_type == LAST_EVENT);
        for end in items.iter().filter(is_last) {
            for shard in 0..OUTBOX_SHARDS {
                let prefix = Some(keys::outbox::outbox_prefix(&end.name.tenant));
                let range = Range { prefix, limit: Some(2), ..Range::default() };
                let page = self.table.query(&keys::outbox::outbox_shard(shard), &range).await?;
                if page.items.iter().any(|item| get_text(item, "sk") != Some(&end.key.sk)) {
                    early.insert(end.name.clone());
                }
            }
        }
        Ok(early)
    }

    /// Adds the departures from the groups that the items name. Returns the keys of notes that must stay in
    /// the outbox.
    async fn add_departures(
        &self,
        taken: &[QueuedChange],
        draft: &mut PageDraft,
    ) -> Result<BTreeSet<Key>, StoreError> {
        let of_item = |item: &QueuedChange| -> Vec<(TenantId, Uuid)> {
            item.left.iter().map(|group| (item.name.tenant.clone(), *group)).collect()
        };
        let groups: BTreeSet<(TenantId, Uuid)> = taken.iter().flat_map(of_item).collect();
        let mut kept = BTreeSet::new();
        if groups.is_empty() {
            return Ok(kept);
        }
        let own: BTreeSet<&OutboxName> = taken.iter().map(|item| &item.name).collect();
        for ((tenant, group), state) in departures::read(self.table, &groups).await? {
            let ready = match state {
                DepartureState::None => continue,
                DepartureState::Waiting => None,
                DepartureState::Ready(ready) => {
                    let before = ready.before.iter().filter(|name| !own.contains(name)).cloned();
                    let is_full = !draft.changes.is_empty()
                        && draft.changes.len() + ready.changes.len() > MAX_CHANGES_PER_PAGE;
                    let waits = self.postpones_departures
                        || is_full
                        || !self.read_not_moved(before.collect()).await?.is_empty();
                    (!waits).then_some(ready)
                }
            };
            if let Some(ready) = ready {
                draft.changes.extend(ready.changes);
                draft.actions.push(ready.empty_list);
                continue;
            }
            let naming = taken.iter().filter(|item| item.name.tenant == tenant && item.left.contains(&group));
            let since = naming.filter_map(QueuedChange::waits_since).min();
            let keep = keep_departures(&tenant, group, since);
            if taken.iter().any(|item| item.key == keep.key) {
                kept.insert(keep.key);
            } else {
                draft.actions.push(keep);
            }
        }
        Ok(kept)
    }

    /// Fills in what tells each tenant from an earlier one of the same name. Leaves out the changes that
    /// requests made after the end of their tenant, while API Gateway still knew its keys: `tenant.deleted` is
    /// the last change of a tenant.
    async fn fill_in_tenants(&self, draft: &mut PageDraft) -> Result<(), StoreError> {
        let unknown = draft.changes.iter().filter(|change| change.incarnation.is_empty());
        let tenants: BTreeSet<String> = unknown.map(|change| change.tenant.clone()).collect();
        let read = tenants.into_iter().map(|tenant| async move {
            let incarnation = self.read_incarnation(&tenant).await?;
            Ok::<_, StoreError>((tenant, incarnation))
        });
        let known: BTreeMap<String, Option<String>> =
            stream::iter(read).buffer_unordered(OUTBOX_READS_AT_ONCE).try_collect().await?;
        draft.changes.retain_mut(|change| match known.get(&change.tenant) {
            Some(Some(incarnation)) if change.incarnation.is_empty() => {
                change.incarnation.clone_from(incarnation);
                true
            }
            Some(None) => !change.incarnation.is_empty(),
            _ => true,
        });
        Ok(())
    }

    /// Reads what tells a tenant from another one of the same name. `None` if the end of the tenant is in the
    /// feed already. [`StoreError::Conflict`] if the tenant is made or deleted in this moment, or if its end moves.
    async fn read_incarnation(&self, tenant: &str) -> Result<Option<String>, StoreError> {
        let Ok(id) = tenant.parse::<TenantId>() else { return Ok(Some(String::new())) };
        // As of one moment: a tenant is made and deleted in transactions.
        let both = [keys::tenant(&id), keys::tenant_deleted(&id)];
        let ReadTogether::Items(items) = self.table.try_get_together(&both).await? else {
            return Err(StoreError::Conflict);
        };
        let [tenant_item, deleted] = [items.first(), items.get(1)].map(|item| item.cloned().flatten());
        if let Some(item) = tenant_item {
            return Ok(get_text(&item, "created").map(|created| keys::incarnation(&id, created)));
        }
        let Some(item) = deleted else { return Ok(Some(String::new())) };
        let version = get_number(&item, "version").unwrap_or(0);
        let end = OutboxName { tenant: id, resource: tenant.to_owned(), version, part: 0 };
        match self.table.get_resting(&[end.key()]).await?.into_iter().next().flatten() {
            Some(None) => Ok(None),
            Some(Some(_)) => Ok(Some(get_text(&item, "incarnation").unwrap_or_default().to_owned())),
            // It moves in this moment. A page that this sequencer writes could come after it.
            None => Err(StoreError::Conflict),
        }
    }

    /// Writes a page whose first change has this number.
    async fn write_page(&self, first: u64, draft: PageDraft) -> Result<PageOutcome, StoreError> {
        let PageDraft { changes, mut actions, .. } = draft;
        if !changes.is_empty() {
            let page = FeedPage::new(first, &changes, clock::epoch_seconds())?;
            actions.push(page.put(self.kept));
            if keys::feed_bucket(first) != keys::feed_bucket(page.last + 1) {
                actions.push(FeedState::move_near_end(page.last + 1));
            }
        }
        match self.table.transact_once(actions).await {
            Ok(()) => Ok(PageOutcome::Written),
            Err(StoreError::Refused(_) | StoreError::Conflict | StoreError::Throttled) => {
                Ok(PageOutcome::Refused)
            }
            Err(StoreError::TransactionTooLarge) => Ok(PageOutcome::TooLarge),
            Err(failed) => Err(failed),
        }
    }
}

/// Reads an item of the outbox. One that cannot be read stays there, and keeps back no other.
fn read_item(item: &Item) -> Option<QueuedChange> {
    QueuedChange::from_item(item)
        .inspect_err(|broken| {
            let key = get_text(item, "sk").unwrap_or_default();
            tracing::error!(%broken, key, "a change stays in the outbox");
        })
        .ok()
}

/// How many of these items fit one transaction, with the groups that they have left: at most `most`.
fn count_fitting(ordered: &[QueuedChange], most: usize) -> usize {
    let (mut actions, mut changes) = (OWN_ACTIONS, 0);
    let fits = |item: &&QueuedChange| {
        let is_first = changes == 0;
        actions += 1 + item.left.len();
        changes += 1 + item.trail.departed.len();
        actions <= MAX_ACTIONS_PER_TX && (is_first || changes <= MAX_CHANGES_PER_PAGE)
    };
    ordered.iter().take(most).take_while(fits).count()
}
