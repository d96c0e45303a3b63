//! How many users were deactivated or deleted within the last hour, for tenants that limit it:
//! one item, written on the version that was read, so that the limit holds whoever comes at once.

use std::collections::BTreeMap;

use super::Store;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, number, text};
use super::keys;
use super::transaction::Action;

/// Deactivations are counted by spans of so many seconds.
const SPAN_SECONDS: u64 = 300;
/// So many spans are within the hour, the present one included.
const SPANS: u64 = 12;
const SECONDS_AN_HOUR: u64 = 3_600;

/// A tenant's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many percent of the users that are active at the start of the hour.
    pub percent: u8,
    /// The operator has lifted it until then, in seconds since 1970.
    pub lifted_until: u64,
}

/// The item `T#t#B`/`BREAKER`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    version: u64,
    /// Deactivations by span, as its number since 1970.
    spans: BTreeMap<u64, u64>,
}

impl Breaker {
    /// How many there were within the hour before `now`, in seconds since 1970.
    pub fn used(&self, now: u64) -> u64 {
        self.spans.range((now / SPAN_SECONDS + 1).saturating_sub(SPANS)..).map(|(_, count)| count).sum()
    }

    /// Counts one more at `now`, if nobody else has counted since this was read.
    pub fn one_more(&self, store: &Store, now: u64) -> Action {
        let oldest = (now / SPAN_SECONDS + 1).saturating_sub(SPANS);
        let mut spans: BTreeMap<u64, u64> = self.spans.range(oldest..).map(|(s, n)| (*s, *n)).collect();
        *spans.entry(now / SPAN_SECONDS).or_default() += 1;
        let item = Item::from([
            number("ver", self.version + 1),
            text("spans", &serde_json::to_string(&spans).unwrap_or_default()),
            number("ttl", now + 2 * SECONDS_AN_HOUR),
        ]);
        let unchanged = Expression::version_is_or_absent(self.version);
        Action::put(keys::breaker(&store.tenant), item).only_if(unchanged, Refusal::Changed)
    }
}

impl Store {
    /// What was counted of late.
    ///
    /// # Errors
    /// As every call.
    pub async fn breaker(&self) -> Result<Breaker, StoreError> {
        let Some(item) = self.table.get(&keys::breaker(&self.tenant)).await? else {
            return Ok(Breaker::default());
        };
        let broken = || StoreError::Broken("the count of deactivations cannot be read".to_owned());
        let spans = get_text(&item, "spans").and_then(|spans| serde_json::from_str(spans).ok());
        Ok(Breaker {
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
        let now = 1_000_000 * SPAN_SECONDS;
        let breaker = Breaker {
            version: 3,
            spans: BTreeMap::from([(1_000_000 - 12, 5), (1_000_000 - 11, 2), (1_000_000, 1)]),
        };
        assert_eq!(breaker.used(now), 3);
        assert_eq!(breaker.used(now + SPAN_SECONDS), 1);
        assert_eq!(breaker.used(now + SECONDS_AN_HOUR), 0);
    }
}
