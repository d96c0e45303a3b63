//! The positions of the consumers: the event bus, and each webhook.
//!
//! A consumer has an item with its position. One process at a time may deliver to a consumer:
//!
//! - A claim raises the token of the consumer. It succeeds if the lease of the claim before is over.
//! - Every further write is on the condition that the token is still the own one. So a process whose lease is
//!   over cannot move the position any more after another process has claimed the consumer.
//! - A change of a webhook raises the token too, and ends the lease. A process that still delivers as the webhook was
//!   before loses the consumer at its next write. That comes before its next message.
//! - The position moves only after the other side has taken the changes. A process that stops before that
//!   leaves the position where it was, and the next one delivers the same changes again.

use aws_sdk_dynamodb::types::AttributeValue;

use super::reader::{ChangeList, ChangeQuery, FeedPosition, FeedReader, LostPosition};
use crate::clock;
use crate::limits::{CONSUMER_LEASE_SECONDS, MAX_DELIVERY_ERROR_CHARS, SKIPPED_SHOWN_SECONDS};
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::expression::Expression;
use crate::store::item::{Item, get_number, get_text, must_text, number, text};
use crate::store::keys;
use crate::store::transaction::Action;

/// The name of the event bus among the consumers.
pub const BUS: &str = "bus";

/// A consumer of the feed, as its item has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    /// Its name: `bus`, or the id of a webhook.
    pub name: String,
    /// What it has taken: everything up to this place.
    pub position: FeedPosition,
    /// How often it was claimed or taken away.
    pub token: u64,
    /// Until when the last claim holds, in seconds since 1970.
    pub lease_end: u64,
    /// The number of the last change of the message that is being delivered.
    pub batch_end: Option<u64>,
    /// How many attempts have failed since the last success.
    pub attempts: u32,
    /// Before this time there is no further attempt, in seconds since 1970.
    pub retry_at: u64,
    /// Since when attempts fail, in seconds since 1970.
    pub failing_since: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// That changes were skipped. It stays after later successes, until somebody changes the webhook.
    pub skipped: Option<SkippedChanges>,
    /// When the other side last took changes, in RFC 3339.
    pub last_success: Option<String>,
    /// Whether the other side answers so slowly that only the run of every minute delivers to it.
    pub is_slow: bool,
}

/// That a consumer has lost its position, and went on at the end of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedChanges {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Why, and up to which number.
    pub why: String,
}

impl SkippedChanges {
    fn from_item(item: &Item) -> Option<Self> {
        Some(Self { at: get_number(item, "skippedAt")?, why: get_text(item, "skipped")?.to_owned() })
    }
}

impl ConsumerState {
    /// A new consumer, at this place.
    pub fn new(name: &str, position: FeedPosition) -> Self {
        Self {
            name: name.to_owned(),
            position,
            token: 0,
            lease_end: 0,
            batch_end: None,
            attempts: 0,
            retry_at: 0,
            failing_since: None,
            last_error: None,
            skipped: None,
            last_success: None,
            is_slow: false,
        }
    }

    fn from_item(item: &Item) -> Result<Self, StoreError> {
        let position = FeedPosition {
            feed: must_text(item, "feed")?.to_owned(),
            seq: get_number(item, "position")
                .ok_or_else(|| StoreError::Broken("a consumer lacks its position".to_owned()))?,
        };
        Ok(Self {
            token: get_number(item, "token").unwrap_or(0),
            lease_end: get_number(item, "leaseEnd").unwrap_or(0),
            batch_end: get_number(item, "batchEnd"),
            attempts: get_number(item, "attempts").unwrap_or(0),
            retry_at: get_number(item, "retryAt").unwrap_or(0),
            failing_since: get_number(item, "failingSince"),
            last_error: get_text(item, "lastError").map(str::to_owned),
            skipped: SkippedChanges::from_item(item),
            last_success: get_text(item, "lastSuccess").map(str::to_owned),
            is_slow: item.contains_key("slow"),
            ..Self::new(must_text(item, "sk")?, position)
        })
    }

    /// The action that writes a new consumer. It is refused as [`Refusal::Exists`] if there is one of its name.
    pub fn create(&self) -> Action {
        let item = Item::from([
            text("feed", &self.position.feed),
            number("position", self.position.seq),
            number("token", self.token),
        ]);
        Action::put(keys::consumer(&self.name), item).only_if(Expression::absent(), Refusal::Exists)
    }

    /// Reads a consumer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(table: &Table, name: &str) -> Result<Option<Self>, StoreError> {
        table.get(&keys::consumer(name)).await?.as_ref().map(Self::from_item).transpose()
    }

    /// Reads all consumers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list(table: &Table) -> Result<Vec<Self>, StoreError> {
        table.query_all(keys::CONSUMERS, None).await?.iter().map(Self::from_item).collect()
    }

    /// The action after which the next attempt is due, as if none had failed. It takes the consumer away from
    /// the process that delivers to it.
    pub fn begin_anew(name: &str) -> Action {
        let update = Expression::update()
            .add("token", num(1))
            .remove("leaseEnd")
            .remove("attempts")
            .remove("retryAt")
            .remove("failingSince")
            .remove("skipped")
            .remove("skippedAt")
            .remove("slow");
        Action::update(keys::consumer(name), update).only_if(Expression::exists(), Refusal::Gone)
    }

    /// The action that ends the lease. It is refused as [`Refusal::Changed`] if the consumer was claimed or taken away
    /// since.
    pub fn end_lease(&self) -> Action {
        let unchanged = Expression::equals("token", num(self.token));
        Action::update(keys::consumer(&self.name), Expression::update().remove("leaseEnd"))
            .only_if(unchanged, Refusal::Changed)
    }

    /// What an operator should know: why the last attempt failed, or else that changes were skipped during the last
    /// [`SKIPPED_SHOWN_SECONDS`].
    pub fn problem(&self) -> Option<&str> {
        let since = clock::epoch_seconds().saturating_sub(SKIPPED_SHOWN_SECONDS);
        let skipped = self.skipped.as_ref().filter(|skipped| skipped.at >= since);
        self.last_error.as_deref().or(skipped.map(|skipped| skipped.why.as_str()))
    }

    /// Whether there may be something to deliver, and whether it is time for it. `end` is the number of the
    /// last change of this feed.
    pub fn is_due(&self, feed: &str, end: u64, now: u64) -> bool {
        let has_news = self.position.feed != feed || self.position.seq != end;
        has_news && self.retry_at <= now && self.lease_end <= now
    }
}

/// A consumer that this process has claimed.
#[derive(Debug)]
pub struct ClaimedConsumer<'t> {
    table: &'t Table,
    /// The consumer, as this process knows it.
    pub state: ConsumerState,
}

/// What became of a write of a claimed consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ClaimOutcome {
    /// It is written.
    Held,
    /// Another process has claimed the consumer, or it is deleted. Nothing is written.
    Lost,
}

impl<'t> ClaimedConsumer<'t> {
    /// Claims a consumer. `None` if another process holds it, if its next attempt is not due, or if it does
    /// not exist.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn claim(table: &'t Table, name: &str) -> Result<Option<Self>, StoreError> {
        let Some(mut state) = ConsumerState::fetch(table, name).await? else { return Ok(None) };
        let now = clock::epoch_seconds();
        if state.lease_end > now || state.retry_at > now {
            return Ok(None);
        }
        let before = state.token;
        state.token += 1;
        let mut claimed = Self { table, state };
        let update = Expression::update().set("token", num(claimed.state.token));
        Ok((claimed.write(update, before).await? == ClaimOutcome::Held).then_some(claimed))
    }

    /// Writes the item and renews the lease, if the token in the table is `token`.
    async fn write(&mut self, update: Expression, token: u64) -> Result<ClaimOutcome, StoreError> {
        let lease_end = clock::epoch_seconds() + CONSUMER_LEASE_SECONDS;
        self.write_with_lease(update, token, lease_end).await
    }

    async fn write_with_lease(
        &mut self,
        update: Expression,
        token: u64,
        lease_end: u64,
    ) -> Result<ClaimOutcome, StoreError> {
        let update = update.set("leaseEnd", num(lease_end));
        let action = Action::update(keys::consumer(&self.state.name), update)
            .only_if(Expression::equals("token", num(token)), Refusal::Changed);
        match self.table.transact(|| vec![action.clone()]).await {
            Ok(()) => {
                self.state.lease_end = lease_end;
                Ok(ClaimOutcome::Held)
            }
            Err(StoreError::Refused(_)) => Ok(ClaimOutcome::Lost),
            Err(failed) => Err(failed),
        }
    }

    /// Reads the next changes. If there are none up to the end of the feed, the position moves there: a renewed feed can
    /// end in a page without changes. A consumer whose position is lost goes on at the end of the feed, and
    /// [`ConsumerState::skipped`] says so. Then there are no changes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn read(&mut self, reader: &FeedReader<'_>, limit: usize) -> Result<ChangeList, StoreError> {
        let query = ChangeQuery { limit, tenant: None };
        match reader.read(&self.state.position, query).await? {
            Ok(list) => {
                let is_behind = list.changes.is_empty() && list.seq > self.state.position.seq;
                let to_end = Expression::update().set("position", num(list.seq));
                if is_behind && self.write(to_end, self.state.token).await? == ClaimOutcome::Held {
                    self.state.position.seq = list.seq;
                }
                Ok(list)
            }
            Err(lost) => {
                self.restart(reader, lost).await?;
                Ok(ChangeList { seq: self.state.position.seq, ..ChangeList::default() })
            }
        }
    }

    /// Moves the consumer to the end of the feed. That changes were skipped counts more than an error before.
    async fn restart(&mut self, reader: &FeedReader<'_>, lost: LostPosition) -> Result<(), StoreError> {
        let end = reader.end().await?.next - 1;
        let why = match lost {
            LostPosition::OtherFeed => "the table was restored from a backup",
            LostPosition::TooOld => "the changes after the position are no longer kept",
            LostPosition::BeyondEnd => "the position was behind the end of the feed",
        };
        let skipped = SkippedChanges {
            at: clock::epoch_seconds(),
            why: format!(
                "changes were skipped up to number {end}: {why}; take a snapshot ({})",
                clock::timestamp()
            ),
        };
        tracing::error!(consumer = self.state.name, end, why, "a consumer of the feed lost its position");
        let update = Expression::update()
            .set("feed", AttributeValue::S(reader.state.id.clone()))
            .set("position", num(end))
            .set("skipped", AttributeValue::S(skipped.why.clone()))
            .set("skippedAt", num(skipped.at))
            .remove("lastError")
            .remove("batchEnd");
        if self.write(update, self.state.token).await? == ClaimOutcome::Held {
            self.state.position = reader.at(end);
            self.state.batch_end = None;
            self.state.last_error = None;
            self.state.skipped = Some(skipped);
        }
        Ok(())
    }

    /// Fixes the changes of the message that is delivered next: up to this number.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fix_batch(&mut self, last: u64) -> Result<ClaimOutcome, StoreError> {
        let outcome = self.write(Expression::update().set("batchEnd", num(last)), self.state.token).await?;
        if outcome == ClaimOutcome::Held {
            self.state.batch_end = Some(last);
        }
        Ok(outcome)
    }

    /// Notes that the other side has taken everything up to this number.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn advance(&mut self, seq: u64) -> Result<ClaimOutcome, StoreError> {
        let now = clock::timestamp();
        let update = Expression::update()
            .set("position", num(seq))
            .set("lastSuccess", AttributeValue::S(now.clone()))
            .remove("batchEnd")
            .remove("attempts")
            .remove("retryAt")
            .remove("failingSince")
            .remove("lastError");
        let outcome = self.write(update, self.state.token).await?;
        if outcome == ClaimOutcome::Held {
            let fresh = ConsumerState::new(
                &self.state.name,
                FeedPosition { feed: self.state.position.feed.clone(), seq },
            );
            let ConsumerState { token, lease_end, is_slow, .. } = self.state;
            let skipped = self.state.skipped.take();
            self.state =
                ConsumerState { token, lease_end, is_slow, skipped, last_success: Some(now), ..fresh };
        }
        Ok(outcome)
    }

    /// Notes whether the other side is slow.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn set_slow(&mut self, is_slow: bool) -> Result<ClaimOutcome, StoreError> {
        let update = match is_slow {
            true => Expression::update().set("slow", AttributeValue::Bool(true)),
            false => Expression::update().remove("slow"),
        };
        let outcome = self.write(update, self.state.token).await?;
        if outcome == ClaimOutcome::Held {
            self.state.is_slow = is_slow;
        }
        Ok(outcome)
    }

    /// Notes a failed attempt, and gives the consumer back. The next attempt is at `retry_at`, in seconds
    /// since 1970. Returns the state with the failure; `None` if the claim is lost, so that nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fail(mut self, error: &str, retry_at: u64) -> Result<Option<ConsumerState>, StoreError> {
        let error: String = error.chars().take(MAX_DELIVERY_ERROR_CHARS).collect();
        let since = self.state.failing_since.unwrap_or_else(clock::epoch_seconds);
        let attempts = self.state.attempts + 1;
        let update = Expression::update()
            .set("lastError", AttributeValue::S(error.clone()))
            .set("failingSince", num(since))
            .set("attempts", num(u64::from(attempts)))
            .set("retryAt", num(retry_at));
        if self.write_with_lease(update, self.state.token, 0).await? == ClaimOutcome::Lost {
            return Ok(None);
        }
        self.state.failing_since = Some(since);
        (self.state.attempts, self.state.retry_at) = (attempts, retry_at);
        self.state.last_error = Some(error);
        Ok(Some(self.state))
    }

    /// Gives the consumer back, so that another process need not wait for the end of the lease.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn release(mut self) -> Result<(), StoreError> {
        // If the claim is lost, there is nothing to give back.
        let _ = self.write_with_lease(Expression::update(), self.state.token, 0).await?;
        Ok(())
    }
}

fn num(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
