//! Writing that deleted members leave their groups, with lists of departures that do not grow without end.

use std::time::Instant;

use uuid::Uuid;

use super::LargeChanges;
use crate::limits::{LARGE_CHANGE_RETRIES, MAX_APPLYING_IN_REQUEST, MAX_DEPARTURES};
use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::expression::Expression;
use crate::store::item::{get_number, get_text};
use crate::store::keys::{self, parse_id};
use crate::store::retry::Attempts;
use crate::store::trail::Trail;
use crate::store::transaction::Action;

impl LargeChanges<'_> {
    /// Writes actions by which deleted members leave groups. If the list of departures of a group is full, its
    /// departures first go into the outbox.
    ///
    /// # Errors
    /// As [`Table::transact`](crate::store::call::Table::transact). [`Refusal::Changed`] stands for each group that cannot
    /// be left for another reason.
    pub async fn transact_departures(
        self,
        actions: impl Fn() -> Vec<Action> + Send + Sync,
    ) -> Result<(), StoreError> {
        let until = Instant::now() + MAX_APPLYING_IN_REQUEST;
        let mut attempts = Attempts::new(LARGE_CHANGE_RETRIES);
        while attempts.start_next().await {
            let refusals = match self.store.table.transact(&actions).await {
                Err(StoreError::Refused(refusals)) => refusals,
                outcome => return outcome,
            };
            let groups: Vec<Uuid> = refusals.iter().filter_map(Refusal::group).collect();
            let mut has_room = groups.len() == refusals.len();
            for group in &groups {
                has_room = has_room && self.make_room(*group, until).await?;
            }
            if !has_room {
                let changed = |refusal| match refusal {
                    Refusal::Stays(_) => Refusal::Changed,
                    other => other,
                };
                return Err(StoreError::Refused(refusals.into_iter().map(changed).collect()));
            }
        }
        Err(StoreError::Conflict)
    }

    /// Puts the departures of a group into the outbox if its list of them is full. The last of them becomes an event, and
    /// the others its trail, so the outbox has what a change of the group would have put there. Returns whether a member
    /// can leave the group now. The document of the group is not read: it may be damaged.
    async fn make_room(self, group: Uuid, until: Instant) -> Result<bool, StoreError> {
        let tenant = &self.store.tenant;
        let key = keys::resource(tenant, Kind::Group, group);
        let Some(item) = self.store.table.get(&key).await? else { return Ok(false) };
        let change = get_text(&item, "change").and_then(parse_id);
        let mut trail = Trail::from_item(&item);
        if trail.departed.len() < MAX_DEPARTURES {
            // Someone else made room, unless a pending change was in the way.
            return Ok(change.is_none());
        }
        // The parts of a pending change come before the departures, and are not in the outbox yet.
        if let Some(change) = change {
            return self.finish(change, until).await;
        }
        let version = get_number(&item, "ver").unwrap_or(0);
        let unchanged =
            Expression::version_is(version).and(trail.is_unchanged()).and(Expression::lacks("change"));
        let update = trail.follow(Expression::update(), 0);
        let Some(last) = trail.departed.pop() else { return Ok(false) };
        let event = Event { trail, ..Event::of_departure(group, version, &last) };
        let empty = || {
            let update = Action::update(key.clone(), update.clone());
            vec![update.only_if(unchanged.clone(), Refusal::Changed), event::action(tenant, &event)]
        };
        match self.store.table.transact(empty).await {
            // Refused: the sequencer, a change of the group or another deletion was faster.
            Ok(()) | Err(StoreError::Refused(_)) => Ok(true),
            Err(failed) => Err(failed),
        }
    }
}
