//! The process dies at every call of a large change. Every reader sees the group as before or as asked for, and the
//! worker leaves nothing behind.
//!
//! CRASH_MEMBERS (default 200) and CRASH_RUNS (default: every call, both ways) make it larger;
//! `make test-long` dies 500 times in changes of 5,000 members. CRASH_FROM goes on at a later run.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rollcall::store::call::Table;
use rollcall::store::large_change::pending_change::ChangeState;
use rollcall::store::worker;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support;
use crate::support::assert_consistent;
use crate::support::client::Client;
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::feed::sequence;

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

struct Scene {
    proxy: Proxy,
    /// A client whose process may die.
    mortal: Client,
    /// Another process.
    other: Client,
    users: Vec<String>,
    group: String,
}

impl Scene {
    async fn new(policy: &'static str, users: usize) -> Self {
        let embedded = support::serve().await;
        let proxy = Proxy::before(&embedded.endpoint).await;
        let other = Client::new(embedded.table, policy).await;
        let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
        let mortal = Client::new(table, policy).await;
        let names: Vec<usize> = (0..users).collect();
        let mut users = Vec::with_capacity(names.len());
        // Some at a time: thousands of requests at once would be a test of something else.
        for some in names.chunks(32) {
            let made = some.iter().map(|at| {
                let (client, name) = (other.clone(), format!("u{at}"));
                async move { client.user(&name).await }
            });
            users.extend(futures_util::future::join_all(made).await);
        }
        let group = other.group("Team", &[]).await;
        Self { proxy, mortal, other, users, group }
    }

    fn path(&self) -> String {
        format!("/Groups/{}", self.group)
    }

    async fn members(&self) -> BTreeSet<String> {
        let group = self.other.get(&self.path()).await.expect(200);
        let members = group.body["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|m| m["value"].as_str().expect("an id").to_owned()).collect()
    }

    /// Sends a request of which the process dies at a call: before the call arrives, or before its
    /// answer does. Says whether the request was answered before that.
    async fn dying(&self, request: impl Future<Output = u16>, at: usize, arrives: bool) -> Option<u16> {
        let dead = Arc::new(Notify::new());
        let tell = dead.clone();
        self.proxy.decide(move |call: &Call| {
            if call.number < at {
                return Fate::Pass;
            }
            tell.notify_one();
            // What was begun side by side with the last call dies with it.
            if call.number == at && arrives { Fate::Unanswered } else { Fate::Lost }
        });
        tokio::select! {
            status = request => Some(status),
            () = dead.notified() => None,
        }
    }

    /// Moves the changes into the feed, so that the outbox stays short.
    async fn sequence(&self) {
        sequence(&self.other.table).await;
    }

    /// Creates a deactivated user again, which brings it back under its id.
    async fn bring_back(&self, id: &str) {
        let kept =
            self.other.store().tombstones().fetch_kept(id.parse().unwrap()).await.unwrap().expect("kept");
        let mut body = Value::Object(kept.record.doc);
        body["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
        assert_eq!(self.other.post("/Users", body).await.expect(201).id(), id);
    }

    /// What the worker does from now on, an hour later for what was never committed.
    async fn recover(&self) {
        // The call that arrived without an answer may still be under way.
        tokio::time::sleep(Duration::from_millis(20)).await;
        for mut pending in self.other.store().large_changes().list().await.unwrap() {
            if pending.state == ChangeState::Staged {
                pending.created = 0;
                self.other.table.put(&pending.key(), pending.attributes()).await.unwrap();
            }
        }
        // What is not very large is over after one round.
        let rounds = if self.users.len() <= 1_000 { 1 } else { 20 };
        let mut left = 0;
        for _ in 0..rounds {
            let report = worker::round(&self.other.table.fresh()).await.unwrap();
            assert_eq!(report.failures, Vec::<String>::new());
            left = report.left;
            if left == 0 {
                return;
            }
        }
        panic!("{left} changes are left after {rounds} rounds of the worker");
    }
}

fn values(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

#[tokio::test]
async fn a_large_change_is_whole_wherever_its_process_dies() {
    let count = setting("CRASH_MEMBERS").unwrap_or(200);
    let scene = Scene::new("standard", count).await;
    let all: BTreeSet<String> = scene.users.iter().cloned().collect();
    let add = json!([{ "op": "add", "path": "members", "value": values(&scene.users) }]);
    let remove = json!([{ "op": "remove", "path": "members" }]);
    // How many calls there are, each way. Twice, since a change that follows another looks twice.
    let mut calls = 0;
    for operations in [&add, &remove, &add, &remove] {
        scene.proxy.decide(|_| Fate::Pass);
        let status = scene.mortal.patch(&scene.path(), operations.clone()).await.status;
        assert!([200, 204].contains(&status), "{status}");
        calls = calls.max(scene.proxy.calls());
    }
    let runs = setting("CRASH_RUNS").unwrap_or(2 * calls);
    let from = setting("CRASH_FROM").unwrap_or(0);
    let (mut applied, mut undone) = (0, 0);
    for run in from..runs {
        let at = 1 + (run * calls / runs).min(calls - 1);
        let before = scene.members().await;
        let (operations, asked) =
            if before.is_empty() { (&add, all.clone()) } else { (&remove, BTreeSet::new()) };
        let request = async { scene.mortal.patch(&scene.path(), operations.clone()).await.status };
        let answered = scene.dying(request, at, run % 2 == 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let seen = scene.members().await;
        assert!(seen == before || seen == asked, "run {run}, call {at}: {} members", seen.len());
        if answered.is_some_and(|status| status < 300) {
            assert_eq!(seen, asked, "run {run}, call {at}");
        }
        scene.recover().await;
        assert_eq!(scene.members().await, seen, "run {run}, call {at}");
        assert_consistent(&scene.other).await;
        if seen == asked {
            applied += 1
        } else {
            undone += 1
        }
        if (run + 1) % 10 == 0 {
            scene.sequence().await;
        }
        if (run + 1) % 50 == 0 {
            println!("{} of {runs} crashes", run + 1);
        }
    }
    // Both outcomes were met: the crashes reached to both sides of the commit.
    assert!(from > 0 || applied > 0 && undone > 0, "{applied} applied, {undone} undone");
    println!("{runs} crashes over {calls} calls: {applied} applied, {undone} undone");
}

#[tokio::test]
async fn deletions_are_whole_wherever_their_process_dies() {
    let scene = Scene::new("veza", 100).await;
    for at in 1..40 {
        let name = format!("Group {at}");
        let group = scene.other.group(&name, &scene.users).await;
        let path = format!("/Groups/{group}");
        let request = async { scene.mortal.delete(&path).await.status };
        let answered = scene.dying(request, at, at % 2 == 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let left = scene.other.get(&path).await;
        assert!([200, 404].contains(&left.status));
        let shown = scene.other.get(&format!("/Users/{}", scene.users[0])).await.expect(200);
        let shown = shown.body["groups"].as_array().map_or(0, Vec::len);
        assert_eq!(shown, usize::from(left.status == 200), "call {at}");
        scene.recover().await;
        assert_consistent(&scene.other).await;
        assert_eq!(scene.other.get(&path).await.status, left.status);
        if left.status == 200 {
            scene.other.delete(&path).await.expect(204);
        }
        if answered.is_some() {
            break;
        }
    }
}

/// The reader's call goes on while the other's change is under way; `tests/pages.rs` has it wait
/// until the change is complete.
#[tokio::test]
async fn a_reading_is_of_one_version_while_the_group_is_changed() {
    let scene = Scene::new("standard", 150).await;
    let half: BTreeSet<String> = scene.users[..75].iter().cloned().collect();
    let all: BTreeSet<String> = scene.users.iter().cloned().collect();
    let set = |ids: &[String]| json!([{ "op": "replace", "path": "members", "value": values(ids) }]);
    scene.other.patch(&scene.path(), set(&scene.users[..75])).await.expect(200);
    for at in 1..=6 {
        // While the reader's call is held back, another process changes the whole group.
        let reached = Arc::new(Notify::new());
        let (tell, mut held) = (reached.clone(), false);
        scene.proxy.decide(move |call: &Call| {
            if call.number == at && !held {
                held = true;
                tell.notify_one();
                // Lost once: the SDK sends it again after the change has begun.
                return Fate::Lost;
            }
            Fate::Pass
        });
        let reading = async { scene.mortal.get(&scene.path()).await.expect(200) };
        let writing = async {
            let wait = tokio::time::timeout(Duration::from_secs(2), reached.notified()).await;
            let ids = if at % 2 == 1 { &scene.users[..] } else { &scene.users[..75] };
            scene.other.patch(&scene.path(), set(ids)).await;
            wait.is_ok()
        };
        let (read, _) = tokio::join!(reading, writing);
        let read: BTreeSet<String> = read.body["members"]
            .as_array()
            .expect("members")
            .iter()
            .map(|m| m["value"].as_str().expect("an id").to_owned())
            .collect();
        assert!(read == half || read == all, "call {at}: {} members", read.len());
    }
    assert_consistent(&scene.other).await;
}

#[tokio::test]
async fn a_user_who_goes_while_a_change_is_dying_leaves_no_trace() {
    let scene = Scene::new("veza", 120).await;
    let add = json!([{ "op": "add", "path": "members", "value": values(&scene.users) }]);
    let remove = json!([{ "op": "remove", "path": "members" }]);
    let mut gone = BTreeSet::new();
    for at in 1..=14 {
        scene.other.patch(&scene.path(), remove.clone()).await;
        scene.recover().await;
        let leaver = &scene.users[at * 7];
        let request = async { scene.mortal.patch(&scene.path(), add.clone()).await.status };
        scene.dying(request, at, at % 2 == 0).await;
        scene.other.delete(&format!("/Users/{leaver}")).await.expect(204);
        gone.insert(leaver.clone());
        assert!(scene.members().await.is_disjoint(&gone), "call {at}");
        if at % 3 == 0 {
            // Back under its id, and in no group.
            scene.bring_back(leaver).await;
            assert!(scene.members().await.is_disjoint(&gone), "call {at}");
        }
        scene.recover().await;
        assert!(scene.members().await.is_disjoint(&gone), "call {at}");
        assert_consistent(&scene.other).await;
        // For the next round, whose change names everyone again.
        if at % 3 != 0 {
            scene.bring_back(leaver).await;
        }
        gone.clear();
    }
}

/// The process of a change dies, and then another change of the group comes. Afterwards the group is as the
/// committed changes make it, in some order.
#[tokio::test]
async fn a_second_change_finds_the_group_before_or_after_the_first() {
    let scene = Scene::new("standard", 100).await;
    let all: BTreeSet<String> = scene.users.iter().cloned().collect();
    let half: BTreeSet<String> = scene.users[..50].iter().cloned().collect();
    let add = json!([{ "op": "add", "path": "members", "value": values(&scene.users) }]);
    let none = json!([{ "op": "remove", "path": "members" }]);
    let one = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", scene.users[0]) }]);
    let without_one: BTreeSet<String> = scene.users[1..].iter().cloned().collect();
    let schemas = json!(["urn:ietf:params:scim:schemas:core:2.0:Group"]);
    let put = json!({ "schemas": schemas, "displayName": "Team", "members": values(&scene.users[..50]) });
    for (at, arrives) in (0..).step_by(2).flat_map(|at| [(at, false), (at, true)]) {
        let mut answered = false;
        for second in ["large", "small", "deactivation"] {
            let path = scene.path();
            let request = async { scene.mortal.patch(&path, add.clone()).await.status };
            answered = scene.dying(request, at, arrives).await.is_some();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let name = format!("call {at}, arrives {arrives}, {second}");
            let found = scene.members().await;
            assert!(found.is_empty() || found == all, "{name}: {} members", found.len());
            let (status, expected) = match second {
                "large" => (scene.other.put(&path, put.clone()).await.status, half.clone()),
                "small" if found.is_empty() => (scene.other.patch(&path, one.clone()).await.status, found),
                "small" => (scene.other.patch(&path, one.clone()).await.status, without_one.clone()),
                _ => {
                    let active = json!([{ "op": "replace", "path": "active", "value": at % 4 == 0 }]);
                    let user = format!("/Users/{}", scene.users[0]);
                    (scene.other.patch(&user, active).await.status, found)
                }
            };
            assert_eq!(status / 100, 2, "{name}");
            assert_eq!(scene.members().await, expected, "{name}");
            scene.recover().await;
            assert_eq!(scene.members().await, expected, "{name}: after the worker");
            assert_consistent(&scene.other).await;
            assert_eq!(scene.other.patch(&path, none.clone()).await.status / 100, 2, "{name}");
            scene.recover().await;
        }
        if answered {
            break;
        }
    }
    scene.proxy.decide(|_: &Call| Fate::Pass);
}

/// A group is created with more members than a transaction takes. It exists with all of them, or it does not exist
/// and its name is free.
#[tokio::test]
async fn a_large_group_is_made_whole_or_not_at_all() {
    let scene = Scene::new("standard", 100).await;
    let all: BTreeSet<String> = scene.users.iter().cloned().collect();
    let (mut made, mut answered) = (0, false);
    for (at, arrives) in (1..).flat_map(|at| [(at, false), (at, true)]) {
        let name = format!("call {at}, arrives {arrives}");
        let body = json!({ "displayName": name, "members": values(&scene.users) });
        let request = async { scene.mortal.post("/Groups", body.clone()).await.status };
        answered |= scene.dying(request, at, arrives).await.is_some();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let filter = format!("/Groups?filter=displayName eq \"{name}\"");
        let seen = async || {
            let list = scene.other.get(&filter).await.expect(200);
            let found = list.body["Resources"].as_array().cloned().unwrap_or_default();
            found.first().map(|group| {
                let members = group["members"].as_array().cloned().unwrap_or_default();
                members.iter().map(|m| m["value"].as_str().expect("an id").to_owned()).collect()
            })
        };
        let now: Option<BTreeSet<String>> = seen().await;
        assert!(now.as_ref().is_none_or(|members| *members == all), "{name}: {now:?}");
        made += usize::from(now.is_some());
        let again = scene.other.post("/Groups", json!({ "displayName": name })).await.status;
        assert_eq!(again, if now.is_some() { 409 } else { 201 }, "{name}");
        scene.recover().await;
        let expected = now.or_else(|| Some(BTreeSet::new()));
        assert_eq!(seen().await, expected, "{name}: after the worker");
        assert_consistent(&scene.other).await;
        if answered && arrives {
            break;
        }
    }
    assert!(made > 2, "{made}");
}

/// A user is deleted that is in more groups than a transaction takes: it is in all of them or in
/// none.
#[tokio::test]
async fn a_user_in_many_groups_is_deleted_whole_or_not_at_all() {
    let scene = Scene::new("veza", 45).await;
    let mut groups = Vec::new();
    for at in 0..60 {
        groups.push(scene.other.group(&format!("Group {at}"), &scene.users).await);
    }
    let mut left = scene.users.clone();
    for (at, arrives) in (1..).flat_map(|at| [(at, false), (at, true)]) {
        let name = format!("call {at}, arrives {arrives}");
        let leaver = left.last().expect("enough users").clone();
        let path = format!("/Users/{leaver}");
        let request = async { scene.mortal.delete(&path).await.status };
        let answered = scene.dying(request, at, arrives).await.is_some();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let is_deleted = scene.other.get(&path).await.status == 404;
        if is_deleted {
            left.pop();
        }
        let filter = format!("/Groups?filter=members.value eq \"{leaver}\"&count=0");
        for _ in 0..2 {
            for group in [&groups[0], &groups[59]] {
                let read = scene.other.get(&format!("/Groups/{group}")).await.expect(200);
                let members = read.body["members"].as_array().map_or(0, Vec::len);
                assert_eq!(members, left.len(), "{name}");
            }
            let list = scene.other.get(&filter).await.expect(200);
            let expected = if is_deleted { 0 } else { groups.len() };
            assert_eq!(list.body["totalResults"], expected, "{name}");
            scene.recover().await;
        }
        assert_consistent(&scene.other).await;
        if answered && arrives {
            break;
        }
    }
    assert!(left.len() < scene.users.len() - 2, "{} are left", left.len());
}
