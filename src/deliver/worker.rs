//! What the worker function does with an event: one of the table's stream, or the one of every minute.
//!
//! - After a write to the outbox it runs the sequencer, which moves changes into the feed, and delivers them. It
//!   leaves webhooks that answer slowly to the run of the minute.
//! - Every minute it does that too, in case a run after a write was lost. It also does a round of
//!   `store/worker.rs`, and ends the retention of old changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::bus::{self, EventBus};
use super::message::ResourceReader;
use super::sender::MessageSender;
use super::webhook::WebhookDelivery;
use crate::clock;
use crate::limits::{DELIVERY_RUN, DELIVERY_TICK, PROMPT_ATTEMPT, SEQUENCER_RUN};
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::consumer::ConsumerState;
use crate::store::feed::reader::FeedReader;
use crate::store::feed::retention::end_retention;
use crate::store::feed::sequencer::Sequencer;
use crate::store::webhook::Webhook;
use crate::store::webhook_test::WebhookTest;
use crate::store::worker::{self, WorkerReport};

/// The name of the job that moves changes into the feed.
const SEQUENCER: &str = "sequencer";

/// The worker with everything that it delivers to.
#[derive(Clone)]
pub struct Worker {
    /// The event bus; `None` if the deployment has none.
    pub bus: Option<EventBus>,
    /// What sends the messages to webhooks.
    pub sender: MessageSender,
    /// What reads the resources of changes.
    pub resources: Arc<dyn ResourceReader>,
    /// For how many days changes stay in the feed.
    pub retention_days: u64,
}

/// How a run delivers.
#[derive(Clone, Copy, Debug)]
struct DeliveryRun {
    /// Until when it begins deliveries.
    until: Instant,
    /// Whether it waits for slow webhooks only for a short time, because further writes wait for it.
    is_prompt: bool,
}

/// What a delivery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// How many changes the bus and the webhooks took together.
    pub delivered: u64,
    /// What failed at the table or at the bus.
    pub failures: Vec<String>,
}

impl DeliveryReport {
    /// Notes a failure, each text once.
    fn note(&mut self, failed: Option<StoreError>) {
        let new = failed.map(|failed| failed.to_string()).filter(|text| !self.failures.contains(text));
        self.failures.extend(new);
    }
}

/// Something that runs: its name, and how many changes were delivered.
type Job<'j> = BoxFuture<'j, (String, Result<u64, StoreError>)>;

impl Worker {
    /// Handles an event as a Lambda function does. Returns a report as JSON.
    ///
    /// # Errors
    /// The failures, as one text, so that an alarm on the function's errors reports them.
    pub async fn invoke(&self, table: &Table, event: &Value) -> Result<Value, String> {
        let mut failures = Vec::new();
        let mut note = |failed: Option<StoreError>| failures.extend(failed.map(|failed| failed.to_string()));
        note(Sequencer::new(table).run(Instant::now() + SEQUENCER_RUN).await.err());
        let mut report = WorkerReport::default();
        let mut delivery;
        if event.get("Records").is_some() {
            let run = DeliveryRun { until: Instant::now() + DELIVERY_RUN, is_prompt: true };
            delivery = self.run(table, run).await;
        } else {
            let first = self.deliver(table, Instant::now() + DELIVERY_RUN);
            let (round, first) = tokio::join!(Box::pin(worker::round(table)), first);
            delivery = first;
            match round {
                Ok(round) => report = round,
                Err(failed) => note(Some(failed)),
            }
            note(Sequencer::new(table).run(Instant::now() + SEQUENCER_RUN).await.err());
            note(end_retention(table, self.retention_days, clock::epoch_seconds()).await.err());
            let second = self.deliver(table, Instant::now() + DELIVERY_TICK).await;
            delivery.delivered += second.delivered;
            delivery.failures.extend(second.failures);
        }
        let WorkerReport { finished, aborted, cleared, left, purged, .. } = report;
        if finished + aborted + cleared + left + purged > 0 {
            tracing::info!(finished, aborted, cleared, left, purged, "what was left over");
        }
        failures.append(&mut report.failures);
        failures.append(&mut delivery.failures);
        if failures.is_empty() {
            Ok(json!({
                "finished": finished, "aborted": aborted, "cleared": cleared, "left": left, "purged": purged,
                "delivered": delivery.delivered,
            }))
        } else {
            Err(failures.join("; "))
        }
    }

    /// Delivers to the bus and to all webhooks side by side, until all have everything or fail, or the time is
    /// `until`. While one of them is slow, the others get what is new. The feed gets what is new for as long as any
    /// attempt takes: no other run may be awake to move it there.
    pub async fn deliver(&self, table: &Table, until: Instant) -> DeliveryReport {
        self.run(table, DeliveryRun { until, is_prompt: false }).await
    }

    async fn run(&self, table: &Table, run: DeliveryRun) -> DeliveryReport {
        let until = run.until;
        let mut report = DeliveryReport::default();
        let mut running: FuturesUnordered<Job<'_>> = FuturesUnordered::new();
        // What is running, and what has failed at the table or at the bus: it begins again in the next run.
        let mut names = BTreeSet::new();
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + DELIVERY_TICK, DELIVERY_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if Instant::now() < until {
                match self.due_jobs(table, &names, run).await {
                    Ok(jobs) => {
                        for (name, job) in jobs {
                            names.insert(name);
                            running.push(job);
                        }
                    }
                    Err(failed) => {
                        report.note(Some(failed));
                        if running.is_empty() {
                            return report;
                        }
                    }
                }
            }
            if running.is_empty() {
                return report;
            }
            tokio::select! {
                Some((name, outcome)) = running.next() => {
                    let failed = outcome.map(|delivered| report.delivered += delivered).err();
                    if failed.is_none() || name == SEQUENCER {
                        names.remove(&name);
                    }
                    report.note(failed);
                }
                _ = ticks.tick() => {
                    if names.insert(SEQUENCER.to_owned()) {
                        running.push(Box::pin(sequence(table)));
                    }
                }
            }
        }
    }

    /// The deliveries that are due and the tests that were asked for, except those that are running.
    async fn due_jobs<'j>(
        &'j self,
        table: &'j Table,
        running: &BTreeSet<String>,
        run: DeliveryRun,
    ) -> Result<Vec<(String, Job<'j>)>, StoreError> {
        let reader = FeedReader::open(table).await?;
        let (consumers, end) = tokio::join!(ConsumerState::list(table), reader.end());
        let (consumers, end, now) = (consumers?, end?.next - 1, clock::epoch_seconds());
        let is_due = |name: &str, if_new: bool| {
            let state = consumers.iter().find(|consumer| consumer.name == name);
            let is_due = |state: &ConsumerState| {
                state.is_due(&reader.state.id, end, now) && !(run.is_prompt && state.is_slow)
            };
            !running.contains(name) && state.map_or(if_new, is_due)
        };
        let mut jobs: Vec<(String, Job<'j>)> = Vec::new();
        if let Some(bus) = self.bus.as_ref().filter(|_| is_due(bus::CONSUMER, end > 0)) {
            let name = bus::CONSUMER.to_owned();
            let job = async move { (bus::CONSUMER.to_owned(), bus.deliver(table, run.until).await) };
            jobs.push((name, Box::pin(job)));
        }
        let names = consumers.iter().map(|consumer| consumer.name.as_str());
        let webhooks: Vec<&str> = names.filter(|name| *name != bus::CONSUMER).collect();
        if webhooks.is_empty() {
            return Ok(jobs);
        }
        let mut tests = WebhookTest::list(table).await?;
        tests.retain(|test| test.result.is_none() && !running.contains(&test.id));
        if tests.is_empty() && !webhooks.iter().any(|name| is_due(name, false)) {
            return Ok(jobs);
        }
        for webhook in Webhook::list(table).await? {
            if let Some(test) = tests.iter().find(|test| test.webhook == webhook.id) {
                jobs.push(self.test_job(table, webhook.clone(), test.clone()));
            }
            if webhook.disabled.is_none() && is_due(&webhook.id, false) {
                jobs.push(self.delivery_job(table, webhook.id, run));
            }
        }
        Ok(jobs)
    }

    fn delivery<'j>(&'j self, table: &'j Table, patience: Duration) -> WebhookDelivery<'j> {
        WebhookDelivery { table, sender: &self.sender, resources: &*self.resources, patience }
    }

    fn delivery_job<'j>(&'j self, table: &'j Table, webhook: String, run: DeliveryRun) -> (String, Job<'j>) {
        let name = webhook.clone();
        let patience = if run.is_prompt { PROMPT_ATTEMPT } else { Duration::MAX };
        let delivery = self.delivery(table, patience);
        let job = async move {
            let delivered = delivery.deliver(&webhook, run.until).await;
            (webhook, delivered)
        };
        (name, Box::pin(job))
    }

    fn test_job<'j>(&'j self, table: &'j Table, webhook: Webhook, test: WebhookTest) -> (String, Job<'j>) {
        let name = test.id.clone();
        let delivery = self.delivery(table, Duration::MAX);
        let job = async move { (test.id.clone(), delivery.answer_test(&webhook, &test).await) };
        (name, Box::pin(job))
    }
}

async fn sequence(table: &Table) -> (String, Result<u64, StoreError>) {
    let run = Sequencer::new(table).run(Instant::now() + SEQUENCER_RUN).await;
    (SEQUENCER.to_owned(), run.map(|_| 0))
}
