//! The changes of groups that deleted members have left.
//!
//! The transaction that deletes a member raises the versions of its groups without reading them, and adds
//! the departure to a list in each group. The next change of the group takes the list into the outbox, and so does a
//! deletion that finds it full. If none comes, the sequencer empties the list in the transaction that puts the
//! departures into the feed.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::change::FeedChange;
use super::order::{changes_of_version, parts_that_named};
use crate::limits::LARGEST_ITEMS_PER_READ;
use crate::scim::resource_type::Kind;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::Event;
use crate::store::expression::Expression;
use crate::store::item::{Item, get_number};
use crate::store::keys::outbox::OutboxName;
use crate::store::keys::{self, TenantId};
use crate::store::trail::{Departure, Trail};
use crate::store::transaction::Action;

/// The departures of a group that can enter the feed.
pub(super) struct GroupDepartures {
    /// The changes, in their order.
    pub changes: Vec<FeedChange>,
    /// What must be in the feed before them.
    pub before: Vec<OutboxName>,
    /// The action that empties the list of the group, if the group is as it was read.
    pub empty_list: Action,
}

/// What is to be done about the departures of a group.
pub(super) enum DepartureState {
    /// There are none: a change of the group has taken them along, or the group is deleted.
    None,
    /// The group is being changed. They must wait.
    Waiting,
    /// They can enter the feed.
    Ready(Box<GroupDepartures>),
}

/// The changes that departures make of a group, which end in `version`.
pub(super) fn as_changes(
    tenant: &TenantId,
    group: Uuid,
    departed: &[Departure],
    version: u64,
) -> Vec<FeedChange> {
    let first = version + 1 - departed.len() as u64;
    let changes = (first..).zip(departed);
    let changes =
        changes.map(|(version, departure)| Event::of_departure(group, version, departure).to_change(tenant));
    changes.collect()
}

/// Reads groups that members have left, each at a moment when no transaction on it is under way.
///
/// # Errors
/// [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
pub(super) async fn read(
    table: &Table,
    groups: &BTreeSet<(TenantId, Uuid)>,
) -> Result<BTreeMap<(TenantId, Uuid), DepartureState>, StoreError> {
    let groups: Vec<_> = groups.iter().cloned().collect();
    let keys: Vec<_> = groups.iter().map(|(tenant, id)| keys::resource(tenant, Kind::Group, *id)).collect();
    let mut states = BTreeMap::new();
    let mut items = Vec::with_capacity(keys.len());
    for some in keys.chunks(LARGEST_ITEMS_PER_READ) {
        items.extend(table.get_resting(some).await?);
    }
    for ((tenant, id), item) in groups.into_iter().zip(items) {
        let state = match item {
            None => DepartureState::Waiting,
            Some(None) => DepartureState::None,
            // Only what is needed is read: a damaged document must not keep back departures.
            Some(Some(item)) => match get_number(&item, "ver") {
                Some(version) => state_of(&tenant, id, version, &item),
                // It keeps back no other.
                None => {
                    tracing::error!(%tenant, group = %id, "departures from a group stay in the outbox: it has no version");
                    DepartureState::Waiting
                }
            },
        };
        states.insert((tenant, id), state);
    }
    Ok(states)
}

fn state_of(tenant: &TenantId, id: Uuid, version: u64, item: &Item) -> DepartureState {
    let trail = Trail::from_item(item);
    if trail.departed.is_empty() {
        return DepartureState::None;
    }
    if item.contains_key("change") {
        return DepartureState::Waiting;
    }
    let name = OutboxName { tenant: tenant.clone(), resource: id.to_string(), version, part: 0 };
    let named = parts_that_named(tenant, &trail);
    let unchanged = Expression::version_is(version).and(trail.has_departed());
    DepartureState::Ready(Box::new(GroupDepartures {
        changes: as_changes(tenant, id, &trail.departed, version),
        before: named.chain(changes_of_version(&name, version, &trail)).collect(),
        empty_list: Action::update(keys::resource(tenant, Kind::Group, id), Trail::without_departures())
            .only_if(unchanged, Refusal::Changed),
    }))
}
