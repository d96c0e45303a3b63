//! Delivers the changes of the feed to one webhook.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::message::{self, ResourceReader};
use super::registry::{Registry, RegistryError};
use super::sender::{FailedAttempt, MessageSender, SignedMessage};
use super::signature::WebhookSecret;
use crate::clock;
use crate::limits::{MAX_WEBHOOK_CHANGES, PROMPT_ATTEMPT, WEBHOOK_FAILURE_SECONDS, WEBHOOK_PAUSES_SECONDS};
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;
use crate::store::feed::consumer::{ClaimOutcome, ClaimedConsumer};
use crate::store::feed::reader::FeedReader;
use crate::store::webhook::Webhook;
use crate::store::webhook_test::{WebhookTest, WebhookTestResult};

/// Who disables webhooks, in the events.
const ACTOR: &str = "worker";

/// What delivers to webhooks.
pub struct WebhookDelivery<'d> {
    /// The table.
    pub table: &'d Table,
    /// What sends the messages.
    pub sender: &'d MessageSender,
    /// What reads the resources of changes.
    pub resources: &'d dyn ResourceReader,
    /// How long to wait for an answer. A webhook that takes longer is noted as slow.
    pub patience: Duration,
}

impl WebhookDelivery<'_> {
    /// Delivers messages to a webhook until it has all changes, an attempt fails or takes too long, somebody changes the
    /// webhook, or the time is `until`.
    /// Returns how many changes it took. A failed attempt is noted in the position of the webhook and in the log.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn deliver(&self, id: &str, until: Instant) -> Result<u64, StoreError> {
        let Some(mut consumer) = ClaimedConsumer::claim(self.table, id).await? else { return Ok(0) };
        // Read after the claim: a later change takes the claim away.
        let webhook = Webhook::fetch_at_rest(self.table, id).await?;
        let Some(webhook) = webhook.filter(|webhook| webhook.disabled.is_none()) else {
            consumer.release().await?;
            return Ok(0);
        };
        let reader = FeedReader::open(self.table).await?;
        let mut delivered = 0;
        while Instant::now() < until {
            let changes = self.next_message(&mut consumer, &reader).await?;
            let Some(last) = changes.last().map(|change| change.seq) else { break };
            let began = Instant::now();
            let sent = match self.send(&webhook, &reader, &changes).await {
                Ok(sent) => sent,
                Err(failed) => {
                    let unchanged = self.unless_changed(&webhook, failed).await;
                    if let Err(StoreError::Broken(why)) = &unchanged {
                        tracing::error!(webhook = id, why, "a message to a webhook cannot be made");
                        let attempt = FailedAttempt::unmade();
                        self.note_failure(&webhook, consumer, attempt).await?;
                    } else {
                        consumer.release().await?;
                    }
                    return unchanged.map(|()| delivered);
                }
            };
            match sent {
                Ok(_) => {
                    if consumer.advance(last).await? == ClaimOutcome::Lost {
                        return Ok(delivered);
                    }
                    delivered += changes.len() as u64;
                    let is_slow = began.elapsed() > PROMPT_ATTEMPT;
                    if is_slow != consumer.state.is_slow
                        && consumer.set_slow(is_slow).await? == ClaimOutcome::Lost
                    {
                        return Ok(delivered);
                    }
                }
                Err(failed) if failed.is_given_up => {
                    let _ = consumer.set_slow(true).await?;
                    break;
                }
                Err(failed) => {
                    self.note_failure(&webhook, consumer, failed).await?;
                    return Ok(delivered);
                }
            }
        }
        consumer.release().await?;
        Ok(delivered)
    }

    /// A failure to send, unless the webhook was changed or deleted meanwhile: its secret may have gone with it.
    async fn unless_changed(&self, webhook: &Webhook, failed: StoreError) -> Result<(), StoreError> {
        let is_unchanged = Webhook::fetch_at_rest(self.table, &webhook.id).await?.as_ref() == Some(webhook);
        if is_unchanged { Err(failed) } else { Ok(()) }
    }

    /// The changes of the next message. They are fixed before they are returned. None if there are none, or if
    /// the claim is lost.
    async fn next_message(
        &self,
        consumer: &mut ClaimedConsumer<'_>,
        reader: &FeedReader<'_>,
    ) -> Result<Vec<FeedChange>, StoreError> {
        let seq = consumer.state.position.seq;
        let fixed = consumer.state.batch_end;
        let mut changes = consumer.read(reader, MAX_WEBHOOK_CHANGES).await?.changes;
        if let Some(end) = fixed {
            changes.retain(|change| change.seq <= end);
        } else if !changes.is_empty() {
            changes.truncate(message::count_fitting(&changes));
            let last = changes.last().map_or(seq, |change| change.seq);
            if consumer.fix_batch(last).await? == ClaimOutcome::Lost {
                changes.clear();
            }
        }
        Ok(changes)
    }

    async fn send(
        &self,
        webhook: &Webhook,
        reader: &FeedReader<'_>,
        changes: &[FeedChange],
    ) -> Result<Result<u16, FailedAttempt>, StoreError> {
        let resources = match webhook.include_resource {
            true => self.resources.read(self.table, changes).await?,
            false => Vec::new(),
        };
        let next = reader.at(changes.last().map_or(0, |change| change.seq));
        let body = message::body(changes, resources, &next)?;
        let id = message::message_id(&webhook.id, &next.feed, changes);
        self.send_body(webhook, &id, body).await
    }

    async fn send_body(
        &self,
        webhook: &Webhook,
        id: &str,
        body: Bytes,
    ) -> Result<Result<u16, FailedAttempt>, StoreError> {
        let texts = webhook.read_secrets(self.table, clock::epoch_seconds()).await?;
        let secrets: Vec<_> = texts.iter().filter_map(|text| WebhookSecret::parse(text)).collect();
        let message = SignedMessage { id, body, secrets: &secrets };
        let sent = timeout(self.patience, self.sender.send(&webhook.url, &message)).await;
        Ok(sent.unwrap_or_else(|_| Err(FailedAttempt::given_up())))
    }

    /// Sends a message without changes, whether the webhook is disabled or not. `test` is part of its id.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`]. The
    /// inner error is that of the attempt.
    pub async fn send_test(
        &self,
        webhook: &Webhook,
        test: &str,
    ) -> Result<Result<u16, FailedAttempt>, StoreError> {
        let id = format!("msg_{}_test_{test}", webhook.id);
        self.send_body(webhook, &id, message::test_body(&clock::timestamp())).await
    }

    /// Sends a test that was asked for, and writes what came of it. If the process stops between the two, the
    /// next run sends the same message again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn answer_test(&self, webhook: &Webhook, test: &WebhookTest) -> Result<u64, StoreError> {
        let (status, error) = match self.send_test(webhook, &test.id).await {
            Ok(Ok(status)) => (Some(status), None),
            Ok(Err(failed)) => (failed.status, Some(failed.why)),
            Err(failed) => return self.unless_changed(webhook, failed).await.map(|()| 0),
        };
        test.finish(self.table, &WebhookTestResult { finished: clock::timestamp(), status, error }).await?;
        Ok(0)
    }

    /// Notes a failed attempt. Disables the webhook if it fails for too long, or if the receiver is gone.
    async fn note_failure(
        &self,
        webhook: &Webhook,
        consumer: ClaimedConsumer<'_>,
        failed: FailedAttempt,
    ) -> Result<(), StoreError> {
        let now = clock::epoch_seconds();
        let pause = pause_after(consumer.state.attempts).max(failed.retry_after.unwrap_or_default());
        // A failure of a webhook that somebody has changed meanwhile says nothing about what it is now.
        // Part of this second is over, and the pause is not to be shorter than it says.
        let retry_at = now + pause.as_secs() + 1;
        let Some(state) = consumer.fail(&failed.why, retry_at).await? else { return Ok(()) };
        let since = state.failing_since.unwrap_or(now);
        let (id, attempts, why) = (&webhook.id, state.attempts, failed.why.as_str());
        tracing::warn!(webhook = id, attempts, why, "a webhook did not take a message");
        if !failed.is_gone && now < since + WEBHOOK_FAILURE_SECONDS {
            return Ok(());
        }
        tracing::error!(webhook = id, attempts, why, "a webhook is disabled");
        let (actor, rule) = (ACTOR, self.sender.rule());
        let registry = Registry { table: self.table, actor, request_id: ACTOR, rule };
        match registry.disable(webhook, &state, why).await {
            // Changed by an operator in the meantime: the next attempt decides again.
            Ok(()) | Err(RegistryError::Changed | RegistryError::Unknown(_) | RegistryError::Input(_)) => {
                Ok(())
            }
            Err(RegistryError::Store(failed)) => Err(failed),
        }
    }
}

/// The pause after an attempt, if so many before it have failed: up to a tenth longer, by chance.
fn pause_after(attempts: u32) -> Duration {
    let at = usize::try_from(attempts).unwrap_or(usize::MAX).min(WEBHOOK_PAUSES_SECONDS.len() - 1);
    let pause = WEBHOOK_PAUSES_SECONDS[at];
    let jitter = getrandom::u64().unwrap_or(0) % (pause / 10 + 1);
    Duration::from_secs(pause + jitter)
}
