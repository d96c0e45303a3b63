//! Finds the resources that a filter can match. Equality on an indexed attribute becomes a look-up by key.
//! The whole filter is then evaluated on each candidate.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::Reading;
use crate::provider::failure::Failure;
use crate::scim::attr_path::AttrPath;
use crate::scim::filter::ast::{CompareOp, Filter};
use crate::scim::filter::bind::Bound;
use crate::scim::members::MEMBERS;
use crate::scim::note_texts::NoteKind;
use crate::scim::resource_type::Kind;
use crate::store::claim::FoundByEither;
use crate::store::index::{self, Entry, Index};
use crate::store::keys::parse_id;
use crate::store::large_change::pending_change::PendingTask;

/// Where to look for what a filter matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateIds {
    /// Among these, in the order of ids.
    Ids(Vec<Uuid>),
    /// The resource with this id, which the claim on a unique value names.
    Holder(Uuid, Entry),
    /// Everywhere.
    All,
}

/// The look-ups that an equality can become, the most selective first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Lookup {
    Id,
    Claim,
    Values,
    GroupsOf,
    MembersOf,
}

impl Reading<'_> {
    /// The candidates of a filter among the resources of a kind.
    ///
    /// # Errors
    /// 503 if the table does not answer; 500 if an item cannot be read.
    pub(super) async fn find_candidates(&self, kind: Kind, filter: &Bound) -> Result<CandidateIds, Failure> {
        let ty = self.provider.ty(kind);
        let mut best = None;
        for equality in filter.equalities() {
            let entry = index::entry(ty, &equality.path, &equality.value);
            let lookup = match (equality.path.as_str(), kind, &entry) {
                ("id", _, _) => Lookup::Id,
                (_, _, Some((Index::Claim, _))) => Lookup::Claim,
                (_, _, Some((Index::Lookup, _))) => Lookup::Values,
                ("members.value", Kind::Group, _) => Lookup::GroupsOf,
                ("groups.value", Kind::User, _) => Lookup::MembersOf,
                _ => continue,
            };
            if best.as_ref().is_none_or(|(found, _, _)| lookup < *found) {
                best = Some((lookup, equality, entry));
            }
        }
        let notes = &self.provider.work.notes;
        let Some((lookup, equality, entry)) = best else {
            notes.add(NoteKind::Scanned, kind.name());
            return Ok(CandidateIds::All);
        };
        notes.add(NoteKind::LookedUp, &equality.path);
        let mut ids: Vec<Uuid> = match (lookup, entry) {
            (Lookup::Claim | Lookup::Values, Some((index, entry))) => {
                return self.find_by_value(kind, index, entry).await;
            }
            (Lookup::GroupsOf, _) => self.groups_of(&equality.value).await?,
            (Lookup::MembersOf, _) => self.users_in(&equality.value).await?,
            (_, _) => parse_id(&equality.value).into_iter().collect(),
        };
        ids.sort_unstable();
        ids.dedup();
        Ok(CandidateIds::Ids(ids))
    }

    /// The candidates for an indexed value. An email address may be found by a look-up or by the claim on a `userName`.
    async fn find_by_value(&self, kind: Kind, index: Index, entry: Entry) -> Result<CandidateIds, Failure> {
        let store = &self.provider.store;
        let (mut ids, holder, claim) = match (index, index::claim_beside(&entry)) {
            (Index::Lookup, Some(claim)) => {
                let FoundByEither { by_lookup, by_claim } =
                    store.find_by_either(kind, &entry, &claim).await?;
                (by_lookup, by_claim, claim)
            }
            (Index::Lookup, None) => (store.find(kind, index, &entry).await?, None, entry),
            (Index::Claim, _) => (Vec::new(), store.find(kind, index, &entry).await?.pop(), entry),
        };
        match holder {
            Some(holder) if ids.iter().all(|id| *id == holder) => {
                return Ok(CandidateIds::Holder(holder, claim));
            }
            Some(holder) => {
                // Others have the address too. The items of a transaction become visible one by one: this read
                // waits until the holder is visible to the reads of all candidates.
                store.fetch_items_at_rest(kind, &[holder]).await?;
                ids.push(holder);
            }
            None => {}
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(CandidateIds::Ids(ids))
    }

    async fn groups_of(&self, member: &str) -> Result<Vec<Uuid>, Failure> {
        let Some(id) = parse_id(member) else { return Ok(Vec::new()) };
        let (user, group, pending) = futures_util::try_join!(
            self.provider.store.fetch(Kind::User, id),
            self.provider.store.fetch(Kind::Group, id),
            self.provider.store.large_changes().list(),
        )?;
        let groups = user.or(group).map(|record| record.groups).unwrap_or_default();
        // A large change may have made it a member without having reached it yet.
        let changing = pending.iter().filter(|change| change.task == PendingTask::ChangeMembers);
        let changing = changing.map(|change| change.resource);
        Ok(groups.into_iter().chain(changing).collect())
    }

    async fn users_in(&self, group: &str) -> Result<Vec<Uuid>, Failure> {
        let Some(id) = parse_id(group) else { return Ok(Vec::new()) };
        let members = self
            .provider
            .store
            .members()
            .fetch_group(id)
            .await?
            .map(|group| group.members)
            .unwrap_or_default();
        Ok(members.iter().filter(|member| member.kind == Kind::User).map(|member| member.id).collect())
    }
}

/// The members that decide a filter on groups. If the filter asks of `members` only whether certain ids are
/// among them, these are those ids: then a few items decide for a group of any size. Otherwise `None`.
pub fn deciding_members(filter: &Filter) -> Option<BTreeSet<Uuid>> {
    let mut ids = BTreeSet::new();
    collect_deciding_ids(filter, &mut ids).then_some(ids)
}

fn collect_deciding_ids(filter: &Filter, ids: &mut BTreeSet<Uuid>) -> bool {
    match filter {
        Filter::Present(path) => !of_members(path),
        Filter::Compare(path, op, value) if of_members(path) => {
            let is_id = path.sub.as_deref().is_none_or(|sub| sub.eq_ignore_ascii_case("value"));
            is_id && *op == CompareOp::Eq && id_of(value, ids)
        }
        Filter::Compare(..) => true,
        Filter::ValuePath(path, inner) if of_members(path) => match inner.as_ref() {
            Filter::Compare(path, CompareOp::Eq, value) if is_value(path) => id_of(value, ids),
            _ => false,
        },
        Filter::ValuePath(..) => true,
        Filter::And(terms) | Filter::Or(terms) => terms.iter().all(|term| collect_deciding_ids(term, ids)),
        Filter::Not(term) => collect_deciding_ids(term, ids),
    }
}

/// Whether a path within the brackets of `members` is `value`, with or without the attribute's URN.
fn is_value(path: &AttrPath) -> bool {
    match &path.sub {
        Some(sub) => of_members(path) && sub.eq_ignore_ascii_case("value"),
        None => path.attribute.eq_ignore_ascii_case("value"),
    }
}

fn of_members(path: &AttrPath) -> bool {
    path.attribute.eq_ignore_ascii_case(MEMBERS)
}

/// Notes the id that a member is compared with. No resource has a text that is not an id, so there is nothing to read.
fn id_of(value: &Value, ids: &mut BTreeSet<Uuid>) -> bool {
    match value {
        Value::String(text) => {
            ids.extend(parse_id(text));
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::filter::parse::parse;

    #[test]
    fn membership_of_certain_ids_is_all_that_must_be_read() {
        const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
        for (filter, count) in [
            (format!("members eq \"{ID}\""), Some(1)),
            (format!("id eq \"x\" and members.value eq \"{ID}\""), Some(1)),
            (format!("not (members[value eq \"{ID}\"])"), Some(1)),
            (format!("members[urn:x:members.value eq \"{ID}\"]"), Some(1)),
            ("members eq \"nobody\"".to_owned(), Some(0)),
            ("displayName eq \"x\"".to_owned(), Some(0)),
            ("members pr".to_owned(), None),
            (format!("members[value eq \"{ID}\" and type eq \"User\"]"), None),
            (format!("members ne \"{ID}\""), None),
            ("members.display co \"x\"".to_owned(), None),
        ] {
            let parsed = parse(&filter).expect("a filter");
            assert_eq!(deciding_members(&parsed).map(|ids| ids.len()), count, "{filter}");
        }
    }
}
