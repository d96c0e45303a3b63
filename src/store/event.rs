//! Events: what a change says of itself. Its transaction writes the event into the outbox, from where the
//! sequencer moves it into the feed.
//!
//! An event says who changed what and when, and names the changed attributes. It never holds a value.

use std::collections::BTreeSet;
use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Refusal;
use super::expression::Expression;
use super::feed::change::FeedChange;
use super::feed::outbox;
use super::feed::subject::unique_name;
use super::keys::TenantId;
use super::keys::outbox::OutboxName;
use super::trail::{Departure, Trail};
use super::transaction::Action;
use crate::clock;
use crate::limits::MAX_MEMBERS_PER_CHANGE;
use crate::scim::resource_type::{DefinedKind, Kind};

/// The resource, key or tenant that a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its id.
    pub id: SubjectId,
    /// Its version after the change. A receiver applies the changes of one resource in this order.
    pub version: u64,
}

/// The id of the subject of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectId {
    /// The id of a user or a group.
    Resource(Kind, Uuid),
    /// The id of a bearer key: `key_…`.
    Key(String),
    /// The name of a tenant.
    Tenant(TenantId),
    /// The id of an application key: `app_…`.
    Application(String),
    /// The id of a webhook: `wh_…`.
    Webhook(String),
    /// The id of an OAuth client: `client_…`.
    Client(String),
    /// The id of a role or an entitlement, which the operator or the application chose.
    Defined(DefinedKind, String),
}

impl SubjectId {
    /// The type of the subject, as the item names it.
    pub const fn resource_type(&self) -> &'static str {
        match self {
            Self::Resource(kind, _) => kind.name(),
            Self::Key(_) => "Key",
            Self::Tenant(_) => "Tenant",
            Self::Application(_) => "Application",
            Self::Webhook(_) => "Webhook",
            Self::Client(_) => "Client",
            Self::Defined(kind, _) => kind.name(),
        }
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(_, id) => id.fmt(f),
            Self::Key(id)
            | Self::Application(id)
            | Self::Webhook(id)
            | Self::Client(id)
            | Self::Defined(_, id) => f.write_str(id),
            Self::Tenant(name) => name.fmt(f),
        }
    }
}

/// A change under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: Uuid,
    /// What happened: `user.created`, `group.updated`, `key.revoked`, …
    pub event_type: &'static str,
    /// The resource, key or tenant that it is about.
    pub subject: Subject,
    /// Who did it: the id of a key or a client, `operator`, or `worker`.
    pub actor: String,
    /// The request that it was part of.
    pub request_id: String,
    /// When.
    pub time: OffsetDateTime,
    /// The names of the changed attributes, never their values.
    pub attributes: Vec<String>,
    /// The ids of members that the change added, at most [`MAX_MEMBERS_PER_CHANGE`] in the outbox.
    pub added: Vec<Uuid>,
    /// The ids of members that the change removed, at most [`MAX_MEMBERS_PER_CHANGE`] with those added.
    pub removed: Vec<Uuid>,
    /// How many members were added, named or not.
    pub added_count: usize,
    /// How many members were removed, named or not.
    pub removed_count: usize,
    /// The part of a large change that this is.
    pub part: Option<ChangePart>,
    /// What an operator should look at.
    pub warning: Option<&'static str>,
    /// What it comes after, in addition to the version before it.
    pub trail: Trail,
    /// The groups that the resource leaves in the same transaction, because it is deleted.
    pub left: BTreeSet<Uuid>,
    /// Tells the tenant from an earlier one of the same name. Empty: the sequencer reads it.
    pub incarnation: String,
}

/// Which part of a large change an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangePart {
    /// 0 for the commit, and then 1 to `of`.
    pub number: u32,
    /// How many parts follow the commit.
    pub of: u32,
}

impl Event {
    /// An event without details, under a new id.
    pub fn new(
        event_type: &'static str,
        subject: Subject,
        actor: &str,
        request_id: &str,
        time: OffsetDateTime,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            event_type,
            subject,
            actor: actor.to_owned(),
            request_id: request_id.to_owned(),
            time,
            attributes: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            added_count: 0,
            removed_count: 0,
            part: None,
            warning: None,
            trail: Trail::default(),
            left: BTreeSet::new(),
            incarnation: String::new(),
        }
    }

    /// The change of a group that a deleted member has left. `version` is that of the group after it.
    pub fn of_departure(group: Uuid, version: u64, departure: &Departure) -> Self {
        let subject = Subject { id: SubjectId::Resource(Kind::Group, group), version };
        let time = clock::parse(&departure.time).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let event = Self::new("group.updated", subject, &departure.actor, &departure.request_id, time);
        event.attributes(["members"]).members(Vec::new(), vec![departure.member])
    }

    /// Names the changed attributes.
    #[must_use]
    pub fn attributes<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.attributes = names.into_iter().map(Into::into).collect();
        self
    }

    /// The event of the commit of a large change: it counts its members, which the events of its `parts`
    /// name.
    #[must_use]
    pub fn of_commit(mut self, parts: u32) -> Self {
        self.part = Some(ChangePart { number: 0, of: parts });
        (self.added, self.removed) = (Vec::new(), Vec::new());
        self
    }

    /// Names and counts the members that the change added and removed.
    #[must_use]
    pub fn members(mut self, added: Vec<Uuid>, removed: Vec<Uuid>) -> Self {
        (self.added_count, self.removed_count) = (added.len(), removed.len());
        (self.added, self.removed) = (added, removed);
        self
    }

    /// The change as the feed tells it, without its number.
    pub fn to_change(&self, tenant: &TenantId) -> FeedChange {
        let texts = |ids: &[Uuid], most: usize| ids.iter().take(most).map(Uuid::to_string).collect();
        let room = MAX_MEMBERS_PER_CHANGE.saturating_sub(self.added.len());
        FeedChange {
            seq: 0,
            id: self.id.to_string(),
            event_type: self.event_type.to_owned(),
            tenant: tenant.to_string(),
            incarnation: self.incarnation.clone(),
            resource_type: self.subject.id.resource_type().to_owned(),
            resource_id: self.subject.id.to_string(),
            version: self.subject.version,
            part: self.part.map(|part| part.number),
            parts: self.part.map(|part| part.of),
            time: clock::text(self.time),
            actor: self.actor.clone(),
            request_id: self.request_id.clone(),
            attributes: self.attributes.clone(),
            added: texts(&self.added, MAX_MEMBERS_PER_CHANGE),
            removed: texts(&self.removed, room),
            added_count: self.added_count as u64,
            removed_count: self.removed_count as u64,
            warning: self.warning.map(str::to_owned),
        }
    }
}

/// The action that writes an event into the outbox. It is refused as [`Refusal::Changed`] if the outbox has
/// an event of this version already. The same event always makes the same item.
pub fn action(tenant: &TenantId, event: &Event) -> Action {
    let name = OutboxName {
        tenant: tenant.clone(),
        resource: unique_name(event.subject.id.resource_type(), &event.subject.id.to_string()),
        version: event.subject.version,
        part: event.part.map_or(0, |part| part.number),
    };
    let attributes = outbox::attributes(event.to_change(tenant), &event.trail, &event.left);
    Action::put(name.key(), attributes).only_if(Expression::absent(), Refusal::Changed)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::store::feed::outbox::QueuedChange;
    use crate::store::item::with_key;
    use crate::store::transaction::ActionKind;

    fn written(event: &Event) -> QueuedChange {
        let action = action(&"acme".parse().expect("a tenant"), event);
        let mut item = with_key(&action.key);
        match action.kind {
            ActionKind::Put(attributes) => item.extend(attributes),
            other => unreachable!("{other:?}"),
        }
        QueuedChange::from_item(&item).expect("an item of the outbox")
    }

    fn event() -> Event {
        let time = datetime!(2026-03-01 01:30:00.5 +2);
        let subject = Subject { id: SubjectId::Resource(Kind::Group, Uuid::from_u128(7)), version: 3 };
        Event::new("group.updated", subject, "key_1", "r-1", time)
    }

    #[test]
    fn an_event_is_a_change_in_the_outbox() {
        let queued = written(&event());
        let group = Uuid::from_u128(7).to_string();
        let name = &queued.name;
        assert_eq!((name.resource.as_str(), name.version, name.part), (group.as_str(), 3, 0));
        let change = queued.change.expect("a change");
        assert_eq!(change.time, "2026-02-28T23:30:00.500Z");
        let json = serde_json::to_value(&change).expect("JSON");
        for absent in ["seq", "part", "parts", "attributes", "added", "removed", "addedCount", "warning"] {
            assert!(json.get(absent).is_none(), "{absent}");
        }
        let part = Event { part: Some(ChangePart { number: 2, of: 9 }), ..event() };
        assert_eq!(written(&part).name.part, 2);
    }

    #[test]
    fn an_event_names_at_most_45_members_and_counts_all() {
        let ids = |range: std::ops::Range<u128>| range.map(Uuid::from_u128).collect::<Vec<_>>();
        for (added, removed, named) in [(0, 3, (0, 3)), (40, 40, (40, 5)), (60, 5, (45, 0))] {
            let event = event().members(ids(0..added), ids(100..100 + removed));
            let change = written(&event).change.expect("a change");
            assert_eq!((change.added.len(), change.removed.len()), named);
            assert_eq!((u128::from(change.added_count), u128::from(change.removed_count)), (added, removed));
        }
    }
}
