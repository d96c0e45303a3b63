//! The order in which changes of the outbox may enter the feed. This file is pure: it decides, and reads
//! nothing.
//!
//! A change may enter when each of its predecessors has: it is in the feed already, or it stands before the
//! change in the same page. The predecessors of a change are:
//!
//! - the change of the version before, with all its parts;
//! - for a part of a large change, the commit of that change;
//! - the parts of large changes that named the resource since its last change.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use super::outbox::QueuedChange;
use crate::store::keys::TenantId;
use crate::store::keys::outbox::{NOTE_VERSION, OutboxName};
use crate::store::trail::Trail;

/// The names of the changes that must be in the feed before a change of this version.
pub fn predecessors(name: &OutboxName, trail: &Trail) -> Vec<OutboxName> {
    let mut before = Vec::new();
    if name.part > 0 {
        before.push(OutboxName { part: 0, ..name.clone() });
    } else if name.version != NOTE_VERSION {
        before.extend(changes_of_version(name, name.version.saturating_sub(1), trail));
    }
    before.extend(parts_that_named(&name.tenant, trail));
    before
}

/// The names of the parts of large changes that named a resource since its last change.
pub fn parts_that_named(tenant: &TenantId, trail: &Trail) -> impl Iterator<Item = OutboxName> {
    trail.named.iter().map(|part| OutboxName {
        tenant: tenant.clone(),
        resource: part.group.to_string(),
        version: part.version,
        part: part.part,
    })
}

/// The names of the last change that is in the outbox, or was: with its parts, and before the departures
/// that led to `version`. None if the resource was created after that.
pub fn changes_of_version(name: &OutboxName, version: u64, trail: &Trail) -> Vec<OutboxName> {
    let version = version.saturating_sub(trail.departed.len() as u64);
    if version == 0 {
        return Vec::new();
    }
    (0..=trail.parts).map(|part| OutboxName { version, part, ..name.clone() }).collect()
}

/// What is known of predecessors that are not among the changes to be ordered.
#[derive(Debug, Default)]
pub struct KnownNames {
    /// Those that are not in the feed: in the outbox, or written by a transaction that is under way.
    pub waiting: BTreeSet<OutboxName>,
}

/// Orders changes so that each follows its predecessors and those of its resource that stand before it, and otherwise by
/// time. Leaves out those that must wait.
pub fn order(mut changes: Vec<QueuedChange>, known: &KnownNames) -> Vec<QueuedChange> {
    // The changes of a resource are next to each other, in their order.
    changes.sort_by(|a, b| a.chain().cmp(&b.chain()).then_with(|| a.key.cmp(&b.key)));
    let named = changes.iter().enumerate().filter(|(_, change)| change.change.is_some());
    let places: HashMap<&OutboxName, usize> = named.map(|(at, change)| (&change.name, at)).collect();
    // For each change: which others follow it, and how many it still follows. `None` if it must wait.
    let mut followers = vec![Vec::new(); changes.len()];
    let mut open: Vec<Option<usize>> = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        let names = predecessors(&change.name, &change.trail);
        let mut before: BTreeSet<usize> = names.iter().filter_map(|name| places.get(name).copied()).collect();
        let last = at.checked_sub(1).filter(|last| changes[*last].chain() == change.chain());
        before.extend(last);
        for place in &before {
            followers[*place].push(at);
        }
        let waits = names.iter().any(|name| known.waiting.contains(name));
        open.push((!waits).then_some(before.len()));
    }
    let by_time = |at: usize| Reverse((changes[at].change.as_ref().map(|change| &change.time), at));
    let ready = open.iter().enumerate().filter(|(_, open)| **open == Some(0));
    let mut ready: BinaryHeap<_> = ready.map(|(at, _)| by_time(at)).collect();
    let mut ordered = Vec::with_capacity(changes.len());
    while let Some(Reverse((_, next))) = ready.pop() {
        ordered.push(next);
        for follower in &followers[next] {
            if let Some(count) = &mut open[*follower] {
                *count -= 1;
                if *count == 0 {
                    ready.push(by_time(*follower));
                }
            }
        }
    }
    let mut changes: Vec<Option<QueuedChange>> = changes.into_iter().map(Some).collect();
    ordered.into_iter().filter_map(|at| changes[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::feed::change::FeedChange;
    use crate::store::trail::{Departure, PartName};

    fn name(resource: u128, version: u64, part: u32) -> OutboxName {
        let tenant = "acme".parse().expect("a tenant");
        OutboxName { tenant, resource: Uuid::from_u128(resource).to_string(), version, part }
    }

    fn queued(name: &OutboxName, time: u32, trail: Trail) -> QueuedChange {
        let change = FeedChange { time: format!("{time:04}"), ..FeedChange::default() };
        QueuedChange {
            key: name.key(),
            name: name.clone(),
            change: Some(change),
            trail,
            left: BTreeSet::new(),
            stamp: None,
            since: None,
        }
    }

    fn parts(parts: u32) -> Trail {
        Trail { parts, ..Trail::default() }
    }

    fn names(ordered: &[QueuedChange]) -> Vec<OutboxName> {
        ordered.iter().map(|change| change.name.clone()).collect()
    }

    #[test]
    fn versions_come_in_order_whatever_the_clocks_say() {
        let (first, second, other) = (name(1, 1, 0), name(1, 2, 0), name(2, 1, 0));
        let changes = vec![
            queued(&first, 9, Trail::default()),
            queued(&second, 1, Trail::default()),
            queued(&other, 5, Trail::default()),
        ];
        assert_eq!(names(&order(changes, &KnownNames::default())), [other, first, second]);
    }

    #[test]
    fn a_change_waits_for_what_is_not_in_the_feed() {
        let (second, third, other) = (name(1, 2, 0), name(1, 3, 0), name(2, 7, 0));
        let changes = || {
            let none = Trail::default;
            vec![queued(&second, 1, none()), queued(&third, 2, none()), queued(&other, 3, none())]
        };
        let known = KnownNames { waiting: BTreeSet::from([name(1, 1, 0)]) };
        assert_eq!(names(&order(changes(), &known)), std::slice::from_ref(&other));
        assert_eq!(names(&order(changes(), &KnownNames::default())), [second, third, other]);
    }

    #[test]
    fn parts_follow_their_commit_and_come_before_the_next_version() {
        let all: Vec<_> = (0..=3).map(|part| name(1, 4, part)).collect();
        let next = name(1, 5, 0);
        assert_eq!(predecessors(&next, &parts(3)), all);
        assert_eq!(predecessors(&all[2], &Trail::default()), [all[0].clone()]);
        let mut changes: Vec<_> = all.iter().map(|name| queued(name, 1, Trail::default())).collect();
        changes.push(queued(&next, 0, parts(3)));
        assert_eq!(names(&order(changes.clone(), &KnownNames::default())).last(), Some(&next));
        // A part that is not visible yet keeps the next version back, and no other part.
        let known = KnownNames { waiting: BTreeSet::from([all[2].clone()]) };
        changes.remove(2);
        let ordered = names(&order(changes, &known));
        assert_eq!(ordered, [all[0].clone(), all[1].clone(), all[3].clone()]);
    }

    #[test]
    fn a_member_waits_for_the_parts_that_named_it() {
        let (member, part) = (name(9, 2, 0), name(1, 4, 2));
        let named = BTreeSet::from([PartName { group: Uuid::from_u128(1), version: 4, part: 2 }]);
        let trail = Trail { named, ..Trail::default() };
        let changes = vec![queued(&member, 1, trail), queued(&part, 5, Trail::default())];
        assert_eq!(names(&order(changes, &KnownNames::default())), [part, member]);
    }

    #[test]
    fn departures_stand_between_a_change_and_the_one_before() {
        let departure = |n: u128| Departure {
            member: Uuid::from_u128(n),
            time: String::new(),
            actor: String::new(),
            request_id: String::new(),
        };
        let trail = Trail { departed: vec![departure(5), departure(6)], parts: 1, named: BTreeSet::new() };
        assert_eq!(predecessors(&name(1, 7, 0), &trail), [name(1, 4, 0), name(1, 4, 1)]);
        assert_eq!(predecessors(&name(1, 1, 0), &Trail::default()), []);
    }
}
