//! Reads the feed from a position on.

use std::time::Duration;

use super::change::FeedChange;
use super::page::FeedPage;
use super::state::{FeedEnd, FeedState};
use crate::clock;
use crate::limits::{FEED_BUCKET, FEED_PAGES_PER_READ, MAX_FEED_ANSWER_BYTES, MAX_FEED_PAGES_PER_READ};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::keys;

/// A place in a feed: after the change of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPosition {
    /// The id of the feed.
    pub feed: String,
    /// The number of the last change before the place; 0 for the beginning.
    pub seq: u64,
}

impl FeedPosition {
    /// The text for clients, who must not look into it.
    pub fn to_text(&self) -> String {
        format!("{}-{}", self.feed, self.seq)
    }

    /// Reads the text. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (feed, seq) = text.split_once('-')?;
        let is_feed = feed.len() == 16 && feed.bytes().all(|b| b.is_ascii_hexdigit());
        let canonical = seq.bytes().all(|b| b.is_ascii_digit()) && (seq == "0" || !seq.starts_with('0'));
        (is_feed && canonical).then_some(Self { feed: feed.to_owned(), seq: seq.parse().ok()? })
    }
}

/// Some changes of the feed, one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeList {
    /// The changes.
    pub changes: Vec<FeedChange>,
    /// The number after which to go on.
    pub seq: u64,
    /// Whether more changes can be read at once.
    pub more: bool,
}

/// Why the feed cannot be read from a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostPosition {
    /// It belongs to another feed: the table was restored from a backup.
    OtherFeed,
    /// The changes after it are no longer kept.
    TooOld,
    /// It lies behind the end of the feed.
    BeyondEnd,
}

/// What a reader asks for.
#[derive(Clone, Copy, Debug)]
pub struct ChangeQuery<'q> {
    /// The most changes of the answer.
    pub limit: usize,
    /// The name of the tenant whose changes are wanted; `None` for all.
    pub tenant: Option<&'q str>,
}

/// Reads the feed.
#[derive(Clone, Debug)]
pub struct FeedReader<'t> {
    table: &'t Table,
    /// What the feed was when the reader was made.
    pub state: FeedState,
}

impl<'t> FeedReader<'t> {
    /// A reader of the feed of this table.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn open(table: &'t Table) -> Result<Self, StoreError> {
        Ok(Self { table, state: FeedState::fetch(table).await? })
    }

    /// The place before the oldest change that is kept.
    pub fn oldest(&self) -> FeedPosition {
        self.at(self.state.floor - 1)
    }

    /// The place after the change of this number.
    pub fn at(&self, seq: u64) -> FeedPosition {
        FeedPosition { feed: self.state.id.clone(), seq }
    }

    /// Reads the changes after a place.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`]. The inner error says why the place is lost.
    pub async fn read(
        &self,
        after: &FeedPosition,
        query: ChangeQuery<'_>,
    ) -> Result<Result<ChangeList, LostPosition>, StoreError> {
        if after.feed != self.state.id {
            return Ok(Err(LostPosition::OtherFeed));
        }
        if after.seq.saturating_add(1) < self.state.floor {
            return Ok(Err(LostPosition::TooOld));
        }
        let mut list = ChangeList { seq: after.seq, ..ChangeList::default() };
        let Some(mut pages) = self.pages_from(after.seq.min(u64::MAX - 1)).await? else {
            return Ok(Err(LostPosition::BeyondEnd));
        };
        let (mut bytes, mut pages_read, mut changes_read) = (0, 0, 0);
        while !pages.is_empty() {
            pages_read += pages.len();
            for page in &pages {
                if page.first > list.seq + 1 {
                    // The page between is not visible yet, and the list ends before it.
                    return Ok(Ok(list));
                }
                for change in page.changes()?.into_iter().filter(|change| change.seq > after.seq) {
                    if list.changes.len() == query.limit || bytes > MAX_FEED_ANSWER_BYTES {
                        list.more = true;
                        return Ok(Ok(list));
                    }
                    list.seq = change.seq;
                    changes_read += 1;
                    if query.tenant.is_none_or(|tenant| tenant == change.tenant) {
                        bytes += serde_json::to_vec(&change).map_or(0, |json| json.len());
                        list.changes.push(change);
                    }
                }
                // A page may stand for numbers without changes.
                list.seq = list.seq.max(page.last);
            }
            let wanted = query.limit - list.changes.len();
            let count = count_pages(wanted, changes_read, pages_read);
            pages = self.pages_beginning(list.seq + 1, count).await?;
        }
        Ok(Ok(list))
    }

    /// Finds the number before the first change in a page that was written at this time or later, in seconds
    /// since 1970. It is the number of a place that can be read from.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn find_time(&self, time: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (self.state.floor - 1, self.end().await?.next - 1);
        // Most times are shortly before the end. So the search steps backwards from there, each time twice as far, until
        // it is before the time.
        let mut stride = Some(1);
        while low < high {
            let at = match stride {
                Some(stride) => high.saturating_sub(stride - 1).max(low + 1),
                None => low + (high - low).div_ceil(2),
            };
            stride = stride.map(|stride| stride * 2);
            match self.page_with(at).await? {
                Some(page) if page.written >= time => high = page.first - 1,
                Some(page) => {
                    low = page.last.max(at);
                    stride = None;
                }
                // The number lies within a page that stands for more numbers than the search for a page looks at.
                None if !self.pages_beginning(low + 1, 1).await?.is_empty() => high = at - 1,
                // The retention of the first pages has ended.
                None => {
                    low = at;
                    stride = None;
                }
            }
        }
        Ok(low)
    }

    /// The last page that begins with this number or before.
    async fn page_with(&self, seq: u64) -> Result<Option<FeedPage>, StoreError> {
        // It may be in the partition before that of the number itself.
        for bucket in [seq, seq.saturating_sub(FEED_BUCKET)] {
            let through = Some(keys::feed_page(seq).sk);
            let range = Range { through, backwards: true, limit: Some(1), ..Range::default() };
            let page = self.table.query(&keys::feed_bucket(bucket), &range).await?;
            if let Some(page) = page.items.first().map(FeedPage::from_item).transpose()? {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The pages from the one that has the change after `seq`. `None` if the feed has no change `seq`; no
    /// pages if that is the last one.
    async fn pages_from(&self, seq: u64) -> Result<Option<Vec<FeedPage>>, StoreError> {
        let beginning = self.pages_beginning(seq + 1, FEED_PAGES_PER_READ).await?;
        let is_known_end = seq + 1 == self.state.floor || seq + 1 == self.state.near_end;
        if !beginning.is_empty() || is_known_end {
            return Ok(Some(beginning));
        }
        // No page begins there: the place is within a page, or at the end, or beyond it.
        let page = self.page_with(seq).await?.filter(|page| page.last >= seq);
        Ok(page.map(|page| if page.last > seq { vec![page] } else { Vec::new() }))
    }

    /// Some pages, if there is one that begins with this number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn pages_beginning(&self, first: u64, count: i32) -> Result<Vec<FeedPage>, StoreError> {
        let after = Some(keys::feed_page(first - 1).sk);
        let range = Range { after, limit: Some(count), ..Range::default() };
        let page = self.table.query(&keys::feed_bucket(first), &range).await?;
        let pages = page.items.iter().map(FeedPage::from_item).collect::<Result<Vec<_>, _>>()?;
        Ok(if pages.first().is_some_and(|page| page.first == first) { pages } else { Vec::new() })
    }

    /// Where the feed ends.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn end(&self) -> Result<FeedEnd, StoreError> {
        self.state.find_end(self.table).await
    }

    /// The last page of a feed that ends there. `None` if the feed is empty, or if the page is gone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn last_page(&self, end: FeedEnd) -> Result<Option<FeedPage>, StoreError> {
        match end.page {
            Some(page) => Ok(Some(page)),
            // It may be in the partition before that of the next number.
            None => self.page_with(end.next - 1).await,
        }
    }

    /// The place for a snapshot. Everything that the changes before it have written is visible to every read,
    /// because the pages with them were written `distance` ago. A reader that reads the whole table after this
    /// call, and then applies the feed from this place, has the state of the table.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn snapshot(&self, distance: Duration) -> Result<FeedPosition, StoreError> {
        let visible = clock::epoch_seconds().saturating_sub(distance.as_secs());
        Ok(self.at(self.find_time(visible + 1).await?))
    }
}

/// How many pages the next call reads. When changes come one by one each page has one, so a call reads many pages.
/// `wanted` changes are wanted; `pages` pages had `changes` of them.
fn count_pages(wanted: usize, changes: u64, pages: usize) -> i32 {
    let per_page = usize::try_from(changes).unwrap_or(usize::MAX) / pages.max(1);
    let count = i32::try_from(wanted.div_ceil(per_page.max(1))).unwrap_or(i32::MAX);
    count.clamp(FEED_PAGES_PER_READ, MAX_FEED_PAGES_PER_READ)
}
