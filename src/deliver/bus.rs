//! The event bus: every change of the feed is an event on it.

use std::time::{Duration, Instant};

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::error::DisplayErrorContext;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;

use crate::clock;
use crate::limits::{BUS_ENTRIES_PER_CALL, BUS_PAUSE_SECONDS, BUS_RETRIES, MAX_BUS_CALL_BYTES};
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;
use crate::store::feed::consumer::{BUS, ClaimOutcome, ClaimedConsumer, ConsumerState};
use crate::store::feed::reader::FeedReader;

/// The name of the consumer.
pub const CONSUMER: &str = BUS;
/// The source of the events.
const SOURCE: &str = "rollcall";
/// The type of the events. Rules of deployments match it.
const DETAIL_TYPE: &str = "Rollcall event";
/// What EventBridge counts for an entry besides its detail: source, type and time.
const ENTRY_BYTES: usize = SOURCE.len() + DETAIL_TYPE.len() + 14;
/// How many changes are read at once.
const CHANGES_PER_READ: usize = 100;
/// The pause after the first failed call of a run.
const PAUSE: Duration = Duration::from_millis(200);

/// An event bus.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    name: String,
}

/// An event: the number of the change, and the change as JSON.
struct BusEvent {
    seq: u64,
    detail: String,
}

impl EventBus {
    /// The bus of this name.
    pub const fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Delivers changes until the bus has all of them, or the time is `until`. Returns how many it took.
    ///
    /// A bus that has no position yet gets all changes that the feed keeps.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`]. Also
    /// [`StoreError::Unavailable`] if the bus did not take a change. The next run begins with that change.
    pub async fn deliver(&self, table: &Table, until: Instant) -> Result<u64, StoreError> {
        let reader = FeedReader::open(table).await?;
        let end = reader.end().await?.next - 1;
        match ConsumerState::fetch(table, CONSUMER).await? {
            Some(state) if !state.is_due(&reader.state.id, end, clock::epoch_seconds()) => return Ok(0),
            Some(_) => {}
            None => {
                let create = ConsumerState::new(CONSUMER, reader.oldest()).create();
                match table.transact(|| vec![create.clone()]).await {
                    Ok(()) | Err(StoreError::Refused(_)) => {}
                    Err(failed) => return Err(failed),
                }
            }
        }
        let Some(mut bus) = ClaimedConsumer::claim(table, CONSUMER).await? else { return Ok(0) };
        let mut delivered = 0;
        while Instant::now() < until {
            let list = bus.read(&reader, CHANGES_PER_READ).await?;
            if list.changes.is_empty() {
                break;
            }
            for call in into_calls(list.changes)? {
                if let Err((taken, why)) = self.put(&call).await {
                    let last = taken.checked_sub(1).and_then(|at| call.get(at));
                    if let Some(last) = last
                        && bus.advance(last.seq).await? == ClaimOutcome::Lost
                    {
                        return Ok(delivered);
                    }
                    let _ = bus.fail(&why, clock::epoch_seconds() + BUS_PAUSE_SECONDS).await?;
                    return Err(StoreError::Unavailable(format!(
                        "the event bus did not take a change: {why}"
                    )));
                }
                let last = call.last().map_or(list.seq, |event| event.seq);
                if bus.advance(last).await? == ClaimOutcome::Lost {
                    return Ok(delivered);
                }
                delivered += call.len() as u64;
            }
        }
        bus.release().await?;
        Ok(delivered)
    }

    /// Puts events on the bus, in their order. If one is refused, it is put again with all that follow it.
    ///
    /// # Errors
    /// How many the bus took before the first one that it refused, and why it refused that one.
    async fn put(&self, events: &[BusEvent]) -> Result<(), (usize, String)> {
        let mut taken = 0;
        let mut why = String::new();
        for attempt in 1..=BUS_RETRIES {
            match self.put_once(&events[taken..]).await {
                Ok(()) => return Ok(()),
                Err((more, reason)) => (taken, why) = (taken + more, reason),
            }
            if attempt < BUS_RETRIES {
                tokio::time::sleep(PAUSE * attempt).await;
            }
        }
        Err((taken, why))
    }

    async fn put_once(&self, events: &[BusEvent]) -> Result<(), (usize, String)> {
        let entries = events.iter().map(|event| {
            let entry = PutEventsRequestEntry::builder().event_bus_name(&self.name).source(SOURCE);
            entry.detail_type(DETAIL_TYPE).detail(&event.detail).build()
        });
        let answer = self.client.put_events().set_entries(Some(entries.collect())).send().await;
        let answer = answer.map_err(|failed| (0, DisplayErrorContext(failed).to_string()))?;
        if answer.failed_entry_count() == 0 {
            return Ok(());
        }
        let results = answer.entries();
        let refused = results.iter().position(|result| result.error_code().is_some()).unwrap_or(0);
        let code = results.get(refused).and_then(|result| result.error_code()).unwrap_or("no error code");
        Err((refused, code.to_owned()))
    }
}

/// Divides changes into calls: at most ten in each, and not too many bytes.
fn into_calls(changes: Vec<FeedChange>) -> Result<Vec<Vec<BusEvent>>, StoreError> {
    let mut calls: Vec<Vec<BusEvent>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let detail = serde_json::to_string(&change).map_err(|e| StoreError::Broken(e.to_string()))?;
        let size = detail.len() + ENTRY_BYTES;
        let event = BusEvent { seq: change.seq, detail };
        match calls.last_mut() {
            Some(call) if call.len() < BUS_ENTRIES_PER_CALL && bytes + size <= MAX_BUS_CALL_BYTES => {
                call.push(event);
                bytes += size;
            }
            _ => {
                calls.push(vec![event]);
                bytes = size;
            }
        }
    }
    Ok(calls)
}
