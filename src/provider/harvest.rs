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
