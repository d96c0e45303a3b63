//! The deactivation limit: a tenant can limit which part of its active users is deactivated or deleted
//! within an hour. Then a mistake in an identity provider does not lock everybody out.

use futures_util::future::try_join;

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
        let (counts, active) =
            try_join(self.provider.store.fetch_deactivations(), self.provider.store.count_active_users())
                .await?;
        let used = counts.within_hour(now);
        if (used + 1) * 100 > u64::from(limit.percent) * (active + used) {
            self.provider.store.table.note_deactivation_limit_refusal();
            let detail = format!(
                "Within the last hour {used} of {} active users were deactivated or deleted, and the tenant's limit is {} percent: nothing was changed. If this is meant, let the operator lift the limit with: rollcall tenant breaker {} --lift 1h",
                active + used,
                limit.percent,
                self.provider.store.tenant
            );
            let refused = ScimError::new(ErrorKind::Limited, detail);
            return Err(refused.by(Rule::DeactivationLimit, "active").into());
        }
        Ok(Some(counts.count_one(&self.provider.store.tenant, now)))
    }
}
