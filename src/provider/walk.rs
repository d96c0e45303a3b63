//! Finding the resources of a page: straight from the list where nothing is asked, among the
//! candidates of a look-up, or by walking the whole list within a time budget.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use uuid::Uuid;

use super::answer::Provider;
use super::failure::Failure;
use super::harvest::Harvest;
use super::judge::Judge;
use super::plan::Candidates;
use super::query::Understood;
use crate::scim::error::ScimError;
use crate::scim::resource_type::Kind;
use crate::scim::sort::SortKey;
use crate::store::item::Item;
use crate::store::list::Position;

/// How long a query may walk, where nothing else is said. API Gateway waits 29 seconds for an
/// answer.
pub const WALK: Duration = Duration::from_secs(20);
/// How many ids a walk takes from the list at once; the next are found while the resources are read.
const STRIDE: usize = 1_600;
/// The least that is taken from the list at once.
const SHORT_STRIDE: usize = 200;
/// A page that is further away than this many places is looked for only where there is one.
const FAR: u64 = 10_000;

/// What to find.
#[derive(Debug)]
pub(super) struct Search {
    /// Go on after this resource.
    pub after: Option<Position>,
    /// Its key, in a sorted walk.
    pub sort_key: Option<SortKey>,
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
    /// What was found, in order.
    pub ids: Vec<Position>,
    /// Some of the items, where finding them needed them.
    pub items: BTreeMap<Position, Item>,
    pub total: u64,
    /// Whether another page follows.
    pub more: bool,
    /// Where the page ends, and that resource's key in a sorted walk.
    pub last: Option<(Position, Option<SortKey>)>,
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
        let mut harvest = Harvest::new(query, &search, &self.work);
        let deadline = Instant::now() + self.walk;
        for (at, plan) in plans.iter().enumerate() {
            if !harvest.is_enough() {
                let mut judge = Judge::new(self, query, at, deadline, &mut harvest);
                self.collect(query.kinds[at], plan, &mut judge).await?;
            }
        }
        Ok(harvest.page()?)
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
        Ok(Found { ids, total, more, last, items: BTreeMap::new() })
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
    async fn collect(&self, kind: Kind, plan: &Candidates, judge: &mut Judge<'_, '_>) -> Result<(), Failure> {
        let begin = match judge.harvest.after() {
            Some(after) if after.kind > kind => return Ok(()),
            Some(after) if after.kind == kind => Some(after.id),
            _ => None,
        };
        let stride = STRIDE.min(judge.harvest.needs().saturating_mul(2)).max(SHORT_STRIDE);
        let mut ids = self.next(kind, plan, begin, stride).await?;
        while let Some(last) = ids.last().copied() {
            let next = async {
                match ids.len() < stride {
                    true => Ok(Vec::new()),
                    false => self.next(kind, plan, Some(last), stride).await,
                }
            };
            let ((), next) = try_join(judge.stride(&ids), next).await?;
            judge.harvest.end_stride();
            if judge.harvest.is_enough() {
                return Ok(());
            }
            judge.check_time(!next.is_empty())?;
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
}
