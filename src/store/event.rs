//! Events: one item in the outbox for every change, written in the change's own transaction.
//!
//! An event says who changed what and when, and names the changed attributes. It never holds a value.
//! The outbox delivers an event at least once, and in no order. So an event has an id and a time.

use std::collections::BTreeSet;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::item::{Item, number, text};
use super::keys::{self, TenantId};
use super::transaction::Action;
use crate::clock;
use crate::limits::{EVENT_RETENTION_DAYS, EVENT_SHARDS, MAX_MEMBERS_PER_EVENT};
use crate::scim::resource_type::Kind;

/// The value of `kind` on every event; the pipe to the event bus filters on it.
pub const KIND: &str = "EVENT";
/// How long an event stays in the table.
pub const RETENTION: Duration = Duration::days(EVENT_RETENTION_DAYS);

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
}

impl SubjectId {
    /// The type of the subject, as the item names it.
    pub const fn resource_type(&self) -> &'static str {
        match self {
            Self::Resource(kind, _) => kind.name(),
            Self::Key(_) => "Key",
            Self::Tenant(_) => "Tenant",
        }
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(_, id) => id.fmt(f),
            Self::Key(id) => f.write_str(id),
            Self::Tenant(name) => name.fmt(f),
        }
    }
}

/// A change, as the outbox reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id, by which a receiver recognises a second delivery.
    pub id: Uuid,
    /// What happened: `user.created`, `group.updated`, `key.revoked`, …
    pub event_type: &'static str,
    /// The resource, key or tenant that it is about.
    pub subject: Subject,
    /// Who did it: a key id, `operator`, or `worker`.
    pub actor: String,
    /// The request that it was part of.
    pub request_id: String,
    /// When it happened.
    pub time: OffsetDateTime,
    /// The names of the changed attributes, never their values.
    pub attributes: Vec<String>,
    /// The ids of the members that the change added. The item holds at most [`MAX_MEMBERS_PER_EVENT`] ids.
    pub added: Vec<Uuid>,
    /// The ids of the members that the change removed. The item holds those for which there is room beside
    /// `added`.
    pub removed: Vec<Uuid>,
    /// How many members were added, including those that the event does not name.
    pub added_count: usize,
    /// How many members were removed, including those that the event does not name.
    pub removed_count: usize,
    /// The id of the large change that this event is a part of.
    pub change: Option<Uuid>,
    /// A warning for the operator.
    pub warning: Option<&'static str>,
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
            change: None,
            warning: None,
        }
    }

    /// Names the changed attributes.
    #[must_use]
    pub fn attributes<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.attributes = names.into_iter().map(Into::into).collect();
        self
    }

    /// Makes it the event of a whole large change. It counts the members. The events of the chunks name
    /// them.
    #[must_use]
    pub fn of_change(mut self, change: Uuid) -> Self {
        self.change = Some(change);
        (self.added, self.removed) = (Vec::new(), Vec::new());
        self
    }

    /// Names and counts the members that were added and removed.
    #[must_use]
    pub fn members(mut self, added: Vec<Uuid>, removed: Vec<Uuid>) -> Self {
        (self.added_count, self.removed_count) = (added.len(), removed.len());
        (self.added, self.removed) = (added, removed);
        self
    }
}

/// The action that writes an event; the same event always makes the same item.
pub fn action(tenant: &TenantId, event: &Event) -> Action {
    let time = clock::text(event.time);
    let shard = event.id.as_bytes()[15] % EVENT_SHARDS;
    let key =
        keys::event(tenant, &clock::day(event.time.to_offset(UtcOffset::UTC).date()), shard, &time, event.id);
    let mut item = Item::from([
        text("kind", KIND),
        text("id", &event.id.to_string()),
        text("type", event.event_type),
        text("tenant", tenant.as_str()),
        text("resourceType", event.subject.id.resource_type()),
        text("resourceId", &event.subject.id.to_string()),
        number("version", event.subject.version),
        text("actor", &event.actor),
        text("requestId", &event.request_id),
        text("time", &time),
        number("ttl", event.time.saturating_add(RETENTION).unix_timestamp()),
    ]);
    item.extend(set("attributes", &event.attributes));
    item.extend(set("added", event.added.iter().take(MAX_MEMBERS_PER_EVENT)));
    item.extend(set(
        "removed",
        event.removed.iter().take(MAX_MEMBERS_PER_EVENT.saturating_sub(event.added.len())),
    ));
    if event.added_count > 0 {
        item.extend([number("addedCount", event.added_count)]);
    }
    if event.removed_count > 0 {
        item.extend([number("removedCount", event.removed_count)]);
    }
    item.extend(event.change.map(|change| text("change", &change.to_string())));
    item.extend(event.warning.map(|warning| text("warning", warning)));
    Action::put(key, item)
}

/// A string set without duplicates. `None` for no values, because DynamoDB has no empty set.
fn set<T: ToString>(name: &str, values: impl IntoIterator<Item = T>) -> Option<(String, AttributeValue)> {
    let values: BTreeSet<String> = values.into_iter().map(|value| value.to_string()).collect();
    (!values.is_empty()).then(|| (name.to_owned(), AttributeValue::Ss(values.into_iter().collect())))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::store::item::{get_number, get_set, get_text};
    use crate::store::transaction::ActionKind;

    fn written(event: &Event) -> (keys::Key, Item) {
        let action = action(&"acme".parse().expect("a tenant"), event);
        match action.kind {
            ActionKind::Put(item) => (action.key, item),
            other => unreachable!("{other:?}"),
        }
    }

    fn event() -> Event {
        let time = datetime!(2026-03-01 01:30:00.5 +2);
        let subject = Subject { id: SubjectId::Resource(Kind::Group, Uuid::from_u128(7)), version: 3 };
        Event::new("group.updated", subject, "key_1", "r-1", time)
    }

    #[test]
    fn an_event_lies_on_its_day_in_utc_and_expires() {
        let (key, item) = written(&event());
        assert!(key.pk.starts_with("T#acme#E#2026-02-28#"), "{}", key.pk);
        assert!(key.sk.starts_with("2026-02-28T23:30:00.500Z#"), "{}", key.sk);
        assert_eq!(get_text(&item, "kind"), Some("EVENT"));
        assert_eq!(get_text(&item, "type"), Some("group.updated"));
        assert_eq!(get_number(&item, "version"), Some(3));
        assert_eq!(get_number(&item, "ttl"), Some(datetime!(2026-05-29 23:30 UTC).unix_timestamp()));
        for absent in ["attributes", "added", "removed", "addedCount", "removedCount", "change", "warning"] {
            assert!(!item.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn an_event_names_at_most_45_members_and_counts_all() {
        let ids = |range: std::ops::Range<u128>| range.map(Uuid::from_u128).collect::<Vec<_>>();
        for (added, removed, named) in [(0, 3, (0, 3)), (40, 40, (40, 5)), (60, 5, (45, 0))] {
            let (_, item) = written(&event().members(ids(0..added), ids(100..100 + removed)));
            assert_eq!((get_set(&item, "added").len(), get_set(&item, "removed").len()), named);
            assert_eq!(get_number(&item, "addedCount").unwrap_or(0), added);
            assert_eq!(get_number(&item, "removedCount").unwrap_or(0), removed);
        }
    }
}
