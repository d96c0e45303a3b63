//! Whether every version of a tenant's resources has its change, in the feed or in the outbox.
//!
//! The whole feed is read once, page by page; only the last version of each resource is kept. The table changes
//! meanwhile, so what seems to be missing is looked at again: first the resource, then its change in the outbox,
//! then the rest of the feed. Each is read at a moment when no transaction on it is under way. A change moves only
//! in that direction, so it cannot be missed.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::inventory::CheckedSubject;
use super::ledger::{ChangeLedger, Mismatch, SubjectState, WaitingChanges, as_milliseconds};
use super::report::{Finding, Problem};
use crate::admin::progress::Progress;
use crate::admin::when;
use crate::limits::{CHANGE_LOOK_PAUSE, CHANGE_LOOKS, FEED_PAGES_PER_READ, SNAPSHOT_DISTANCE};
use crate::scim::resource_type::{DefinedKind, Kind};
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::outbox::{self, QueuedChange};
use crate::store::feed::reader::FeedReader;
use crate::store::feed::subject::{id_of, state_keys};
use crate::store::keys::outbox::OutboxName;
use crate::store::keys::{self, Key, TenantId, parse_id};

/// The resources of a tenant by their names, as they were read.
pub type Subjects = BTreeMap<String, CheckedSubject>;

/// Finds the resources of a tenant that do not fit their changes.
///
/// # Errors
/// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn check_changes(
    table: &Table,
    tenant: &TenantId,
    incarnation: &str,
    subjects: &Subjects,
    progress: &Progress,
) -> Result<Vec<Finding>, StoreError> {
    let mut check = ChangeCheck::open(table, tenant, incarnation, progress).await?;
    let mut waiting = check.read_waiting().await?;
    let end = match check.reader.end().await {
        // The last page cannot be read: the feed does not reach its end.
        Err(StoreError::Broken(_)) => u64::MAX,
        end => end?.next,
    };
    progress.begin((end < u64::MAX).then(|| end.saturating_sub(check.next)), "changes read");
    check.read_feed().await?;
    let mut suspects = check.suspects(subjects, &waiting);
    for look in 1..=CHANGE_LOOKS {
        if suspects.is_empty() && check.next >= end {
            break;
        }
        tokio::time::sleep(CHANGE_LOOK_PAUSE * look).await;
        let mut states = Vec::new();
        for suspect in &suspects {
            let seen = check.ledger.entry(&suspect.id).map(|entry| entry.last);
            states.push((check.read_state(suspect).await?, seen));
        }
        waiting = check.read_waiting().await?;
        check.read_waiting_at_rest(&suspects, &mut waiting).await?;
        check.read_feed().await?;
        let looked = suspects.into_iter().zip(states).filter_map(|(suspect, (state, seen))| {
            let mismatch = check.ledger.compare(&suspect.id, state.as_ref(), &waiting, seen)?;
            Some(Suspect { mismatch, ..suspect })
        });
        suspects = looked.collect();
    }
    let mut findings: Vec<Finding> =
        check.unreadable.iter().map(|page| finding(Problem::PageBroken, page.clone(), None)).collect();
    if check.next < end {
        findings.push(finding(Problem::PageMissing, keys::feed_page(check.next), None));
    }
    // Where changes cannot be read, they are not missing.
    if findings.is_empty() {
        findings.extend(suspects.iter().map(|suspect| check.finding(suspect)));
        findings.extend(check.broken_changes());
    }
    Ok(findings)
}

/// A resource that does not seem to fit its changes.
struct Suspect {
    id: String,
    resource_type: String,
    mismatch: Mismatch,
}

struct ChangeCheck<'t> {
    table: &'t Table,
    tenant: &'t TenantId,
    reader: FeedReader<'t>,
    progress: &'t Progress,
    ledger: ChangeLedger,
    /// The number of the next change to read.
    next: u64,
    /// Pages whose changes cannot be read.
    unreadable: Vec<Key>,
}

impl<'t> ChangeCheck<'t> {
    async fn open(
        table: &'t Table,
        tenant: &'t TenantId,
        incarnation: &str,
        progress: &'t Progress,
    ) -> Result<Self, StoreError> {
        let reader = FeedReader::open(table).await?;
        let floor = reader.state.floor;
        let made = when::moment(&reader.state.created);
        let made = made.map_or(0, OffsetDateTime::unix_timestamp_nanos) / 1_000_000;
        let mut since = i64::try_from(made).unwrap_or(0);
        if floor > 1 {
            // What the pages before told is older than this page.
            let first = reader.pages_beginning(floor, 1).await?;
            let written = first.first().map_or_else(crate::clock::epoch_seconds, |page| page.written);
            since = since.max(with_margin(written));
        }
        let ledger = ChangeLedger::new(tenant.to_string(), incarnation.to_owned(), since);
        Ok(Self { table, tenant, reader, progress, ledger, next: floor, unreadable: Vec::new() })
    }

    /// Reads on to the end of the feed.
    async fn read_feed(&mut self) -> Result<(), StoreError> {
        loop {
            let pages = match self.reader.pages_beginning(self.next, FEED_PAGES_PER_READ).await {
                Err(StoreError::Broken(_)) => return Ok(()),
                pages => pages?,
            };
            let before = self.next;
            for page in pages {
                // The page between is not visible yet, or missing.
                if page.first != self.next {
                    return Ok(());
                }
                match page.changes() {
                    Ok(changes) => {
                        changes.iter().for_each(|change| self.ledger.add(change, with_margin(page.written)));
                    }
                    Err(_) => self.unreadable.push(keys::feed_page(page.first)),
                }
                self.next = page.last + 1;
            }
            if self.next == before {
                return Ok(());
            }
            self.progress.advance(self.next - before);
        }
    }

    async fn read_waiting(&mut self) -> Result<WaitingChanges, StoreError> {
        let mut waiting = WaitingChanges::new();
        for item in outbox::list(self.table, Some(self.tenant)).await? {
            // The check of the feed reports items that cannot be read.
            let Ok(queued) = QueuedChange::from_item(&item) else { continue };
            let Some(change) = &queued.change else { continue };
            self.ledger.expect(change, as_milliseconds(SNAPSHOT_DISTANCE.as_secs()));
            let parts = change.parts.filter(|_| change.part == Some(0)).unwrap_or(0);
            let OutboxName { resource, version, part, .. } = queued.name;
            let versions = waiting.entry(resource).or_default();
            versions.insert((version, part), parts);
            // It takes the departures before it along.
            let departed = queued.trail.departed.len() as u64;
            versions.extend((version.saturating_sub(departed)..version).map(|version| ((version, 0), 0)));
        }
        Ok(waiting)
    }

    /// Looks for the changes that seem to be missing, each at a moment when no transaction on it is under way.
    async fn read_waiting_at_rest(
        &self,
        suspects: &[Suspect],
        waiting: &mut WaitingChanges,
    ) -> Result<(), StoreError> {
        let missing: Vec<OutboxName> = suspects.iter().filter_map(|suspect| self.missing(suspect)).collect();
        let keys: Vec<Key> = missing.iter().map(OutboxName::key).collect();
        let found = self.table.get_resting(&keys).await?;
        for (name, state) in missing.into_iter().zip(found) {
            if !matches!(state, Some(None)) {
                waiting.entry(name.resource).or_default().insert((name.version, name.part), 0);
            }
        }
        Ok(())
    }

    /// The name of the change that a resource lacks.
    fn missing(&self, suspect: &Suspect) -> Option<OutboxName> {
        let (version, part) = match suspect.mismatch {
            Mismatch::Missing(version, part) => (version, part),
            Mismatch::Gone => (self.ledger.entry(&suspect.id)?.last + 1, 0),
            Mismatch::Behind => return None,
        };
        Some(OutboxName { tenant: self.tenant.clone(), resource: suspect.id.clone(), version, part })
    }

    /// The resources that do not seem to fit their changes.
    fn suspects(&self, subjects: &Subjects, waiting: &WaitingChanges) -> Vec<Suspect> {
        let known = subjects.iter().filter_map(|(id, subject)| {
            let ahead = self.ledger.entry(id).is_some_and(|entry| entry.last > subject.state.version);
            let mismatch = match ahead {
                true => Mismatch::Behind,
                false => self.ledger.compare(id, Some(&subject.state), waiting, None)?,
            };
            Some(Suspect { id: id.clone(), resource_type: subject.resource_type.to_owned(), mismatch })
        });
        let told = self.ledger.existing().filter(|(id, _)| !subjects.contains_key(*id));
        let gone = told.filter_map(|(id, entry)| {
            let mismatch = self.ledger.compare(id, None, waiting, None)?;
            Some(Suspect { id: id.clone(), resource_type: entry.resource_type.clone(), mismatch })
        });
        known.chain(gone).collect()
    }

    /// Reads a resource at a moment when no transaction on it is under way.
    async fn read_state(&self, suspect: &Suspect) -> Result<Option<SubjectState>, StoreError> {
        let id = id_of(&suspect.resource_type, &suspect.id);
        let keys = state_keys(self.table, self.tenant, &suspect.resource_type, id).await?;
        let items = self.table.get_together(&keys).await?;
        Ok(items.iter().flatten().next().map(SubjectState::from_item))
    }

    fn finding(&self, suspect: &Suspect) -> Finding {
        let problem = match suspect.mismatch {
            Mismatch::Missing(..) => Problem::ChangeMissing,
            Mismatch::Behind => Problem::ResourceBehind,
            Mismatch::Gone => Problem::ResourceGone,
        };
        let change = match suspect.mismatch {
            Mismatch::Missing(..) => self.missing(suspect).map(|name| name.key()),
            _ => None,
        };
        finding(problem, self.place_of(&suspect.resource_type, &suspect.id), change)
    }

    /// The key by which a finding names a resource.
    fn place_of(&self, resource_type: &str, name: &str) -> Key {
        let id = id_of(resource_type, name);
        if let Some(kind) = DefinedKind::named(resource_type) {
            return keys::definition::definition(self.tenant, kind, id);
        }
        match (resource_type, parse_id(id)) {
            ("User", Some(id)) => keys::resource(self.tenant, Kind::User, id),
            ("Group", Some(id)) => keys::resource(self.tenant, Kind::Group, id),
            ("Application", _) => keys::application_listing(id),
            ("Webhook", _) => keys::webhook(id),
            ("Key", _) => keys::bearer_listing(self.tenant, id),
            ("Client", _) => keys::oauth::client(id),
            _ => keys::tenant(self.tenant),
        }
    }

    fn broken_changes(&self) -> impl Iterator<Item = Finding> {
        self.ledger.broken().iter().map(|(id, seq)| {
            let resource_type = self.ledger.entry(id).map_or("", |entry| entry.resource_type.as_str());
            finding(Problem::ChangeOrder, keys::feed_page(*seq), Some(self.place_of(resource_type, id)))
        })
    }
}

const fn finding(problem: Problem, key: Key, other: Option<Key>) -> Finding {
    Finding { problem, key, other }
}

/// The time by which everything that a page tells was done, even if clocks differ. In milliseconds since 1970.
fn with_margin(written: u64) -> i64 {
    as_milliseconds(written + SNAPSHOT_DISTANCE.as_secs())
}
