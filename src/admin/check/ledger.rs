//! What the feed says of the resources of one tenant, compared with what the table holds of them. This file is pure.
//!
//! The changes of a resource must ascend by one, and the last one must be the version in the table. Only what
//! happened since the ledger begins is judged:
//!
//! - Changes whose retention has ended are not in the feed any more.
//! - After `tenant.resync` mirrors know the tenant as it was then. So the changes before it do not matter. That holds
//!   as soon as the change is in the outbox.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::when;
use crate::store::feed::change::FeedChange;
use crate::store::feed::subject::unique_name;
use crate::store::item::{Item, get_number, get_text};
use crate::store::trail::Trail;

/// The change that tells mirrors to read a tenant again.
const RESYNC: &str = "tenant.resync";

/// A user, group, key or tenant as the table holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectState {
    /// Its version.
    pub version: u64,
    /// When it was made, in milliseconds since 1970.
    pub created: i64,
    /// When it was last changed, in milliseconds since 1970.
    pub modified: i64,
    /// How many of its last versions are departures that only its own item lists.
    pub departed: u64,
    /// Whether a large change is being applied to it, so that parts may be missing.
    pub has_pending_change: bool,
}

impl SubjectState {
    /// Reads the item of a resource. Items of version 0.1.0 without a version are version 1.
    pub fn from_item(item: &Item) -> Self {
        // An erased account only tells when it was erased.
        let purged = get_text(item, "purged").map(milliseconds);
        let unknown = if purged.is_some() { i64::MIN } else { i64::MAX };
        let created = get_text(item, "created").map_or(unknown, milliseconds);
        let modified = get_text(item, "modified").map(milliseconds).or(purged);
        Self {
            version: get_number(item, "ver").unwrap_or(1),
            created,
            modified: modified.unwrap_or(created),
            departed: Trail::from_item(item).departed.len() as u64,
            has_pending_change: item.contains_key("change"),
        }
    }
}

/// A text that is no time counts as never.
fn milliseconds(text: &str) -> i64 {
    let time =
        when::moment(text).and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
    time.unwrap_or(i64::MAX)
}

/// What the ledger knows of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// `User`, `Group`, `Key`, …
    pub resource_type: String,
    /// The version of its first change.
    first: u64,
    /// The version of its last change.
    pub last: u64,
    /// Whether the last change deleted it.
    is_deleted: bool,
    /// The parts of the last change that have not come yet.
    open_parts: BTreeSet<u32>,
}

/// Changes that are committed and not in the feed, by the id of the resource: the version and the part of each, and
/// how many parts follow it.
pub type WaitingChanges = BTreeMap<String, BTreeMap<(u64, u32), u32>>;

/// A change that is missing, or a resource that does not fit its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// This version, or this part of it, has no change.
    Missing(u64, u32),
    /// The feed has a change of a later version than the table has.
    Behind,
    /// The feed has a resource that the table does not have, and no deletion.
    Gone,
}

/// The changes of one tenant.
#[derive(Debug)]
pub struct ChangeLedger {
    tenant: String,
    incarnation: String,
    /// What happened before this time is not judged. In milliseconds since 1970.
    since: i64,
    /// When the resync was written that is not in the feed yet. The changes of a resource up to then are passed over.
    /// In milliseconds since 1970.
    waiting_resync: i64,
    entries: BTreeMap<String, LedgerEntry>,
    /// The resources whose changes do not ascend by one, with the number of the change that does not fit.
    broken: Vec<(String, u64)>,
}

impl ChangeLedger {
    /// A ledger without changes. `since` is in milliseconds since 1970.
    pub const fn new(tenant: String, incarnation: String, since: i64) -> Self {
        Self {
            tenant,
            incarnation,
            since,
            waiting_resync: i64::MIN,
            entries: BTreeMap::new(),
            broken: Vec::new(),
        }
    }

    fn is_about_tenant(&self, change: &FeedChange) -> bool {
        change.tenant == self.tenant && change.incarnation == self.incarnation
    }

    /// Takes note of a change that waits in the outbox. Only `tenant.resync` matters. `margin` is for clocks that
    /// differ, in milliseconds.
    pub fn expect(&mut self, change: &FeedChange, margin: i64) {
        // The sequencer fills in the incarnation later. No tenant of the name begins while an earlier one has changes
        // in the outbox.
        let is_about_tenant = change.incarnation.is_empty() && change.tenant == self.tenant;
        let time = milliseconds(&change.time);
        if change.event_type != RESYNC || !is_about_tenant || time == i64::MAX || time <= self.waiting_resync
        {
            return;
        }
        self.waiting_resync = time;
        self.since = self.since.max(time.saturating_add(margin));
        self.entries.clear();
        self.broken.clear();
    }

    /// Adds the next change of the feed. Those of other tenants are passed over. `written` is when its page was
    /// written and a margin for clocks that differ, in milliseconds since 1970.
    pub fn add(&mut self, change: &FeedChange, written: i64) {
        if !self.is_about_tenant(change) {
            return;
        }
        if change.event_type == RESYNC {
            self.since = self.since.max(written);
            self.entries.clear();
            self.broken.clear();
        }
        let name = unique_name(&change.resource_type, &change.resource_id);
        let entry = self.entries.get_mut(&name);
        if entry.is_none() && milliseconds(&change.time) <= self.waiting_resync {
            return;
        }
        if let Some(part) = change.part.filter(|part| *part > 0) {
            // The commit may have come before the ledger begins.
            let fits =
                entry.is_none_or(|entry| entry.last == change.version && entry.open_parts.remove(&part));
            if !fits {
                self.broken.push((name.clone(), change.seq));
            }
            return;
        }
        let mut first = change.version;
        if let Some(before) = entry {
            first = before.first;
            if before.last + 1 != change.version || !before.open_parts.is_empty() {
                self.broken.push((name.clone(), change.seq));
            }
        }
        let entry = LedgerEntry {
            resource_type: change.resource_type.clone(),
            first,
            last: change.version,
            is_deleted: change.event_type.ends_with(".deleted"),
            open_parts: (1..=change.parts.unwrap_or(0)).collect(),
        };
        self.entries.insert(name, entry);
    }

    /// The resources whose changes do not ascend by one, with the number of the change that does not fit.
    pub fn broken(&self) -> &[(String, u64)] {
        &self.broken
    }

    /// What the ledger knows of a resource.
    pub fn entry(&self, id: &str) -> Option<&LedgerEntry> {
        self.entries.get(id)
    }

    /// The resources that must exist.
    pub fn existing(&self) -> impl Iterator<Item = (&String, &LedgerEntry)> {
        self.entries.iter().filter(|(_, entry)| !entry.is_deleted)
    }

    /// Compares a resource with its changes. `state` is `None` if the table does not have it. The feed was read
    /// after the outbox, and the outbox after the resource. `seen_before` is the last version that the feed had
    /// before the resource was read.
    pub fn compare(
        &self,
        id: &str,
        state: Option<&SubjectState>,
        waiting: &WaitingChanges,
        seen_before: Option<u64>,
    ) -> Option<Mismatch> {
        let (entry, none) = (self.entries.get(id), BTreeMap::new());
        let waiting = waiting.get(id).unwrap_or(&none);
        let Some(state) = state else {
            let is_expected = entry.is_some_and(|entry| !entry.is_deleted);
            let is_ending = entry.is_some_and(|entry| waiting.contains_key(&(entry.last + 1, 0)));
            return (is_expected && !is_ending).then_some(Mismatch::Gone);
        };
        let version = state.version;
        if seen_before.is_some_and(|seen| seen > version) {
            return Some(Mismatch::Behind);
        }
        let told_by_itself = version.saturating_sub(state.departed);
        let is_told = |wanted: u64| wanted > told_by_itself || waiting.contains_key(&(wanted, 0));
        let is_old = state.created <= self.since;
        let first_told = match entry {
            Some(entry) => entry.first,
            None if state.modified <= self.since => return None,
            None => {
                let first_waiting = waiting.keys().next().map_or(version, |(first, _)| *first);
                first_waiting.min(told_by_itself + 1).min(version)
            }
        };
        if first_told > 1 && !is_old {
            return Some(Mismatch::Missing(1, 0));
        }
        let last = entry.map_or(first_told - 1, |entry| entry.last);
        if let Some(missing) = (last + 1..=version).find(|wanted| !is_told(*wanted)) {
            return Some(Mismatch::Missing(missing, 0));
        }
        if state.has_pending_change {
            return None;
        }
        let parts = match entry.filter(|entry| entry.last == version) {
            Some(entry) => entry.open_parts.clone(),
            None => (1..=waiting.get(&(version, 0)).copied().unwrap_or(0)).collect(),
        };
        let missing = parts.into_iter().find(|part| !waiting.contains_key(&(version, *part)));
        missing.map(|part| Mismatch::Missing(version, part))
    }
}

/// Seconds since 1970 as milliseconds.
pub fn as_milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn change(id: &str, version: u64, event_type: &str) -> FeedChange {
        FeedChange {
            tenant: "acme".to_owned(),
            incarnation: "i".to_owned(),
            resource_id: id.to_owned(),
            version,
            event_type: event_type.to_owned(),
            ..FeedChange::default()
        }
    }

    fn ledger(versions: &[u64]) -> ChangeLedger {
        let mut ledger = ChangeLedger::new("acme".to_owned(), "i".to_owned(), 100_000);
        for version in versions {
            ledger.add(&change("u", *version, "user.updated"), 500_000);
        }
        ledger
    }

    fn state(version: u64) -> SubjectState {
        let (created, modified) = (NOW, NOW);
        SubjectState { version, created, modified, departed: 0, has_pending_change: false }
    }

    fn waiting(versions: &[(u64, u32)]) -> WaitingChanges {
        BTreeMap::from([("u".to_owned(), versions.iter().map(|version| (*version, 0)).collect())])
    }

    #[test]
    fn the_last_change_is_the_version_of_the_resource() {
        let nothing = WaitingChanges::new();
        let compare = |ledger: &ChangeLedger, state: SubjectState, waiting: &WaitingChanges| {
            ledger.compare("u", Some(&state), waiting, None)
        };
        assert_eq!(compare(&ledger(&[1, 2]), state(2), &nothing), None);
        assert_eq!(compare(&ledger(&[1, 2]), state(3), &nothing), Some(Mismatch::Missing(3, 0)));
        assert_eq!(compare(&ledger(&[1, 2]), state(3), &waiting(&[(3, 0)])), None);
        assert_eq!(compare(&ledger(&[1, 2]), state(4), &waiting(&[(4, 0)])), Some(Mismatch::Missing(3, 0)));
        let left = SubjectState { departed: 2, ..state(4) };
        assert_eq!(compare(&ledger(&[1, 2]), left, &nothing), None, "two departures");
        assert_eq!(compare(&ledger(&[]), state(1), &nothing), Some(Mismatch::Missing(1, 0)));
        assert_eq!(compare(&ledger(&[]), state(1), &waiting(&[(1, 0)])), None);
        assert_eq!(compare(&ledger(&[3]), state(3), &nothing), Some(Mismatch::Missing(1, 0)));
        // The feed may be ahead only of what was read before it.
        assert_eq!(compare(&ledger(&[1, 2]), state(1), &nothing), None);
        assert_eq!(ledger(&[1, 2]).compare("u", Some(&state(1)), &nothing, Some(2)), Some(Mismatch::Behind));
    }

    #[test]
    fn what_is_older_than_the_ledger_is_not_judged() {
        let nothing = WaitingChanges::new();
        let old = SubjectState { created: 99_000, modified: 99_000, ..state(7) };
        assert_eq!(ledger(&[]).compare("u", Some(&old), &nothing, None), None);
        let changed = SubjectState { modified: NOW, ..old.clone() };
        assert_eq!(ledger(&[]).compare("u", Some(&changed), &nothing, None), Some(Mismatch::Missing(7, 0)));
        assert_eq!(ledger(&[7]).compare("u", Some(&changed), &nothing, None), None);
        assert_eq!(ledger(&[]).compare("u", Some(&changed), &waiting(&[(7, 0)]), None), None);
    }

    #[test]
    fn changes_ascend_by_one_until_a_resync() {
        let mut ledger = ledger(&[1, 3]);
        assert_eq!(ledger.broken().len(), 1);
        ledger.add(&change("acme", 2, RESYNC), 2_000_000);
        assert!(ledger.broken().is_empty());
        assert_eq!(ledger.compare("u", Some(&state(9)), &WaitingChanges::new(), None), None);
        ledger.add(&FeedChange { tenant: "other".to_owned(), ..change("u", 5, "user.updated") }, 0);
        assert_eq!(ledger.entry("u"), None);
    }

    #[test]
    fn a_resync_that_waits_settles_what_was_before_it() {
        let at = |time: &str, change: FeedChange| FeedChange { time: time.to_owned(), ..change };
        let mut ledger = ChangeLedger::new("acme".to_owned(), "i".to_owned(), 100_000);
        // As it is in the outbox.
        let waiting =
            |time, change: FeedChange| at(time, FeedChange { incarnation: String::new(), ..change });
        ledger.add(&change("u", 1, "user.created"), 0);
        ledger.expect(&waiting("1970-01-01T00:16:00Z", change("acme", 2, "tenant.updated")), 60_000);
        let of_other = FeedChange { tenant: "other".to_owned(), ..change("other", 3, RESYNC) };
        ledger.expect(&waiting("1970-01-01T00:16:00Z", of_other), 60_000);
        ledger.expect(&waiting("no time", change("acme", 3, RESYNC)), 60_000);
        assert_eq!(ledger.compare("u", None, &WaitingChanges::new(), None), Some(Mismatch::Gone));
        ledger.expect(&waiting("1970-01-01T00:16:00Z", change("acme", 3, RESYNC)), 60_000);
        ledger.add(&at("1970-01-01T00:15:59Z", change("u", 1, "user.created")), 0);
        ledger.add(&at("1970-01-01T00:15:59Z", change("u", 3, "user.updated")), 0);
        assert!(ledger.broken().is_empty());
        assert_eq!(ledger.compare("u", None, &WaitingChanges::new(), None), None);
        assert_eq!(ledger.compare("u", Some(&state(4)), &WaitingChanges::new(), None), None);
        let later = SubjectState { modified: 1_020_001, ..state(4) };
        let missing = ledger.compare("u", Some(&later), &WaitingChanges::new(), None);
        assert_eq!(missing, Some(Mismatch::Missing(4, 0)), "a minute after it, all counts again");
        ledger.add(&at("1970-01-01T00:16:01Z", change("u", 5, "user.updated")), 0);
        ledger.add(&at("1970-01-01T00:16:02Z", change("u", 7, "user.updated")), 0);
        assert_eq!(ledger.broken().len(), 1);
    }

    #[test]
    fn a_large_change_has_all_its_parts() {
        let mut ledger = ledger(&[1]);
        let part = |part| FeedChange { part: Some(part), parts: Some(2), ..change("u", 2, "group.updated") };
        ledger.add(&part(0), 0);
        ledger.add(&part(1), 0);
        let compare = |waiting: &WaitingChanges| ledger.compare("u", Some(&state(2)), waiting, None);
        assert_eq!(compare(&WaitingChanges::new()), Some(Mismatch::Missing(2, 2)));
        assert_eq!(compare(&waiting(&[(2, 2)])), None);
        let pending = SubjectState { has_pending_change: true, ..state(2) };
        assert_eq!(ledger.compare("u", Some(&pending), &WaitingChanges::new(), None), None);
        ledger.add(&change("u", 3, "group.updated"), 0);
        assert_eq!(ledger.broken().len(), 1, "a part is missing");
        let commit = BTreeMap::from([("u".to_owned(), BTreeMap::from([((4, 0), 2), ((4, 1), 0)]))]);
        assert_eq!(ledger.compare("u", Some(&state(4)), &commit, None), Some(Mismatch::Missing(4, 2)));
    }

    #[test]
    fn what_is_not_deleted_exists() {
        let mut ledger = ledger(&[1]);
        assert_eq!(ledger.compare("u", None, &WaitingChanges::new(), None), Some(Mismatch::Gone));
        assert_eq!(ledger.compare("u", None, &waiting(&[(2, 0)]), None), None);
        ledger.add(&change("u", 2, "user.deleted"), 0);
        assert_eq!(ledger.compare("u", None, &WaitingChanges::new(), None), None);
        assert_eq!(ledger.compare("v", None, &WaitingChanges::new(), None), None);
    }
}
