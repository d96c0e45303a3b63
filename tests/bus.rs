//! The event bus: every change of the feed is put on it, in order, whatever it refuses.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rollcall::deliver::bus::{CONSUMER, EventBus};
use rollcall::limits::{BUS_ENTRIES_PER_CALL, MAX_BUS_CALL_BYTES};
use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::consumer::ConsumerState;
use rollcall::store::item::number;
use rollcall::store::keys;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::Client;
use crate::support::feed::{read_feed, sequence};
use crate::support::receiver::{Reaction, Receiver};

/// A stand-in for EventBridge.
struct Bus {
    receiver: Receiver,
    /// The numbers of the changes that it took.
    taken: Arc<Mutex<Vec<u64>>>,
    /// How often it refuses the change of this number.
    refused: Arc<Mutex<(u64, u32)>>,
}

impl Bus {
    async fn start() -> Self {
        let receiver = Receiver::start().await;
        let (taken, refused) = (Arc::default(), Arc::<Mutex<(u64, u32)>>::default());
        let bus = Self { receiver, taken, refused };
        let (taken, refused) = (bus.taken.clone(), bus.refused.clone());
        bus.receiver.always(move |message| {
            let mut results = Vec::new();
            for entry in message.json()["Entries"].as_array().unwrap() {
                let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                let seq = detail["seq"].as_u64().unwrap();
                let mut refused = refused.lock().unwrap();
                if refused.0 == seq && refused.1 > 0 {
                    refused.1 -= 1;
                    results.push(json!({ "ErrorCode": "InternalFailure" }));
                } else {
                    taken.lock().unwrap().push(seq);
                    results.push(json!({ "EventId": seq.to_string() }));
                }
            }
            let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
            Reaction::json(&json!({ "FailedEntryCount": failed, "Entries": results }))
        });
        bus
    }

    async fn deliver(&self, table: &Table) -> Result<u64, String> {
        let bus = EventBus::new(support::bus_client(&self.receiver.url), "events".to_owned());
        let until = Instant::now() + Duration::from_secs(20);
        bus.deliver(&table.fresh(), until).await.map_err(|failed| failed.to_string())
    }

    /// What was taken, each change once, at its first time.
    fn first_times(&self) -> Vec<u64> {
        let mut seen = std::collections::BTreeSet::new();
        self.taken.lock().unwrap().iter().copied().filter(|seq| seen.insert(*seq)).collect()
    }
}

async fn position(table: &Table) -> ConsumerState {
    ConsumerState::fetch(table, CONSUMER).await.unwrap().expect("the consumer")
}

#[tokio::test]
async fn every_change_is_an_event_in_order() {
    let client = Client::new(support::embedded().await, "standard").await;
    client.users(0..34).await;
    sequence(&client.table).await;
    let bus = Bus::start().await;
    assert_eq!(bus.deliver(&client.table).await, Ok(34), "a new bus gets what the feed keeps");
    let changes = read_feed(&client.table).await;
    let calls = bus.receiver.received();
    assert_eq!(calls.len(), 4);
    let mut details: Vec<FeedChange> = Vec::new();
    for call in &calls {
        let entries = call.json()["Entries"].as_array().unwrap().clone();
        assert!(entries.len() <= BUS_ENTRIES_PER_CALL && call.body.len() <= MAX_BUS_CALL_BYTES);
        for entry in entries {
            assert_eq!(
                (&entry["Source"], &entry["DetailType"], &entry["EventBusName"]),
                (&json!("rollcall"), &json!("Rollcall event"), &json!("events"))
            );
            details.push(serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap());
        }
    }
    assert_eq!(details, changes);
    assert_eq!(bus.deliver(&client.table).await, Ok(0));
    assert_eq!(bus.receiver.received().len(), 4);
}

#[tokio::test]
async fn the_position_never_passes_a_refused_event() {
    let client = Client::new(support::embedded().await, "standard").await;
    client.users(0..25).await;
    sequence(&client.table).await;
    let bus = Bus::start().await;
    // Once: the same run puts it again, with those after it in its call.
    *bus.refused.lock().unwrap() = (4, 1);
    assert_eq!(bus.deliver(&client.table).await, Ok(25));
    let first = [1, 2, 3, 5, 6, 7, 8, 9, 10, 4];
    assert_eq!(bus.first_times()[..10], first);
    assert_eq!(bus.taken.lock().unwrap().len(), 25 + 6);

    // For longer: the run ends before it, and the next one begins with it.
    client.users(25..40).await;
    sequence(&client.table).await;
    *bus.refused.lock().unwrap() = (28, 5);
    let failed = bus.deliver(&client.table).await.unwrap_err();
    assert!(failed.contains("InternalFailure"), "{failed}");
    let state = position(&client.table).await;
    assert_eq!((state.position.seq, state.attempts), (27, 1));
    assert!(state.last_error.is_some() && state.failing_since.is_some());
    assert_eq!(bus.deliver(&client.table).await, Ok(0), "a pause");
    let key = keys::consumer(CONSUMER);
    let mut item = client.table.get(&key).await.unwrap().unwrap();
    item.extend([number("retryAt", 0)]);
    client.table.put(&key, item).await.unwrap();
    assert_eq!(bus.deliver(&client.table).await, Ok(13));
    assert_eq!(position(&client.table).await.position.seq, 40);
    let mut all = bus.first_times();
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<_>>());
}
