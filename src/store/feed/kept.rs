//! For how many days changes stay in the feed. The table says it, because the operator's tool writes pages too and
//! knows no parameter of the deployment. The worker notes the parameter in the state of the feed.
//!
//! The `ttl` of a page follows from the days that held when it was written, and never changes. DynamoDB must delete no
//! page behind one that can be read. So:
//!
//! - Fewer days count for all changes at once. Pages from before stay in the table until their `ttl`.
//! - More days count for the changes from a day later on. Some of those before have an early `ttl`, so all of them
//!   end as early as these. In that day, sequencers that know the old days write their last page.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::limits::{DEFAULT_CHANGE_RETENTION_DAYS, FEED_DELETION_MARGIN_DAYS};
use crate::store::error::Refusal;
use crate::store::expression::Expression;
use crate::store::item::{Item, get_number};
use crate::store::keys;
use crate::store::transaction::Action;

const SECONDS_PER_DAY: u64 = 86_400;

/// For how many days changes stay in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptDays {
    /// The days.
    pub days: u64,
    /// Changes in pages from before `earlier_until` stay for no more days than these.
    earlier_days: u64,
    /// In seconds since 1970. At 0 there are no such changes.
    earlier_until: u64,
}

impl Default for KeptDays {
    fn default() -> Self {
        Self { days: DEFAULT_CHANGE_RETENTION_DAYS, earlier_days: 0, earlier_until: 0 }
    }
}

impl KeptDays {
    /// Reads the state of the feed. One that says nothing has the default.
    pub(super) fn from_item(item: &Item) -> Self {
        let default = Self::default();
        Self {
            days: get_number(item, "keptDays").unwrap_or(default.days),
            earlier_days: get_number(item, "earlierDays").unwrap_or(default.earlier_days),
            earlier_until: get_number(item, "earlierUntil").unwrap_or(default.earlier_until),
        }
    }

    /// What holds if the deployment has this number of days from `now` on, in seconds since 1970.
    #[must_use]
    pub fn with_days(self, days: u64, now: u64) -> Self {
        if days <= self.days {
            return Self { days, ..self };
        }
        let earlier_end = self.earlier_days + FEED_DELETION_MARGIN_DAYS;
        let is_over = self.earlier_until + earlier_end * SECONDS_PER_DAY <= now;
        let earlier_days = if is_over { self.days } else { self.days.min(self.earlier_days) };
        Self { days, earlier_days, earlier_until: now + SECONDS_PER_DAY }
    }

    /// Whether the changes of a page that was written then can no longer be read.
    pub fn has_ended(self, written: u64, now: u64) -> bool {
        let is_earlier = written < self.earlier_until;
        let days = if is_earlier { self.days.min(self.earlier_days) } else { self.days };
        written + days * SECONDS_PER_DAY < now
    }

    /// From when on DynamoDB may delete a page that is written at this time.
    pub fn deletion_time(self, written: u64) -> u64 {
        written + (self.days + FEED_DELETION_MARGIN_DAYS) * SECONDS_PER_DAY
    }

    /// The action that notes this in the state of the feed. It is refused as [`Refusal::Changed`] if the days there
    /// are not those of `before`.
    pub(super) fn note(self, before: Self) -> Action {
        let value = |number: u64| AttributeValue::N(number.to_string());
        let update = Expression::update()
            .set("keptDays", value(self.days))
            .set("earlierDays", value(self.earlier_days))
            .set("earlierUntil", value(self.earlier_until));
        let mut is_unchanged = Expression::equals("keptDays", value(before.days));
        if before.days == DEFAULT_CHANGE_RETENTION_DAYS {
            is_unchanged = is_unchanged.or(Expression::lacks("keptDays"));
        }
        Action::update(keys::feed_state(), update).only_if(is_unchanged, Refusal::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 2_000_000_000;

    const fn day(days: u64) -> u64 {
        NOW + days * SECONDS_PER_DAY
    }

    #[test]
    fn fewer_days_count_at_once_and_more_days_a_day_later() {
        let kept = KeptDays::default();
        assert_eq!(kept.with_days(DEFAULT_CHANGE_RETENTION_DAYS, NOW), kept);
        assert!(!kept.has_ended(NOW, day(90)) && kept.has_ended(NOW, day(90) + 1));
        assert_eq!(kept.deletion_time(NOW), day(97));

        let fewer = kept.with_days(30, NOW);
        assert!(!fewer.has_ended(NOW, day(30)) && fewer.has_ended(NOW, day(30) + 1));
        assert_eq!(fewer.deletion_time(NOW), day(37));

        let more = kept.with_days(365, NOW);
        assert!(more.has_ended(day(1) - 1, day(91)));
        assert!(!more.has_ended(day(1), day(366)) && more.has_ended(day(1), day(366) + 1));
    }

    /// With any days that the deployment sets, a page is never deleted while the changes of an earlier page can be read.
    #[test]
    fn no_page_is_deleted_behind_one_that_can_be_read() {
        let choices = [7, 8, 30, 90];
        for plan in 0..4_usize.pow(5) {
            let (mut kept, mut floor) = (KeptDays::default(), 0);
            let mut pages: Vec<(u64, u64)> = Vec::new();
            for today in 0..120 {
                // A new value every third day, and the last one for long.
                let place = u32::try_from(today / 3).unwrap_or(u32::MAX).min(4);
                let before = kept;
                kept = kept.with_days(choices[plan / 4_usize.pow(place) % 4], day(today));
                // One sequencer does not know the new days yet, another one does.
                pages.extend([kept, before].map(|known| (day(today), known.deletion_time(day(today)))));
                while floor < pages.len() && kept.has_ended(pages[floor].0, day(today)) {
                    floor += 1;
                }
                let is_there = |page: &(u64, u64)| page.1 > day(today);
                assert!(pages[floor..].iter().all(is_there), "plan {plan}, day {today}: {kept:?}");
            }
        }
    }
}
