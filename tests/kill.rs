//! The real process is killed with SIGKILL in the middle of a change of a thousand members, and
//! started again on the same folder.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rollcall::dev::seed::{group_id, user_id};
use rollcall::store::Store;
use rollcall::store::call::Table;
use rollcall::store::work::{Pending, State};
use serde_json::{Value, json};
use support::dev::{Dev, TOOL, folder};

/// So many come and as many go.
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
async fn wait_for_the_worker(store: &Store) -> Vec<Pending> {
    let began = Instant::now();
    loop {
        let pending = store.pending_changes().await.expect("the pending changes");
        if pending.iter().all(|change| change.state == State::Staged) {
            return pending;
        }
        assert!(began.elapsed() < WORKER, "the worker has not finished: {pending:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same for a change that is not in force and that an hour makes void: it is made an hour old,
/// and the process started again, since the worker's next round is a minute away.
async fn wait_for_an_hour(mut dev: Dev, args: &[&str], staged: Vec<Pending>) -> Dev {
    let table = store(&dev).table;
    for mut change in staged {
        change.created = 0;
        table.put(&change.key(), change.attributes()).await.expect("a write");
    }
    dev.kill();
    dev = Dev::start(args);
    let (began, store) = (Instant::now(), store(&dev));
    while !store.pending_changes().await.expect("the pending changes").is_empty() {
        assert!(began.elapsed() < WORKER, "the worker has not given it up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    dev
}

/// A folder as another one is; nobody has it open.
fn copy(from: &Path) -> PathBuf {
    let to = folder();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

#[tokio::test]
async fn a_large_change_is_whole_whenever_its_process_is_killed() {
    let seeded = folder();
    let (users, first) = ((2 * HALF).to_string(), HALF.to_string());
    let seed = ["--seed-users", &users, "--seed-members", &first];
    let (status, log) = Dev::start(&[&["--data-dir", seeded.to_str().unwrap()], &seed[..]].concat()).end();
    assert_eq!(status, Some(0), "{log}");
    let ids: Vec<String> = (1..=2 * HALF).map(|number| user_id(number).to_string()).collect();
    let values = |ids: &[String]| ids.iter().map(|id| json!({ "value": id })).collect::<Value>();
    let set = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<String>>();
    let (before, asked) = (set(&ids[..HALF]), set(&ids[HALF..]));
    let path = format!("/Groups/{}", group_id());
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [
            { "op": "remove", "path": "members", "value": values(&ids[..HALF]) },
            { "op": "add", "path": "members", "value": values(&ids[HALF..]) }
        ]
    });
    let body = body.to_string().into_bytes();

    let mut whole = Duration::ZERO;
    let (mut applied, mut undone, mut unfinished) = (0, 0, 0);
    // The first run measures how long the change takes; it is killed when it has answered.
    for run in 0..=RUNS {
        // The embedded table becomes slow with what was done in it: each run has its own.
        let folder = copy(&seeded);
        let args = ["--data-dir", folder.to_str().unwrap(), "--rate-limit", "off"];
        let mut dev = Dev::start(&args);
        assert_eq!(members(&dev), before);
        let delay = (run > 0).then(|| whole * (run - 1) / RUNS);
        let began = Instant::now();
        let answer = thread::scope(|scope| {
            let request = scope.spawn(|| dev.try_send("PATCH", &path, &body));
            let Some(delay) = delay else {
                let answer = request.join().unwrap();
                whole = began.elapsed();
                dev.signal("-KILL");
                return answer;
            };
            thread::sleep(delay);
            dev.signal("-KILL");
            request.join().unwrap()
        });
        assert!(delay.is_some() || answer.is_some(), "nothing was answered");
        dev.kill();

        dev = Dev::start(&args);
        let seen = members(&dev);
        let told = format!("killed after {delay:?} of {whole:?}: {} members", seen.len());
        assert!(seen == before || seen == asked, "{told}");
        if let Some(answer) = answer {
            assert_eq!((answer.status, &seen), (204, &asked), "{told}: it was answered");
        }
        unfinished += usize::from(!store(&dev).pending_changes().await.unwrap().is_empty());
        if run % 3 == 2 {
            // Once more, while the worker goes on with it.
            thread::sleep(Duration::from_millis(100));
            dev.kill();
            dev = Dev::start(&args);
            assert_eq!(members(&dev), seen, "{told}: killed once more");
        }
        let staged = wait_for_the_worker(&store(&dev)).await;
        assert_eq!(members(&dev), seen, "{told}: after the worker");
        if !staged.is_empty() {
            assert_eq!(seen, before, "{told}: it is not in force");
            dev = wait_for_an_hour(dev, &args, staged).await;
            assert_eq!(members(&dev), seen, "{told}: after an hour");
        }
        assert_check_is_silent(&dev);
        if seen == asked {
            applied += 1
        } else {
            undone += 1
        }
        dev.kill();
        std::fs::remove_dir_all(folder).unwrap();
    }
    println!("{RUNS} kills within {whole:?}: {applied} applied, {undone} undone, {unfinished} unfinished");
    // It died on both sides of the commit, and between the parts of what follows it.
    assert!(applied > 1 && undone > 0 && unfinished > 0, "{applied}, {undone}, {unfinished}");
    std::fs::remove_dir_all(seeded).unwrap();
}
