//! The deactivation limit: a tenant can limit which part of its active users is deactivated or deleted
//! within an hour. Then a mistake in an identity provider does not lock everybody out.

use super::Changing;
use crate::clock;
use crate::provider::failure::Failure;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::note_texts::Rule;
use crate::store::record::Record;
use crate::store::transaction::Action;

impl Changing<'_> {
    /// What counts the deactivation of a user: `None` of `after` is its deletion. Nothing where the
    /// tenant has no limit, or the user is not active before or still is after.
    ///
    /// # Errors
    /// 400 beyond the limit: it says how it is lifted.
    pub(super) async fn count_deactivation(
        &self,
        before: &Record,
        after: Option<&Record>,
    ) -> Result<Option<Action>, Failure> {
        let now = clock::epoch_seconds();
        let Some(limit) = self.provider.breaker.filter(|limit| limit.lifted_until <= now) else {
            return Ok(None);
        };
        if !before.is_active() || after.is_some_and(Record::is_active) {
            return Ok(None);
        }
        // One after the other: a user who leaves between the two is in neither number, and the limit is lower. Read the
        // other way round, the user would be in both.
        let counts = self.provider.store.fetch_deactivations().await?;
        let active = self.provider.store.count_active_users().await?;
        let used = counts.within_hour(now);
        let at_start = active + used;
        let allowed = most_deactivations(limit.percent, at_start);
        if used >= allowed {
            self.provider.store.table.note_deactivation_limit_refusal();
            let detail = format!(
                "The tenant's limit of {} percent allows {allowed} of {at_start} active users to be deactivated or deleted within an hour, and {used} were: nothing was changed. If this is meant, let the operator lift the limit with: rollcall tenant breaker {} --lift 1h",
                limit.percent, self.provider.store.tenant
            );
            let refused = ScimError::new(ErrorKind::Limited, detail);
            return Err(refused.by(Rule::DeactivationLimit, "active").into());
        }
        Ok(Some(counts.count_one(&self.provider.store.tenant, now)))
    }
}

/// How many users may be deactivated within an hour, of those that were active at its start. A small tenant may
/// deactivate one, unless the limit is 0 percent.
fn most_deactivations(percent: u8, active: u64) -> u64 {
    (u64::from(percent) * active / 100).max(u64::from(percent > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_allows_one_at_least() {
        for (percent, active, most) in
            [(10, 200, 20), (10, 209, 20), (10, 5, 1), (10, 0, 1), (0, 200, 0), (100, 7, 7)]
        {
            assert_eq!(most_deactivations(percent, active), most, "{percent} percent of {active}");
        }
    }
}
