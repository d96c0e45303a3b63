//! Kills the real process with SIGKILL in the middle of a change of a thousand members, and starts it again on the
//! same folder.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rollcall::dev::seed::{group_id, user_id};
use rollcall::store::Store;
use rollcall::store::call::Table;
use rollcall::store::large_change::pending_change::{ChangeState, PendingChange};
use serde_json::{Value, json};

use crate::support;
use crate::support::dev::{Answer, Dev, TOOL, folder};

/// The members that are added. As many are removed.
const HALF: usize = 500;
/// How often the process is killed.
const RUNS: u32 = 12;
/// How long the worker of a process that was started again may take.
const WORKER: Duration = Duration::from_secs(30);

/// The members of the seeded group.
fn members(dev: &Dev) -> BTreeSet<String> {
    let group = dev.get(&format!("/Groups/{}", group_id()));
    assert_eq!(group.status, 200, "{group:?}");
    let members = group.body["members"].as_array().expect("members");
    members.iter().map(|member| member["value"].as_str().expect("an id").to_owned()).collect()
}

/// The table of a session, as another process sees it.
fn store(dev: &Dev) -> Store {
    let endpoint = dev.shown["dynamodb_endpoint"].as_str().expect("an endpoint");
    let table = dev.shown["table"].as_str().expect("a table");
    Store {
        table: Table::new(support::client(endpoint), table),
        tenant: dev.shown["tenant"].as_str().expect("a tenant").parse().expect("a tenant"),
        actor: "key_test".to_owned(),
        request_id: "test".to_owned(),
    }
}

/// Asserts that `rollcall check` finds nothing, and nothing pending.
fn assert_check_is_silent(dev: &Dev) {
    let shown = |name: &str| dev.shown[name].as_str().expect("a text");
    let output = Command::new(TOOL)
        .args(["check", shown("tenant"), "--json", "--table", shown("table")])
        .args(["--endpoint-url", shown("dynamodb_endpoint")])
        .output()
        .expect("the tool");
    let told = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{told}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["findings"], &told["pending"]), (&json!([]), &json!(0)), "{told}");
}

/// Waits until the process's own worker has finished what is in force.
async fn wait_for_the_worker(store: &Store) -> Vec<PendingChange> {
    let began = Instant::now();
    loop {
        let pending = store.large_changes().list().await.expect("the pending changes");
        if pending.iter().all(|change| change.state == ChangeState::Staged) {
            return pending;
        }
        assert!(began.elapsed() < WORKER, "the worker has not finished: {pending:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes staged changes an hour old, and waits until the worker has given them up. Starts the process again, since
/// the worker's next round is a minute away.
async fn wait_for_an_hour(mut dev: Dev, args: &[&str], staged: Vec<PendingChange>) -> Dev {
    let table = store(&dev).table;
    for mut change in staged {
        change.created = 0;
        table.put(&change.key(), change.attributes()).await.expect("a write");
    }
    dev.kill();
    dev = Dev::start(args);
    let (began, store) = (Instant::now(), store(&dev));
    while !store.large_changes().list().await.expect("the pending changes").is_empty() {
        assert!(began.elapsed() < WORKER, "the worker has not given it up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    dev
}

/// Copies a folder that no process has open.
fn copy(from: &Path) -> PathBuf {
    let to = folder();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

/// The change that is killed, and the folder that each run begins with.
struct Scene {
    seeded: PathBuf,
    before: BTreeSet<String>,
    asked: BTreeSet<String>,
    path: String,
    body: Vec<u8>,
}

impl Scene {
    /// Seeds a group with the first half of the users. The change replaces them by the second half.
    fn new() -> Self {
        let seeded = folder();
        let (users, first) = ((2 * HALF).to_string(), HALF.to_string());
        let seed = ["--seed-users", &users, "--seed-members", &first];
        let args = [&["--data-dir", seeded.to_str().unwrap()], &seed[..]].concat();
        let (status, log) = Dev::start(&args).end();
        assert_eq!(status, Some(0), "{log}");
        let ids: Vec<String> = (1..=2 * HALF).map(|number| user_id(number).to_string()).collect();
        let values = |ids: &[String]| ids.iter().map(|id| json!({ "value": id })).collect::<Value>();
        let set = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<String>>();
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [
                { "op": "remove", "path": "members", "value": values(&ids[..HALF]) },
                { "op": "add", "path": "members", "value": values(&ids[HALF..]) }
            ]
        });
        Self {
            seeded,
            before: set(&ids[..HALF]),
            asked: set(&ids[HALF..]),
            path: format!("/Groups/{}", group_id()),
            body: body.to_string().into_bytes(),
        }
    }

    /// Sends the change and kills the process after the delay, or once it has answered. Returns the answer, and
    /// how long it took.
    fn send_and_kill(&self, dev: &Dev, delay: Option<Duration>) -> (Option<Answer>, Duration) {
        let began = Instant::now();
        thread::scope(|scope| {
            let request = scope.spawn(|| dev.try_send("PATCH", &self.path, &self.body));
            let Some(delay) = delay else {
                let answer = request.join().unwrap();
                let took = began.elapsed();
                dev.signal("-KILL");
                assert!(answer.is_some(), "nothing was answered");
                return (answer, took);
            };
            thread::sleep(delay);
            dev.signal("-KILL");
            (request.join().unwrap(), began.elapsed())
        })
    }
}

/// How often the change was found in force, not in force, and not finished.
#[derive(Debug, Default)]
struct Tally {
    applied: u32,
    undone: u32,
    unfinished: u32,
}

impl Tally {
    /// Starts the process again after a kill. The group is either as before or as asked, and stays so.
    async fn look_after_kill(&mut self, scene: &Scene, args: &[&str], answer: Option<Answer>, run: u32) {
        let mut dev = Dev::start(args);
        let seen = members(&dev);
        let told = format!("run {run}: {} members", seen.len());
        assert!(seen == scene.before || seen == scene.asked, "{told}");
        if let Some(answer) = answer {
            assert_eq!((answer.status, &seen), (204, &scene.asked), "{told}: it was answered");
        }
        self.unfinished += u32::from(!store(&dev).large_changes().list().await.unwrap().is_empty());
        if run % 3 == 2 {
            // Once more, while the worker goes on with it.
            thread::sleep(Duration::from_millis(100));
            dev.kill();
            dev = Dev::start(args);
            assert_eq!(members(&dev), seen, "{told}: killed once more");
        }
        let staged = wait_for_the_worker(&store(&dev)).await;
        assert_eq!(members(&dev), seen, "{told}: after the worker");
        if !staged.is_empty() {
            assert_eq!(seen, scene.before, "{told}: it is not in force");
            dev = wait_for_an_hour(dev, args, staged).await;
            assert_eq!(members(&dev), seen, "{told}: after an hour");
        }
        assert_check_is_silent(&dev);
        if seen == scene.asked {
            self.applied += 1;
        } else {
            self.undone += 1;
        }
        dev.kill();
    }
}

#[tokio::test]
async fn a_large_change_is_whole_whenever_its_process_is_killed() {
    let scene = Scene::new();
    let mut whole = Duration::ZERO;
    let mut tally = Tally::default();
    // The first run measures how long the change takes. Its process is killed when it has answered.
    for run in 0..=RUNS {
        // The embedded table becomes slow with what was done in it, so each run has its own.
        let folder = copy(&scene.seeded);
        let args = ["--data-dir", folder.to_str().unwrap()];
        let dev = Dev::start(&args);
        assert_eq!(members(&dev), scene.before);
        let delay = (run > 0).then(|| whole * (run - 1) / RUNS);
        let (answer, took) = scene.send_and_kill(&dev, delay);
        if delay.is_none() {
            whole = took;
        }
        dev.kill();
        println!("run {run}: killed after {delay:?} of {whole:?}");
        tally.look_after_kill(&scene, &args, answer, run).await;
        std::fs::remove_dir_all(folder).unwrap();
    }
    println!("{RUNS} kills within {whole:?}: {tally:?}");
    // It died on both sides of the commit, and between the parts of what follows it.
    assert!(tally.applied > 1 && tally.undone > 0 && tally.unfinished > 0, "{tally:?}");
    std::fs::remove_dir_all(&scene.seeded).unwrap();
}
