//! The log: the line of a panic, and the metrics in the lines of requests and of the worker.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use rollcall::app::function::AppFunction;
use rollcall::dev::gateway::lambda::{Fault, Lambda};
use rollcall::limits::EXPIRING_KEYS_HOUR;
use rollcall::log::metrics::Metric;
use rollcall::log::{self, LogFormat, RequestMetrics};
use rollcall::monitor::{Monitor, expiring_keys};
use rollcall::scim::resource_type::Kind;
use rollcall::store::call::Table;
use rollcall::store::feed::consumer::{BUS, ConsumerState};
use rollcall::store::feed::reader::FeedReader;
use rollcall::store::item::{key_of, text};
use rollcall::store::keys;
use rollcall::store::webhook::Webhook;
use rollcall::store::worker;
use rollcall::tenants::actor::Actor;
use rollcall::tenants::key::{self, NewKey};
use rollcall::{auth, clock};
use serde_json::{Value, json};
use support::client::{Client, user};
use support::dev::Dev;
use support::faults::{Call, Fate, Proxy};
use time::{Duration, OffsetDateTime};

const STACK: &str = "acme-scim";

/// The embedded metric format, after "Specification: Embedded metric format" in the CloudWatch user guide.
fn metric_format() -> Value {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 1024 });
    let units = ["Seconds", "Milliseconds", "Count"];
    json!({
        "type": "object",
        "required": ["_aws"],
        "properties": { "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": false,
            "properties": {
                "Timestamp": { "type": "integer", "minimum": 1 },
                "CloudWatchMetrics": { "type": "array", "minItems": 1, "items": {
                    "type": "object",
                    "required": ["Namespace", "Dimensions", "Metrics"],
                    "additionalProperties": false,
                    "properties": {
                        "Namespace": { "type": "string", "minLength": 1, "maxLength": 1024 },
                        "Dimensions": { "type": "array", "minItems": 1, "items": {
                            "type": "array", "maxItems": 30, "items": name
                        } },
                        "Metrics": { "type": "array", "minItems": 1, "maxItems": 100, "items": {
                            "type": "object",
                            "required": ["Name"],
                            "additionalProperties": false,
                            "properties": {
                                "Name": name,
                                "Unit": { "enum": units },
                                "StorageResolution": { "enum": [1, 60] }
                            }
                        } }
                    }
                } }
            }
        } }
    })
}

/// A metric in a line: its name, its dimensions with their values, its value.
type Emitted = (String, Vec<(String, String)>, f64);

/// Asserts that a line is valid, that its targets exist, and that no dimension is a tenant; its metrics.
fn metrics_of(line: &Value) -> Vec<Emitted> {
    let format = jsonschema::validator_for(&metric_format()).expect("a schema");
    let errors: Vec<String> = format.iter_errors(line).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {line}");
    let mut emitted = Vec::new();
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "Rollcall");
        let [dimensions] = directive["Dimensions"].as_array().unwrap().as_slice() else { panic!("{line}") };
        let dimensions: Vec<(String, String)> = dimensions
            .as_array()
            .unwrap()
            .iter()
            .map(|name| {
                let name = name.as_str().unwrap();
                assert!(["Stack", "Class", "Status", "Api", "Function"].contains(&name), "{line}");
                (name.to_owned(), line[name].as_str().expect("a value of the dimension").to_owned())
            })
            .collect();
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            let value = line[name].as_f64().unwrap_or_else(|| panic!("{name} has a value: {line}"));
            emitted.push((name.to_owned(), dimensions.clone(), value));
        }
    }
    emitted
}

fn of_stack(further: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = [("Stack", STACK)].iter().chain(further);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The JSON lines that a test below writes when it runs in a process of its own.
fn lines_of(test: &str) -> Vec<Value> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("ROLLCALL_STACK", STACK)
        .env("AWS_LAMBDA_FUNCTION_NAME", "the-function")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Panics in the middle of a call to the table, when it is armed.
#[derive(Clone, Debug, Default)]
struct Bomb(Arc<AtomicBool>);

impl Intercept for Bomb {
    fn name(&self) -> &'static str {
        "bomb"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        assert!(!self.0.load(Ordering::SeqCst), "the value is {}", "hunter2");
        Ok(())
    }
}

#[tokio::test]
#[ignore = "it runs in a process of its own"]
async fn requests_that_panic() {
    log::init(LogFormat::Json);
    let embedded = support::serve().await;
    let bomb = Bomb::default();
    let config = embedded.table.client().config().to_builder().interceptor(bomb.clone());
    let table = Table::new(aws_sdk_dynamodb::Client::from_conf(config.build()), support::TABLE);
    let client = Client::new(table.fresh(), "veza").await;
    bomb.0.store(true, Ordering::SeqCst);
    let scim = client.function.clone();
    let scim = Lambda::new(move |event| scim.clone().invoke(event));
    let event = client.event("POST", "/Users", Some(user("u")), &[]);
    assert_eq!(scim.invoke(event).await, Err(Fault::Crashed));

    let app = Arc::new(AppFunction::new(table, &[], None).unwrap());
    let app = Lambda::new(move |event| app.clone().invoke(event));
    let mut event = client.event("GET", "/tenants", None, &[]);
    event["path"] = "/app/v1/tenants".into();
    event["requestContext"]["authorizer"] = json!({ "keyId": "app_1", "scope": "read" });
    assert_eq!(app.invoke(event).await, Err(Fault::Crashed));

    // Outside of a request.
    let task = tokio::spawn(async { panic!("the value is {}", "hunter2") });
    assert!(task.await.is_err());
}

#[test]
fn a_panic_is_one_line_without_its_text() {
    let lines = lines_of("requests_that_panic");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, request) in lines.iter().zip([Some("request-1"), Some("request-1"), None]) {
        assert_eq!((&line["level"], &line["message"]), (&json!("ERROR"), &json!("panic")));
        assert_eq!(line.get("request_id").and_then(Value::as_str), request);
        assert_eq!(line["lambda_request_id"].is_string(), request.is_some(), "{line}");
        assert!(line["panic"].as_str().unwrap().starts_with("tests/logs.rs:"), "{line}");
        assert!(line["timestamp"].is_string());
        let counted = ("Panics".to_owned(), of_stack(&[("Function", "the-function")]), 1.0);
        assert_eq!(metrics_of(line), [counted]);
    }
}

#[test]
fn without_metrics_of_requests_those_that_alarms_need_are_still_written() {
    let variables = [("ROLLCALL_STACK", STACK), ("ROLLCALL_REQUEST_METRICS", "false")];
    let dev = Dev::start_in(&[], &variables);
    let root = dev.get("/Groups?attributes=members");
    let admin = root.body["Resources"][0]["members"][0]["value"].as_str().unwrap().to_owned();
    assert_eq!(dev.send("DELETE", &format!("/Users/{admin}"), &[], b"").status, 400);
    assert_eq!(dev.send("GET", "/Me", &[], b"").status, 501);
    let (_, log) = dev.end();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests: Vec<Value> = lines.filter(|line| line["message"] == "request").collect();
    let [list, delete, me] = &requests[..] else { panic!("{log}") };
    assert!(list.get("_aws").is_none() && list.get("Stack").is_none(), "{list}");
    assert_eq!(metrics_of(delete), [("AdminRuleRefusals".to_owned(), of_stack(&[]), 1.0)]);
    assert_eq!((&me["status"], &me["level"]), (&json!(501), &json!("INFO")));
    assert_eq!(metrics_of(me), [("Excused5xx".to_owned(), of_stack(&[("Api", "scim")]), 1.0)]);
}

#[test]
fn each_request_has_one_line_with_its_metrics() {
    let dev = Dev::start_in(&["--rate-limit", "off"], &[("ROLLCALL_STACK", STACK)]);
    let created = dev.send("POST", "/Users", &[], user("ann").to_string().as_bytes());
    assert_eq!(created.status, 201);
    let id = created.body["id"].as_str().unwrap();
    dev.get(&format!("/Users/{id}"));
    dev.get("/Users?filter=userName%20eq%20%22ann@example.com%22");
    dev.get("/Schemas");
    dev.get("/Nothing");
    let bulk = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [
        { "method": "DELETE", "path": format!("/Users/{id}") }
    ] });
    dev.send("POST", "/Bulk", &[], bulk.to_string().as_bytes());
    // The only administrator.
    let found = dev.get("/Groups?attributes=members");
    let root = &found.body["Resources"][0];
    let admin = root["members"][0]["value"].as_str().unwrap().to_owned();
    assert_eq!(dev.send("DELETE", &format!("/Users/{admin}"), &[], b"").status, 400);
    let (_, log) = dev.end();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 8, "{log}");
    for (line, (class, status)) in requests.iter().zip([
        ("write", "2xx"),
        ("read", "2xx"),
        ("query", "2xx"),
        ("discovery", "2xx"),
        ("discovery", "4xx"),
        ("bulk", "2xx"),
        ("query", "2xx"),
        ("write", "4xx"),
    ]) {
        let emitted = metrics_of(line);
        let (of_class, status) =
            (of_stack(&[("Class", class)]), of_stack(&[("Class", class), ("Status", status)]));
        assert_eq!(emitted[0], ("Requests".to_owned(), status, 1.0));
        let work = [("Latency", "duration_ms"), ("ReadUnits", "read_units"), ("WriteUnits", "write_units")];
        for ((name, dimensions, value), (expected, field)) in emitted[1..4].iter().zip(work) {
            let field = line.get(field).unwrap_or(&line["dynamodb"][field]).as_f64().unwrap();
            assert_eq!((name.as_str(), dimensions), (expected, &of_class));
            assert!((value - field).abs() < 0.001, "{line}");
        }
        let refused = ("AdminRuleRefusals".to_owned(), of_stack(&[]), 1.0);
        assert_eq!(emitted.contains(&refused), line["operation"] == "delete.User", "{line}");
    }
    for value in ["ann", "example.com", &admin] {
        assert!(!log.contains(value), "{value} is in the log: {log}");
    }
}

#[test]
fn a_line_notes_what_became_of_a_request_and_holds_no_value() {
    let dev = Dev::start_in(&["--rate-limit", "off"], &[]);
    let mut body = user("ann");
    body["password"] = "hunter2".into();
    body["favoriteColor"] = "mauve".into();
    body["mauve@example.com"] = "mauve".into();
    assert_eq!(dev.send("POST", "/Users", &[], body.to_string().as_bytes()).status, 201);
    dev.get("/Users?filter=userName%20eq%20%22ann@example.com%22");
    body["userName"] = "mauve".into();
    assert_eq!(dev.send("POST", "/Users", &[], body.to_string().as_bytes()).status, 400);
    let (_, log) = dev.end();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let notes: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "request").map(|line| &line["notes"]).collect();
    let left_out = ["ignored:password", "ignored:favoriteColor", "ignored:?"];
    let refused = ["refused:veza.user_name_is_primary_email:userName"];
    assert_eq!(*notes[0], json!(left_out));
    assert_eq!(*notes[1], json!(["lookup:userName"]));
    assert_eq!(*notes[2], json!([&left_out[..], &refused[..]].concat()));
    for value in ["ann", "example.com", "hunter2", "mauve", "/scim/v2/Users"] {
        assert!(!log.contains(value), "{value} is in the log: {log}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_deactivation_limit_is_counted_once_in_bulk_too() {
    let client = Client::new(support::embedded().await, "standard").await;
    let ids = client.users(0..4).await;
    let limited = client.limited(25, 0);
    limited.delete(&format!("/Users/{}", ids[0])).await.expect(204);
    let operations: Vec<Value> =
        ids[1..3].iter().map(|id| json!({ "method": "DELETE", "path": format!("/Users/{id}") })).collect();
    let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]);
    let reply =
        limited.post("/Bulk", json!({ "schemas": schemas, "Operations": operations })).await.expect(200);
    assert_eq!(reply.body["Operations"][0]["status"], "400", "{}", reply.body);
    let emitted = metrics_of(&json!(reply.line.for_machines(Some(STACK), RequestMetrics::All)));
    assert!(emitted.contains(&("DeactivationLimitRefusals".to_owned(), of_stack(&[]), 2.0)), "{emitted:?}");
}

#[tokio::test]
#[ignore = "it runs in a process of its own"]
async fn a_round_with_a_change_that_stays() {
    let client = Client::new(support::embedded().await, "standard").await;
    let group = client.group("Team", &[]).await;
    let record = client.store().fetch(Kind::Group, group.parse().unwrap()).await.unwrap().unwrap();
    // Not in force, since an hour ago nearly: its request was stopped. It is not counted.
    let mut staged = client.store().large_changes().stage(&record, Default::default()).await.unwrap();
    staged.created -= 3_000;
    client.table.put(&staged.key(), staged.attributes()).await.unwrap();
    // In force, and a part of it cannot be read.
    let ids = client.users(0..50).await;
    let change = support::pending::commit(&client, &group, &ids, &[]).await;
    let chunks = client.table.query_all(&keys::chunks(&change.tenant, change.id), None).await.unwrap();
    let chunk = key_of(&chunks[0]).unwrap();
    client.table.put(&chunk, [text("members", "?")].into()).await.unwrap();
    log::init(LogFormat::Json);
    worker::round(&client.table).await.unwrap();
    let later = clock::with_seconds_ahead(40, worker::round(&client.table));
    assert_eq!(later.await.unwrap().left, 2);
}

#[test]
fn the_age_of_the_oldest_unfinished_change_is_a_metric() {
    let lines = lines_of("a_round_with_a_change_that_stays");
    let ages: Vec<f64> = lines
        .iter()
        .flat_map(metrics_of)
        .map(|(name, dimensions, value)| {
            assert_eq!((name.as_str(), dimensions), ("OldestPendingChangeSeconds", of_stack(&[])));
            value
        })
        .collect();
    assert!(ages.len() == 2 && ages[0] < 10.0 && (40.0..60.0).contains(&ages[1]), "{ages:?}");
}

async fn measure(table: &Table, has_bus: bool, seconds: i64) -> Vec<(Metric, f64)> {
    let monitor = Monitor::new(has_bus);
    clock::with_seconds_ahead(seconds, monitor.measure(table)).await.unwrap()
}

fn value(measured: &[(Metric, f64)], metric: Metric) -> Option<f64> {
    measured.iter().find(|(found, _)| *found == metric).map(|(_, value)| *value)
}

/// A time at which keys are not counted, some minutes from now.
fn some_minutes() -> i64 {
    let until = support::seconds_until(OffsetDateTime::now_utc(), EXPIRING_KEYS_HOUR);
    if (0..1_200).contains(&until) { 1_500 } else { 300 }
}

#[tokio::test]
async fn the_worker_measures_the_feed_the_bus_and_webhooks() {
    let client = Client::new(support::embedded().await, "standard").await;
    let (table, minutes) = (&client.table, some_minutes());
    let late = minutes as f64;
    let idle = measure(table, false, 0).await;
    assert_eq!(idle, [(Metric::FeedLagSeconds, 0.0)], "nothing else exists");
    client.user("ann").await;
    let behind = measure(table, true, minutes).await;
    assert!(value(&behind, Metric::FeedLagSeconds).unwrap() >= late, "{behind:?}");
    assert_eq!(value(&behind, Metric::BusLagSeconds), Some(0.0), "the feed has nothing");

    support::feed::sequence(table).await;
    let behind = measure(table, true, minutes).await;
    assert_eq!(value(&behind, Metric::FeedLagSeconds), Some(0.0));
    assert!(value(&behind, Metric::BusLagSeconds).unwrap() >= late, "{behind:?}");
    let reader = FeedReader::open(table).await.unwrap();
    let bus = ConsumerState::new(BUS, reader.at(reader.end().await.unwrap().next - 1));
    table.transact(|| vec![bus.create()]).await.unwrap();

    let rule = rollcall::outbound::target::TargetRule::PublicOrLoopback;
    let registry =
        rollcall::deliver::registry::Registry { table, actor: "operator", request_id: "test", rule };
    let (first, _) = registry.create("http://127.0.0.1:9/a", false).await.unwrap();
    registry.create("http://127.0.0.1:9/b", false).await.unwrap();
    client.user("ben").await;
    support::feed::sequence(table).await;
    let behind = measure(table, true, minutes).await;
    assert!(value(&behind, Metric::BusLagSeconds).unwrap() >= late, "{behind:?}");
    assert!(value(&behind, Metric::WebhookLagSeconds).unwrap() >= late, "{behind:?}");
    assert_eq!(value(&behind, Metric::DisabledWebhooks), Some(0.0));
    for listed in registry.list().await.unwrap() {
        let (disabled, version) = (Some("it failed".to_owned()), listed.webhook.version + 1);
        let webhook = Webhook { disabled, version, ..listed.webhook };
        table.transact(|| vec![webhook.write()]).await.unwrap();
    }
    let disabled = measure(table, true, minutes).await;
    assert_eq!(value(&disabled, Metric::WebhookLagSeconds), Some(0.0), "none is enabled");
    assert_eq!(value(&disabled, Metric::DisabledWebhooks), Some(2.0));
    assert_eq!(value(&disabled, Metric::ExpiringKeys), None, "it is not the time for that");
    let line = json!(log::metrics::line("worker", STACK, &disabled));
    assert_eq!(metrics_of(&line).len(), 4);
    assert!(!line.to_string().contains(&first.id));
}

#[tokio::test]
async fn keys_that_end_soon_are_counted_once_a_day() {
    let table = &support::embedded().await;
    let now = OffsetDateTime::now_utc();
    let by = Actor::operator();
    for tenant in ["acme", "globex"] {
        let tenant = &tenant.parse().unwrap();
        let new =
            rollcall::admin::tenant::NewTenant::new(tenant, &rollcall::scim::policy::VEZA, &"u".repeat(40));
        rollcall::admin::tenant::create(table, &new, now).await.unwrap();
    }
    let new = |tenant: &str, days: Option<i64>| NewKey {
        tenant: tenant.parse().unwrap(),
        name: "Okta".to_owned(),
        scope: auth::record::Scope::Provision,
        expires: days.map(|days| now + Duration::days(days)),
        user: None,
    };
    key::create(table, &by, new("acme", None), now).await.unwrap();
    let (_, ending) = key::create(table, &by, new("globex", Some(10)), now).await.unwrap();
    let application = rollcall::tenants::application::NewApplication {
        name: "portal".to_owned(),
        scope: auth::application::ApplicationScope::Read,
        expires: Some(now + Duration::days(3)),
    };
    rollcall::tenants::application::create(table, &by, application, now).await.unwrap();
    assert_eq!(expiring_keys::count(table, now).await.unwrap(), 2);

    let seconds = support::seconds_until(now, EXPIRING_KEYS_HOUR);
    let monitor = Monitor::new(false);
    let measured = clock::with_seconds_ahead(seconds, monitor.measure(table)).await.unwrap();
    assert_eq!(value(&measured, Metric::ExpiringKeys), Some(2.0));
    let again = clock::with_seconds_ahead(seconds + 60, monitor.measure(table)).await.unwrap();
    assert_eq!(value(&again, Metric::ExpiringKeys), None);

    let globex = "globex".parse().unwrap();
    key::rotate(table, &by, (&globex, &ending.key_id), Duration::days(2), now).await.unwrap();
    // The successor lives for ten days too.
    assert_eq!(expiring_keys::count(table, now).await.unwrap(), 2);
    key::create(table, &by, new("globex", None), now).await.unwrap();
    assert_eq!(expiring_keys::count(table, now).await.unwrap(), 1, "the application's");
}

/// Makes a tenant with a key that ends soon.
async fn ending_key(table: &Table, tenant: &str) -> auth::record::KeyRecord {
    let (tenant, now) = (tenant.parse().unwrap(), OffsetDateTime::now_utc());
    let new =
        rollcall::admin::tenant::NewTenant::new(&tenant, &rollcall::scim::policy::VEZA, &"u".repeat(40));
    rollcall::admin::tenant::create(table, &new, now).await.unwrap();
    let new = NewKey {
        tenant,
        name: "Okta".to_owned(),
        scope: auth::record::Scope::Provision,
        expires: Some(now + Duration::days(10)),
        user: None,
    };
    key::create(table, &Actor::operator(), new, now).await.unwrap().1
}

#[tokio::test]
async fn a_key_that_cannot_be_read_hides_neither_other_keys_nor_other_metrics() {
    let table = &support::embedded().await;
    let (broken, unlisted) = (ending_key(table, "acme").await, ending_key(table, "initech").await);
    ending_key(table, "globex").await;
    let now = OffsetDateTime::now_utc();
    assert_eq!(expiring_keys::count(table, now).await.unwrap(), 3);
    let place = keys::bearer(broken.hash.as_str());
    let mut item = table.get(&place).await.unwrap().expect("the key");
    item.extend([text("status", "?")]);
    table.put(&place, item).await.unwrap();
    // Entries of lists that lead nowhere.
    let listing = keys::bearer_listing(&unlisted.tenant, &unlisted.key_id);
    for place in [listing, keys::application_listing("app_unreadable")] {
        table.put(&place, [text("name", "?")].into()).await.unwrap();
    }
    let (monitor, seconds) = (Monitor::new(false), support::seconds_until(now, EXPIRING_KEYS_HOUR));
    let measured = clock::with_seconds_ahead(seconds, monitor.measure(table)).await.unwrap();
    assert_eq!(value(&measured, Metric::ExpiringKeys), Some(1.0));
    assert!(value(&measured, Metric::FeedLagSeconds).is_some(), "{measured:?}");
}

#[tokio::test]
async fn a_count_of_keys_that_fails_hides_no_other_metric_and_is_made_again() {
    let embedded = support::serve().await;
    ending_key(&embedded.table, "acme").await;
    let proxy = Proxy::before(&embedded.endpoint).await;
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    let seconds = support::seconds_until(OffsetDateTime::now_utc(), EXPIRING_KEYS_HOUR);
    let monitor = Monitor::new(false);
    proxy.decide(|call: &Call| if call.operation == "BatchGetItem" { Fate::Denied } else { Fate::Pass });
    let failed = clock::with_seconds_ahead(seconds, monitor.measure(&table)).await.unwrap();
    assert_eq!(value(&failed, Metric::ExpiringKeys), None);
    assert!(value(&failed, Metric::FeedLagSeconds).is_some(), "{failed:?}");
    proxy.decide(|_: &Call| Fate::Pass);
    let measured = clock::with_seconds_ahead(seconds, monitor.measure(&table)).await.unwrap();
    assert_eq!(value(&measured, Metric::ExpiringKeys), Some(1.0));
}
