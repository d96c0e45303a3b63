//! The deactivation limit: a tenant can limit how many users are deactivated or deleted within an hour.
//!
//! One item counts the deactivations of a tenant. Each deactivation writes it on condition that it is
//! still in the version that was read. So the limit holds however many requests come at once.

use std::collections::BTreeMap;

use super::Store;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, number, text};
use super::keys::{self, TenantId};
use super::transaction::Action;
use crate::limits::DEACTIVATION_SPAN_SECONDS;

/// How many spans an hour has. The current span is one of them.
const SPANS_PER_HOUR: u64 = SECONDS_PER_HOUR / DEACTIVATION_SPAN_SECONDS;
const SECONDS_PER_HOUR: u64 = 3_600;

/// The deactivation limit of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeactivationLimit {
    /// The most deactivations within an hour, in percent of the users that were active at its start.
    pub percent: u8,
    /// Until when the operator has lifted the limit, in seconds since 1970.
    pub lifted_until: u64,
}

/// The deactivations of a tenant within the last hour: the item `T#t#B`/`BREAKER`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeactivationCounts {
    version: u64,
    /// The deactivations of each span, by the number of the span since 1970.
    spans: BTreeMap<u64, u64>,
}

impl DeactivationCounts {
    /// How many deactivations there were within the hour before `now`, in seconds since 1970.
    pub fn within_hour(&self, now: u64) -> u64 {
        self.spans.range(oldest_span(now)..).map(|(_, count)| count).sum()
    }

    /// The action that counts one more deactivation at `now`, in seconds since 1970. It is refused as
    /// [`Refusal::Changed`] if another one was counted since the counts were read.
    pub fn count_one(&self, tenant: &TenantId, now: u64) -> Action {
        let recent = self.spans.range(oldest_span(now)..);
        let mut spans: BTreeMap<u64, u64> = recent.map(|(span, count)| (*span, *count)).collect();
        *spans.entry(now / DEACTIVATION_SPAN_SECONDS).or_default() += 1;
        let item = Item::from([
            number("ver", self.version + 1),
            text("spans", serde_json::to_string(&spans).unwrap_or_default()),
            number("ttl", now + 2 * SECONDS_PER_HOUR),
        ]);
        let unchanged = Expression::version_is_or_absent(self.version);
        Action::put(keys::deactivations(tenant), item).only_if(unchanged, Refusal::Changed)
    }
}

/// The number of the first span within the hour before `now`.
fn oldest_span(now: u64) -> u64 {
    (now / DEACTIVATION_SPAN_SECONDS + 1).saturating_sub(SPANS_PER_HOUR)
}

impl Store {
    /// Reads the deactivations of the last hour, at a moment when none is under way. So whoever reads the active users
    /// after it counts nobody twice.
    ///
    /// # Errors
    /// As [`Table::get_together`](super::call::Table::get_together).
    pub async fn fetch_deactivations(&self) -> Result<DeactivationCounts, StoreError> {
        let read = self.table.get_together(&[keys::deactivations(&self.tenant)]).await?;
        let Some(item) = read.into_iter().next().flatten() else {
            return Ok(DeactivationCounts::default());
        };
        let broken = || StoreError::Broken("the count of deactivations cannot be read".to_owned());
        let spans = get_text(&item, "spans").and_then(|spans| serde_json::from_str(spans).ok());
        Ok(DeactivationCounts {
            version: get_number(&item, "ver").ok_or_else(broken)?,
            spans: spans.ok_or_else(broken)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_twelve_spans() {
        let now = 1_000_000 * DEACTIVATION_SPAN_SECONDS;
        let counts = DeactivationCounts {
            version: 3,
            spans: BTreeMap::from([(1_000_000 - 12, 5), (1_000_000 - 11, 2), (1_000_000, 1)]),
        };
        assert_eq!(counts.within_hour(now), 3);
        assert_eq!(counts.within_hour(now + DEACTIVATION_SPAN_SECONDS), 1);
        assert_eq!(counts.within_hour(now + SECONDS_PER_HOUR), 0);
    }
}
