//! The drill of failures (`make failure-drill`): the table is away, or throttles; a function is killed in a large
//! change; a deployment is wrong. Each is played minute by minute on a clock of the test. The alarms are those of the
//! template, on the metrics in the log lines and on those that AWS counts. Identity providers repeat what failed. At
//! the end nothing is lost: the checker and the feed show it. docs/runbook.md has the result as a table.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod drill_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};

use drill_support::alarms::{Datapoints, STACK, counted_by_aws, fired, rollback_alarms};
use rollcall::admin::key::{self, NewKey};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::authorizer::authorize;
use rollcall::auth::record::Scope;
use rollcall::clock;
use rollcall::deliver::bus::EventBus;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::Worker;
use rollcall::http::log::{Line, OperationClass};
use rollcall::http::service::invoke_with_event;
use rollcall::limits::DEFAULT_CHANGE_RETENTION_DAYS;
use rollcall::log::{self, LogFormat, RequestMetrics};
use rollcall::monitor::Monitor;
use rollcall::outbound::target::TargetRule;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;
use rollcall::tenants::message_resources::MessageResources;
use serde_json::{Value, json};
use support::client::{Client, user};
use support::faults::{Call, Fate, Proxy};
use support::feed::{check_feed, read_feed, sequence};
use support::receiver::{Reaction, Receiver};
use support::{Embedded, assert_consistent};

const RUNBOOK: &str = include_str!("../docs/runbook.md");

/// When the failure begins, in minutes. The minute before it is quiet.
const BEGIN: u64 = 5;

/// The second on the clock of AWS with which the drill begins: the begin of a period of five minutes.
fn epoch() -> u64 {
    clock::epoch_seconds() / 300 * 300
}

/// What happens to calls of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fine,
    /// No call arrives.
    Away,
    /// Every call is throttled.
    Throttled,
    /// The process ends after the transaction that commits a large change, or right before it.
    KilledAfterCommit,
    KilledBeforeCommit,
}

/// A deployment on a clock of its own.
struct Deployment {
    embedded: Embedded,
    proxy: Proxy,
    scim: Client,
    worker: Worker,
    monitor: Monitor,
    bearer: String,
    began: u64,
    /// The minute that is played.
    minute: Arc<Mutex<u64>>,
    weather: Arc<Mutex<Weather>>,
    /// Requests without a good answer, which the identity provider repeats.
    waiting: Vec<(&'static str, String, Value)>,
    bus: Receiver,
}

/// Writes a line about what AWS counts.
fn count(second: u64, namespace: &str, name: &str, dimensions: &[(&str, &str)]) {
    eprintln!("{}", counted_by_aws(second, namespace, name, dimensions));
}

impl Deployment {
    async fn start() -> Self {
        log::init(LogFormat::Json);
        let embedded = support::serve().await;
        let id = support::client::TENANT.parse().unwrap();
        let now = clock::now();
        tenant::create(&embedded.table, &NewTenant::new(&id, &VEZA, &"u".repeat(40)), now).await.unwrap();
        let new = NewKey {
            tenant: id,
            name: "Okta".to_owned(),
            scope: Scope::Provision,
            expires: None,
            user: None,
        };
        let (key, _) = key::create(&embedded.table, new, now).await.unwrap();
        let proxy = Proxy::before(&embedded.endpoint).await;
        let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
        let scim = Client::new(table, "veza").await;
        let bus = Receiver::start().await;
        bus.always(|_| Reaction::json(&json!({ "FailedEntryCount": 0, "Entries": [] })));
        let resources = MessageResources::new(&[], "http://app.example.com/app/v1".to_owned()).unwrap();
        let worker = Worker {
            bus: Some(EventBus::new(support::bus_client(&bus.url), "events".to_owned())),
            sender: MessageSender::new(TargetRule::Public).unwrap(),
            resources: Arc::new(resources),
            retention_days: DEFAULT_CHANGE_RETENTION_DAYS,
        };
        let bearer = format!("Bearer {}", key.reveal());
        let deployment = Self {
            embedded,
            proxy,
            scim,
            worker,
            monitor: Monitor::new(true),
            bearer,
            began: epoch(),
            minute: Arc::default(),
            weather: Arc::new(Mutex::new(Weather::Fine)),
            waiting: Vec::new(),
            bus,
        };
        deployment.decide();
        deployment
    }

    /// Lets the weather decide about each call.
    fn decide(&self) {
        let (weather, minute, began) = (self.weather.clone(), self.minute.clone(), self.began);
        let mut is_dead = false;
        self.proxy.decide(move |call: &Call| {
            let second = began + *minute.lock().unwrap() * 60;
            let of_table = [("TableName", "Table")];
            let is_commit =
                call.operation == "TransactWriteItems" && call.body.to_string().contains(":is_state");
            match *weather.lock().unwrap() {
                Weather::Fine => {
                    is_dead = false;
                    Fate::Pass
                }
                Weather::Away => Fate::Lost,
                Weather::Throttled => {
                    let is_write = call.operation.contains("Write")
                        || ["PutItem", "UpdateItem", "DeleteItem"].contains(&call.operation.as_str());
                    let name = if is_write { "WriteThrottleEvents" } else { "ReadThrottleEvents" };
                    count(second, "AWS/DynamoDB", name, &of_table);
                    Fate::Throttled
                }
                _ if is_dead => Fate::Lost,
                Weather::KilledAfterCommit => {
                    is_dead = is_commit;
                    Fate::Pass
                }
                Weather::KilledBeforeCommit => {
                    is_dead = is_commit;
                    if is_commit { Fate::Lost } else { Fate::Pass }
                }
            }
        });
    }

    fn second(&self) -> u64 {
        self.began + *self.minute.lock().unwrap() * 60
    }

    /// Runs a task at the minute that is played.
    async fn now<F: Future>(&self, task: F) -> F::Output {
        let ahead = i64::try_from(self.second()).unwrap() - time::OffsetDateTime::now_utc().unix_timestamp();
        Box::pin(clock::with_seconds_ahead(ahead, task)).await
    }

    fn failed(&self, function: &str) {
        count(self.second(), "AWS/Lambda", "Errors", &[("FunctionName", function)]);
    }

    /// Sends a request as API Gateway does; whether the answer was good. The authorizer is asked once a minute.
    async fn request(&self, method: &str, path: &str, body: &Value, asks_authorizer: bool) -> bool {
        let answered_5xx = || {
            let api = format!("{STACK}-scim");
            let dimensions = [("ApiName", api.as_str()), ("Stage", "StageName")];
            count(self.second(), "AWS/ApiGateway", "5XXError", &dimensions);
            false
        };
        if asks_authorizer {
            let checked = authorize(&self.scim.table, &self.bearer, time::OffsetDateTime::now_utc());
            if self.now(checked).await.is_err() {
                self.failed("AuthorizerFunction");
                return answered_5xx();
            }
        }
        let is_killed =
            |weather: Weather| matches!(weather, Weather::KilledAfterCommit | Weather::KilledBeforeCommit);
        let event = self.scim.event(method, path, Some(body.clone()), &[]);
        let answer = self.now(invoke_with_event(self.scim.function.clone(), event)).await.expect("an answer");
        let weather = *self.weather.lock().unwrap();
        if is_killed(weather) {
            // The process of the function has ended: API Gateway answers for it.
            self.failed("ScimFunction");
            *self.weather.lock().unwrap() = Weather::Fine;
            return answered_5xx();
        }
        let status = answer["statusCode"].as_u64().expect("a status");
        if status >= 500 {
            return answered_5xx();
        }
        // A repeated creation finds the user that an earlier attempt made.
        assert!(status < 300 || status == 409, "{method} {path}: {answer}");
        true
    }

    /// Plays a minute: the identity provider repeats what failed and sends this, and the worker runs.
    async fn play(&mut self, weather: Weather, requests: Vec<(&'static str, String, Value)>) {
        *self.weather.lock().unwrap() = weather;
        let mut all = std::mem::take(&mut self.waiting);
        all.extend(requests);
        for (at, (method, path, body)) in all.into_iter().enumerate() {
            if !self.request(method, &path, &body, at == 1).await {
                self.waiting.push((method, path, body));
            }
        }
        let table = self.scim.table.fresh();
        for event in [json!({ "Records": [] }), json!({})] {
            if let Err(failed) = self.now(self.worker.invoke(&table.fresh(), &event)).await {
                self.failed("WorkerFunction");
                eprintln!("{}", json!({ "message": "worker failed", "error": failed }));
            }
            self.now(self.monitor.measure_after(&table.fresh(), &event)).await;
        }
        *self.minute.lock().unwrap() += 1;
    }

    /// Asserts that nothing is lost: what was asked is there, the checker finds nothing, and the feed has every change.
    async fn assert_whole(&mut self, names: &BTreeSet<String>) {
        assert_eq!(self.waiting.len(), 0, "{:?}", self.waiting);
        let honest = Client::new(self.embedded.table.fresh(), "veza").await;
        let users = honest.get("/Users?count=200").await.expect(200);
        let found: BTreeSet<String> = users.body["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["displayName"].as_str().unwrap().to_owned())
            .collect();
        assert!(names.is_subset(&found), "{names:?} {found:?}");
        self.now(support::work(&honest)).await;
        sequence(&honest.table).await;
        assert_consistent(&honest).await;
        let feed = rollcall::admin::check::feed::check_feed(&honest.table, false).await.unwrap();
        assert_eq!(feed.findings, []);
        let changes = read_feed(&honest.table).await;
        check_feed(&changes);
        self.worker.invoke(&honest.table, &json!({ "Records": [] })).await.expect("a run of the worker");
        let told: BTreeSet<u64> = self.bus.received().iter().flat_map(numbers_of_entries).collect();
        assert_eq!(told, (1..=changes.len() as u64).collect(), "the bus has every change");
    }
}

/// The numbers of the changes that a call to the event bus has.
fn numbers_of_entries(message: &support::receiver::Message) -> Vec<u64> {
    let entries = message.json()["Entries"].as_array().cloned().unwrap_or_default();
    let detail = |entry: &Value| serde_json::from_str::<Value>(entry["Detail"].as_str().unwrap()).unwrap();
    entries.iter().map(|entry| detail(entry)["seq"].as_u64().expect("a number")).collect()
}

fn users(minute: u64) -> Vec<(&'static str, String, Value)> {
    (0..2).map(|number| ("POST", "/Users".to_owned(), user(&format!("u{minute}-{number}")))).collect()
}

/// Plays a failure of some minutes, and a quarter of an hour after it.
async fn outage(weather: Weather, minutes: u64) {
    let mut deployment = Deployment::start().await;
    let mut names = BTreeSet::new();
    for minute in 0..BEGIN + minutes + 15 {
        let is_failing = (BEGIN..BEGIN + minutes).contains(&minute);
        names.extend((0..2).map(|number| format!("u{minute}-{number}")));
        deployment.play(if is_failing { weather } else { Weather::Fine }, users(minute)).await;
    }
    deployment.assert_whole(&names).await;
}

#[tokio::test]
#[ignore = "it runs in a process of its own"]
async fn the_table_is_away_for_a_minute() {
    outage(Weather::Away, 1).await;
}

#[tokio::test]
#[ignore = "it runs in a process of its own"]
async fn the_table_throttles_for_ten_minutes() {
    outage(Weather::Throttled, 10).await;
}

/// Plays a large change whose process is killed, and the minutes after it.
async fn kill(weather: Weather) {
    let mut deployment = Deployment::start().await;
    let ids = Client::new(deployment.embedded.table.fresh(), "veza").await.users(0..60).await;
    let team = deployment.scim.group("Team", &ids[..2]).await;
    for minute in 0..BEGIN {
        deployment.play(Weather::Fine, users(minute)).await;
    }
    let members: Value = ids.iter().map(|id| json!({ "value": id })).collect();
    let change = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "members", "value": members }],
    });
    deployment.play(weather, vec![("PATCH", format!("/Groups/{team}"), change)]).await;
    assert_eq!(deployment.waiting.len(), 1, "the caller got an error");
    // A change that was not committed is given up after an hour.
    for step in 0..20 {
        deployment.play(Weather::Fine, if step < 3 { users(BEGIN + 1 + step) } else { Vec::new() }).await;
        if step > 4 {
            *deployment.minute.lock().unwrap() += 4;
        }
    }
    let left = deployment.scim.store().large_changes().list().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    deployment.assert_whole(&BTreeSet::new()).await;
    let group = deployment.scim.get(&format!("/Groups/{team}")).await.expect(200);
    assert_eq!(group.body["members"].as_array().unwrap().len(), 60);
}

#[tokio::test]
#[ignore = "it runs in a process of its own"]
async fn a_function_is_killed_after_the_commit() {
    kill(Weather::KilledAfterCommit).await;
}

#[tokio::test]
#[ignore = "it runs in a process of its own"]
async fn a_function_is_killed_before_the_commit() {
    kill(Weather::KilledBeforeCommit).await;
}

/// What a scenario has shown: the alarms, with the minutes after the begin of the failure.
fn play(test: &str) -> BTreeMap<String, u64> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("ROLLCALL_STACK", STACK)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{test}: {text}{}", String::from_utf8_lossy(&output.stdout));
    alarms_of(&text)
}

fn alarms_of(text: &str) -> BTreeMap<String, u64> {
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let data = Datapoints::of_lines(&lines);
    let first = lines.iter().filter_map(|line| line["_aws"]["Timestamp"].as_u64()).min().expect("metrics");
    let began = first / 300_000 * 300 + BEGIN * 60;
    fired(&data).into_iter().map(|(name, at)| (name, at.saturating_sub(began) / 60)).collect()
}

/// Runs the function of a deployment whose table is not named. Returns its exit status and what it said.
fn wrong_deployment() -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_scim"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("AWS_LAMBDA_FUNCTION_NAME", "scim")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "2")
        .env("AWS_REGION", "us-east-1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// The calls of a new version that does not start, while it gets a tenth of ten requests a minute.
fn alarms_of_wrong_deployment() -> BTreeMap<String, u64> {
    let (status, said) = wrong_deployment();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("ROLLCALL_TABLE"), "{said}");
    let began = epoch();
    let api = format!("{STACK}-scim");
    let mut lines = Vec::new();
    for minute in BEGIN..BEGIN + 5 {
        let second = began + minute * 60;
        lines.push(counted_by_aws(second, "AWS/Lambda", "Errors", &[("FunctionName", "ScimFunction")]));
        let dimensions = [("ApiName", api.as_str()), ("Stage", "StageName")];
        lines.push(counted_by_aws(second, "AWS/ApiGateway", "5XXError", &dimensions));
    }
    let begin = began + BEGIN * 60;
    fired(&Datapoints::of_lines(&lines)).into_iter().map(|(name, at)| (name, (at - begin) / 60)).collect()
}

/// The row of the runbook about a scenario.
fn row(name: &str, alarms: &BTreeMap<String, u64>) -> String {
    let mut by_time: Vec<(&u64, &String)> = alarms.iter().map(|(name, minute)| (minute, name)).collect();
    by_time.sort();
    let alarms: Vec<String> = by_time
        .iter()
        .map(|(minute, name)| format!("[{name}](#{}) ({minute} min)", name.to_ascii_lowercase()))
        .collect();
    format!("| {name} | {} |", alarms.join(", "))
}

#[test]
fn failures_raise_their_alarms_and_lose_nothing() {
    let scenarios = [
        ("DynamoDB does not answer for a minute", "the_table_is_away_for_a_minute"),
        ("DynamoDB throttles every call for ten minutes", "the_table_throttles_for_ten_minutes"),
        ("a function is killed after the commit of a large change", "a_function_is_killed_after_the_commit"),
        ("a function is killed before that commit", "a_function_is_killed_before_the_commit"),
    ];
    let mut rows: Vec<(&str, BTreeMap<String, u64>)> = std::thread::scope(|scope| {
        let running = scenarios.map(|(name, test)| (name, scope.spawn(move || play(test))));
        running.into_iter().map(|(name, played)| (name, played.join().expect("a drill"))).collect()
    });
    rows.push(("a new version does not start", alarms_of_wrong_deployment()));
    for (name, alarms) in &rows {
        println!("{}", row(name, alarms));
    }
    for (name, alarms) in &rows {
        assert!(!alarms.is_empty(), "{name}: no alarm");
        let row = row(name, alarms);
        assert!(RUNBOOK.contains(&row), "docs/runbook.md has not this row:\n{row}");
        for alarm in alarms.keys() {
            assert!(RUNBOOK.contains(&format!("\n### {alarm}\n")), "docs/runbook.md has no section {alarm}");
        }
    }
    // The alarms of a wrong deployment are those that move it back.
    let back = rollback_alarms("ScimFunction");
    assert_eq!(rows[4].1.keys().cloned().collect::<BTreeSet<_>>(), back);
}

/// The API and the stage in the metrics of API Gateway.
const SCIM: [(&str, &str); 2] = [("ApiName", "rollcall-scim"), ("Stage", "StageName")];
const TOKENS: [(&str, &str); 2] = [("ApiName", "rollcall-oauth"), ("Stage", "oauth2")];

/// What is counted of an answer of 5xx: by the function in its line, if it answered, and by API Gateway.
fn counted(line: Option<&Line>, api: &[(&str, &str)]) -> Vec<Value> {
    let line = line.map(|line| json!(line.for_machines(Some(STACK), RequestMetrics::ForAlarms)));
    let written = line.as_ref().and_then(|line| line["_aws"]["Timestamp"].as_u64());
    let second = written.map_or_else(clock::epoch_seconds, |milliseconds| milliseconds / 1_000);
    line.into_iter().chain([counted_by_aws(second, "AWS/ApiGateway", "5XXError", api)]).collect()
}

/// The names of the alarms that fire.
fn names_of_fired(lines: &[&[Value]]) -> Vec<String> {
    fired(&Datapoints::of_lines(lines.iter().copied().flatten())).into_keys().collect()
}

#[tokio::test]
async fn an_answer_that_is_no_fault_of_the_service_fires_no_alarm() {
    let embedded = support::serve().await;
    let proxy = Proxy::before(&embedded.endpoint).await;
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    let client = Client::new(table, "veza").await;
    let mut excused = Vec::new();
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let refused = client.send(method, "/Me", Some(user("me")), &[]).await.expect(501);
        assert_eq!(json!(refused.line.for_machines(None, RequestMetrics::All))["level"], "INFO");
        excused.extend(counted(Some(&refused.line), &SCIM));
    }
    assert_eq!(names_of_fired(&[&excused]), [""; 0]);

    proxy.decide(|_: &Call| Fate::Denied);
    let failed = client.get(&format!("/Users/{}", uuid::Uuid::now_v7())).await;
    assert!(failed.status >= 500 && failed.status != 501, "{}", failed.body);
    assert_eq!(json!(failed.line.for_machines(None, RequestMetrics::All))["level"], "ERROR");
    let failed = counted(Some(&failed.line), &SCIM);
    // API Gateway answers 502 for a function that ended.
    for fault in [failed, counted(None, &SCIM)] {
        assert_eq!(names_of_fired(&[&fault]), ["ScimApi5xxAlarm"]);
        assert_eq!(names_of_fired(&[&excused, &fault]), ["ScimApi5xxAlarm"]);
    }
}

#[test]
fn an_issuer_that_is_down_fires_no_alarm_and_hides_no_fault() {
    let answer = |class, status, is_excused| Line { class, status, is_excused, ..Line::default() };
    let issuer_down = counted(Some(&answer(OperationClass::Token, 503, true)), &TOKENS);
    let failed = counted(Some(&answer(OperationClass::Token, 503, false)), &TOKENS);
    let of_scim = counted(Some(&answer(OperationClass::Read, 500, false)), &SCIM);
    assert_eq!(names_of_fired(&[&issuer_down]), [""; 0]);
    assert_eq!(names_of_fired(&[&failed]), ["OAuthApi5xxAlarm"]);
    assert_eq!(names_of_fired(&[&issuer_down, &failed]), ["OAuthApi5xxAlarm"]);
    // An excused answer of one API is not subtracted from the faults of the other.
    assert_eq!(names_of_fired(&[&issuer_down, &of_scim]), ["ScimApi5xxAlarm"]);
    let me = counted(Some(&answer(OperationClass::Read, 501, true)), &SCIM);
    assert_eq!(names_of_fired(&[&me, &failed]), ["OAuthApi5xxAlarm"]);
}

#[test]
fn alarms_need_as_many_periods_as_they_say() {
    let at = |minutes: &[u64]| {
        let line = |minute: &u64| {
            counted_by_aws(minute * 60, "AWS/Lambda", "Errors", &[("FunctionName", "WorkerFunction")])
        };
        fired(&Datapoints::of_lines(&minutes.iter().map(line).collect::<Vec<_>>()))
    };
    // Three of five periods of five minutes.
    assert_eq!(at(&[0, 1, 2, 5, 6]), BTreeMap::new());
    assert_eq!(at(&[0, 5, 10]), BTreeMap::from([("WorkerErrorsAlarm".to_owned(), 900)]));
    assert_eq!(at(&[0, 5, 30]), BTreeMap::new());
    // Five minutes one after another above two minutes.
    let lag = |minutes: &[u64]| {
        let line = |minute: &u64| {
            json!({ "Stack": STACK, "FeedLagSeconds": 130.0, "_aws": { "Timestamp": minute * 60_000,
                "CloudWatchMetrics": [{ "Namespace": "Rollcall", "Dimensions": [["Stack"]],
                    "Metrics": [{ "Name": "FeedLagSeconds", "Unit": "Seconds" }] }] } })
        };
        fired(&Datapoints::of_lines(&minutes.iter().map(line).collect::<Vec<_>>()))
    };
    assert_eq!(lag(&[0, 1, 2, 3]), BTreeMap::new());
    assert_eq!(lag(&[0, 1, 2, 3, 4]), BTreeMap::from([("FeedLagAlarm".to_owned(), 300)]));
}
