//! What a walk keeps of what it finds: the page, and how much there is besides. However many match,
//! no more is held than what the page and those before it need.

use super::query::{Understood, position};
use super::walk::{Found, Search};
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::sort::SortKey;
use crate::store::list::Position;
use crate::store::record::Record;

/// From so many places before the page on, a sorted walk keeps the keys of its matches alone: the
/// page is read again.
const KEYS_ALONE_FROM: usize = 1_000;

/// One match.
struct Match {
    place: Position,
    key: Option<SortKey>,
    record: Option<Record>,
}

/// The matches of a walk.
pub(super) struct Harvest<'a> {
    query: &'a Understood<'a>,
    search: &'a Search,
    /// Where a sorted walk goes on: only what comes after it belongs to the page.
    behind: Option<SortKey>,
    /// So many are left out first.
    skip: usize,
    /// So many were found.
    found: u64,
    kept: Vec<Match>,
}

impl<'a> Harvest<'a> {
    /// Nothing found yet.
    ///
    /// # Errors
    /// `invalidCursor` for the cursor of another kind of walk.
    pub fn new(query: &'a Understood<'a>, search: &'a Search) -> Result<Self, ScimError> {
        let mut behind = None;
        if query.sort.is_some() && search.after.is_some() {
            let key = search.sort_key.as_ref().and_then(SortKey::from_value);
            behind = Some(key.ok_or_else(|| {
                ScimError::new(
                    ErrorKind::InvalidCursor,
                    "The cursor is not one that this service made. Begin again without a cursor.",
                )
            })?);
        }
        let skip = usize::try_from(search.skip).unwrap_or(usize::MAX);
        Ok(Self { query, search, behind, skip, found: 0, kept: Vec::new() })
    }

    /// A walk whose total is known goes on from where it stands, and ends when the page is full.
    fn is_resumed(&self) -> bool {
        self.search.total.is_some() && self.query.sort.is_none()
    }

    /// Where the walk itself goes on; a sorted one reads everything every time.
    pub fn after(&self) -> Option<Position> {
        if self.is_resumed() { self.search.after } else { None }
    }

    /// How many are wanted at the most: one more than the page tells whether another follows.
    pub fn needs(&self) -> usize {
        if self.is_resumed() { self.search.count + 1 } else { usize::MAX }
    }

    /// Whether nothing that is still found would change the page.
    pub fn is_enough(&self) -> bool {
        self.kept.len() >= self.needs()
    }

    /// One more was found.
    pub fn take(&mut self, record: Record, key: Option<SortKey>) {
        self.found += 1;
        let place = position(&record);
        let page = self.search.count.saturating_add(1);
        if key.is_none() {
            // As found, so it is known at once whether it is on the page.
            let before = usize::try_from(self.found - 1).unwrap_or(usize::MAX);
            if before >= self.skip && self.kept.len() < page {
                self.kept.push(Match { place, key, record: Some(record) });
            }
            return;
        }
        let found = Match { place, key, record: (self.skip < KEYS_ALONE_FROM).then_some(record) };
        if let (Some(behind), Some(after)) = (&self.behind, self.search.after)
            && !self.order((found.key.as_ref(), found.place), (Some(behind), after)).is_gt()
        {
            return;
        }
        self.kept.push(found);
        let most = self.skip.saturating_add(page);
        if self.kept.len() >= most.saturating_mul(2).max(1_000) {
            self.sort();
            self.kept.truncate(most);
        }
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

    fn sort(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by(|a, b| self.order((a.key.as_ref(), a.place), (b.key.as_ref(), b.place)));
        self.kept = kept;
    }

    /// The page.
    pub fn page(mut self) -> Found {
        let mut skip = 0;
        if self.query.sort.is_some() {
            self.sort();
            skip = self.skip;
        }
        let mut found = Found { total: self.search.total.unwrap_or(self.found), ..Found::default() };
        let mut matches = self.kept.into_iter().skip(skip);
        for Match { place, key, record } in matches.by_ref().take(self.search.count) {
            found.ids.push(place);
            found.last = Some((place, key.as_ref().map(SortKey::to_value)));
            found.records.extend(record.map(|record| (place, record)));
        }
        found.more = matches.next().is_some();
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::scim::policy::STANDARD;
    use crate::scim::resource_type::{Kind, Model};
    use crate::scim::sort::{SortBy, resolve};
    use crate::scim::work::WorkBudget;

    fn understood(sorted: bool, descending: bool) -> Understood<'static> {
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let sort = sorted.then(|| resolve("title", &[model.of(Kind::User)]).expect("an attribute"));
        let kinds = &[Kind::User];
        Understood { kinds, filters: vec![None], filter: None, sort, descending, hash: String::new() }
    }

    fn key(sort: &SortBy, doc: &Map<String, Value>) -> SortKey {
        sort.key(Kind::User, doc, &WorkBudget::of_query()).expect("little work")
    }

    /// Finds users with these titles, whose ids have the order of the list. The ids of the page, the
    /// total, and the most that was held.
    fn walk(query: &Understood<'_>, search: &Search, titles: &[usize]) -> (Vec<usize>, u64, bool, usize) {
        let mut harvest = Harvest::new(query, search).expect("a walk");
        let mut held = 0;
        for (at, title) in titles.iter().enumerate() {
            let doc = Map::from_iter([("title".to_owned(), json!(format!("{title:06}")))]);
            let key = query.sort.as_ref().map(|sort| key(sort, &doc));
            harvest.take(Record::new(Kind::User, Uuid::from_u128(at as u128), doc, ""), key);
            held = held.max(harvest.kept.len());
        }
        let page = harvest.page();
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
                let search = Search { after: None, sort_key: None, skip: skip as u64, total: None, count };
                let query = understood(sorted, descending);
                let (ids, total, more, held) = walk(&query, &search, &titles);
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
        let query = understood(true, false);
        let key = query
            .sort
            .as_ref()
            .map(|sort| key(sort, &Map::from_iter([("title".to_owned(), json!("000001"))])).to_value());
        let after = Some(Position { kind: Kind::User, id: Uuid::from_u128(1) });
        let search = Search { after, sort_key: key, skip: 0, total: Some(5), count: 2 };
        let (ids, total, more, _) = walk(&query, &search, &titles);
        assert_eq!((ids, total, more), (vec![3, 2], 5, true));
        let search = Search { sort_key: None, ..search };
        assert!(Harvest::new(&query, &search).is_err());
    }
}
