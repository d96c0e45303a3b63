//! Finds the resources of a page. Without a filter and a sort attribute the list alone has the answer.
//! Otherwise the candidates of a look-up, or all resources, are read and evaluated within a time budget.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::{try_join, try_join_all};
use uuid::Uuid;

use super::Reading;
use super::candidates::CandidateIds;
use super::evaluate::ResourceEvaluator;
use super::page::{PageRequest, ResourcePage};
use super::page_collector::PageCollector;
use super::parsed_query::ParsedQuery;
use crate::limits::{MAX_SKIP_WITHOUT_TOTAL, MAX_STRIDE_IDS, MIN_STRIDE_IDS};
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::resource_type::Kind;
use crate::store::list::Position;

impl Reading<'_> {
    /// Finds the page that is asked for: from the list alone, or by looking at the candidates.
    ///
    /// # Errors
    /// `tooMany` when the time or the budget is spent; 503 if the table does not answer; 500 if an item cannot be
    /// read.
    pub(super) async fn find_page(
        &self,
        query: &ParsedQuery<'_>,
        request: PageRequest,
    ) -> Result<ResourcePage, Failure> {
        if query.filter.is_none() && query.sort.is_none() {
            return self.find_page_of_list(query, request).await;
        }
        let mut plans = Vec::with_capacity(query.kinds.len());
        for (kind, filter) in query.kinds.iter().zip(&query.filters) {
            plans.push(match filter {
                Some(filter) => self.find_candidates(*kind, filter).await?,
                None => CandidateIds::All,
            });
        }
        let mut collector = PageCollector::new(query, &request, &self.provider.work);
        let deadline = Instant::now() + self.provider.max_scan_time;
        for (at, plan) in plans.iter().enumerate() {
            if !collector.is_enough() {
                let mut evaluator =
                    ResourceEvaluator::new(self.provider, query, at, deadline, &mut collector);
                if let CandidateIds::Holder(_, claim) = plan {
                    evaluator.claim = Some(claim);
                }
                self.evaluate_candidates(query.kinds[at], plan, &mut evaluator).await?;
            }
        }
        Ok(collector.page()?)
    }

    /// Finds a page of the bare list. No resource is read to find it.
    async fn find_page_of_list(
        &self,
        query: &ParsedQuery<'_>,
        request: PageRequest,
    ) -> Result<ResourcePage, Failure> {
        let totals = async {
            match request.total {
                Some(total) => Ok(total),
                None => {
                    let totals = query.kinds.iter().map(|kind| self.provider.store.total(*kind));
                    Ok(try_join_all(totals).await?.into_iter().sum())
                }
            }
        };
        // Beyond the end there is nothing to count to, which is worth knowing before a long way.
        let (total, (ids, more)) = match request.skip {
            0..=MAX_SKIP_WITHOUT_TOTAL => try_join(totals, self.list_positions(query, &request)).await?,
            skip => match totals.await? {
                total if total <= skip => (total, (Vec::new(), false)),
                total => (total, self.list_positions(query, &request).await?),
            },
        };
        let last = ids.last().map(|place| (*place, None));
        Ok(ResourcePage { ids, total, more, last, items: BTreeMap::new() })
    }

    /// Returns the places of a page of the bare list, and whether more follow.
    async fn list_positions(
        &self,
        query: &ParsedQuery<'_>,
        request: &PageRequest,
    ) -> Result<(Vec<Position>, bool), Failure> {
        let (mut ids, mut skip) = (Vec::new(), request.skip);
        let deadline = Instant::now() + self.provider.max_scan_time;
        if request.count == 0 {
            return Ok((ids, false));
        }
        for kind in query.kinds {
            let mut after = match request.after {
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
                let skipped = self.provider.store.skip_entries(*kind, after, skip).await?;
                skip -= skipped.count;
                ended = skipped.last.is_none();
                after = skipped.last.or(after);
            }
            if ended {
                continue;
            }
            // One more than the page tells whether another follows.
            let page = self.provider.store.list_page(*kind, after, request.count + 1 - ids.len()).await?;
            ids.extend(page.ids.into_iter().map(|id| Position { kind: *kind, id }));
            if ids.len() > request.count {
                ids.truncate(request.count);
                return Ok((ids, true));
            }
        }
        Ok((ids, false))
    }

    /// Evaluates the candidates of one kind. The ids of the next stride are read meanwhile.
    async fn evaluate_candidates(
        &self,
        kind: Kind,
        plan: &CandidateIds,
        evaluator: &mut ResourceEvaluator<'_, '_>,
    ) -> Result<(), Failure> {
        let begin = match evaluator.collector.after() {
            Some(after) if after.kind > kind => return Ok(()),
            Some(after) if after.kind == kind => Some(after.id),
            _ => None,
        };
        let stride = MAX_STRIDE_IDS.min(evaluator.collector.needs().saturating_mul(2)).max(MIN_STRIDE_IDS);
        let mut ids = self.next_candidates(kind, plan, begin, stride).await?;
        while let Some(last) = ids.last().copied() {
            let next = async {
                match ids.len() < stride {
                    true => Ok(Vec::new()),
                    false => self.next_candidates(kind, plan, Some(last), stride).await,
                }
            };
            let ((), next) = try_join(evaluator.evaluate(&ids), next).await?;
            evaluator.collector.end_stride();
            if evaluator.collector.is_enough() {
                return Ok(());
            }
            evaluator.check_time(!next.is_empty())?;
            ids = next;
        }
        Ok(())
    }

    /// Returns the ids of the candidates after `after`, at most `most`.
    async fn next_candidates(
        &self,
        kind: Kind,
        plan: &CandidateIds,
        after: Option<Uuid>,
        most: usize,
    ) -> Result<Vec<Uuid>, Failure> {
        match plan {
            CandidateIds::Holder(id, _) => {
                Ok(Some(*id).filter(|id| after.is_none_or(|after| after < *id)).into_iter().collect())
            }
            CandidateIds::All => Ok(self.provider.store.list_page(kind, after, most).await?.ids),
            CandidateIds::Ids(ids) => {
                let begin = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
                Ok(ids[begin..].iter().take(most).copied().collect())
            }
        }
    }
}
