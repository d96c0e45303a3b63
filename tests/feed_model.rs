//! A model of the change feed: random work on several tenants, under transactions that become visible one item
//! at a time, while requests, sequencers, workers and deliveries die and their clocks differ. One tenant is deleted
//! and made again, and another one is imported with its ids. At the end the feed keeps its promises, and every
//! mirror of it equals the tables of the tenants.
//!
//! `make test-long` sets FEED_SEEDS and FEED_SECONDS, and FEED_CHANGES and FEED_KILLS, how many changes and deaths
//! a play must have at least. The work of a play lasts FEED_SECONDS, and longer if it does not have FEED_CHANGES then.
//! FEED_TENANTS is how many tenants there are, FEED_WRITERS how many clients write to each, and FEED_FIRST the first
//! seed.
//! FEED_MIRRORS lets the clients play along.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod app_support;
mod feed_model_support;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use app_support::App;
use feed_model_support::chaos::{Victim, kill_again, start_mirrors, watch_resources};
use feed_model_support::clients::{ClientMirror, state_by_api};
use feed_model_support::ending::{Ending, least_changes};
use feed_model_support::mirror::Mirror;
use feed_model_support::moving::{export_tenant, import_tenant};
use feed_model_support::place::Place;
use feed_model_support::readable::Watch;
use feed_model_support::receiver::start_hooked_mirror;
use feed_model_support::writer::Writer;
use feed_model_support::{Dice, TEAR, setting, tenants};
use rollcall::deliver::message::NoResources;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::Worker;
use rollcall::limits::DEFAULT_CHANGE_RETENTION_DAYS;
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use serde_json::json;
use support::feed::{check_feed, read_feed, sequence};
use support::serve_torn;
use support::torn::{Answering, TearLengths, Tearing, Torn};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// One play of the model.
struct Play {
    table: Table,
    torn: Torn,
    worker: Worker,
    dice: Dice,
    killed: Arc<AtomicUsize>,
    /// A tenant that moves here.
    file: String,
}

impl Play {
    /// Random work until its end. Returns the mirrors that were started meanwhile.
    async fn run(
        &mut self,
        places: Vec<Place>,
        clients: &Arc<Vec<ClientMirror>>,
        ending: &Ending,
    ) -> Vec<Mirror> {
        let mut tasks = JoinSet::new();
        for place in &places {
            for _ in 0..setting("FEED_WRITERS", 4) {
                let writer = Writer { place: place.clone(), dice: self.dice.split(), ending: ending.clone() };
                tasks.spawn(writer.work());
            }
        }
        let (table, file, dice) = (self.table.fresh(), self.file.clone(), self.dice.split());
        let (importing, runtime) = (ending.clone(), Handle::current());
        tasks.spawn_blocking(move || runtime.block_on(import_tenant(table, file, importing, dice)));
        let last = places.into_iter().last().expect("a tenant");
        tasks.spawn(last.renew(self.torn.clone(), ending.clone(), self.dice.split()));
        let worker = || self.worker.clone();
        let victims = [
            Victim::Sequencer,
            Victim::Sequencer,
            Victim::Worker(worker()),
            Victim::Delivery(worker()),
            Victim::Delivery(worker()),
        ];
        for victim in victims {
            let (table, dice, killed) = (self.table.fresh(), self.dice.split(), self.killed.clone());
            tasks.spawn(kill_again(victim, table, ending.clone(), dice, killed));
        }
        for at in 0..clients.len() {
            let (clients, ending, killed) = (clients.clone(), ending.clone(), self.killed.clone());
            let dice = self.dice.split();
            tasks.spawn(async move { clients[at].follow(ending, dice, killed).await });
        }
        let mut starting = JoinSet::new();
        for _ in 0..3 {
            starting.spawn(start_mirrors(self.table.fresh(), ending.clone(), self.dice.split()));
        }
        let mirrors = starting.join_all().await.into_iter().flatten().collect();
        while let Some(done) = tasks.join_next().await {
            done.expect("no task fails");
        }
        mirrors
    }

    /// Finishes what is pending, and moves every change into the feed. Transactions of processes that died may become
    /// visible only now, so it waits for them. A run of the worker fails if it meets the last transactions, and the
    /// next one does the rest.
    async fn settle(&self) -> Vec<FeedChange> {
        tokio::time::sleep(TEAR).await;
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            self.torn.settled().await;
            let failed = self.worker.invoke(&self.table.fresh(), &json!({})).await.err();
            self.torn.settled().await;
            let report = sequence(&self.table).await;
            self.torn.settled().await;
            if !report.left && failed.is_none() {
                return read_feed(&self.table).await;
            }
            assert!(Instant::now() < until, "the outbox is never empty: {report:?}, {failed:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Lets the webhook have everything. A pause after a failed attempt may be a minute long. A run fails if it meets
    /// the transaction of a delivery that was stopped, and the next one does the rest.
    async fn deliver_all(&self, hooked: &Mutex<Mirror>, end: u64) {
        let until = Instant::now() + Duration::from_secs(300);
        while hooked.lock().unwrap().seq < end {
            let failed = self.worker.invoke(&self.table.fresh(), &json!({ "Records": [] })).await.err();
            assert!(Instant::now() < until, "the webhook never gets everything: {failed:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Random work for some seconds.
async fn play(seed: u64, seconds: u64) {
    let embedded = serve_torn(None).await;
    let table = embedded.table.clone();
    let sender = MessageSender::new(TargetRule::PublicOrLoopback).expect("a sender");
    let mut play = Play {
        table: table.clone(),
        torn: embedded.torn.clone().expect("a layer"),
        worker: Worker {
            bus: None,
            sender,
            resources: Arc::new(NoResources),
            retention_days: DEFAULT_CHANGE_RETENTION_DAYS,
        },
        dice: Dice::new(seed),
        killed: Arc::default(),
        file: String::new(),
    };
    let hooked = start_hooked_mirror(&table, play.dice.split()).await;
    let mut places = Vec::new();
    for name in tenants() {
        places.push(Place::make(&table, name).await);
    }
    play.file = export_tenant(&table, tenants()[0]).await;
    let app = Arc::new(App::over(&embedded.endpoint, table.fresh(), |_| {}).await);
    let clients = Arc::new(ClientMirror::all(&app, &embedded.endpoint).await);
    let answering = if seed.is_multiple_of(2) { Answering::AfterAll } else { Answering::AtCommit };
    embedded.tear(Tearing { seed, longest: TEAR, lengths: TearLengths::MostlyShort, answering }).await;
    let ending = Ending::after(&table, seconds);
    let watching = tokio::spawn(watch_resources(app.clone(), ending.clone()));
    let reading = tokio::spawn(Watch::beside(table.fresh(), ending.clone(), play.dice.split()));
    let mirrors = play.run(places, &clients, &ending).await;
    let watch = reading.await.expect("a snapshot has what the changes before it wrote");
    watching.await.expect("no resource is older than its change");
    let changes = play.settle().await;
    check_feed(&changes);
    watch.assert_removed(&changes, seed);
    play.deliver_all(&hooked, changes.len() as u64).await;
    assert_eq!(read_feed(&table).await.len(), changes.len(), "a change came after the end");
    let hooked = std::mem::replace(&mut *hooked.lock().unwrap(), Mirror::empty(&table, 0));
    let count = mirrors.len();
    let mirrors = mirrors.into_iter().chain([Mirror::empty(&table, 0), hooked]);
    assert_mirrored(seed, &table, mirrors).await;
    let expected = state_by_api(&app).await;
    for client in clients.iter() {
        client.assert_equals(&expected, seed).await;
    }
    let killed = play.killed.load(Ordering::Relaxed);
    eprintln!(
        "seed {seed}: {} changes, {} read before snapshots, {count} mirrors, {killed} processes killed",
        changes.len(),
        watch.count
    );
    assert!(watch.count > 0, "no change was before a snapshot");
    assert!(changes.len() as u64 >= least_changes(), "too few changes to show anything");
    assert!(killed as u64 >= setting("FEED_KILLS", 20), "too few deaths to show anything");
}

/// Lets every mirror follow the feed to its end. Then each must equal the tables.
async fn assert_mirrored(seed: u64, table: &Table, mirrors: impl Iterator<Item = Mirror>) {
    let tables = Mirror::of_tables(table).await;
    for mut mirror in mirrors {
        while mirror.follow(500).await {}
        let differences = mirror.differences(&tables);
        let start = mirror.start;
        assert!(differences.is_empty(), "seed {seed}, a mirror that began at {start}: {differences:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mirrors_of_the_feed_equal_the_tables() {
    let seconds = setting("FEED_SECONDS", 15);
    let first = setting("FEED_FIRST", 1);
    for seed in first..first + setting("FEED_SEEDS", 1) {
        Box::pin(play(seed, seconds)).await;
    }
}
