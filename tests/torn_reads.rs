//! Readers beside writers while transactions are torn: whatever a reader is shown was the truth at some
//! moment.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::{Client, Reply, user};
use support::serve_torn;
use support::torn::Tearing;
use tokio::task::JoinSet;

fn values(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

fn members_of(group: &Value) -> BTreeSet<String> {
    let members = group["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
}

fn version_of(group: &Value) -> u64 {
    let version = group["meta"]["version"].as_str().unwrap();
    version.trim_start_matches("W/\"").trim_end_matches('"').parse().unwrap()
}

/// Sends a change until it is made.
async fn insist(client: &Client, method: &str, path: &str, body: Option<Value>) -> Reply {
    for _ in 0..50 {
        let reply = client.send(method, path, body.clone(), &[]).await;
        if ![409, 503].contains(&reply.status) {
            return reply;
        }
    }
    panic!("{method} {path} never succeeds");
}

fn operations(operations: Value) -> Option<Value> {
    Some(json!({ "Operations": operations }))
}

/// Who reads while others write; ends when the writers do.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<usize>,
}

impl Readers {
    fn new() -> Self {
        Self { stop: Arc::default(), tasks: JoinSet::new() }
    }

    /// Reads again and again.
    fn read<F>(&mut self, client: &Client, look: impl Fn(Client) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, client) = (self.stop.clone(), client.clone());
        self.tasks.spawn(async move {
            let mut looks = 0;
            while !stop.load(Ordering::SeqCst) {
                Box::pin(look(client.clone())).await;
                looks += 1;
            }
            looks
        });
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for looks in self.tasks.join_all().await {
            assert!(looks > 2, "{looks} looks");
        }
    }
}

/// A group is shown with the members of its version, by GET and in a list; versions do not go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_shown_in_one_version() {
    for seed in 1..=2 {
        let embedded = serve_torn(None).await;
        let client = Client::new(embedded.table.clone(), "standard").await;
        let ids = client.users(0..130).await;
        let group = client.group("Team", &ids[..2]).await;
        let path = format!("/Groups/{group}");
        embedded.tear(Tearing { longest: Duration::from_millis(30), ..Tearing::short(seed) }).await;
        let truth = Arc::new(Mutex::new(BTreeMap::from([(1, ids[..2].iter().cloned().collect())])));
        let shown = Arc::new(Mutex::new(Vec::<(u64, BTreeSet<String>)>::new()));
        let mut readers = Readers::new();
        let list = format!("/Groups?filter=id eq \"{group}\"");
        let named = "/Groups?filter=displayName eq \"Team\"".to_owned();
        for look in [path.clone(), list, named] {
            let (shown, last) = (shown.clone(), Arc::new(Mutex::new(0)));
            readers.read(&client, move |client| {
                let (look, shown, last) = (look.clone(), shown.clone(), last.clone());
                async move {
                    let reply = client.get(&look).await;
                    if reply.status == 409 {
                        return;
                    }
                    let reply = reply.expect(200);
                    let found = reply.body.get("Resources").map_or(&reply.body, |all| &all[0]);
                    assert!(found.is_object(), "{look}: {}", reply.body);
                    let version = version_of(found);
                    let before = std::mem::replace(&mut *last.lock().unwrap(), version);
                    assert!(before <= version, "{look}: {before}, then {version}");
                    shown.lock().unwrap().push((version, members_of(found)));
                }
            });
        }
        let mut now: BTreeSet<String> = ids[..2].iter().cloned().collect();
        for (at, (op, some)) in [
            ("add", &ids[2..10]),
            ("remove", &ids[1..5]),
            ("add", &ids[10..110]),
            ("remove", &ids[20..100]),
            ("add", &ids[2..3]),
            ("add", &ids[60..130]),
        ]
        .into_iter()
        .enumerate()
        {
            let change = operations(json!([{ "op": op, "path": "members", "value": values(some) }]));
            let reply = insist(&client, "PATCH", &path, change).await;
            assert!([200, 204].contains(&reply.status), "{}", reply.body);
            for id in some {
                if op == "add" {
                    now.insert(id.clone())
                } else {
                    now.remove(id)
                };
            }
            truth.lock().unwrap().insert(at as u64 + 2, now.clone());
        }
        readers.end().await;
        let (truth, shown) = (truth.lock().unwrap(), shown.lock().unwrap());
        for (version, members) in shown.iter() {
            let expected: &BTreeSet<String> = &truth[version];
            let more: Vec<_> = members.difference(expected).collect();
            let less: Vec<_> = expected.difference(members).collect();
            assert!(more.is_empty() && less.is_empty(), "{version}: {more:?} more, {less:?} less");
        }
        support::work(&client).await;
        support::assert_consistent(&client).await;
    }
}

/// Whoever is told that a name is taken finds who has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_taken_is_found() {
    for policy in ["standard", "veza"] {
        let embedded = serve_torn(None).await;
        let client = Client::new(embedded.table.clone(), policy).await;
        embedded.tear(Tearing { longest: Duration::from_millis(200), ..Tearing::short(5) }).await;
        for at in 0..6 {
            let name = format!("u{at}");
            let maker = {
                let (client, name) = (client.clone(), name.clone());
                tokio::spawn(async move { client.post("/Users", user(&name)).await.status })
            };
            let mut taken = 0;
            let until = Instant::now() + Duration::from_secs(10);
            while taken < 3 && Instant::now() < until {
                let reply = insist_on_name(&client, &name).await;
                if reply.status == 201 {
                    break;
                }
                assert_eq!(reply.body["scimType"], "uniqueness", "{}", reply.body);
                taken += 1;
                let found = client.get(&format!("/Users?filter=userName eq \"{name}@example.com\"")).await;
                let found = found.expect(200).body;
                assert_eq!(found["totalResults"], 1, "{policy}: {name} is taken and not found");
            }
            assert!([201, 409].contains(&maker.await.unwrap()));
        }
    }
}

/// Creates a user, until the name is found to be free or taken.
async fn insist_on_name(client: &Client, name: &str) -> Reply {
    loop {
        let reply = client.post("/Users", user(name)).await;
        if reply.status != 409 || reply.body["scimType"] == "uniqueness" {
            return reply;
        }
    }
}
