//! Collects the page among the matches of a scan, and counts all matches. However many match, no more
//! is held than the page and those before it need, and no more than fits the memory.

use std::mem::size_of;

use super::page::{PageRequest, ResourcePage};
use super::parsed_query::ParsedQuery;
use crate::limits::{MAX_PAGE_ITEM_BYTES, MAX_SKIP_WITH_ITEMS, MAX_SORT_KEYS_BYTES};
use crate::scim::error::ScimError;
use crate::scim::sort::SortKey;
use crate::scim::work::WorkBudget;
use crate::store::item::Item;
use crate::store::list::Position;
use crate::store::reader::bytes;

/// How many bytes of two texts are compared in one step, at most: comparing is faster than any other look.
const COMPARED_PER_STEP: usize = 1_024;

/// One match.
struct Match {
    place: Position,
    key: Option<SortKey>,
    item: Option<Item>,
}

impl Match {
    /// How much memory it takes, without the item.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.as_ref().map_or(0, SortKey::bytes)
    }
}

/// The matches of a scan that are kept for the page.
pub(super) struct PageCollector<'a> {
    query: &'a ParsedQuery<'a>,
    request: &'a PageRequest,
    work: &'a WorkBudget,
    /// How many matches are left out first.
    skip: usize,
    /// How many matches were found.
    found: u64,
    kept: Vec<Match>,
    /// In an unsorted scan, those that were found since the last stride ended, in no order.
    fresh: Vec<Match>,
    items_held: usize,
    keys_held: usize,
}

impl<'a> PageCollector<'a> {
    /// Nothing found yet.
    pub fn new(query: &'a ParsedQuery<'a>, request: &'a PageRequest, work: &'a WorkBudget) -> Self {
        Self {
            query,
            request,
            work,
            skip: usize::try_from(request.skip).unwrap_or(usize::MAX),
            found: 0,
            kept: Vec::new(),
            fresh: Vec::new(),
            items_held: 0,
            keys_held: 0,
        }
    }

    /// A scan whose total is known starts after the last page, and ends when the page is full.
    fn is_resumed(&self) -> bool {
        self.request.total.is_some() && self.query.sort.is_none()
    }

    /// The resource after which the scan starts. A sorted scan reads everything every time.
    pub fn after(&self) -> Option<Position> {
        if self.is_resumed() { self.request.after } else { None }
    }

    /// How many are wanted at the most: one more than the page tells whether another follows.
    pub fn needs(&self) -> usize {
        if self.is_resumed() { self.request.count + 1 } else { usize::MAX }
    }

    /// Whether nothing that is still found would change the page.
    pub fn is_enough(&self) -> bool {
        self.kept.len() >= self.needs()
    }

    /// One more was found: where, its key in a sorted walk, and its item, if that is all that the page
    /// needs of it.
    ///
    /// # Errors
    /// `tooMany` for sort keys that are too large to be held.
    pub fn take(
        &mut self,
        place: Position,
        key: Option<SortKey>,
        item: Option<Item>,
    ) -> Result<(), ScimError> {
        self.found += 1;
        let sorted = key.is_some();
        let mut found = Match { place, key, item: None };
        if let (Some(behind), Some(after)) = (&self.request.sort_key, self.request.after)
            && !self.order((found.key.as_ref(), found.place), (Some(behind), after)).is_gt()
        {
            return Ok(());
        }
        if let Some(item) = item.filter(|_| !sorted || self.skip < MAX_SKIP_WITH_ITEMS) {
            let size = bytes(&item);
            if self.items_held + size <= MAX_PAGE_ITEM_BYTES {
                self.items_held += size;
                found.item = Some(item);
            }
        }
        if !sorted {
            self.fresh.push(found);
            return Ok(());
        }
        self.keys_held += found.bytes();
        self.kept.push(found);
        let most = self.skip.saturating_add(self.request.count).saturating_add(1);
        if self.kept.len() >= most.saturating_mul(2).max(1_000) || self.keys_held > MAX_SORT_KEYS_BYTES {
            self.sort()?;
            self.kept.truncate(most);
            self.count_bytes();
            if self.keys_held > MAX_SORT_KEYS_BYTES {
                return Err(ScimError::too_many(
                    "The values to sort by are too large to be held together. Page by cursor instead of startIndex, send a smaller count, or sort by an attribute with shorter values.",
                ));
            }
        }
        Ok(())
    }

    /// A stride is over: all that was found in it comes after all that was found before it.
    pub fn end_stride(&mut self) {
        if self.query.sort.is_some() {
            return;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_by_key(|found| found.place);
        let before = self.found - fresh.len() as u64;
        let left_out = self.skip.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
        let wanted = self.request.count.saturating_add(1).saturating_sub(self.kept.len());
        self.kept.extend(fresh.into_iter().skip(left_out).take(wanted));
        self.count_bytes();
    }

    /// Ties go by place, so that pages of a sorted list do not overlap.
    fn order(
        &self,
        (key, place): (Option<&SortKey>, Position),
        (other_key, other): (Option<&SortKey>, Position),
    ) -> std::cmp::Ordering {
        let by_key = key.cmp(&other_key);
        let by_key = if self.query.descending { by_key.reverse() } else { by_key };
        by_key.then_with(|| place.cmp(&other))
    }

    fn sort(&mut self) -> Result<(), ScimError> {
        let count = self.kept.len();
        let comparisons = count as u64 * u64::from(count.max(2).ilog2());
        let average = self.keys_held / count.max(1);
        self.work.spend(comparisons * (1 + (average / COMPARED_PER_STEP) as u64))?;
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by(|a, b| self.order((a.key.as_ref(), a.place), (b.key.as_ref(), b.place)));
        self.kept = kept;
        Ok(())
    }

    fn count_bytes(&mut self) {
        self.keys_held = self.kept.iter().map(Match::bytes).sum();
        self.items_held = self.kept.iter().filter_map(|found| found.item.as_ref()).map(bytes).sum();
    }

    /// The page.
    ///
    /// # Errors
    /// The error of [`WorkBudget::spend`]: 413 or `tooMany`.
    pub fn page(mut self) -> Result<ResourcePage, ScimError> {
        let mut skip = 0;
        if self.query.sort.is_some() {
            self.sort()?;
            skip = self.skip;
        }
        let mut found =
            ResourcePage { total: self.request.total.unwrap_or(self.found), ..ResourcePage::default() };
        let mut matches = self.kept.into_iter().skip(skip);
        for Match { place, key, item } in matches.by_ref().take(self.request.count) {
            found.ids.push(place);
            found.last = Some((place, key));
            found.items.extend(item.map(|item| (place, item)));
        }
        found.more = matches.next().is_some();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::scim::error::ErrorKind;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::sort::{SortBy, resolve};

    fn parsed_query(sorted: bool, descending: bool) -> ParsedQuery<'static> {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let sort = sorted.then(|| resolve("title", &[model.of(Kind::User)]).expect("an attribute"));
        let kinds = &[Kind::User];
        ParsedQuery { kinds, filters: vec![None], filter: None, sort, descending, hash: String::new() }
    }

    fn key(sort: &SortBy, doc: &Map<String, Value>) -> SortKey {
        sort.key("User", doc, &WorkBudget::of_query()).expect("little work")
    }

    /// Finds users with these titles, whose ids have the order of the list. The ids of the page, the
    /// total, and the most that was held.
    fn walk(
        query: &ParsedQuery<'_>,
        request: &PageRequest,
        titles: &[usize],
    ) -> (Vec<usize>, u64, bool, usize) {
        let work = WorkBudget::of_query();
        let mut collector = PageCollector::new(query, request, &work);
        let mut held = 0;
        let all: Vec<(usize, &usize)> = titles.iter().enumerate().collect();
        for stride in all.chunks(100) {
            // What is read at once comes in no order.
            for (at, title) in stride.iter().rev() {
                let doc = Map::from_iter([("title".to_owned(), json!(format!("{title:06}")))]);
                let key = query.sort.as_ref().map(|sort| key(sort, &doc));
                let place = Position { kind: Kind::User, id: Uuid::from_u128(*at as u128) };
                collector.take(place, key, None).expect("little memory");
                held = held.max(collector.kept.len() + collector.fresh.len());
            }
            collector.end_stride();
        }
        let page = collector.page().expect("little work");
        let ids = page.ids.iter().map(|place| usize::try_from(place.id.as_u128()).expect("small"));
        (ids.collect(), page.total, page.more, held)
    }

    #[test]
    fn a_page_is_kept_and_the_rest_counted() {
        // Every title once, in an order that is not theirs.
        let titles: Vec<usize> = (0..20_000).map(|at| at * 7_919 % 20_000).collect();
        let by_title = |descending: bool| {
            let mut ids: Vec<usize> = (0..titles.len()).collect();
            ids.sort_by_key(|at| titles[*at]);
            if descending {
                ids.reverse();
            }
            ids
        };
        for (sorted, descending) in [(false, false), (true, false), (true, true)] {
            let all = if sorted { by_title(descending) } else { (0..titles.len()).collect() };
            for (skip, count) in [(0, 10), (0, 0), (300, 200), (1_500, 10), (19_995, 10), (30_000, 10)] {
                let request =
                    PageRequest { after: None, sort_key: None, skip: skip as u64, total: None, count };
                let query = parsed_query(sorted, descending);
                let (ids, total, more, held) = walk(&query, &request, &titles);
                let expected: Vec<usize> = all.iter().skip(skip).take(count).copied().collect();
                assert_eq!((ids, total), (expected, 20_000), "{sorted} {descending} {skip} {count}");
                assert_eq!(more, skip + count < all.len(), "{sorted} {descending} {skip} {count}");
                assert!(held <= (2 * (skip + count + 1)).max(1_000), "{held} held");
            }
        }
    }

    #[test]
    fn a_sorted_walk_goes_on_behind_its_last_page() {
        let titles = [3, 1, 2, 1, 0];
        let query = parsed_query(true, false);
        let key = query
            .sort
            .as_ref()
            .map(|sort| key(sort, &Map::from_iter([("title".to_owned(), json!("000001"))])));
        let after = Some(Position { kind: Kind::User, id: Uuid::from_u128(1) });
        let request = PageRequest { after, sort_key: key, skip: 0, total: Some(5), count: 2 };
        let (ids, total, more, _) = walk(&query, &request, &titles);
        assert_eq!((ids, total, more), (vec![3, 2], 5, true));
    }

    #[test]
    fn sort_keys_are_held_within_bounds() {
        let query = parsed_query(true, false);
        let work = WorkBudget::of_query();
        let large = |at: usize| Some(SortKey::Text(format!("{at:06}{}", "x".repeat(64 * 1024))));
        let take = |collector: &mut PageCollector<'_>, count: usize| {
            let mut most = 0;
            for at in (0..count).rev() {
                let place = Position { kind: Kind::User, id: Uuid::from_u128(at as u128) };
                collector.take(place, large(at), None)?;
                most = most.max(collector.keys_held);
            }
            Ok::<usize, ScimError>(most)
        };
        let first = PageRequest { after: None, sort_key: None, skip: 0, total: None, count: 200 };
        let mut collector = PageCollector::new(&query, &first, &work);
        let most = take(&mut collector, 2_000).expect("the first page");
        assert!(most < 2 * MAX_SORT_KEYS_BYTES, "{most}");
        assert_eq!(collector.page().expect("a page").ids.len(), 200);
        let far = PageRequest { skip: 1_500, ..first };
        let refused = take(&mut PageCollector::new(&query, &far, &work), 2_000).map_err(|error| error.kind);
        assert_eq!(refused, Err(ErrorKind::TooMany));
    }
}
