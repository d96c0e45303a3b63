//! What the item of a resource remembers so that the changes of the resource can be put in order.
//!
//! A change of a resource is in the feed after the one before it. Most changes name their predecessor by
//! its version alone. Three cases need more, and the item of the resource keeps what they need until its
//! next change:
//!
//! - A deleted member leaves its groups in the transaction of its deletion, which raises their versions
//!   without reading them. The group keeps a list of these departures. Each is a change of the group.
//! - A large change of a group is followed by its parts. The group keeps how many there are.
//! - A part of a large change names members. Each member keeps the names of these parts.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::error::Refusal;
use super::expression::Expression;
use super::item::{Attributes, Item, get_number, get_set, number};
use super::keys::{Key, parse_id};
use super::transaction::Action;
use crate::limits::MAX_DEPARTURES;

/// The attribute of a group that lists its departures.
const DEPARTED: &str = "departed";
/// The attribute of a group that counts the parts of its last large change.
const PARTS: &str = "parts";
/// The attribute of a member that names parts of large changes.
pub(super) const NAMED: &str = "named";

/// A deleted member that left a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The member.
    pub member: Uuid,
    /// When it left, in RFC 3339.
    pub time: String,
    /// Who deleted the member.
    pub actor: String,
    /// The request that deleted the member.
    pub request_id: String,
}

impl Departure {
    /// The text in the group's item.
    fn to_text(&self) -> String {
        format!("{}|{}|{}|{}", self.member, self.time, self.actor, self.request_id)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(4, '|');
        let mut next = || fields.next();
        Some(Self {
            member: parse_id(next()?)?,
            time: next()?.to_owned(),
            actor: next()?.to_owned(),
            request_id: next()?.to_owned(),
        })
    }

    /// The update that adds the departure to a group's list.
    #[must_use]
    pub fn append_to(&self, update: Expression) -> Expression {
        update.append(DEPARTED, AttributeValue::S(self.to_text()))
    }
}

/// A part of a large change of a group, as a member that it names remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    /// The group.
    pub group: Uuid,
    /// The version of the group that the change made.
    pub version: u64,
    /// The number of the part, from 1.
    pub part: u32,
}

impl PartName {
    fn to_text(self) -> String {
        format!("{}#{}#{}", self.group, self.version, self.part)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('#');
        Some(Self {
            group: parse_id(fields.next()?)?,
            version: fields.next()?.parse().ok()?,
            part: fields.next()?.parse().ok()?,
        })
    }

    /// The update that adds the name of the part to a member.
    #[must_use]
    pub fn add_to(self, update: Expression) -> Expression {
        update.add(NAMED, AttributeValue::Ss(vec![self.to_text()]))
    }
}

/// What the next change of a resource must come after, in addition to the version before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The departures since the last change that is in the outbox, the oldest first. Each raised the
    /// version by one.
    pub departed: Vec<Departure>,
    /// How many parts that last change has.
    pub parts: u32,
    /// The parts of large changes that named the resource since its last change.
    pub named: BTreeSet<PartName>,
}

impl Trail {
    /// Reads the trail from the item of a resource, or of its change in the outbox.
    pub fn from_item(item: &Item) -> Self {
        let departed = item.get(DEPARTED).and_then(|list| list.as_l().ok());
        let texts = departed.into_iter().flatten().filter_map(|text| text.as_s().ok());
        Self {
            departed: texts.filter_map(|text| Departure::parse(text)).collect(),
            parts: get_number(item, PARTS).unwrap_or(0),
            named: get_set(item, NAMED).iter().filter_map(|text| PartName::parse(text)).collect(),
        }
    }

    /// The attributes of the change in the outbox.
    pub fn attributes(&self) -> Attributes {
        let departed = (!self.departed.is_empty()).then(|| (DEPARTED.to_owned(), self.departed_value()));
        let named = (!self.named.is_empty()).then(|| (NAMED.to_owned(), self.named_value()));
        [departed, parts_attribute(self.parts), named].into_iter().flatten().collect()
    }

    fn named_value(&self) -> AttributeValue {
        AttributeValue::Ss(self.named.iter().map(|name| name.to_text()).collect())
    }

    /// Condition: the list of departures has room for another one.
    pub(super) fn has_room_for_departure() -> Expression {
        Expression::has_fewer(DEPARTED, MAX_DEPARTURES)
    }

    /// Condition: fewer parts than this have named the resource since its last change.
    pub(super) fn names_fewer_than(most: usize) -> Expression {
        Expression::has_fewer(NAMED, most)
    }

    /// The action that leaves out the parts of a group that a later one stands for: a change of a group enters the feed
    /// after the changes before it, with all their parts. A change has one part that names the resource. `key` is that of the resource. It is refused as
    /// [`Refusal::Changed`] if the names are not as they were read. `None` if there is nothing to leave out.
    pub(super) fn shorten_named(&self, key: Key) -> Option<Action> {
        let last: BTreeMap<Uuid, PartName> = self.named.iter().map(|name| (name.group, *name)).collect();
        if last.len() == self.named.len() {
            return None;
        }
        let shorter = Self { named: last.into_values().collect(), ..Self::default() };
        let update = Expression::update().set(NAMED, shorter.named_value());
        let unchanged = Expression::equals(NAMED, self.named_value());
        Some(Action::update(key, update).only_if(unchanged, Refusal::Changed))
    }

    /// Condition: no further part has named the resource, and the sequencer has not taken the departures.
    /// (A further departure raises the version, which another condition checks.)
    pub(super) fn is_unchanged(&self) -> Expression {
        let named = match self.named.is_empty() {
            true => Expression::lacks(NAMED),
            false => Expression::equals(NAMED, self.named_value()),
        };
        if self.departed.is_empty() { named } else { named.and(self.has_departed()) }
    }

    /// Condition: the list of departures is as it was read.
    pub(super) fn has_departed(&self) -> Expression {
        Expression::equals(DEPARTED, self.departed_value())
    }

    fn departed_value(&self) -> AttributeValue {
        let texts = self.departed.iter().map(|departure| AttributeValue::S(departure.to_text()));
        AttributeValue::L(texts.collect())
    }

    /// The update of a group whose departures enter the feed. The change before them has entered it with all
    /// its parts.
    pub(super) fn without_departures() -> Expression {
        Expression::update().remove(DEPARTED).remove(PARTS)
    }

    /// The update after which the resource has followed this trail, and its last change has `parts` parts.
    pub(super) fn follow(&self, mut update: Expression, parts: u32) -> Expression {
        if !self.departed.is_empty() {
            update = update.remove(DEPARTED);
        }
        if !self.named.is_empty() {
            update = update.remove(NAMED);
        }
        match parts {
            0 if self.parts > 0 => update.remove(PARTS),
            0 => update,
            parts => update.set(PARTS, AttributeValue::N(parts.to_string())),
        }
    }
}

/// The attribute of a new group whose creation has this many parts. `None` for no parts.
pub(super) fn parts_attribute(parts: u32) -> Option<(String, AttributeValue)> {
    (parts > 0).then(|| number(PARTS, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::transaction::ActionKind;

    #[test]
    fn a_trail_reads_back() {
        let departure = Departure {
            member: Uuid::from_u128(7),
            time: "2026-03-01T00:00:00.000Z".to_owned(),
            actor: "key_1".to_owned(),
            request_id: "r|1".to_owned(),
        };
        let part = PartName { group: Uuid::from_u128(8), version: 3, part: 12 };
        let trail = Trail { departed: vec![departure], parts: 5, named: BTreeSet::from([part]) };
        assert_eq!(Trail::from_item(&Item::from_iter(trail.attributes())), trail);
        assert_eq!(Trail::from_item(&Item::new()), Trail::default());
    }

    #[test]
    fn the_last_part_of_a_group_stands_for_those_before() {
        let part = |group, version, part| PartName { group: Uuid::from_u128(group), version, part };
        let trail = |named: &[PartName]| Trail { named: named.iter().copied().collect(), ..Trail::default() };
        let key = Key { pk: "p".to_owned(), sk: "s".to_owned() };
        let long = trail(&[part(1, 9, 3), part(1, 10, 1), part(2, 4, 7), part(2, 5, 2)]);
        let Some(Action { kind: ActionKind::Update(update), .. }) = long.shorten_named(key.clone()) else {
            unreachable!("an update")
        };
        let kept = trail(&[part(1, 10, 1), part(2, 5, 2)]);
        assert_eq!(update, Expression::update().set(NAMED, kept.named_value()));
        assert!(kept.shorten_named(key).is_none());
    }
}
