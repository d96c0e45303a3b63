//! A membership: one item beside the group, and the group's id in the member's own item. Here are the
//! type and the actions that write both items.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::digest::MembershipDigest;
use super::error::Refusal;
use super::expression::Expression;
use super::item::{Item, get_text, id_set, text};
use super::keys::{self, TenantId, parse_id};
use super::record::Record;
use super::side::Side;
use super::trail::{Departure, PartName, Trail};
use super::transaction::Action;
use crate::limits::MAX_GROUPS_PER_MEMBER;
use crate::scim::members::Member;
use crate::scim::resource_type::Kind;

/// One member of a group, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The member.
    pub id: Uuid,
    /// Whether the member is a user or a group.
    pub kind: Kind,
    /// The name that the client gave the member when it was added.
    pub display: Option<String>,
}

impl Membership {
    /// Reads a membership item. `None` for any other item.
    pub fn from_item(item: &Item) -> Option<Self> {
        let id = get_text(item, "sk")?.strip_prefix(keys::MEMBERSHIP).and_then(parse_id)?;
        let kind = match get_text(item, "type") {
            Some("Group") => Kind::Group,
            _ => Kind::User,
        };
        Some(Self { id, kind, display: get_text(item, "display").map(str::to_owned) })
    }

    /// The member as an element of the attribute `members`.
    pub fn member(&self) -> Member {
        Member { id: self.id.to_string(), kind: Some(self.kind), display: self.display.clone() }
    }
}

/// The members that a change adds to a group and removes from it. No member is on both sides.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemberChanges<'a> {
    /// The members to add.
    pub add: &'a [Membership],
    /// The members to remove.
    pub remove: &'a [Membership],
}

/// The update that adds a group to the groups in a member's item, or removes it. On both sides
/// the member's version stays as it is.
pub(super) fn change_groups(update: Expression, side: Side, group: Uuid) -> Expression {
    let group = id_set([&group]);
    match side {
        Side::Add => update.add("groups", group),
        Side::Remove => update.delete("groups", group),
    }
}

/// The action that writes the item of a new membership. `since` is the time of the change.
pub fn put_membership(tenant: &TenantId, group: Uuid, member: &Membership, since: &str) -> Action {
    let mut item = Item::from([text("type", member.kind.name()), text("since", since)]);
    item.extend(member.display.as_deref().map(|display| text("display", display)));
    Action::put(keys::membership(tenant, group, member.id), item)
        .only_if(Expression::absent(), Refusal::Membership)
}

/// The two actions that make a resource a member: the membership, and the group in the member's item.
/// They are refused as [`Refusal::Membership`] where it is a member already, and as [`Refusal::Member`]
/// where the resource does not exist or is in [`MAX_GROUPS_PER_MEMBER`] groups.
pub fn add_member(tenant: &TenantId, group: Uuid, member: &Membership, since: &str) -> [Action; 2] {
    let has_room = Expression::exists().and(Expression::has_fewer("groups", MAX_GROUPS_PER_MEMBER));
    let groups = update_member(tenant, group, member, Side::Add, None);
    [put_membership(tenant, group, member, since), groups.only_if(has_room, Refusal::Member(member.id))]
}

/// The two actions that end a membership. They are refused as [`Refusal::Membership`] where there is no
/// membership, and as [`Refusal::Member`] where the resource does not exist.
pub(super) fn remove_member(tenant: &TenantId, group: Uuid, member: &Membership) -> [Action; 2] {
    let membership = Action::delete(keys::membership(tenant, group, member.id));
    [
        membership.only_if(Expression::exists(), Refusal::Membership),
        update_member(tenant, group, member, Side::Remove, None),
    ]
}

/// The action that changes the groups in a member's item. `part` is the part of a large change that names
/// the member, if it is one. It is refused as [`Refusal::Member`] where the member does not exist.
pub(super) fn update_member(
    tenant: &TenantId,
    group: Uuid,
    member: &Membership,
    side: Side,
    part: Option<PartName>,
) -> Action {
    let mut update = change_groups(Expression::update(), side, group);
    if let Some(part) = part {
        update = part.add_to(update);
    }
    Action::update(keys::resource(tenant, member.kind, member.id), update)
        .only_if(Expression::exists(), Refusal::Member(member.id))
}

/// The actions that give members to a group which is moved in from another deployment. The group keeps its
/// version, because it had these members in that version there. `group` is as it was read; it has no pending
/// change. They are refused as [`Refusal::Changed`] if the group has changed, as [`Refusal::Membership`] if it
/// has one of the members, and as [`Refusal::Member`] where a member does not exist or is in too many groups.
pub fn move_members_in(tenant: &TenantId, group: &Record, members: &[Membership]) -> Vec<Action> {
    let digest = group.digest.with(members.iter().map(|member| member.id));
    let mut update = Expression::update();
    for (name, value) in digest.attributes() {
        update = update.set(&name, value);
    }
    if members.iter().any(|member| member.id == group.id) {
        update = change_groups(update, Side::Add, group.id);
    }
    let mut unchanged = Expression::version_is(group.version).and(Expression::lacks("change"));
    for (name, value) in group.digest.attributes() {
        unchanged = unchanged.and(Expression::equals(&name, value));
    }
    let mut actions = vec![Action::update(group.key(tenant), update).only_if(unchanged, Refusal::Changed)];
    for member in members {
        let [membership, groups] = add_member(tenant, group.id, member, &group.modified);
        actions.push(membership);
        // A transaction names an item once: the group's own item is updated above.
        if member.id != group.id {
            actions.push(groups);
        }
    }
    actions
}

/// The two actions by which a deleted resource leaves a group: the membership is deleted, and the group
/// counts one member less. The resource is deleted in the same transaction or before it. The first action is refused as
/// [`Refusal::Changed`] if the membership does not exist. The second is refused as [`Refusal::Stays`] if the group does not
/// exist, has a pending change other than `known_change`, or lists as many departures as it may. So both go through
/// [`LargeChanges::transact_departures`](super::large_change::LargeChanges::transact_departures).
pub(super) fn detach_member(
    tenant: &TenantId,
    group: Uuid,
    departure: &Departure,
    known_change: Option<Uuid>,
) -> [Action; 2] {
    let mut no_other_change = Expression::lacks("change");
    if let Some(known) = known_change {
        let known = AttributeValue::S(known.to_string());
        no_other_change = no_other_change.or(Expression::equals("change", known));
    }
    [
        Action::delete(keys::membership(tenant, group, departure.member))
            .only_if(Expression::exists(), Refusal::Changed),
        Action::update(
            keys::resource(tenant, Kind::Group, group),
            MembershipDigest::subtract_member(departure),
        )
        .only_if(
            Expression::exists().and(no_other_change).and(Trail::has_room_for_departure()),
            Refusal::Stays(group),
        ),
    ]
}
