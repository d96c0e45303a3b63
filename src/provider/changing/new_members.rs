//! What a change of a group's members must know: who is a member, and who there is to become one.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Changing;
use crate::limits::{MAX_GROUPS_PER_MEMBER, MAX_MEMBER_CHANGES_PER_TX, MAX_MEMBERS_UNREAD};
use crate::provider::failure::{Failure, no_such_members};
use crate::scim::error::ScimError;
use crate::scim::members::Member;
use crate::scim::patch::members::{MemberChange, MembersToRead};
use crate::scim::resource_type::Kind;
use crate::store::keys::parse_id;
use crate::store::members::view::{Candidates, GroupView};
use crate::store::membership::Membership;
use crate::store::record::{Record, ResourceSummary};

/// How many memberships one read unit reads when the whole group is read. A membership that is read by its
/// key costs one unit.
const MEMBERS_A_UNIT: u64 = 33;

/// In which order a change of a few members reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOrder {
    /// The group and the members in one round. The transaction has a condition on each member.
    Together,
    /// The group before the members. So a change that is staged, and has no such conditions, is refused for the
    /// version of the group if a member came or went after the reads.
    GroupFirst,
}

impl Changing<'_> {
    /// Reads a group with what a change of its members must know. A change of a few members needs one
    /// round. A change of many reads the group first. Then it reads all members, or each named member,
    /// whichever costs less.
    pub(super) async fn view_group(
        &self,
        id: Uuid,
        change: Option<&MemberChange<'_>>,
        order: ReadOrder,
    ) -> Result<Option<GroupView>, Failure> {
        let touched = change.map_or(MembersToRead::Ids(Default::default()), MemberChange::members_to_read);
        let MembersToRead::Ids(ids) = touched else { return self.whole_group(id).await };
        let ids: Vec<Uuid> = ids.iter().filter_map(|id| parse_id(id)).collect();
        if ids.len() <= MAX_MEMBER_CHANGES_PER_TX && order == ReadOrder::Together {
            let newcomers = change.map(MemberChange::newcomers).unwrap_or_default();
            let newcomers: Vec<(Uuid, Kind)> =
                newcomers.into_iter().filter_map(|(id, kind)| Some((parse_id(id)?, kind))).collect();
            return Ok(self.provider.store.members().view_group(id, &ids, &newcomers).await?);
        }
        let Some(record) = self.provider.store.fetch(Kind::Group, id).await? else { return Ok(None) };
        if record.digest.count == 0 {
            return Ok(Some(group_view(record, Vec::new())));
        }
        if record.digest.count / MEMBERS_A_UNIT < ids.len() as u64 {
            return self.whole_group(id).await;
        }
        let view = self.provider.store.members().view_group(id, &ids, &[]).await?;
        // The group as it was before its members were read.
        Ok(view.map(|view| GroupView { record, ..view }))
    }

    async fn whole_group(&self, id: Uuid) -> Result<Option<GroupView>, Failure> {
        let group = self.provider.store.members().fetch_group(id).await?;
        Ok(group.map(|group| group_view(group.record, group.members)))
    }

    /// Turns the members that a client wants added into memberships.
    ///
    /// `known` holds the kinds that were read already. If it says `searched`, the other members were looked
    /// for under the kind that the client sent, or as users, and were not found. They are looked for under
    /// the other kind then.
    ///
    /// # Errors
    /// One `invalidValue` that names all members that do not exist.
    pub(super) async fn resolve_new_members(
        &self,
        wanted: Vec<Member>,
        mut known: Candidates,
    ) -> Result<Vec<Membership>, Failure> {
        self.look_for(wanted.iter().filter_map(assumed_kind).collect(), &mut known).await?;
        Ok(to_memberships(wanted, &known.found)?)
    }

    /// Looks for those of the members that are not known yet.
    async fn look_for(&self, mut wanted: Vec<(Uuid, Kind)>, known: &mut Candidates) -> Result<(), Failure> {
        wanted.retain(|(id, _)| !known.found.contains_key(id));
        if known.searched {
            wanted.iter_mut().for_each(|(_, kind)| *kind = kind.other());
        }
        if !wanted.is_empty() {
            known.found.extend(self.provider.store.members().identify(&wanted).await?);
        }
        Ok(())
    }

    /// Finds out what those members are that a step of the change adds and that a later step selects by `type`. Members
    /// that are `present` are left out. What is read joins `known`. A change without such a step reads nothing.
    ///
    /// # Errors
    /// One `invalidValue` that names all members that do not exist.
    pub(super) async fn identify_for_filters(
        &self,
        change: &MemberChange<'_>,
        present: &BTreeMap<Uuid, Membership>,
        known: &mut Candidates,
    ) -> Result<BTreeMap<String, Kind>, Failure> {
        let asked = change.members_to_identify(&self.provider.work);
        let absent = |(id, kind): (&str, Kind)| {
            let id = parse_id(id).filter(|id| !present.contains_key(id))?;
            Some((id, kind))
        };
        self.look_for(asked.iter().filter_map(|(id, kind)| absent((id, *kind))).collect(), known).await?;
        let is_unknown = |id: &str, known: &Candidates| {
            parse_id(id).is_none_or(|id| !present.contains_key(&id) && !known.found.contains_key(&id))
        };
        if asked.keys().any(|id| is_unknown(id, known)) {
            // The refusal names the others, too.
            let newcomers = change.newcomers();
            self.look_for(newcomers.iter().filter_map(|(id, kind)| absent((id, *kind))).collect(), known)
                .await?;
            let named: BTreeSet<&str> =
                asked.keys().map(String::as_str).chain(newcomers.into_keys()).collect();
            let unknown: Vec<&str> = named.into_iter().filter(|id| is_unknown(id, known)).collect();
            return Err(no_such_members(&unknown).into());
        }
        let kind = |id: &str| Some(known.found.get(&parse_id(id)?)?.kind);
        Ok(asked.into_keys().filter_map(|id| Some((id.clone(), kind(&id)?))).collect())
    }

    /// Prepares the members of a change that is staged. They have the kind that the client sent, or
    /// `User` if it sent none: [`Changing::stage`] looks for them later. Where a text is not an id, they
    /// are resolved at once, so that malformed ids are reported together with unknown members.
    ///
    /// # Errors
    /// As [`Changing::resolve_new_members`].
    pub(super) async fn assume_new_members(
        &self,
        wanted: Vec<Member>,
        known: Candidates,
    ) -> Result<Vec<Membership>, Failure> {
        let members = wanted.iter().map(|member| {
            let (id, kind) = assumed_kind(member)?;
            Some(Membership { id, kind, display: member.display.clone() })
        });
        match members.collect() {
            Some(members) => Ok(members),
            None => self.resolve_new_members(wanted, known).await,
        }
    }
}

/// The id of a member, and the kind that the client sent, or `User` if it sent none. `None` for a text
/// that is not an id.
fn assumed_kind(member: &Member) -> Option<(Uuid, Kind)> {
    Some((parse_id(&member.id)?, member.taken_for()))
}

/// What is known of the members that a change is about.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenMembers {
    present: BTreeMap<Uuid, Membership>,
    candidates: Candidates,
}

impl SeenMembers {
    /// What was read of them with the group.
    pub fn of(view: &GroupView) -> Self {
        Self { present: view.present.clone(), candidates: view.candidates.clone() }
    }

    /// What a change of a few members assumes before anything is read: those to add exist and are not members,
    /// and those to remove are. Each is what the client calls it, or a user. `None` for a change that does not
    /// name its members by id, for more than [`MAX_MEMBERS_UNREAD`], and where the group is its own member.
    pub fn assumed(group: Uuid, change: &MemberChange<'_>) -> Option<Self> {
        let net = change.net_by_ids().filter(|net| (1..=MAX_MEMBERS_UNREAD).contains(&net.len()))?;
        let mut seen =
            Self { candidates: Candidates { searched: true, ..Candidates::default() }, ..Self::default() };
        for member in &net.add {
            let (id, kind) = assumed_kind(member)?;
            seen.candidates.found.insert(id, ResourceSummary { id, kind, group_count: 0 });
        }
        for id in &net.remove {
            let id = parse_id(id)?;
            seen.present.insert(id, Membership { id, kind: Kind::User, display: None });
        }
        let is_named = |id: &Uuid| seen.present.contains_key(id) || seen.candidates.found.contains_key(id);
        let is_told = seen.present.len() + seen.candidates.found.len() == net.len() && !is_named(&group);
        is_told.then_some(seen)
    }

    /// The view of a group of which this is known.
    pub fn into_view(self, record: Record) -> GroupView {
        GroupView { record, present: self.present, candidates: self.candidates }
    }
}

/// Makes the view of a group whose members were read. No would-be member was looked for.
fn group_view(record: Record, members: Vec<Membership>) -> GroupView {
    let present = members.into_iter().map(|member| (member.id, member)).collect();
    GroupView { record, present, candidates: Candidates::default() }
}

/// Makes memberships of the wanted members, with the kinds that were read.
///
/// # Errors
/// One `invalidValue` that names those that do not exist, or a member of too many groups.
pub(super) fn to_memberships(
    wanted: impl IntoIterator<Item = Member>,
    existing: &BTreeMap<Uuid, ResourceSummary>,
) -> Result<Vec<Membership>, ScimError> {
    let (mut members, mut unknown) = (Vec::new(), Vec::new());
    for member in wanted {
        match parse_id(&member.id).and_then(|id| existing.get(&id)) {
            Some(found) if found.group_count >= MAX_GROUPS_PER_MEMBER => {
                return Err(ScimError::invalid_value(format!(
                    "{} is in {MAX_GROUPS_PER_MEMBER} groups already, which is the most that one resource can be in.",
                    member.id
                )));
            }
            Some(found) => {
                members.push(Membership { id: found.id, kind: found.kind, display: member.display });
            }
            None => unknown.push(member.id),
        }
    }
    if unknown.is_empty() { Ok(members) } else { Err(no_such_members(&unknown)) }
}
