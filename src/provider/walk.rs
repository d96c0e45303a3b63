//! Finding the resources of a page: straight from the list where nothing is asked, among the
//! candidates of a look-up, or by walking the whole list within a time budget.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::{Provider, Relations, answerable, shows_groups};
use super::failure::Failure;
use super::harvest::Harvest;
use super::plan::{Candidates, deciding_members};
use super::query::{Understood, position};
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::list::Position;
use crate::store::membership::Membership;
use crate::store::record::Record;

/// How long a query may walk, where nothing else is said. API Gateway waits 29 seconds for an
/// answer.
pub const WALK: Duration = Duration::from_secs(20);
/// How many resources a walk reads at once, while the next ids are read: sixteen batches side by
/// side, as long as they are of ordinary size.
const STRIDE: usize = 1_600;
/// So many where they are large: what is read at once must fit the function's memory.
const STRIDE_OF_LARGE: usize = 200;
/// Resources are large from so many read units each on.
const LARGE_UNITS: f64 = 2.0;
/// A page that is further away than this many places is looked for only where there is one.
const FAR: u64 = 10_000;
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
        let mut harvest = Harvest::new(query, &search)?;
        let deadline = Instant::now() + self.walk;
        for (at, plan) in plans.iter().enumerate() {
            if !harvest.is_enough() {
                self.collect(query, at, plan, deadline, &mut harvest).await?;
            }
        }
        Ok(harvest.page())
    }

    /// A page of the bare list: no resource is read to find it.
    async fn list(&self, query: &Understood<'_>, search: Search) -> Result<Found, Failure> {
        let totals = async {
            match search.total {
                Some(total) => Ok(total),
                None => {
                    let totals = query.kinds.iter().map(|kind| self.store.total(*kind));
                    Ok(try_join_all(totals).await?.into_iter().sum())
                }
            }
        };
        // Beyond the end there is nothing to count to, which is worth knowing before a long way.
        let (total, (ids, more)) = match search.skip {
            0..=FAR => try_join(totals, self.listed(query, &search)).await?,
            skip => match totals.await? {
                total if total <= skip => (total, (Vec::new(), false)),
                total => (total, self.listed(query, &search).await?),
            },
        };
        let last = ids.last().map(|place| (*place, None));
        Ok(Found { ids, total, more, last, records: BTreeMap::new() })
    }

    /// The places of a page of the bare list, and whether more follow.
    async fn listed(
        &self,
        query: &Understood<'_>,
        search: &Search,
    ) -> Result<(Vec<Position>, bool), Failure> {
        let (mut ids, mut skip) = (Vec::new(), search.skip);
        let deadline = Instant::now() + self.walk;
        if search.count == 0 {
            return Ok((ids, false));
        }
        for kind in query.kinds {
            let mut after = match search.after {
                Some(after) if after.kind > *kind => continue,
                Some(after) if after.kind == *kind => Some(after.id),
                _ => None,
            };
            let mut ended = false;
            while skip > 0 && !ended {
                if Instant::now() > deadline {
                    return Err(ScimError::too_many(
                        "startIndex lies too far behind any page of yours to be counted to. Read the list page by page, or with cursors.",
                    )
                    .into());
                }
                let (passed, last) = self.store.pass_over(*kind, after, skip).await?;
                skip -= passed;
                ended = last.is_none();
                after = last.or(after);
            }
            if ended {
                continue;
            }
            // One more than the page tells whether another follows.
            let (page, _) = self.store.list_page(*kind, after, search.count + 1 - ids.len()).await?;
            ids.extend(page.into_iter().map(|id| Position { kind: *kind, id }));
            if ids.len() > search.count {
                ids.truncate(search.count);
                return Ok((ids, true));
            }
        }
        Ok((ids, false))
    }

    /// The matches of one kind: what is read next is found while what was read is judged.
    async fn collect(
        &self,
        query: &Understood<'_>,
        at: usize,
        plan: &Candidates,
        deadline: Instant,
        harvest: &mut Harvest<'_>,
    ) -> Result<(), Failure> {
        let kind = query.kinds[at];
        let begin = match harvest.after() {
            Some(after) if after.kind > kind => return Ok(()),
            Some(after) if after.kind == kind => Some(after.id),
            _ => None,
        };
        let mut stride = STRIDE.min(harvest.needs().saturating_mul(2)).max(STRIDE_OF_LARGE);
        let mut ids = self.next(kind, plan, begin, stride).await?;
        while let Some(last) = ids.last().copied() {
            let units = self.store.table.usage().read_units;
            let next = async {
                match ids.len() < stride {
                    true => Ok(Vec::new()),
                    false => self.next(kind, plan, Some(last), stride).await,
                }
            };
            let ((), next) = try_join(self.judge(query, at, &ids, harvest), next).await?;
            if harvest.is_enough() {
                return Ok(());
            }
            if !next.is_empty() && Instant::now() > deadline {
                return Err(ScimError::too_many(
                    "Too many resources must be read to answer this. Filter by an attribute that is looked up: id, userName, externalId, emails.value or displayName with eq.",
                )
                .into());
            }
            let each = (self.store.table.usage().read_units - units) / ids.len() as f64;
            stride = if each >= LARGE_UNITS { STRIDE_OF_LARGE } else { STRIDE };
            ids = next;
        }
        Ok(())
    }

    /// The ids to look at after one, at most so many.
    async fn next(
        &self,
        kind: Kind,
        plan: &Candidates,
        after: Option<Uuid>,
        most: usize,
    ) -> Result<Vec<Uuid>, Failure> {
        match plan {
            Candidates::All => Ok(self.store.list_page(kind, after, most).await?.0),
            Candidates::Ids(ids) => {
                let begin = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
                Ok(ids[begin..].iter().take(most).copied().collect())
            }
        }
    }

    /// Reads resources and keeps those that the filter matches.
    async fn judge(
        &self,
        query: &Understood<'_>,
        at: usize,
        ids: &[Uuid],
        harvest: &mut Harvest<'_>,
    ) -> Result<(), Failure> {
        let kind = query.kinds[at];
        let filter = query.filters[at].as_ref();
        let sorts_by = |name: &str| query.sort.as_ref().is_some_and(|sort| sort.mentions(name));
        let asks_for = |name: &str| filter.is_some_and(|filter| filter.mentions(name)) || sorts_by(name);
        let mut judge = |record: Record, relations: &Relations<'_>| -> Result<(), ScimError> {
            let whole = self.whole(&record, relations);
            let matches = match filter {
                Some(filter) => filter.matches(&whole, &self.work)?,
                None => true,
            };
            if matches {
                let key = match &query.sort {
                    Some(sort) => Some(sort.key(kind, &whole, &self.work)?),
                    None => None,
                };
                harvest.take(record, key);
            }
            Ok(())
        };
        if kind == Kind::Group && asks_for(MEMBERS) {
            let deciding = query.filter.as_ref().and_then(deciding_members).filter(|_| !sorts_by(MEMBERS));
            let Some(deciding) = deciding else {
                for some in ids.chunks(GROUPS_AT_ONCE) {
                    for (record, members) in self.store.fetch_groups(some, None).await? {
                        answerable(members.len() as u64)?;
                        judge(record, &Relations { members: Some(&members), ..Relations::default() })?;
                    }
                }
                return Ok(());
            };
            let deciding: Vec<Uuid> = deciding.into_iter().collect();
            let records = self.store.fetch_many(kind, ids).await?;
            let members = self.store.memberships_among(&records, &deciding).await?;
            for record in records {
                let members = members.get(&record.id).map(Vec::as_slice);
                judge(record, &Relations { members, ..Relations::default() })?;
            }
            return Ok(());
        }
        let records = self.store.fetch_many(kind, ids).await?;
        let mut teams = BTreeMap::new();
        if kind == Kind::User && (asks_for("groups") || asks_for(urn::ROLLCALL_USER)) {
            teams = self.teams_of(&records).await?;
        }
        for record in records {
            judge(record, &Relations { teams: Some(&teams), members: None })?;
        }
        Ok(())
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
        let mut members: BTreeMap<Uuid, Vec<Membership>> = BTreeMap::new();
        if with_members {
            let filled = || records.values().filter(|r| r.kind == Kind::Group && r.tally.count > 0);
            answerable(filled().map(|record| record.tally.count).sum())?;
            let groups: Vec<Uuid> = filled().map(|record| record.id).collect();
            for some in groups.chunks(GROUPS_AT_ONCE) {
                let mut gone: BTreeSet<Uuid> = some.iter().copied().collect();
                // The group is answered in the version that its members are of.
                for (record, its) in self.store.fetch_groups(some, None).await? {
                    gone.remove(&record.id);
                    members.insert(record.id, its);
                    records.insert(position(&record), record);
                }
                records.retain(|_, record| !gone.contains(&record.id));
            }
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
