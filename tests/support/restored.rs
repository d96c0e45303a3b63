//! A table as point-in-time recovery leaves it: all items of one moment, and of the transaction that was under way at
//! that moment only some.
#![allow(dead_code, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rollcall::store::call::{ScanPage, ScanSegment, Table};
use rollcall::store::item::{Item, key_of};
use rollcall::store::keys::Key;

use super::faults::{Call, Fate, Proxy};

/// The items of a table at one moment.
pub type State = BTreeMap<Key, Item>;

/// All items of a table.
pub async fn read_all(table: &Table) -> State {
    let (mut state, mut start) = (State::new(), None);
    loop {
        let page = table.scan_items(&[""], start, ScanSegment::WHOLE, None).await.expect("a scan");
        let ScanPage { found, next } = page;
        state.extend(found.into_iter().map(|item| (key_of(&item).expect("a key"), item)));
        start = next;
        if start.is_none() {
            return state;
        }
    }
}

/// The keys of the items that differ.
pub fn difference<'s>(before: &'s State, after: &'s State) -> BTreeSet<&'s Key> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(*key) != after.get(*key)).collect()
}

/// The items of `before` with some of the changes that lead to `after`. Each seed chooses others: at least one, and
/// not all, if there are two or more.
pub fn tear(before: &State, after: &State, seed: u64) -> Vec<Item> {
    let changed: Vec<&Key> = difference(before, after).into_iter().collect();
    let draw = |number: usize| {
        let mut hasher = DefaultHasher::new();
        (seed, number).hash(&mut hasher);
        hasher.finish()
    };
    let mut state = before.clone();
    for (number, key) in changed.iter().enumerate() {
        let is_first = number == (seed % changed.len() as u64) as usize;
        let is_last = number == ((seed + 1) % changed.len() as u64) as usize;
        if is_first || (!is_last && draw(number).is_multiple_of(2)) {
            match after.get(*key) {
                Some(item) => state.insert((*key).clone(), item.clone()),
                None => state.remove(*key),
            };
        }
    }
    state.into_values().collect()
}

/// Does some work, and takes the state of the table before each of its writes and at the end. The work calls the
/// table through `proxy`.
pub async fn states_of<F>(table: &Table, proxy: &Proxy, work: F) -> Vec<State>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    proxy.decide(|call: &Call| match call.operation.as_str() {
        "TransactWriteItems" | "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" => Fate::Held,
        _ => Fate::Pass,
    });
    let work = tokio::spawn(work);
    let mut states = Vec::new();
    while !work.is_finished() {
        // A write that waits since the last release is not reported again.
        let _ = tokio::time::timeout(Duration::from_millis(15), proxy.held()).await;
        states.push(read_all(table).await);
        proxy.release();
    }
    work.await.expect("the work");
    states.push(read_all(table).await);
    states.dedup();
    proxy.decide(|_: &Call| Fate::Pass);
    states
}
