//! Finding the resources of a page: straight from the list where nothing is asked, among the
//! candidates of a look-up, or by walking the whole list within a time budget.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::{Provider, Relations, shows_groups};
use super::failure::Failure;
use super::plan::{Candidates, deciding_members};
use super::query::{Understood, position};
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::sort::SortKey;
use crate::scim::urn;
use crate::store::list::Position;
use crate::store::membership::Membership;
use crate::store::record::Record;

/// How long a query may walk. API Gateway waits 29 seconds for an answer.
const BUDGET: Duration = Duration::from_secs(20);
/// How many resources a walk reads at once: four batches side by side.
const STRIDE: usize = 400;
/// How many groups are read with their members at once.
const GROUPS_AT_ONCE: usize = 8;

/// What to find.
#[derive(Debug)]
pub(super) struct Search {
    /// Go on after this resource.
    pub after: Option<Position>,
    /// Its key, in a sorted walk.
    pub sort_key: Option<Value>,
    /// Leave out so many first.
    pub skip: u64,
    /// The total, where an earlier page has found it.
    pub total: Option<u64>,
    /// At most so many.
    pub count: usize,
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What was found, in order. The records are read where finding them needed it.
    pub ids: Vec<Position>,
    pub records: BTreeMap<Position, Record>,
    pub total: u64,
    /// Whether another page follows.
    pub more: bool,
    /// Where the page ends, and that resource's key in a sorted walk.
    pub last: Option<(Position, Option<Value>)>,
}

impl Found {
    pub fn len(&self) -> usize {
        self.ids.len()
    }
}

/// A match of a walk.
struct Match {
    record: Record,
    key: Option<SortKey>,
}

impl Provider<'_> {
    pub(super) async fn search(&self, query: &Understood<'_>, search: Search) -> Result<Found, Failure> {
        if query.filter.is_none() && query.sort.is_none() {
            return self.list(query, search).await;
        }
        let mut plans = Vec::with_capacity(query.kinds.len());
        for (kind, filter) in query.kinds.iter().zip(&query.filters) {
            plans.push(match filter {
                Some(filter) => self.candidates(*kind, filter).await?,
                None => Candidates::All,
            });
        }
        let deadline = Instant::now() + BUDGET;
        // A walk whose total is known goes on from where it stands, and ends when the page is full.
        let resumed = search.total.is_some() && query.sort.is_none();
        let enough = resumed.then_some(search.count + 1);
        let after = if resumed { search.after } else { None };
        let mut matches = Vec::new();
        for (at, plan) in plans.iter().enumerate() {
            let left = enough.map(|enough| enough.saturating_sub(matches.len()));
            if left != Some(0) {
                self.collect(query, at, plan, after, left, deadline, &mut matches).await?;
            }
        }
        let total = search.total.unwrap_or(matches.len() as u64);
        if query.sort.is_some() {
            matches.sort_by(|a, b| {
                let by_key = a.key.cmp(&b.key);
                let by_key = if query.descending { by_key.reverse() } else { by_key };
                by_key.then_with(|| position(&a.record).cmp(&position(&b.record)))
            });
            self.resume_sorted(query, &search, &mut matches)?;
        }
        let skip = usize::try_from(search.skip).unwrap_or(usize::MAX);
        let mut matches = matches.into_iter().skip(skip);
        let mut found = Found { total, ..Found::default() };
        for Match { record, key } in matches.by_ref().take(search.count) {
            let place = position(&record);
            found.ids.push(place);
            found.last = Some((place, key.map(|key| key.to_value())));
            found.records.insert(place, record);
        }
        found.more = matches.next().is_some();
        Ok(found)
    }

    /// Drops what a sorted walk has answered already.
    fn resume_sorted(
        &self,
        query: &Understood<'_>,
        search: &Search,
        matches: &mut Vec<Match>,
    ) -> Result<(), ScimError> {
        let (Some(after), Some(_)) = (search.after, &query.sort) else { return Ok(()) };
        let unknown = || {
            ScimError::new(
                crate::scim::error::ErrorKind::InvalidCursor,
                "The cursor is not one that this service made. Begin again without a cursor.",
            )
        };
        let key = search.sort_key.as_ref().and_then(SortKey::from_value).ok_or_else(unknown)?;
        matches.retain(|m| {
            let by_key = m.key.as_ref().cmp(&Some(&key));
            let by_key = if query.descending { by_key.reverse() } else { by_key };
            by_key.then_with(|| position(&m.record).cmp(&after)).is_gt()
        });
        Ok(())
    }

    /// A page of the bare list: no resource is read to find it.
    async fn list(&self, query: &Understood<'_>, search: Search) -> Result<Found, Failure> {
        let wanted = search.count.saturating_add(usize::try_from(search.skip).unwrap_or(usize::MAX));
        let totals = async {
            match search.total {
                Some(total) => Ok(total),
                None => {
                    let totals = query.kinds.iter().map(|kind| self.store.total(*kind));
                    try_join_all(totals).await.map(|totals| totals.into_iter().sum())
                }
            }
        };
        let pages = async {
            let (mut ids, mut more) = (Vec::new(), false);
            for kind in query.kinds {
                let after = match search.after {
                    Some(after) if after.kind > *kind => continue,
                    Some(after) if after.kind == *kind => Some(after.id),
                    _ => None,
                };
                if search.count == 0 {
                    break;
                }
                // One more than the page tells whether another follows.
                let limit = wanted.saturating_add(1).saturating_sub(ids.len());
                let (page, _) = self.store.list_page(*kind, after, limit).await?;
                ids.extend(page.into_iter().map(|id| Position { kind: *kind, id }));
                more = ids.len() > wanted;
                if more {
                    break;
                }
            }
            ids.truncate(wanted);
            Ok((ids, more))
        };
        let (total, (ids, more)) = try_join(totals, pages).await?;
        let skip = usize::try_from(search.skip).unwrap_or(usize::MAX);
        let ids: Vec<Position> = ids.into_iter().skip(skip).collect();
        let last = ids.last().map(|place| (*place, None));
        Ok(Found { ids, total, more, last, records: BTreeMap::new() })
    }

    /// The matches of one kind.
    #[expect(clippy::too_many_arguments, reason = "one call, inside this file")]
    async fn collect(
        &self,
        query: &Understood<'_>,
        at: usize,
        plan: &Candidates,
        after: Option<Position>,
        enough: Option<usize>,
        deadline: Instant,
        matches: &mut Vec<Match>,
    ) -> Result<(), Failure> {
        let kind = query.kinds[at];
        let mut last = match after {
            Some(after) if after.kind > kind => return Ok(()),
            Some(after) if after.kind == kind => Some(after.id),
            _ => None,
        };
        let wanted = enough.map(|enough| enough + matches.len());
        let mut stock: Vec<Uuid> = match plan {
            Candidates::Ids(ids) => ids.iter().copied().filter(|id| last.is_none_or(|l| *id > l)).collect(),
            Candidates::All => Vec::new(),
        };
        loop {
            let ids: Vec<Uuid> = match plan {
                Candidates::Ids(_) => stock.drain(..stock.len().min(STRIDE)).collect(),
                Candidates::All => self.store.list_page(kind, last, STRIDE).await?.0,
            };
            let Some(end) = ids.last() else { return Ok(()) };
            last = Some(*end);
            let ended = ids.len() < STRIDE;
            self.judge(query, at, &ids, matches).await?;
            if ended || wanted.is_some_and(|wanted| matches.len() >= wanted) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ScimError::too_many(
                    "Too many resources must be read to answer this. Filter by an attribute that is looked up: id, userName, externalId, emails.value or displayName with eq.",
                )
                .into());
            }
        }
    }

    /// Reads resources and keeps those that the filter matches.
    async fn judge(
        &self,
        query: &Understood<'_>,
        at: usize,
        ids: &[Uuid],
        matches: &mut Vec<Match>,
    ) -> Result<(), Failure> {
        let kind = query.kinds[at];
        let filter = query.filters[at].as_ref();
        let sorts_by = |name: &str| query.sort.as_ref().is_some_and(|sort| sort.mentions(name));
        let asks_for = |name: &str| filter.is_some_and(|filter| filter.mentions(name)) || sorts_by(name);
        let records = self.store.fetch_many(kind, ids).await?;
        let mut teams = BTreeMap::new();
        if kind == Kind::User && (asks_for("groups") || asks_for(urn::ROLLCALL_USER)) {
            teams = self.teams_of(&records).await?;
        }
        let mut members: BTreeMap<Uuid, Vec<Membership>> = BTreeMap::new();
        if kind == Kind::Group && asks_for(MEMBERS) {
            let deciding = query.filter.as_ref().and_then(deciding_members).filter(|_| !sorts_by(MEMBERS));
            members = match deciding {
                Some(deciding) => {
                    let deciding: Vec<Uuid> = deciding.into_iter().collect();
                    self.store.memberships_among(&records, &deciding).await?
                }
                None => self.members_of(ids).await?,
            };
        }
        for record in records {
            let relations =
                Relations { teams: Some(&teams), members: members.get(&record.id).map(Vec::as_slice) };
            let whole = self.whole(&record, &relations);
            if filter.is_none_or(|filter| filter.matches(&whole)) {
                let key = query.sort.as_ref().map(|sort| sort.key(&whole));
                matches.push(Match { record, key });
            }
        }
        Ok(())
    }

    /// The members of groups, some groups at a time.
    async fn members_of(&self, ids: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Membership>>, Failure> {
        let mut all = BTreeMap::new();
        for some in ids.chunks(GROUPS_AT_ONCE) {
            let read = try_join_all(some.iter().map(|id| self.store.fetch_group(*id))).await?;
            all.extend(read.into_iter().flatten().map(|(record, members)| (record.id, members)));
        }
        Ok(all)
    }

    /// The resources of a page, read where they were not yet, projected.
    pub(super) async fn load(
        &self,
        found: &Found,
        projection: &Projection,
    ) -> Result<Vec<Map<String, Value>>, Failure> {
        let with_members = projection.wants(MEMBERS);
        let missing = |kind: Kind| -> Vec<Uuid> {
            let here = found.ids.iter().filter(|place| place.kind == kind);
            here.filter(|place| !found.records.contains_key(place)).map(|place| place.id).collect()
        };
        let (users, groups) = (missing(Kind::User), missing(Kind::Group));
        let (users, groups) =
            try_join(self.store.fetch_many(Kind::User, &users), self.store.fetch_many(Kind::Group, &groups))
                .await?;
        let mut records: BTreeMap<Position, Record> =
            users.into_iter().chain(groups).map(|record| (position(&record), record)).collect();
        records.extend(found.records.iter().map(|(place, record)| (*place, record.clone())));

        let mut teams = BTreeMap::new();
        if shows_groups(projection) {
            let users: Vec<Record> = records.values().filter(|r| r.kind == Kind::User).cloned().collect();
            teams = self.teams_of(&users).await?;
        }
        let mut members = BTreeMap::new();
        if with_members {
            let filled = records.values().filter(|r| r.kind == Kind::Group && r.member_count > 0);
            let groups: Vec<Uuid> = filled.map(|record| record.id).collect();
            members = self.members_of(&groups).await?;
        }
        let resources = found.ids.iter().filter_map(|place| {
            let record = records.get(place)?;
            let relations =
                Relations { teams: Some(&teams), members: members.get(&record.id).map(Vec::as_slice) };
            Some(self.project(record, &relations, projection))
        });
        Ok(resources.collect())
    }
}
