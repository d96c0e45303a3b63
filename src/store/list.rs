//! Lists: the entries that pages are cut from, the totals, and the marks that walking leaves.

use uuid::Uuid;

use super::Store;
use super::call::Range;
use super::error::StoreError;
use super::item::{Item, get_number, get_text, number, text};
use super::keys::{self, parse_id};
use crate::clock;
use crate::scim::resource_type::Kind;

/// How long a walk may rest between two pages.
const MARK_LIFE_SECONDS: u64 = 3_600;

/// A place in the one order that all resources of a tenant have: users, then groups, each by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The kind.
    pub kind: Kind,
    /// The id.
    pub id: Uuid,
}

impl Position {
    /// As stored and as in a cursor: `U` or `G` and the id.
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

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The last resource before the next page; `None` at the start.
    pub after: Option<Position>,
    /// How many resources the walk's first page found.
    pub total: u64,
}

impl Store {
    /// The ids of a page of a kind, in their one order, and whether more follow.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_page(
        &self,
        kind: Kind,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Uuid>, bool), StoreError> {
        let pk = keys::list(&self.tenant, kind);
        let mut ids = Vec::with_capacity(limit.min(10_000));
        let mut range = Range { after: after.map(|id| id.to_string()), ..Range::default() };
        while ids.len() < limit {
            range.limit = i32::try_from(limit - ids.len()).ok();
            let page = self.table.query(&pk, &range).await?;
            ids.extend(page.items.iter().filter_map(|item| get_text(item, "sk")).filter_map(parse_id));
            match page.next {
                Some(next) => range.after = Some(next),
                None => return Ok((ids, false)),
            }
        }
        Ok((ids, true))
    }

    /// Passes over so many resources of a kind, or as many as one call does, without fetching them:
    /// how many, and the last of them; `None` at the end of the list.
    ///
    /// # Errors
    /// As every call.
    pub async fn pass_over(
        &self,
        kind: Kind,
        after: Option<Uuid>,
        most: u64,
    ) -> Result<(u64, Option<Uuid>), StoreError> {
        let range = Range {
            after: after.map(|id| id.to_string()),
            limit: Some(i32::try_from(most).unwrap_or(i32::MAX)),
            ..Range::default()
        };
        let (passed, next) = self.table.count_page(&keys::list(&self.tenant, kind), &range).await?;
        Ok((passed, next.as_deref().and_then(parse_id)))
    }

    /// The mark that an earlier page of the same key and query left at an index.
    ///
    /// # Errors
    /// As every call.
    pub async fn mark(&self, query: &str, start_index: u64) -> Result<Option<Mark>, StoreError> {
        let key = keys::page_mark(&self.tenant, &self.actor, query, start_index);
        let Some(item) = self.table.get(&key).await? else { return Ok(None) };
        // TTL removes marks late.
        if get_number::<u64>(&item, "ttl").is_none_or(|ttl| ttl < clock::epoch_seconds()) {
            return Ok(None);
        }
        let after = get_text(&item, "after").and_then(Position::parse);
        Ok(get_number(&item, "total").map(|total| Mark { after, total }))
    }

    /// Leaves a mark for the page that starts at an index.
    ///
    /// # Errors
    /// As every call.
    pub async fn set_mark(&self, query: &str, start_index: u64, mark: Mark) -> Result<(), StoreError> {
        let key = keys::page_mark(&self.tenant, &self.actor, query, start_index);
        let mut item = Item::from([
            number("total", mark.total),
            number("ttl", clock::epoch_seconds() + MARK_LIFE_SECONDS),
        ]);
        item.extend(mark.after.map(|after| text("after", &after.text())));
        self.table.put(&key, item).await
    }
}
