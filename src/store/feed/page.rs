//! Pages: the changes of the feed, some in each item, packed.

use std::io::{Read as _, Write as _};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::change::FeedChange;
use super::kept::KeptDays;
use crate::store::error::Refusal;
use crate::store::error::StoreError;
use crate::store::item::{Item, get_number, get_text, number};
use crate::store::keys;
use crate::store::transaction::{Action, Expression};

/// A page of the feed. It holds at least one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The number of its first change.
    pub first: u64,
    /// The number of its last change.
    pub last: u64,
    /// When it was written, in seconds since 1970.
    pub written: u64,
    packed: Vec<u8>,
}

impl FeedPage {
    /// A page of these changes. Their numbers begin with `first`.
    ///
    /// # Errors
    /// [`StoreError::Broken`] for no changes, and if they cannot be packed.
    pub fn new(first: u64, changes: &[FeedChange], now: u64) -> Result<Self, StoreError> {
        if changes.is_empty() {
            return Err(StoreError::Broken("a page cannot be packed: it has no changes".to_owned()));
        }
        let packed = pack(changes)?;
        Ok(Self { first, last: first + changes.len() as u64 - 1, written: now, packed })
    }

    /// A page that stands for numbers without changes. Readers pass over it.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if it cannot be packed.
    pub fn without_changes(first: u64, last: u64, now: u64) -> Result<Self, StoreError> {
        Ok(Self { first, last, written: now, packed: pack(&[])? })
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the item is not a page.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("a page of the feed cannot be read".to_owned());
        Ok(Self {
            first: get_text(item, "sk").and_then(|first| first.parse().ok()).ok_or_else(broken)?,
            last: get_number(item, "last").ok_or_else(broken)?,
            written: get_number(item, "written").ok_or_else(broken)?,
            packed: match item.get("changes") {
                Some(AttributeValue::B(packed)) => packed.as_ref().to_vec(),
                _ => Vec::new(),
            },
        })
    }

    /// Unpacks the changes, with their numbers.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if they cannot be read.
    pub fn changes(&self) -> Result<Vec<FeedChange>, StoreError> {
        let broken = || StoreError::Broken("the changes of a page of the feed cannot be read".to_owned());
        let mut json = Vec::new();
        GzDecoder::new(self.packed.as_slice()).read_to_end(&mut json).map_err(|_| broken())?;
        let mut changes: Vec<FeedChange> = serde_json::from_slice(&json).map_err(|_| broken())?;
        for (seq, change) in (self.first..).zip(&mut changes) {
            change.seq = seq;
        }
        Ok(changes)
    }

    /// The attributes of the item. `kept` is what the state of the feed says.
    pub fn attributes(&self, kept: KeptDays) -> Item {
        Item::from([
            number("last", self.last),
            number("written", self.written),
            number("ttl", kept.deletion_time(self.written)),
            ("changes".to_owned(), AttributeValue::B(Blob::new(self.packed.clone()))),
        ])
    }

    /// The action that adds the page to the feed. It is refused as [`Refusal::Exists`] if there is a page
    /// that begins with the same number.
    pub(super) fn put(&self, kept: KeptDays) -> Action {
        Action::put(keys::feed_page(self.first), self.attributes(kept))
            .only_if(Expression::absent(), Refusal::Exists)
    }
}

fn pack(changes: &[FeedChange]) -> Result<Vec<u8>, StoreError> {
    let broken =
        |why: &dyn ToString| StoreError::Broken(format!("a page cannot be packed: {}", why.to_string()));
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let json = serde_json::to_vec(changes).map_err(|e| broken(&e))?;
    packer.write_all(&json).map_err(|e| broken(&e))?;
    packer.finish().map_err(|e| broken(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::item::with_key;
    use crate::store::transaction::ActionKind;

    #[test]
    fn a_page_reads_back_and_numbers_its_changes() {
        let change = |id: &str| FeedChange { id: id.to_owned(), version: 3, ..FeedChange::default() };
        let page = FeedPage::new(41, &[change("a"), change("b")], 1_000).expect("a page");
        let put = page.put(KeptDays::default());
        let mut item = with_key(&put.key);
        if let ActionKind::Put(attributes) = put.kind {
            item.extend(attributes);
        }
        assert_eq!(FeedPage::from_item(&item).expect("a page"), page);
        let changes = page.changes().expect("changes");
        assert_eq!(
            changes.iter().map(|c| (c.seq, c.id.as_str())).collect::<Vec<_>>(),
            [(41, "a"), (42, "b")]
        );
        assert!(FeedPage::new(1, &[], 0).is_err());
    }
}
