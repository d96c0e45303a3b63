//! Reads the candidates of a query and collects those that the filter selects. Some items are in memory
//! at a time; each is dropped before the next is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use uuid::Uuid;

use super::candidates::deciding_members;
use super::page_collector::PageCollector;
use super::parsed_query::ParsedQuery;
use crate::limits::{GROUPS_READ_AT_ONCE, MEMBERS_READ_AT_ONCE, RESOURCES_PER_TURN};
use crate::provider::Provider;
use crate::provider::answer::{Relations, check_answerable, has_roles};
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::filter::bind::Bound;
use crate::scim::members::MEMBERS;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::index::Entry;
use crate::store::item::{Item, get_ids};
use crate::store::keys;
use crate::store::list::Position;
use crate::store::members::WholeGroup;
use crate::store::reader::{Pace, Reader};
use crate::store::record::Record;
use crate::store::resource::Team;
use crate::store::role_grants::RoleGrants;

/// What the filter needs beside a resource's own item.
enum Needs {
    Nothing,
    /// The groups that users are in.
    Teams,
    /// Whether these are among a group's members.
    MembersAmong(Vec<Uuid>),
    /// All members of a group.
    Members,
}

/// Evaluates the filter on the resources of one kind.
pub(super) struct ResourceEvaluator<'a, 'c> {
    provider: &'a Provider<'a>,
    query: &'a ParsedQuery<'a>,
    filter: Option<&'a Bound>,
    kind: Kind,
    needs: Needs,
    /// Whether the filter or the order needs what the roles of users grant.
    needs_grants: bool,
    /// What the roles grant, once it was read.
    grants: Option<RoleGrants>,
    deadline: Instant,
    pace: Pace,
    /// The unique value whose claim names the only candidate.
    pub claim: Option<&'a Entry>,
    pub collector: &'a mut PageCollector<'c>,
}

impl<'a, 'c> ResourceEvaluator<'a, 'c> {
    /// For the kind at this place of the query.
    pub fn new(
        provider: &'a Provider<'a>,
        query: &'a ParsedQuery<'a>,
        at: usize,
        deadline: Instant,
        collector: &'a mut PageCollector<'c>,
    ) -> Self {
        let (kind, filter) = (query.kinds[at], query.filters[at].as_ref());
        let sorts_by = |name: &str| query.sort.as_ref().is_some_and(|sort| sort.mentions(name));
        let asks_for = |name: &str| filter.is_some_and(|filter| filter.mentions(name)) || sorts_by(name);
        let needs = match kind {
            Kind::User if asks_for("groups") || asks_for(urn::ROLLCALL_USER) => Needs::Teams,
            Kind::Group if asks_for(MEMBERS) => {
                let deciding = query.filter.as_ref().and_then(deciding_members);
                match deciding.filter(|_| !sorts_by(MEMBERS)) {
                    Some(ids) => Needs::MembersAmong(ids.into_iter().collect()),
                    None => Needs::Members,
                }
            }
            _ => Needs::Nothing,
        };
        let needs_grants = kind == Kind::User && asks_for(urn::ROLLCALL_USER);
        let (pace, grants, claim) = (Pace::default(), None, None);
        Self { provider, query, filter, kind, needs, needs_grants, grants, deadline, pace, claim, collector }
    }

    /// Ends the scan when its time is over and there is more to read.
    ///
    /// # Errors
    /// `tooMany`.
    pub fn check_time(&self, more: bool) -> Result<(), ScimError> {
        if !more || Instant::now() <= self.deadline {
            return Ok(());
        }
        Err(ScimError::too_many(
            "Too many resources must be read to answer this. Filter by an attribute that is looked up: id, userName, externalId, emails.value or displayName with eq.",
        ))
    }

    /// Reads the resources with these ids and keeps those that the filter selects.
    ///
    /// # Errors
    /// `tooMany` when the time or the budget is spent.
    pub async fn evaluate(&mut self, ids: &[Uuid]) -> Result<(), Failure> {
        let store = &self.provider.store;
        let keys = ids.iter().map(|id| keys::resource(&store.tenant, self.kind, *id));
        let mut reader = Reader::new(&store.table, keys, self.pace);
        let mut looked_at = 0;
        while let Some(mut items) = reader.next().await? {
            if let Some(claim) = self.claim
                && !self.holds(&items, claim)?
            {
                // The items of a transaction become visible one by one: the claim is visible, and its
                // holder is not yet.
                items = store.fetch_items_at_rest(self.kind, ids).await?;
            }
            match &self.needs {
                Needs::Members => self.evaluate_with_all_members(items).await?,
                _ => self.evaluate_items(items, &mut looked_at).await?,
            }
            self.check_time(!reader.is_done())?;
        }
        self.pace = reader.pace();
        Ok(())
    }

    /// Whether one of the resources has the unique value of a claim.
    fn holds(&self, items: &[Item], claim: &Entry) -> Result<bool, Failure> {
        let ty = self.provider.ty(self.kind);
        Ok(read_records(items)?.iter().any(|record| record.claim(ty).as_ref() == Some(claim)))
    }

    async fn evaluate_items(&mut self, items: Vec<Item>, looked_at: &mut usize) -> Result<(), Failure> {
        let store = &self.provider.store;
        let (mut teams, mut members) = (BTreeMap::new(), BTreeMap::new());
        match &self.needs {
            Needs::Teams => teams = teams_of(self.provider, &items).await?,
            Needs::MembersAmong(ids) => {
                members = store.members().memberships_among(&read_records(&items)?, ids).await?
            }
            Needs::Nothing | Needs::Members => {}
        }
        if self.needs_grants && self.grants.is_none() && read_records(&items)?.iter().any(has_roles) {
            self.grants = Some(store.definitions().index().await?.grants);
        }
        let grants = self.grants.take();
        for item in items {
            *looked_at += 1;
            if (*looked_at).is_multiple_of(RESOURCES_PER_TURN) {
                tokio::task::yield_now().await;
            }
            let Some(record) = Record::from_item(&item)? else { continue };
            let members = members.get(&record.id).map(Vec::as_slice);
            let relations = Relations { teams: Some(&teams), members, grants: grants.as_ref() };
            self.evaluate_record(record, &relations, Some(item))?;
        }
        self.grants = grants;
        Ok(())
    }

    /// Groups with all their members, as many at once as can be held.
    async fn evaluate_with_all_members(&mut self, items: Vec<Item>) -> Result<(), Failure> {
        let (mut open, mut members) = (Vec::new(), 0);
        for group in read_records(&items)? {
            check_answerable(group.digest.count)?;
            if open.len() == GROUPS_READ_AT_ONCE || members + group.digest.count > MEMBERS_READ_AT_ONCE {
                self.evaluate_groups(&std::mem::take(&mut open)).await?;
                members = 0;
            }
            open.push(group.id);
            members += group.digest.count;
        }
        self.evaluate_groups(&open).await
    }

    async fn evaluate_groups(&mut self, ids: &[Uuid]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        for WholeGroup { record, members } in self.provider.store.members().fetch_groups(ids, None).await? {
            check_answerable(members.len() as u64)?;
            self.evaluate_record(
                record,
                &Relations { members: Some(&members), ..Relations::default() },
                None,
            )?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn evaluate_record(
        &mut self,
        mut record: Record,
        relations: &Relations<'_>,
        item: Option<Item>,
    ) -> Result<(), ScimError> {
        let work = &self.provider.work;
        let document = std::mem::take(&mut record.doc);
        let whole = self.provider.represent_document(&record, document, relations);
        if let Some(filter) = self.filter
            && !filter.matches(&whole, work)?
        {
            return Ok(());
        }
        let key = match &self.query.sort {
            Some(sort) => Some(sort.key(self.kind.name(), &whole, work)?),
            None => None,
        };
        self.collector.take(Position { kind: self.kind, id: record.id }, key, item)
    }
}

pub(super) fn read_records<'i>(items: impl IntoIterator<Item = &'i Item>) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for item in items {
        records.extend(Record::from_item(item)?);
    }
    Ok(records)
}

/// What users show of the groups that they are in.
pub(super) async fn teams_of<'i>(
    provider: &Provider<'_>,
    users: impl IntoIterator<Item = &'i Item>,
) -> Result<BTreeMap<Uuid, Team>, Failure> {
    let ids: BTreeSet<Uuid> = users.into_iter().flat_map(|user| get_ids(user, "groups")).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(provider.store.fetch_teams(&ids).await?)
}
