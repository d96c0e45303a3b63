//! A group of several pages is read while another process writes between two of the pages. The answer is the
//! group before or after the write, never a mixture.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall::dev::seed::{Size, user_id};
use rollcall::store::call::Table;
use rollcall::store::worker;
use serde_json::{Value, json};

use crate::support;
use crate::support::assert_consistent;
use crate::support::client::{Client, Reply};
use crate::support::faults::{Call, Fate, Gate, Proxy};
use crate::support::stage::{Stage, play};
use crate::support::torn::Torn;

/// Members who stay, unless they are deleted. The names that they have in the group are so long
/// that they fill three pages of 1 MB.
const STAYING: usize = 600;
/// Of the name of a member in the group, four bytes each.
const LETTERS: usize = 925;
/// The members that a large change adds. It removes as many.
const MOVING: usize = 200;
/// More groups than a user leaves in the transaction of its deletion.
const MANY: usize = 50;

/// What another process does between two pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// One member of the first page goes, one of the last comes, and the group gets a new name.
    Small,
    /// Hundreds come and go.
    Large,
    /// The same, by a process that dies right after the commit.
    Committed,
    /// A change that was committed before is applied and cleared: nothing changes.
    Applied,
    /// The same, and another large change follows.
    AppliedAndLarge,
    /// A user is deleted.
    Deletion,
    /// A user is deleted that leaves its many groups only after that.
    Leaving,
    /// The same, by a process that dies right after the deletion.
    Left,
}

/// What a reader sees of a group.
#[derive(PartialEq, Eq)]
struct Shown {
    version: String,
    name: String,
    members: BTreeSet<String>,
}

impl Shown {
    fn of(reply: Reply) -> Self {
        let reply = reply.expect(200);
        let group = reply.body.get("Resources").map_or(&reply.body, |found| &found[0]);
        let members = group["members"].as_array().expect("members");
        let ids: BTreeSet<String> =
            members.iter().map(|member| member["value"].as_str().expect("an id").to_owned()).collect();
        assert_eq!(ids.len(), members.len(), "a member is shown twice");
        let [name, version] = [&group["displayName"], &group["meta"]["version"]];
        let [name, version] = [name, version].map(|text| text.as_str().expect("a text").to_owned());
        if let Some(tag) = reply.headers.get("etag") {
            assert_eq!(tag.to_str().unwrap(), version);
        }
        Self { version, name, members: ids }
    }
}

struct Scene {
    /// What tears transactions, if they are torn.
    torn: Option<Torn>,
    /// Before the reader.
    proxy: Proxy,
    reader: Client,
    /// Before the process that dies after a commit.
    network: Proxy,
    mortal: Client,
    other: Client,
    group: String,
    staying: Vec<String>,
    /// One half is in the group, the other is not; a large change swaps them.
    moving: [Vec<String>; 2],
    /// Who are in many groups.
    known: Vec<String>,
}

fn values(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

impl Scene {
    async fn new(stage: Stage) -> Self {
        let embedded = stage.serve().await;
        let other = Client::new(embedded.table.clone(), "standard").await;
        let users = STAYING + 2 * MOVING;
        support::seed(&other, Size { users, members: 0 }).await.expect("a seed");
        let proxy = Proxy::before(&embedded.endpoint).await;
        let reader =
            Client::new(Table::new(support::client(&proxy.endpoint), support::TABLE), "standard").await;
        let network = Proxy::before(&embedded.endpoint).await;
        let mortal =
            Client::new(Table::new(support::client(&network.endpoint), support::TABLE), "standard").await;
        // Spread over all pages, whose order is that of the ids.
        let (mut staying, mut moving) = (Vec::new(), [Vec::new(), Vec::new()]);
        for number in 1..=users {
            let id = user_id(number).to_string();
            match number % 11 {
                1 | 5 if moving[0].len() < MOVING => moving[0].push(id),
                3 | 8 if moving[1].len() < MOVING => moving[1].push(id),
                _ => staying.push(id),
            }
        }
        let display = "\u{1d11e}".repeat(LETTERS);
        let members: Value = staying.iter().map(|id| json!({ "value": id, "display": display })).collect();
        let group = json!({ "displayName": "Team", "members": members });
        let group = other.post("/Groups", group).await.expect(201).id();
        let add = json!([{ "op": "add", "path": "members", "value": values(&moving[0]) }]);
        other.patch(&format!("/Groups/{group}"), add).await.expect(204);
        let known: Vec<String> = staying.iter().skip(5).step_by(40).cloned().collect();
        for at in 0..MANY {
            other.group(&format!("Group {at}"), &known).await;
        }
        embedded.tear(stage.tearing()).await;
        let torn = embedded.torn;
        Self { torn, proxy, reader, network, mortal, other, group, staying, moving, known }
    }

    fn path(&self) -> String {
        format!("/Groups/{}", self.group)
    }

    /// The group as it must be now.
    async fn expected(&self) -> Shown {
        let path = format!("{}?excludedAttributes=members", self.path());
        let group = self.other.get(&path).await.expect(200);
        let (version, name) = (group.headers["etag"].to_str().unwrap(), group.body["displayName"].as_str());
        let members = self.staying.iter().chain(&self.moving[0]).cloned().collect();
        Shown { version: version.to_owned(), name: name.unwrap().to_owned(), members }
    }

    /// What swaps those who move.
    fn swap(&mut self) -> Value {
        self.moving.swap(0, 1);
        json!([
            { "op": "remove", "path": "members", "value": values(&self.moving[1]) },
            { "op": "add", "path": "members", "value": values(&self.moving[0]) }
        ])
    }

    /// Sends a request with a large change, whose process dies right after the commit.
    async fn die_after_commit(&self, method: &str, path: &str, operations: Option<Value>) {
        let mut committed = false;
        self.network.decide(move |call: &Call| {
            if committed {
                return Fate::Lost;
            }
            committed = call.operation == "TransactWriteItems" && call.body.to_string().contains("committed");
            Fate::Pass
        });
        let body = operations.map(|operations| json!({ "Operations": operations }));
        self.mortal.send(method, path, body, &[]).await.expect(204);
        assert!(!self.other.store().large_changes().list().await.unwrap().is_empty(), "nothing is pending");
        self.network.decide(|_: &Call| Fate::Pass);
    }

    async fn work(&self) {
        let report = worker::round(&self.other.table.fresh()).await.unwrap();
        assert_eq!((report.left, report.failures), (0, Vec::new()));
    }

    /// What comes before the reading.
    async fn prepare(&mut self, write: Write) {
        if matches!(write, Write::Applied | Write::AppliedAndLarge) {
            let swap = self.swap();
            self.die_after_commit("PATCH", &self.path(), Some(swap)).await;
        }
    }

    async fn write(&mut self, write: Write, at: usize) {
        let path = self.path();
        match write {
            Write::Small => {
                let (first, last) = (self.moving[0].remove(0), self.moving[1].pop().unwrap());
                self.other
                    .patch(
                        &path,
                        json!([
                            { "op": "remove", "path": format!("members[value eq \"{first}\"]") },
                            { "op": "add", "path": "members", "value": values(std::slice::from_ref(&last)) },
                            { "op": "replace", "path": "displayName", "value": format!("Team {at}") }
                        ]),
                    )
                    .await
                    .expect(204);
                self.moving[0].push(last);
                self.moving[1].insert(0, first);
            }
            Write::Large => {
                let swap = self.swap();
                self.other.patch(&path, swap).await.expect(204);
            }
            Write::Committed => {
                let swap = self.swap();
                self.die_after_commit("PATCH", &path, Some(swap)).await;
            }
            Write::Applied => self.work().await,
            Write::AppliedAndLarge => {
                self.work().await;
                let swap = self.swap();
                self.other.patch(&path, swap).await.expect(204);
            }
            Write::Deletion => {
                // From the first page, the last, and those between.
                let place = self.staying.len() * (at % 4) / 4;
                let gone = self.staying.remove(place);
                self.known.retain(|known| *known != gone);
                self.other.delete(&format!("/Users/{gone}")).await.expect(204);
            }
            Write::Leaving => {
                let gone = self.known.remove(0);
                self.staying.retain(|id| *id != gone);
                self.other.delete(&format!("/Users/{gone}")).await.expect(204);
            }
            Write::Left => {
                let gone = self.known.remove(0);
                self.staying.retain(|id| *id != gone);
                self.die_after_commit("DELETE", &format!("/Users/{gone}"), None).await;
            }
        }
    }

    /// Reads the group, of which one call is held back until something is written. `None`: it needs
    /// fewer calls.
    async fn read_around(&mut self, look: &str, at: usize, write: Write) -> Option<(Shown, usize)> {
        let pages = Arc::new(Mutex::new(0));
        let (count, group) = (pages.clone(), self.group.clone());
        let mut is_held = false;
        self.proxy.decide(move |call: &Call| {
            let partition = &call.body["ExpressionAttributeValues"][":pk"]["S"];
            if !is_held && partition.as_str().is_some_and(|pk| pk.ends_with(&group)) {
                *count.lock().unwrap() += 1;
            }
            if call.number == at {
                is_held = true;
                return Fate::Held;
            }
            Fate::Pass
        });
        let (reader, path) = (self.reader.clone(), look.replace("{group}", &self.group));
        let mut reading = tokio::spawn(async move { reader.get(&path).await });
        tokio::select! {
            reply = &mut reading => {
                Shown::of(reply.unwrap());
                return None;
            }
            () = self.proxy.held() => {}
        }
        // What was begun side by side with the call that is held comes to its end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!reading.is_finished(), "the call was not held");
        // The reader goes on when all is written, or while the first transaction is torn.
        let released =
            self.torn.as_ref().map(|torn| tokio::spawn(release_in_tear(torn.clone(), self.proxy.gate())));
        self.write(write, at).await;
        let mut is_released = false;
        if let Some(released) = released {
            released.abort();
            is_released = released.await.is_ok();
        }
        // One permission too many would let the next call through.
        if !is_released {
            self.proxy.release();
        }
        let read = Shown::of(reading.await.unwrap());
        Some((read, *pages.lock().unwrap()))
    }
}

/// Has the call that is held go on while a transaction is torn.
async fn release_in_tear(torn: Torn, gate: Arc<Gate>) {
    while torn.hidden() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    gate.release();
}

async fn around(stage: Stage, look: &str, writes: &[Write]) {
    let mut scene = Scene::new(stage).await;
    for write in writes {
        let mut most = 0;
        // Torn transactions take their time: every fourth call is enough.
        let step = if stage.is_torn() { 4 } else { 1 };
        for at in (1..).step_by(step) {
            scene.prepare(*write).await;
            let before = scene.expected().await;
            let Some((read, pages)) = scene.read_around(look, at, *write).await else {
                assert!(at > 4, "{write:?}: {at}");
                break;
            };
            most = most.max(pages);
            let after = scene.expected().await;
            let told = |shown: &Shown| format!("{} {} ({})", shown.version, shown.name, shown.members.len());
            assert_eq!(*write == Write::Applied, before == after, "{write:?}");
            // Deleted, and on its way out of its groups: no version of theirs yet.
            let members = after.members.clone();
            let between = Shown { version: before.version.clone(), name: before.name.clone(), members };
            assert!(
                read == before || read == after || *write == Write::Leaving && read == between,
                "{write:?} at call {at}: {}, before {}, after {}",
                told(&read),
                told(&before),
                told(&after)
            );
            scene.work().await;
        }
        assert!(stage.is_torn() || most >= 3, "{write:?}: {most} pages");
        scene.work().await;
        assert!(Shown::of(scene.other.get(&scene.path()).await) == scene.expected().await, "{write:?}");
        assert_consistent(&scene.other).await;
    }
}

/// How the group is looked at.
const GET: &str = "/Groups/{group}";
const LIST: &str = "/Groups?filter=id eq \"{group}\"";

/// A list reads the group first and its members later.
async fn a_list_shows_a_group_and_its_members_of_one_version(stage: Stage) {
    around(stage, LIST, &[Write::Small, Write::Large]).await;
}

async fn changes_between_the_pages_are_seen_whole_or_not_at_all(stage: Stage) {
    around(stage, GET, &[Write::Small, Write::Large, Write::Committed]).await;
}

async fn a_change_that_is_applied_between_the_pages_is_seen_all_the_time(stage: Stage) {
    around(stage, GET, &[Write::Applied, Write::AppliedAndLarge]).await;
}

async fn a_user_deleted_between_the_pages_is_seen_or_not(stage: Stage) {
    around(stage, GET, &[Write::Deletion, Write::Leaving, Write::Left]).await;
}

/// A reader sees the group as it was at one moment of its reading. It does not see a deleted member together with
/// one that was added later.
#[tokio::test]
async fn a_user_deleted_before_a_change_is_not_seen_after_it() {
    let mut scene = Scene::new(Stage::Whole).await;
    for at in 1.. {
        let before = scene.expected().await;
        scene.proxy.decide(move |call: &Call| if call.number == at { Fate::Held } else { Fate::Pass });
        let (reader, path) = (scene.reader.clone(), scene.path());
        let mut reading = tokio::spawn(async move { reader.get(&path).await });
        tokio::select! {
            _ = &mut reading => {
                assert!(at > 4, "{at}");
                break;
            }
            () = scene.proxy.held() => {}
        }
        // What was begun side by side with the call that is held comes to its end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.write(Write::Left, at).await;
        let between = scene.expected().await;
        scene.write(Write::Small, at).await;
        let after = scene.expected().await;
        scene.proxy.release();
        let read = Shown::of(reading.await.unwrap());
        let more: Vec<&String> = read.members.difference(&after.members).collect();
        assert!(
            read == before || read == between || read == after,
            "call {at}: {} has {more:?} of {}",
            read.version,
            after.version
        );
        scene.work().await;
    }
    assert_consistent(&scene.other).await;
}

play!(
    a_list_shows_a_group_and_its_members_of_one_version,
    changes_between_the_pages_are_seen_whole_or_not_at_all,
    a_change_that_is_applied_between_the_pages_is_seen_all_the_time,
    a_user_deleted_between_the_pages_is_seen_or_not
);
