//! Reading many items that may be large. The answers at one moment must fit the function's memory, so the
//! reader asks for fewer items at once if they are large.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::batch::{BatchAnswer, never_read};
use super::call::Table;
use super::error::StoreError;
use super::item::{Item, with_key};
use super::keys::Key;
use super::retry::pause_after;
use crate::limits::{
    BATCH_RETRIES, MAX_KEYS_PER_BATCH_GET, MAX_READER_CALLS_AT_ONCE, READER_BYTES_AT_ONCE,
    READER_CALLS_AT_FIRST,
};

/// How large the items are that a reader has seen. It sets how many items are asked for at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    average: Option<usize>,
}

impl Pace {
    fn keys_per_call(self) -> usize {
        self.average.map_or(MAX_KEYS_PER_BATCH_GET, |average| {
            (READER_BYTES_AT_ONCE / average).clamp(1, MAX_KEYS_PER_BATCH_GET)
        })
    }

    fn calls_at_once(self) -> usize {
        let calls = |average: usize| {
            (READER_BYTES_AT_ONCE / (average * MAX_KEYS_PER_BATCH_GET)).clamp(1, MAX_READER_CALLS_AT_ONCE)
        };
        self.average.map_or(READER_CALLS_AT_FIRST, calls)
    }

    /// Notes the size of items. Larger items slow the reader at once, smaller ones speed it up step by step.
    fn note_sizes(&mut self, items: &[Item]) {
        if items.is_empty() {
            return;
        }
        let seen = items.iter().map(bytes).sum::<usize>() / items.len();
        self.average = Some(seen.max(self.average.unwrap_or(0) / 2).max(1));
    }
}

/// Estimates how many bytes an item has.
pub fn bytes(item: &Item) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => 8,
    };
    item.iter().map(|(name, of)| name.len() + value(of)).sum()
}

/// Reads many items, some at a time.
pub struct Reader<'a> {
    table: &'a Table,
    open: VecDeque<Item>,
    calls: FuturesUnordered<BoxFuture<'a, Result<BatchAnswer, StoreError>>>,
    pace: Pace,
    in_vain: u32,
}

impl<'a> Reader<'a> {
    /// Reads the items with these keys.
    pub fn new(table: &'a Table, keys: impl IntoIterator<Item = Key>, pace: Pace) -> Self {
        let open = keys.into_iter().map(|key| with_key(&key)).collect();
        Self { table, open, calls: FuturesUnordered::new(), pace, in_vain: 0 }
    }

    /// Returns some of the items, in no order. Items that do not exist are left out. `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Vec<Item>>, StoreError> {
        while self.calls.len() < self.pace.calls_at_once() && !self.open.is_empty() {
            let most = self.pace.keys_per_call().min(self.open.len());
            let keys = self.open.drain(..most).collect();
            self.calls.push(self.table.batch_get_once(keys, &[]).boxed());
        }
        let Some(answered) = self.calls.next().await else { return Ok(None) };
        let BatchAnswer { items, left_out } = answered?;
        self.in_vain = if items.is_empty() && !left_out.is_empty() { self.in_vain + 1 } else { 0 };
        // Not `Attempts`: an answer with items begins the count anew, and calls run side by side.
        if self.in_vain == BATCH_RETRIES.attempts {
            return Err(never_read());
        }
        if self.in_vain > 0 {
            pause_after(BATCH_RETRIES, self.in_vain + 1).await;
        }
        self.open.extend(left_out);
        self.pace.note_sizes(&items);
        Ok(Some(items))
    }

    /// Whether every item was returned.
    pub fn is_done(&self) -> bool {
        self.open.is_empty() && self.calls.is_empty()
    }

    /// The size of the items that the reader has seen, for the next reader.
    pub fn pace(&self) -> Pace {
        self.pace
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::text;
    use super::*;

    #[test]
    fn large_items_are_read_a_few_at_a_time() {
        let items = |size: usize| vec![Item::from([text("doc", "x".repeat(size))])];
        let mut pace = Pace::default();
        assert_eq!(
            (pace.keys_per_call(), pace.calls_at_once()),
            (MAX_KEYS_PER_BATCH_GET, READER_CALLS_AT_FIRST)
        );
        pace.note_sizes(&items(1_000));
        assert_eq!(
            (pace.keys_per_call(), pace.calls_at_once()),
            (MAX_KEYS_PER_BATCH_GET, MAX_READER_CALLS_AT_ONCE)
        );
        pace.note_sizes(&items(350_000));
        assert_eq!((pace.keys_per_call(), pace.calls_at_once()), (47, 1));
        pace.note_sizes(&items(1_000));
        assert_eq!((pace.keys_per_call(), pace.calls_at_once()), (95, 1));
        pace.note_sizes(&[]);
        assert_eq!((pace.keys_per_call(), pace.calls_at_once()), (95, 1));
    }
}
