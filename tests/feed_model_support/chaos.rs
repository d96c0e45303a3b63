//! Processes that die at random steps, each with a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rollcall::clock;
use rollcall::deliver::worker::Worker;
use rollcall::store::call::Table;
use rollcall::store::feed::sequencer::Sequencer;
use serde_json::json;

use super::Dice;
use super::ending::Ending;
use super::mirror::Mirror;
use crate::app_support::App;

/// What dies again and again.
#[derive(Clone)]
pub enum Victim {
    /// What the stream starts: it moves changes into the feed.
    Sequencer,
    /// What runs every minute: it does all that the worker does, deliveries included.
    Worker(Worker),
    /// What the stream starts, deliveries included.
    Delivery(Worker),
}

impl Victim {
    /// How long it rests between two runs. The machine is for the writers.
    fn pause(&self) -> Duration {
        Duration::from_millis(match self {
            Self::Sequencer => 5,
            Self::Delivery(_) => 100,
            Self::Worker(_) => 200,
        })
    }

    async fn run(self, table: Table) {
        loop {
            match &self {
                Self::Sequencer => {
                    drop(Sequencer::new(&table).run(Instant::now() + Duration::from_secs(5)).await);
                }
                Self::Worker(worker) => drop(worker.invoke(&table, &json!({})).await),
                Self::Delivery(worker) => drop(worker.invoke(&table, &json!({ "Records": [] })).await),
            }
            tokio::time::sleep(self.pause()).await;
        }
    }
}

/// Starts a process again and again, and lets it die after a random time.
pub async fn kill_again(
    victim: Victim,
    table: Table,
    ending: Ending,
    mut dice: Dice,
    killed: Arc<AtomicUsize>,
) {
    while !ending.is_over() {
        let run = victim.clone().run(table.fresh());
        let task = tokio::spawn(clock::with_seconds_ahead(dice.seconds_ahead(), run));
        // Some live longer. Then changes are in the feed soon after their commit.
        let longest = [400, 400, 400, 3_000][dice.roll(4)];
        tokio::time::sleep(Duration::from_millis(10 + dice.roll(longest) as u64)).await;
        task.abort();
        killed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts mirrors one after another beside the work. Each follows the feed for a while, and then rests.
pub async fn start_mirrors(table: Table, ending: Ending, mut dice: Dice) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    while !ending.is_over() {
        let seconds = dice.seconds_ahead();
        let mirror = clock::with_seconds_ahead(seconds, async {
            let mut mirror = Mirror::start(&table, &mut dice).await;
            for _ in 0..dice.roll(3) {
                mirror.follow(1 + dice.roll(60)).await;
            }
            mirror
        });
        mirrors.push(mirror.await);
        tokio::time::sleep(Duration::from_millis(dice.roll(4_000) as u64)).await;
    }
    mirrors
}

/// Reads the feed as applications do, from its end on, and asserts that no resource is older than its change.
pub async fn watch_resources(app: Arc<App>, ending: Ending) {
    let mut after = String::new();
    while !ending.is_over() {
        let path = format!("/changes?include=resource&limit=50{after}");
        let reply = app.get(&path).await;
        // A resource that is changed all the time cannot be read as of one moment.
        if reply.status == 503 {
            continue;
        }
        let page = reply.expect(200);
        let changes = page["changes"].as_array().expect("changes");
        for change in changes.iter().filter(|change| !change["resource"].is_null()) {
            let resource = &change["resource"];
            // Roles and entitlements tell their version themselves.
            let version = resource["version"].as_u64().unwrap_or_else(|| {
                let tag = resource["meta"]["version"].as_str().expect("a version");
                tag.trim_matches(['W', '/', '"']).parse().expect("a number")
            });
            assert!(version >= change["version"].as_u64().expect("a version"), "{change}");
        }
        after = format!("&after={}", page["next"].as_str().expect("a position"));
        if page["more"] == false {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
