//! The change feed, as tests read it.
#![allow(dead_code, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};
use rollcall::store::feed::sequencer::{Sequencer, SequencerReport};
use rollcall::store::feed::subject::unique_name;
use serde_json::{Map, Value};

/// Runs the sequencer until the outbox is empty, or until nothing in it may enter the feed.
pub async fn sequence(table: &Table) -> SequencerReport {
    let until = Instant::now() + Duration::from_secs(60);
    Sequencer::new(&table.fresh()).run(until).await.expect("a run of the sequencer")
}

/// Every change of the feed, without running the sequencer.
pub async fn read_feed(table: &Table) -> Vec<FeedChange> {
    let reader = FeedReader::open(table).await.expect("a feed");
    let mut position = reader.oldest();
    let mut changes = Vec::new();
    loop {
        let query = ChangeQuery { limit: 500, tenant: None };
        let list = reader.read(&position, query).await.expect("the table").expect("a position");
        position = reader.at(list.seq);
        changes.extend(list.changes);
        if !list.more {
            return changes;
        }
    }
}

/// Every change of a tenant, as the JSON that readers of the feed get.
pub async fn changes_of(table: &Table, tenant: &str) -> Vec<Map<String, Value>> {
    sequence(table).await;
    let changes = read_feed(table).await.into_iter().filter(|change| change.tenant == tenant);
    let json = |change: FeedChange| serde_json::to_value(change).expect("JSON");
    changes.map(|change| json(change).as_object().cloned().expect("an object")).collect()
}

/// Asserts what the feed promises of its changes.
pub fn check_feed(changes: &[FeedChange]) {
    let mut latest: BTreeMap<(&str, &str, String), &FeedChange> = BTreeMap::new();
    let mut open_parts: BTreeMap<(&str, &str, String), BTreeSet<u32>> = BTreeMap::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    for (seq, change) in (1..).zip(changes) {
        assert_eq!(change.seq, seq, "the numbers have no gap");
        assert!(!change.incarnation.is_empty(), "{change:?}");
        assert!(!ended.contains(change.incarnation.as_str()), "its tenant has ended before: {change:?}");
        let name = unique_name(&change.resource_type, &change.resource_id);
        let resource = (change.tenant.as_str(), change.incarnation.as_str(), name);
        if let Some(part) = change.part.filter(|part| *part > 0) {
            assert_eq!(latest[&resource].version, change.version, "a part follows its commit: {change:?}");
            assert!(open_parts.get_mut(&resource).is_some_and(|open| open.remove(&part)), "once: {change:?}");
            continue;
        }
        let before = latest.insert(resource.clone(), change).map_or(0, |before| before.version);
        assert_eq!(change.version, before + 1, "each version has one change: {change:?}");
        let open = open_parts.remove(&resource).unwrap_or_default();
        assert!(open.is_empty(), "the parts {open:?} of the version before are missing: {change:?}");
        open_parts.insert(resource, (1..=change.parts.unwrap_or(0)).collect());
        if change.event_type == "tenant.deleted" {
            // It is the last change of this tenant. What was being applied then is gone with it.
            ended.insert(&change.incarnation);
            open_parts.retain(|(_, incarnation, _), _| *incarnation != change.incarnation);
        }
    }
    open_parts.retain(|_, open| !open.is_empty());
    assert!(open_parts.is_empty(), "parts are missing: {open_parts:?}");
}

/// The members of each group, as a reader of the feed knows them.
pub fn members_by_feed(changes: &[FeedChange]) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.resource_type == "Group") {
        if change.event_type == "group.deleted" {
            groups.remove(&change.resource_id);
            continue;
        }
        let members = groups.entry(change.resource_id.clone()).or_default();
        members.extend(change.added.iter().cloned());
        change.removed.iter().for_each(|member| {
            members.remove(member);
        });
    }
    groups
}
