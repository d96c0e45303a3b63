//! Two releases serve one table at the same time, as they do while a deployment moves requests in steps. Requests,
//! runs of the worker and checks of keys go to one and to the other in turn. What one leaves unfinished, the other
//! finishes. At the end the checker, the feed and the event bus show that nothing is lost.
//!
//! OLD_BIN names a folder with the programs of the other release (`make upgrade-test OLD=<git revision>` builds them).
//! Without it, both are the programs of this release.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall::admin::check::feed::check_feed as check_feed_of_table;
use rollcall::config::EMAIL_LOOKUPS;
use rollcall::store::call::Table;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::feed::{check_feed, members_by_feed, read_feed, sequence};
use crate::support::lambda::{Lambda, Posted};
use crate::support::receiver::{Message, Reaction, Receiver};
use crate::support::{Embedded, assert_consistent};

/// How long a function may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folders with the programs of the old release and of this one.
fn folders() -> [PathBuf; 2] {
    let own = Path::new(env!("CARGO_BIN_EXE_scim")).parent().expect("a folder").to_owned();
    let old = std::env::var("OLD_BIN").ok().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    [old.unwrap_or_else(|| own.clone()), own]
}

/// Runs the operator's tool of a release; what it printed.
async fn tool(folder: &Path, endpoint: &str, command: &str) -> Value {
    let mut tool = Command::new(folder.join("rollcall"));
    tool.args(command.split(' ')).args(["--table", support::TABLE, "--endpoint-url", endpoint, "--json"]);
    tool.env("AWS_EC2_METADATA_DISABLED", "true");
    let output = tokio::task::spawn_blocking(move || tool.output()).await.unwrap().expect("the tool");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{command}: {said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The functions of one release.
struct Release {
    folder: PathBuf,
    scim: Lambda,
    authorizer: Lambda,
    worker: Lambda,
    /// Before the table of the scim function.
    proxy: Proxy,
}

/// What a function answered to a request.
#[derive(Debug)]
struct Answer {
    status: u64,
    headers: Value,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u64) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }
}

impl Release {
    /// `email_lookups` are those that the scim function writes.
    async fn start(folder: &Path, email_lookups: &str, embedded: &Embedded, bus: &Receiver) -> Self {
        let proxy = Proxy::before(&embedded.endpoint).await;
        let bus = bus.url.trim_end_matches("/hook");
        let of_worker = [
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus),
            ("ROLLCALL_EVENT_BUS", "events"),
            ("ROLLCALL_APP_URL", "https://app.example.com/app/v1"),
        ];
        Self {
            folder: folder.to_owned(),
            scim: Lambda::run(&folder.join("scim"), &proxy.endpoint, &[(EMAIL_LOOKUPS, email_lookups)]).await,
            authorizer: Lambda::run(&folder.join("authorizer"), &embedded.endpoint, &[]).await,
            worker: Lambda::run(&folder.join("worker"), &embedded.endpoint, &of_worker).await,
            proxy,
        }
    }

    async fn send(&mut self, client: &Client, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_with(client, (method, path), body, &[]).await
    }

    async fn send_with(
        &mut self,
        client: &Client,
        (method, path): (&str, &str),
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let posted =
            invoke(&mut self.scim, client.event(method, path, body, headers)).await.expect("an answer");
        let text = posted["body"].as_str().unwrap_or_default();
        let body = match posted["isBase64Encoded"].as_bool() {
            Some(true) => STANDARD.decode(text).expect("base64"),
            _ => text.as_bytes().to_vec(),
        };
        Answer {
            status: posted["statusCode"].as_u64().expect("a status"),
            headers: posted["multiValueHeaders"].clone(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    /// Whether the authorizer lets a key pass.
    async fn allows(&mut self, key: &str) -> bool {
        let arn = "arn:aws:execute-api:us-east-1:123456789012:api/prod/GET/scim/v2/Users";
        let event =
            json!({ "type": "TOKEN", "authorizationToken": format!("Bearer {key}"), "methodArn": arn });
        let answer = invoke(&mut self.authorizer, event).await.expect("a decision");
        let statement = &answer["policyDocument"]["Statement"];
        let effect = statement.get(0).unwrap_or(statement)["Effect"].as_str().expect("an effect");
        effect == "Allow"
    }

    /// Runs the worker as each minute does.
    async fn work(&mut self) {
        for event in [json!({ "Records": [] }), json!({})] {
            let report = invoke(&mut self.worker, event).await;
            assert!(report.is_ok(), "the worker of {}: {report:?}", self.folder.display());
        }
    }

    /// Lets the process of the scim function lose the table right after its next commit of a large change, as if it
    /// were killed.
    fn lose_table_after_commit(&self) {
        let mut is_lost = false;
        self.proxy.decide(move |call: &Call| {
            if is_lost {
                return Fate::Lost;
            }
            let body = call.body.to_string();
            // The transaction that commits a staged change, or that deletes a large group.
            is_lost = call.operation == "TransactWriteItems"
                && (body.contains(":is_state") || body.contains("WORK#"));
            Fate::Pass
        });
    }

    fn find_table_again(&self) {
        self.proxy.decide(|_: &Call| Fate::Pass);
    }
}

/// Invokes a function. `Err` has what it posted as an error.
async fn invoke(function: &mut Lambda, event: Value) -> Result<Value, String> {
    let posted = tokio::time::timeout(PATIENCE, function.invoke(event)).await.expect("an answer in time");
    let Posted { head, body, .. } = posted;
    if head.lines().next().is_some_and(|line| line.contains("/response")) {
        return Ok(serde_json::from_slice(&body).expect("JSON"));
    }
    Err(String::from_utf8_lossy(&body).into_owned())
}

fn members(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

fn patch(op: &str, path: &str, value: Value) -> Option<Value> {
    let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
    Some(json!({ "schemas": schemas, "Operations": [{ "op": op, "path": path, "value": value }] }))
}

/// Both releases on one table, and who plays next.
struct Scene {
    releases: [Release; 2],
    client: Client,
    turn: usize,
}

impl Scene {
    /// The release whose turn it is.
    fn next(&mut self) -> &mut Release {
        self.turn += 1;
        &mut self.releases[self.turn % 2]
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let client = self.client.clone();
        self.next().send(&client, method, path, body).await
    }

    /// Both workers, at the same time.
    async fn work(&mut self) {
        let [old, new] = &mut self.releases;
        tokio::join!(old.work(), new.work());
    }

    /// Each release makes users, and the other reads, changes, deletes and brings them back.
    async fn play_users(&mut self) -> Vec<String> {
        let mut ids = Vec::new();
        for number in 0..61 {
            ids.push(self.send("POST", "/Users", Some(user(&format!("u{number}")))).await.expect(201).id());
        }
        for (number, id) in ids.iter().enumerate().take(12) {
            let path = format!("/Users/{id}");
            let read = self.send("GET", &path, None).await.expect(200);
            let tag = read.headers["etag"][0].as_str().expect("an ETag").to_owned();
            let client = self.client.clone();
            let change = patch("add", "title", format!("t{number}").into());
            let known = [("If-Match", tag.as_str())];
            self.next().send_with(&client, ("PATCH", &path), change.clone(), &known).await.expect(200);
            // The tag is that of an earlier version now, for both.
            self.next().send_with(&client, ("PATCH", &path), change, &known).await.expect(412);
            let mut renamed = user(&format!("u{number}"));
            renamed["displayName"] = format!("Renamed {number}").into();
            self.send("PUT", &path, Some(renamed)).await.expect(200);
        }
        // Each release finds by email whom the other made and renamed. The email follows the name.
        for (number, id) in ids.iter().enumerate().skip(12).take(8) {
            let names = [format!("u{number}@example.com"), format!("other{number}@example.com")];
            for (now, next) in [(&names[0], &names[1]), (&names[1], &names[0])] {
                for _ in 0..2 {
                    let filter = format!("/Users?filter=emails eq \"{now}\"");
                    let found = self.send("GET", &filter, None).await.expect(200);
                    assert_eq!(found.body["Resources"][0]["id"], id.as_str(), "{now}");
                }
                if number % 4 < 2 {
                    self.next();
                }
                let rename = patch("replace", "userName", next.as_str().into());
                self.send("PATCH", &format!("/Users/{id}"), rename).await.expect(200);
            }
        }
        for (number, id) in ids.iter().enumerate().take(3) {
            let path = format!("/Users/{id}");
            self.send("DELETE", &path, None).await.expect(204);
            self.send("GET", &path, None).await.expect(404);
            let back = self.send("POST", "/Users", Some(user(&format!("u{number}")))).await.expect(201).id();
            assert_eq!(back, *id, "the account comes back under its id");
        }
        ids
    }

    /// Pages that one release begins and the other goes on with.
    async fn play_pages(&mut self) {
        for query in ["count=7&cursor=", "count=7&sortBy=userName&cursor="] {
            let (mut cursor, mut found) = (String::new(), 0);
            loop {
                let page = self.send("GET", &format!("/Users?{query}{cursor}"), None).await.expect(200);
                found += page.body["Resources"].as_array().expect("users").len();
                let Some(next) = page.body["nextCursor"].as_str() else { break };
                cursor = next.to_owned();
            }
            assert_eq!(found, 62, "{query}");
        }
        let mut found = 0;
        for start in (1..=62).step_by(9) {
            let page =
                self.send("GET", &format!("/Users?count=9&startIndex={start}"), None).await.expect(200);
            found += page.body["Resources"].as_array().expect("users").len();
        }
        assert_eq!(found, 62);
    }

    /// Groups that both change, and large changes that one commits and the other finishes.
    async fn play_groups(&mut self, ids: &[String]) {
        let team =
            self.send("POST", "/Groups", Some(json!({ "displayName": "Team" }))).await.expect(201).id();
        let path = format!("/Groups/{team}?excludedAttributes=members");
        for pair in ids[..20].chunks(2) {
            self.send("PATCH", &path, patch("add", "members", members(pair))).await.expect(200);
        }
        for pair in ids[..8].chunks(2) {
            self.send("PATCH", &path, patch("remove", "members", members(pair))).await.expect(200);
        }
        let client = self.client.clone();
        // Each release begins one, and each finishes one: by a request that changes the group, and by the worker.
        for (beginner, by_worker) in [(0, true), (1, true), (0, false), (1, false)] {
            let name = format!("Large {beginner} {by_worker}");
            let group = json!({ "displayName": name, "members": members(&ids[..2]) });
            let group = self.send("POST", "/Groups", Some(group)).await.expect(201).id();
            let path = format!("/Groups/{group}");
            let release = &mut self.releases[beginner];
            release.lose_table_after_commit();
            let answer =
                release.send(&client, "PATCH", &path, patch("replace", "members", members(ids))).await;
            assert!(answer.status == 204 || answer.status >= 500, "{answer:?}");
            let pending = client.store().large_changes().list().await.unwrap();
            assert!(!pending.is_empty(), "nothing is unfinished: {answer:?}");
            let other = &mut self.releases[1 - beginner];
            let seen = other.send(&client, "GET", &path, None).await.expect(200);
            assert_eq!(seen.body["members"].as_array().map(Vec::len), Some(ids.len()), "it is in force");
            if by_worker {
                other.work().await;
            } else {
                let change = patch("remove", "members", members(&ids[..1]));
                other.send(&client, "PATCH", &path, change).await.expect(200);
            }
            self.releases[beginner].find_table_again();
            self.work().await;
            let pending = client.store().large_changes().list().await.unwrap();
            assert!(pending.iter().all(|change| change.in_grace_period()), "{pending:?}");
            // A deletion of the large group, begun by this release and finished by the other.
            if by_worker {
                self.releases[beginner].lose_table_after_commit();
                self.releases[beginner].send(&client, "DELETE", &path, None).await;
                self.releases[1 - beginner].work().await;
                self.releases[beginner].find_table_again();
                self.send("GET", &path, None).await.expect(404);
            }
        }
    }

    /// Keys that the tool of one release makes and revokes, for the authorizers of both.
    async fn play_keys(&mut self, endpoint: &str) {
        for maker in [0, 1] {
            let folders = [0, 1].map(|at: usize| self.releases[at].folder.clone());
            let made = tool(&folders[maker], endpoint, &format!("key create acme --name k{maker}")).await;
            let [key, id] = ["key", "keyId"].map(|name| made[name].as_str().expect("a text").to_owned());
            for release in &mut self.releases {
                assert!(release.allows(&key).await, "{}", release.folder.display());
            }
            tool(&folders[1 - maker], endpoint, &format!("key revoke acme {id}")).await;
            for release in &mut self.releases {
                assert!(!release.allows(&key).await, "{}", release.folder.display());
            }
        }
    }
}

/// The numbers of the changes in a call to the event bus.
fn numbers(message: &Message) -> Vec<u64> {
    let entries = message.json()["Entries"].as_array().cloned().unwrap_or_default();
    let detail = |entry: &Value| serde_json::from_str::<Value>(entry["Detail"].as_str().unwrap()).unwrap();
    entries.iter().map(|entry| detail(entry)["seq"].as_u64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_releases_serve_one_table() {
    let [old, new] = folders();
    let embedded = support::serve().await;
    let bus = Receiver::start().await;
    bus.always(|_| Reaction::json(&json!({ "FailedEntryCount": 0, "Entries": [] })));
    // The old release makes the tenant.
    tool(&old, &embedded.endpoint, "tenant create acme").await;
    // A release that follows one which finds people in both forms may write either.
    let form = if old == new { "unclaimed" } else { "all" };
    let releases = [
        Release::start(&old, "all", &embedded, &bus).await,
        Release::start(&new, form, &embedded, &bus).await,
    ];
    let honest = Table::new(support::client(&embedded.endpoint), support::TABLE);
    let client = Client::new(honest, "veza").await;
    let mut scene = Scene { releases, client: client.clone(), turn: 0 };

    let ids = Box::pin(scene.play_users()).await;
    scene.work().await;
    Box::pin(scene.play_pages()).await;
    Box::pin(scene.play_groups(&ids)).await;
    Box::pin(scene.play_keys(&embedded.endpoint)).await;
    scene.work().await;

    // The checkers of both releases, and the feed.
    support::work(&client).await;
    sequence(&client.table).await;
    assert_consistent(&client).await;
    assert_eq!(check_feed_of_table(&client.table, false).await.unwrap().findings, []);
    tool(&old, &embedded.endpoint, "check acme").await;
    let changes = read_feed(&client.table).await;
    check_feed(&changes);
    let groups = client.get("/Groups?count=200").await.expect(200);
    let by_feed = members_by_feed(&changes);
    for group in groups.body["Resources"].as_array().unwrap() {
        let members = group["members"].as_array().into_iter().flatten();
        let members: BTreeSet<String> =
            members.map(|member| member["value"].as_str().unwrap().to_owned()).collect();
        assert_eq!(by_feed[group["id"].as_str().unwrap()], members, "{}", group["displayName"]);
    }
    scene.releases[0].work().await;
    let told: Vec<u64> = bus.received().iter().flat_map(numbers).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), (1..=changes.len() as u64).collect());
    println!("{} changes by two releases: {} and {}", changes.len(), old.display(), new.display());
}
