//! A model of the change feed: random work on several tenants, under transactions that become visible one item
//! at a time, while sequencers and workers die. At the end the feed keeps its promises, and every mirror of it
//! equals the tables of the tenants.
//!
//! `make test-long` sets FEED_SEEDS and FEED_SECONDS.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rollcall::admin::tenant::{self, NewTenant};
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::Kind;
use rollcall::store::call::Table;
use rollcall::store::feed::change::FeedChange;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};
use rollcall::store::feed::sequencer::Sequencer;
use rollcall::store::worker;
use serde_json::{Value, json};
use support::client::{Client, user};
use support::feed::{check_feed, read_feed, sequence};
use support::serve_torn;
use support::torn::{Answering, Tearing};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use uuid::Uuid;

/// The longest tear of a transaction.
const TEAR: Duration = Duration::from_millis(120);
/// How far a snapshot lies back here: longer than any tear. Pages note whole seconds.
const DISTANCE: Duration = Duration::from_secs(2);
const TENANTS: [&str; 3] = ["acme", "acme-2", "zeta"];
const PEOPLE: usize = 60;
const GROUPS: usize = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Random numbers that a seed decides.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below
    }
}

impl Dice {
    fn shuffle<const N: usize>(&mut self, mut all: [&'static str; N]) -> [&'static str; N] {
        all.rotate_left(self.roll(N));
        all
    }
}

/// What a mirror keeps of a tenant: who there is, and who is a member of what, without foreign keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MirroredTenant {
    users: BTreeSet<String>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl MirroredTenant {
    fn apply(&mut self, change: &FeedChange) {
        let id = &change.resource_id;
        match change.event_type.as_str() {
            "user.created" | "user.reactivated" => {
                self.users.insert(id.clone());
            }
            // One that names attributes is a change of `active`. The account is not hidden.
            "user.deactivated" if !change.attributes.is_empty() => {}
            "user.deleted" | "user.purged" | "user.deactivated" => {
                self.users.remove(id);
            }
            "group.deleted" => {
                self.groups.remove(id);
            }
            _ if change.resource_type == "Group" => {
                let members = self.groups.entry(id.clone()).or_default();
                members.extend(change.added.iter().cloned());
                for member in &change.removed {
                    members.remove(member);
                }
            }
            _ => {}
        }
    }

    /// What the product sees: memberships of those who exist.
    fn visible(&self) -> Self {
        let exists = |id: &String| self.users.contains(id) || self.groups.contains_key(id);
        let groups = self.groups.iter().map(|(id, members)| {
            (id.clone(), members.iter().filter(|member| exists(member)).cloned().collect())
        });
        Self { users: self.users.clone(), groups: groups.collect() }
    }

    /// Reads a tenant by plain reads: the list of its users, and then its groups, one after another.
    async fn read(client: &Client) -> Self {
        let store = client.store();
        let users = store.list_page(Kind::User, None, 1_000).await.expect("the users").ids;
        let groups = store.list_page(Kind::Group, None, 1_000).await.expect("the groups").ids;
        let mut found = Self { users: users.iter().map(Uuid::to_string).collect(), ..Self::default() };
        for id in groups {
            // A group that changes all the time is read again.
            let group = loop {
                if let Ok(group) = store.members().fetch_group(id).await {
                    break group;
                }
            };
            let members =
                group.map(|group| group.members.iter().map(|member| member.id.to_string()).collect());
            found.groups.extend(members.map(|members| (id.to_string(), members)));
        }
        found
    }
}

/// A consumer of the feed with a copy of all tenants.
struct Mirror {
    table: Table,
    tenants: BTreeMap<String, MirroredTenant>,
    seq: u64,
}

impl Mirror {
    /// Takes a snapshot while others write.
    async fn start(table: &Table, dice: &mut Dice) -> Self {
        let reader = FeedReader::open(table).await.expect("a feed");
        let position = reader.snapshot(DISTANCE).await.expect("a position");
        let mut tenants = BTreeMap::new();
        for name in dice.shuffle(TENANTS) {
            let client = Client::new(table.fresh(), "veza").await.of(name);
            tenants.insert(name.to_owned(), MirroredTenant::read(&client).await);
        }
        Self { table: table.fresh(), tenants, seq: position.seq }
    }

    /// Applies what is new.
    async fn follow(&mut self, limit: usize) -> bool {
        let reader = FeedReader::open(&self.table).await.expect("a feed");
        let query = ChangeQuery { limit, tenant: None };
        let list = reader.read(&reader.at(self.seq), query).await.expect("the table").expect("a position");
        for change in &list.changes {
            assert_eq!(change.seq, self.seq + 1);
            self.seq = change.seq;
            self.tenants.entry(change.tenant.clone()).or_default().apply(change);
        }
        list.more
    }
}

/// The work of one client on one tenant, with what it knows of the tenant.
struct Writer {
    client: Client,
    dice: Dice,
    until: Instant,
    groups: Vec<String>,
}

impl Writer {
    async fn id_of(&self, person: usize) -> Option<String> {
        let path = format!("/Users?filter=userName eq \"p{person}@example.com\"&attributes=id");
        let reply = self.client.get(&path).await;
        reply.body["Resources"][0]["id"].as_str().map(str::to_owned)
    }

    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let person = self.dice.roll(2 * PEOPLE);
            ids.extend(self.id_of(person).await);
        }
        ids
    }

    async fn work(mut self) {
        while Instant::now() < self.until {
            // Half of the work is on a few, so that their changes follow one another closely.
            let hot = self.dice.roll(2) == 0;
            let person = if hot { self.dice.roll(2) } else { self.dice.roll(3 * PEOPLE) };
            let group = if hot { 0 } else { self.dice.roll(self.groups.len()) };
            let group = format!("/Groups/{}", self.groups[group]);
            match self.dice.roll(12) {
                0..=2 => drop(self.client.post("/Users", user(&format!("p{person}"))).await),
                3 => {
                    if let Some(id) = self.id_of(person).await {
                        self.client.delete(&format!("/Users/{id}")).await;
                    }
                }
                4..=6 => {
                    let title =
                        json!([{ "op": "add", "path": "title", "value": self.dice.roll(99).to_string() }]);
                    if let Some(id) = self.id_of(person).await {
                        self.client.patch(&format!("/Users/{id}"), title).await;
                    }
                }
                7..=9 => {
                    let members: Value = self.ids(3).await.iter().map(|id| json!({ "value": id })).collect();
                    let op = if self.dice.roll(3) == 0 { "remove" } else { "add" };
                    let step = json!([{ "op": op, "path": "members", "value": members }]);
                    self.client.patch(&format!("{group}?excludedAttributes=members"), step).await;
                }
                // A large change: everybody there is, or a few.
                10 => {
                    let list = self.client.get("/Users?count=200&attributes=id").await.body;
                    let all = list["Resources"].as_array().cloned().unwrap_or_default();
                    let most = if self.dice.roll(2) == 0 { all.len() } else { 3.min(all.len()) };
                    let members: Value =
                        all[..most].iter().map(|one| json!({ "value": one["id"] })).collect();
                    let step = json!([{ "op": "replace", "path": "members", "value": members }]);
                    self.client.patch(&format!("{group}?excludedAttributes=members"), step).await;
                }
                _ => {
                    let name = format!("extra {}", self.dice.roll(1_000_000));
                    let made = self.client.post("/Groups", json!({ "displayName": name })).await;
                    if let Some(id) = made.body["id"].as_str() {
                        self.client.delete(&format!("/Groups/{id}")).await;
                    }
                }
            }
        }
    }
}

/// Starts tasks again and again, and lets each die after a random time.
async fn kill_again(until: Instant, mut dice: Dice, killed: Arc<AtomicUsize>, table: Table, is_worker: bool) {
    while Instant::now() < until {
        let table = table.fresh();
        let task = tokio::spawn(async move {
            if is_worker {
                drop(worker::round(&table).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                loop {
                    drop(Sequencer::new(&table).run(Instant::now() + Duration::from_secs(5)).await);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(10 + dice.roll(400) as u64)).await;
        task.abort();
        killed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts mirrors one after another beside the work. Each follows the feed for a while, and then rests.
async fn start_mirrors(table: Table, until: Instant, mut dice: Dice) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    while Instant::now() < until {
        let mut mirror = Mirror::start(&table, &mut dice).await;
        for _ in 0..dice.roll(3) {
            mirror.follow(1 + dice.roll(60)).await;
        }
        mirrors.push(mirror);
    }
    mirrors
}

/// Random work for some seconds. Returns how many changes the feed has.
async fn play(seed: u64, seconds: u64) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let embedded = serve_torn(None).await;
    let table = embedded.table.clone();
    let mut writers = Vec::new();
    let until = Instant::now() + Duration::from_secs(seconds + 5);
    for name in TENANTS {
        let new = NewTenant::new(&name.parse().unwrap(), &VEZA, &"u".repeat(40));
        tenant::create(&table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
        let client = Client::new(table.clone(), "veza").await.of(name);
        for n in 0..PEOPLE {
            client.user(&format!("p{n}")).await;
        }
        let mut groups = Vec::new();
        for n in 0..GROUPS {
            groups.push(client.group(&format!("Group {n}"), &[]).await);
        }
        for _ in 0..4 {
            dice.roll(2);
            let client = Client::new(table.clone(), "veza").await.of(name);
            writers.push(Writer { client, dice: dice.clone(), until, groups: groups.clone() });
        }
    }
    let answering = if seed.is_multiple_of(2) { Answering::AfterAll } else { Answering::AtCommit };
    embedded.tear(Tearing { seed, longest: TEAR, answering }).await;
    let killed = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    writers.into_iter().for_each(|writer| drop(tasks.spawn(writer.work())));
    for is_worker in [false, false, true] {
        dice.roll(2);
        tasks.spawn(kill_again(until, dice.clone(), killed.clone(), table.fresh(), is_worker));
    }
    let mut starting = JoinSet::new();
    for _ in 0..3 {
        dice.roll(2);
        starting.spawn(start_mirrors(table.fresh(), until, dice.clone()));
    }
    let mirrors: Vec<Mirror> = starting.join_all().await.into_iter().flatten().collect();
    while let Some(done) = tasks.join_next().await {
        done.expect("no task fails");
    }
    let changes = settle(&table).await;
    check_feed(&changes);
    let count = mirrors.len();
    assert_mirrored(seed, &table, mirrors).await;
    let killed = killed.load(Ordering::Relaxed);
    eprintln!("seed {seed}: {} changes, {count} mirrors, {killed} processes killed", changes.len());
    changes.len()
}

/// Lets every mirror follow the feed to its end, and one that begins at its start. Then each must equal the
/// tables.
async fn assert_mirrored(seed: u64, table: &Table, mirrors: Vec<Mirror>) {
    let mut expected = BTreeMap::new();
    for name in TENANTS {
        let client = Client::new(table.clone(), "veza").await.of(name);
        expected.insert(name.to_owned(), MirroredTenant::read(&client).await);
    }
    let from_start = Mirror { table: table.fresh(), tenants: BTreeMap::new(), seq: 0 };
    for mut mirror in mirrors.into_iter().chain([from_start]) {
        let start = mirror.seq;
        while mirror.follow(500).await {}
        for (name, tenant) in &mirror.tenants {
            assert_eq!(tenant.visible(), expected[name], "seed {seed}, {name}, a mirror that was at {start}");
        }
    }
}

/// Finishes what is pending, and moves every change into the feed.
async fn settle(table: &Table) -> Vec<FeedChange> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        worker::round(&table.fresh()).await.expect("a round");
        let report = sequence(table).await;
        if !report.left {
            return read_feed(table).await;
        }
        assert!(Instant::now() < until, "the outbox is never empty: {report:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mirrors_of_the_feed_equal_the_tables() {
    let seconds = setting("FEED_SECONDS", 10);
    for seed in 1..=setting("FEED_SEEDS", 2) {
        let changes = Box::pin(play(seed, seconds)).await;
        assert!(changes > 100, "{changes} changes are too few to show anything");
    }
}
