//! Lists: the entries in the order of ids, and the checkpoints at which pages continue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::Store;
use super::call::Range;
use super::error::StoreError;
use super::item::{Item, get_number, get_text, number, text};
use super::keys::{self, Key, parse_id};
use crate::clock;
use crate::limits::{MAX_PAGE_CHECKPOINTS_KEPT, PAGE_CHECKPOINT_LIFE_SECONDS};
use crate::scim::resource_type::Kind;

/// A position in the order of a tenant's resources: users, then groups, each by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The kind.
    pub kind: Kind,
    /// The id.
    pub id: Uuid,
}

impl Position {
    /// The text in an item or a cursor: `U` or `G`, and the id.
    pub fn text(self) -> String {
        let kind = match self.kind {
            Kind::User => 'U',
            Kind::Group => 'G',
        };
        format!("{kind}{}", self.id)
    }

    /// Reads [`Position::text`].
    pub fn parse(text: &str) -> Option<Self> {
        let kind = match text.get(..1)? {
            "U" => Kind::User,
            "G" => Kind::Group,
            _ => return None,
        };
        Some(Self { kind, id: parse_id(&text[1..])? })
    }
}

/// Where the next page of a list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCheckpoint {
    /// The last resource before the next page; `None` at the start.
    pub after: Option<Position>,
    /// How many resources the first page found.
    pub total: u64,
}

/// The page checkpoints that this process wrote last. A page begins to read where one of them says, beside reading the
/// checkpoint in the table, which decides.
#[derive(Clone, Debug, Default)]
pub struct RecentCheckpoints(Arc<Mutex<HashMap<Key, PageCheckpoint>>>);

impl RecentCheckpoints {
    fn get(&self, key: &Key) -> Option<PageCheckpoint> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn insert(&self, key: Key, checkpoint: PageCheckpoint) {
        let mut checkpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if checkpoints.len() >= MAX_PAGE_CHECKPOINTS_KEPT {
            checkpoints.clear();
        }
        checkpoints.insert(key, checkpoint);
    }
}

/// Some ids of a list.
#[derive(Clone, Debug)]
pub struct IdPage {
    /// The ids, in their order.
    pub ids: Vec<Uuid>,
    /// Whether more ids may follow.
    pub has_more: bool,
}

/// A part of a list that was skipped.
#[derive(Clone, Copy, Debug)]
pub struct SkippedEntries {
    /// How many resources were skipped.
    pub count: u64,
    /// The last of them; `None` at the end of the list.
    pub last: Option<Uuid>,
}

impl Store {
    /// Reads the ids of up to `limit` resources of a kind, in the order of ids, after the id `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list_page(
        &self,
        kind: Kind,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<IdPage, StoreError> {
        let pk = keys::list(&self.tenant, kind);
        let mut ids = Vec::with_capacity(limit.min(10_000));
        let mut range = Range { after: after.map(|id| id.to_string()), ..Range::default() };
        while ids.len() < limit {
            range.limit = i32::try_from(limit - ids.len()).ok();
            let page = self.table.query(&pk, &range).await?;
            ids.extend(page.items.iter().filter_map(|item| get_text(item, "sk")).filter_map(parse_id));
            match page.next {
                Some(next) => range.after = Some(next),
                None => return Ok(IdPage { ids, has_more: false }),
            }
        }
        Ok(IdPage { ids, has_more: true })
    }

    /// Skips up to `most` resources of a kind, after the id `after`, in one call and without fetching
    /// them. One call skips 1 MB of list entries at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn skip_entries(
        &self,
        kind: Kind,
        after: Option<Uuid>,
        most: u64,
    ) -> Result<SkippedEntries, StoreError> {
        let range = Range {
            after: after.map(|id| id.to_string()),
            limit: Some(i32::try_from(most).unwrap_or(i32::MAX)),
            ..Range::default()
        };
        let page = self.table.count_page(&keys::list(&self.tenant, kind), &range).await?;
        Ok(SkippedEntries { count: page.count, last: page.next.as_deref().and_then(parse_id) })
    }

    /// Reads the checkpoint that an earlier page of the same key and query wrote for an index. `None` if
    /// it does not exist or has expired.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_page_checkpoint(
        &self,
        query: &str,
        start_index: u64,
    ) -> Result<Option<PageCheckpoint>, StoreError> {
        let key = keys::page_mark(&self.tenant, &self.actor, query, start_index);
        let Some(item) = self.table.get(&key).await? else { return Ok(None) };
        // The table removes expired items late.
        if get_number::<u64>(&item, "ttl").is_none_or(|ttl| ttl < clock::epoch_seconds()) {
            return Ok(None);
        }
        let after = get_text(&item, "after").and_then(Position::parse);
        Ok(get_number(&item, "total").map(|total| PageCheckpoint { after, total }))
    }

    /// The checkpoint that this process wrote last for an index of the same key and query. Another process may have
    /// written another one since.
    pub fn recent_page_checkpoint(
        &self,
        recent: &RecentCheckpoints,
        query: &str,
        start_index: u64,
    ) -> Option<PageCheckpoint> {
        recent.get(&keys::page_mark(&self.tenant, &self.actor, query, start_index))
    }

    /// Writes the checkpoint of the page that starts at an index, and keeps it among the recent ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn save_page_checkpoint(
        &self,
        recent: &RecentCheckpoints,
        query: &str,
        start_index: u64,
        checkpoint: PageCheckpoint,
    ) -> Result<(), StoreError> {
        let key = keys::page_mark(&self.tenant, &self.actor, query, start_index);
        let mut item = Item::from([
            number("total", checkpoint.total),
            number("ttl", clock::epoch_seconds() + PAGE_CHECKPOINT_LIFE_SECONDS),
        ]);
        item.extend(checkpoint.after.map(|after| text("after", after.text())));
        self.table.put(&key, item).await?;
        recent.insert(key, checkpoint);
        Ok(())
    }
}
