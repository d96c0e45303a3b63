//! Writing that deleted members leave their groups, with lists of departures that do not grow without end.

use std::time::Instant;

use uuid::Uuid;

use super::LargeChanges;
use crate::limits::{LARGE_CHANGE_RETRIES, MAX_APPLYING_IN_REQUEST, MAX_DEPARTURES};
use crate::scim::resource_type::Kind;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event};
use crate::store::expression::Expression;
use crate::store::retry::Attempts;
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
        let mut attempts = Attempts::new(LARGE_CHANGE_RETRIES);
        while attempts.start_next().await {
            let refusals = match self.store.table.transact(&actions).await {
                Err(StoreError::Refused(refusals)) => refusals,
                outcome => return outcome,
            };
            let mut has_emptied = false;
            for refusal in &refusals {
                if let Refusal::Stays(group) = refusal {
                    has_emptied |= self.empty_full_list(*group).await?;
                }
            }
            if !has_emptied {
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
    /// the others its trail, so the outbox has what a change of the group would have put there. Returns whether the list
    /// has room now that had none.
    async fn empty_full_list(self, group: Uuid) -> Result<bool, StoreError> {
        let Some(group) = self.store.fetch(Kind::Group, group).await? else { return Ok(false) };
        if group.trail.departed.len() < MAX_DEPARTURES {
            return Ok(false);
        }
        // The parts of a pending change come before the departures, and are not in the outbox yet.
        if let Some(change) = group.change {
            return self.finish(change, Instant::now() + MAX_APPLYING_IN_REQUEST).await;
        }
        let mut trail = group.trail.clone();
        let Some(last) = trail.departed.pop() else { return Ok(false) };
        let event = Event { trail, ..Event::of_departure(group.id, group.version, &last) };
        let unchanged = group.is_unchanged().and(Expression::lacks("change"));
        let tenant = &self.store.tenant;
        let empty = || {
            vec![
                Action::update(group.key(tenant), group.trail.follow(Expression::update(), 0))
                    .only_if(unchanged.clone(), Refusal::Changed),
                event::action(tenant, &event),
            ]
        };
        match self.store.table.transact(empty).await {
            // Refused: the sequencer, a change of the group or another deletion was faster.
            Ok(()) | Err(StoreError::Refused(_)) => Ok(true),
            Err(failed) => Err(failed),
        }
    }
}
