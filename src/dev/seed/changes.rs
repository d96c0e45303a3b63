//! The changes of a seed in the feed, as the sequencer would have put them there.

use std::ops::RangeInclusive;

use uuid::Uuid;

use super::items::Seeding;
use super::names::user_id;
use crate::clock;
use crate::limits::{MAX_ACTIONS_PER_TX, MAX_MEMBER_CHANGES_PER_TX};
use crate::store::event::{ChangePart, Event};
use crate::store::feed::change::FeedChange;
use crate::store::feed::kept::KeptDays;
use crate::store::feed::page::FeedPage;
use crate::store::item::{Item, with_key};
use crate::store::keys;

/// The most changes that the sequencer puts into a page: a transaction deletes each from the outbox, puts the page, and
/// may change the state of the feed.
pub(super) const CHANGES_PER_PAGE: usize = MAX_ACTIONS_PER_TX - 3;

/// The changes of one seed, and for how many days they stay in the feed.
pub(super) struct Changes<'a>(pub &'a Seeding, pub KeptDays);

impl Changes<'_> {
    /// The pages of the creations of these users. `first` is the number of the first change.
    ///
    /// # Errors
    /// The `detail` of the rule that a user breaks, or a page that cannot be packed.
    pub fn of_users(&self, first: u64, users: RangeInclusive<usize>) -> Result<Vec<Item>, String> {
        let changes = users.map(|number| {
            let record = self.0.user(number)?;
            Ok(self.change(self.0.store.event_of_creation(&record, Vec::new())))
        });
        pages(first, &changes.collect::<Result<Vec<_>, String>>()?, self.1)
    }

    /// The pages of the creation of the group, with its parts if it is a large change. `first` is the number of the
    /// first change. Returns the number of the change after the last one too.
    ///
    /// # Errors
    /// A page that cannot be packed.
    pub fn of_group(&self, first: u64) -> Result<(Vec<Item>, u64), String> {
        if self.0.members == 0 {
            return Ok((Vec::new(), first));
        }
        let group = self.0.group();
        let ids: Vec<Uuid> = (1..=self.0.members).map(user_id).collect();
        let created = self.0.store.event_of_creation(&group, ids.clone());
        let mut changes = Vec::new();
        match self.0.parts() {
            0 => changes.push(self.change(created)),
            of => {
                changes.push(self.change(created.of_commit(of)));
                for (number, ids) in (1..=of).zip(ids.chunks(MAX_MEMBER_CHANGES_PER_TX)) {
                    let mut part = self.0.store.event("group.updated", &group).attributes(["members"]);
                    part.part = Some(ChangePart { number, of });
                    changes.push(self.change(part.members(ids.to_vec(), Vec::new())));
                }
            }
        }
        Ok((pages(first, &changes, self.1)?, first + changes.len() as u64))
    }

    fn change(&self, event: Event) -> FeedChange {
        let incarnation = self.0.incarnation.clone();
        Event { incarnation, ..event }.to_change(&self.0.store.tenant)
    }
}

fn pages(first: u64, changes: &[FeedChange], kept: KeptDays) -> Result<Vec<Item>, String> {
    let numbers = (first..).step_by(CHANGES_PER_PAGE);
    let pages = numbers.zip(changes.chunks(CHANGES_PER_PAGE)).map(|(first, changes)| {
        let page =
            FeedPage::new(first, changes, clock::epoch_seconds()).map_err(|error| error.to_string())?;
        let mut item = with_key(&keys::feed_page(first));
        item.extend(page.attributes(kept));
        Ok(item)
    });
    pages.collect()
}
