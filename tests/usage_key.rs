//! A tenant's API key in its usage plan, against a stand-in for API Gateway's control plane.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::config::{BehaviorVersion, Config, Credentials, Region};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use rollcall::admin::error::AdminError;
use rollcall::admin::group::{self, Assignment};
use rollcall::admin::transfer::import::import;
use rollcall::admin::transfer::rows::ImportFile;
use rollcall::admin::usage_key::{PlanUsageKeys, attach, fetch};
use rollcall::admin::{tenant, user};
use rollcall::store::keys::TenantId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support;

/// API keys, and which is in which usage plan.
#[derive(Default)]
struct Control {
    keys: Vec<Value>,
    attached: BTreeSet<(String, String)>,
    calls: Vec<&'static str>,
    made: usize,
    refuses_deletions: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Control>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Control> {
        self.0.lock().expect("no panic")
    }

    /// Adds an API key as an earlier release or another stack made it.
    fn add(&self, name: &str, plans: &[&str]) {
        let mut control = self.lock();
        let id = format!("id{}", control.made);
        control.made += 1;
        control
            .keys
            .push(json!({ "id": id, "name": name, "value": format!("{name:-<20}"), "enabled": true }));
        control.attached.extend(plans.iter().map(|plan| ((*plan).to_owned(), id.clone())));
    }

    /// The names of all keys, each with the plans that it is in.
    fn names(&self) -> Vec<String> {
        let control = self.lock();
        let name = |key: &Value| {
            let id = key["id"].as_str().expect("an id");
            let plans =
                control.attached.iter().filter(|(_, attached)| attached == id).map(|(plan, _)| plan.as_str());
            format!("{} {}", key["name"].as_str().expect("a name"), plans.collect::<Vec<_>>().join(","))
        };
        control.keys.iter().map(name).collect()
    }
}

fn refused(status: StatusCode, code: &str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-errortype", code.parse().expect("a header"));
    (status, headers, json!({ "message": "refused" }).to_string()).into_response()
}

fn absent() -> Response {
    refused(StatusCode::NOT_FOUND, "NotFoundException")
}

/// The usage plans that there are: those of two stacks, and those of a stack that was made again.
const PLANS: [&str; 4] = ["plan", "other", "new", "new-high"];

#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    name: String,
}

async fn list(State(control): State<Shared>, Query(query): Query<Name>) -> String {
    let mut control = control.lock();
    control.calls.push("list");
    let begins = |key: &&Value| key["name"].as_str().is_some_and(|name| name.starts_with(&query.name));
    json!({ "item": control.keys.iter().filter(begins).collect::<Vec<_>>() }).to_string()
}

async fn make(State(control): State<Shared>, body: String) -> Response {
    let mut control = control.lock();
    control.calls.push("make");
    let mut key: Value = serde_json::from_str(&body).expect("JSON");
    key["id"] = format!("id{}", control.made).into();
    control.made += 1;
    control.keys.push(key.clone());
    (StatusCode::CREATED, key.to_string()).into_response()
}

async fn put(State(control): State<Shared>, Path(plan): Path<String>, body: String) -> Response {
    let mut control = control.lock();
    control.calls.push("attach");
    let key: Value = serde_json::from_str(&body).expect("JSON");
    let id = key["keyId"].as_str().expect("an id").to_owned();
    if !PLANS.contains(&plan.as_str()) {
        return absent();
    }
    match control.attached.insert((plan, id)) {
        true => (StatusCode::CREATED, key.to_string()).into_response(),
        false => refused(StatusCode::CONFLICT, "ConflictException"),
    }
}

async fn is_in(State(control): State<Shared>, Path(place): Path<(String, String)>) -> Response {
    match control.lock().attached.contains(&place) {
        true => json!({ "id": place.1 }).to_string().into_response(),
        false => absent(),
    }
}

async fn detach(State(control): State<Shared>, Path(place): Path<(String, String)>) -> Response {
    match control.lock().attached.remove(&place) {
        true => StatusCode::ACCEPTED.into_response(),
        false => absent(),
    }
}

async fn one(State(control): State<Shared>, Path(id): Path<String>) -> Response {
    match control.lock().keys.iter().find(|key| key["id"] == *id) {
        Some(key) => key.to_string().into_response(),
        None => absent(),
    }
}

async fn rename(State(control): State<Shared>, Path(id): Path<String>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    match control.lock().keys.iter_mut().find(|key| key["id"] == *id) {
        Some(key) => {
            key["name"] = body["patchOperations"][0]["value"].clone();
            key.to_string().into_response()
        }
        None => absent(),
    }
}

async fn remove(State(control): State<Shared>, Path(id): Path<String>) -> Response {
    let mut control = control.lock();
    if control.refuses_deletions {
        return refused(StatusCode::FORBIDDEN, "AccessDeniedException");
    }
    let before = control.keys.len();
    control.keys.retain(|key| key["id"] != *id);
    control.attached.retain(|(_, attached)| *attached != id);
    if control.keys.len() == before { absent() } else { StatusCode::ACCEPTED.into_response() }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyId {
    key_id: String,
}

async fn plans(State(control): State<Shared>, Query(query): Query<KeyId>) -> String {
    let control = control.lock();
    let with = control.attached.iter().filter(|(_, id)| *id == query.key_id);
    json!({ "item": with.map(|(plan, _)| json!({ "id": plan })).collect::<Vec<_>>() }).to_string()
}

/// Serves the control plane; returns where, and what it holds.
async fn serve() -> (String, Shared) {
    let control = Shared::default();
    let routes = axum::Router::new()
        .route("/apikeys", get(list).post(make))
        .route("/apikeys/{id}", get(one).merge(delete(remove)).merge(patch(rename)))
        .route("/usageplans", get(plans))
        .route("/usageplans/{plan}/keys", post(put))
        .route("/usageplans/{plan}/keys/{id}", get(is_in).merge(delete(detach)))
        .with_state(control.clone());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    (endpoint, control)
}

async fn gateway() -> (Client, Shared) {
    let (endpoint, control) = serve().await;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint);
    (Client::from_conf(config.build()), control)
}

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant")
}

fn of(client: &Client, plan: &str) -> PlanUsageKeys {
    PlanUsageKeys { client: client.clone(), plan: plan.to_owned() }
}

#[tokio::test]
async fn a_retry_finds_what_the_first_attempt_left() {
    let (client, control) = gateway().await;
    let acme = tenant("acme");
    // The first attempt made the key and failed at the plan.
    let error = attach(&client, "gone", &acme).await.expect_err("no such plan").to_string();
    assert!(error.contains("rollcall-gone-acme") && error.contains("NotFoundException"), "{error}");
    assert_eq!(control.names(), ["rollcall-gone-acme "]);
    control.lock().keys[0]["name"] = "rollcall-plan-acme".into();
    let value = attach(&client, "plan", &acme).await.expect("attached");
    assert_eq!(value.len(), 40);
    assert_eq!(attach(&client, "plan", &acme).await.expect("attached already"), value);
    // Another tenant whose name the first one's begins with.
    assert_ne!(attach(&client, "plan", &tenant("acm")).await.expect("attached"), value);
    assert_eq!(fetch(&client, "id0").await.expect("a value"), value);
    let error = fetch(&client, "id9").await.expect_err("no such key").to_string();
    assert!(error.contains("id9") && !error.contains('\n'), "{error}");
    let calls = control.lock().calls.join(" ");
    assert_eq!(calls, "list list make attach list attach list attach list list make attach");
}

#[tokio::test]
async fn two_stacks_have_keys_of_their_own() {
    let (client, control) = gateway().await;
    let acme = tenant("acme");
    let here = attach(&client, "plan", &acme).await.expect("attached");
    assert_ne!(attach(&client, "other", &acme).await.expect("attached"), here);
    assert_eq!(control.names(), ["rollcall-plan-acme plan", "rollcall-other-acme other"]);
    attach(&client, "plan", &tenant("acme-2")).await.expect("attached");
    assert_eq!(of(&client, "plan").remove(&acme).await.expect("removed"), 1);
    assert_eq!(control.names(), ["rollcall-other-acme other", "rollcall-plan-acme-2 plan"]);
    assert_eq!(of(&client, "plan").remove(&acme).await.expect("gone already"), 0);
}

#[tokio::test]
async fn a_key_of_version_0_1_0_is_used_and_deleted_in_its_own_stack_alone() {
    let (client, control) = gateway().await;
    control.add("rollcall-acme", &["other"]);
    control.add("rollcall-acme", &["plan"]);
    control.add("rollcall-globex", &["other", "plan"]);
    let value = attach(&client, "plan", &tenant("acme")).await.expect("found");
    assert_eq!((value, control.lock().made), (format!("{:-<20}", "rollcall-acme"), 3));
    // Another stack's.
    assert_eq!(attach(&client, "third", &tenant("acme")).await.map_err(|_| control.lock().made), Err(4));
    for (name, removed) in [("acme", 1), ("globex", 1), ("acme", 0), ("globex", 0), ("initech", 0)] {
        assert_eq!(of(&client, "plan").remove(&tenant(name)).await.expect("removed"), removed, "{name}");
    }
    assert_eq!(control.names(), ["rollcall-acme other", "rollcall-globex other", "rollcall-third-acme "]);
}

#[tokio::test]
async fn a_disabled_key_is_refused() {
    let (client, control) = gateway().await;
    control.add("rollcall-plan-acme", &["plan"]);
    control.lock().keys[0]["enabled"] = false.into();
    for outcome in [attach(&client, "plan", &tenant("acme")).await, fetch(&client, "id0").await] {
        assert!(outcome.expect_err("disabled").to_string().contains("enable it first"));
    }
}

/// Runs `rollcall tenant …`; returns its exit code, its output and its error.
async fn run(arguments: &[&str], gateway: &str) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command
        .arg("tenant")
        .args(arguments)
        .arg("--json")
        .env_clear()
        .env("AWS_ENDPOINT_URL_API_GATEWAY", gateway);
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("a task").expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        serde_json::from_str(&text(output.stdout)).unwrap_or_default(),
        text(output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_deletes_the_key_with_the_tenant() {
    let (gateway, control) = serve().await;
    let embedded = support::serve().await;
    let at = ["--table", support::TABLE, "--endpoint-url", &embedded.endpoint];
    let tool = async |arguments: &[&str]| run(&[arguments, &at[..]].concat(), &gateway).await;
    for arguments in [
        &["create", "acme", "--usage-plan", "plan"][..],
        &["create", "globex", "--usage-plan", "plan"],
        &["create", "initech", "--usage-plan", "plan"],
        &["create", "local"],
    ] {
        let (code, _, error) = tool(arguments).await;
        assert_eq!(code, Some(0), "{error}");
    }
    control.lock().refuses_deletions = true;
    let (code, _, error) = tool(&["delete", "acme", "--yes"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("delete API key id0") && error.contains("AccessDeniedException"), "{error}");
    // The tenant is still there for another run.
    assert_eq!(tool(&["show", "acme"]).await.0, Some(0));
    control.lock().refuses_deletions = false;
    let (code, done, error) = tool(&["delete", "acme", "--yes"]).await;
    assert_eq!(
        (code, done["usageKeysDeleted"].as_u64(), done.get("note")),
        (Some(0), Some(1), None),
        "{error}"
    );
    assert_eq!(tool(&["show", "acme"]).await.0, Some(1));
    let (_, done, _) = tool(&["delete", "globex", "--yes", "--keep-usage-key"]).await;
    assert_eq!(done["usageKeysDeleted"], 0);
    assert!(done["note"].as_str().is_some_and(|note| note.contains("rollcall-plan-globex")), "{done}");
    assert_eq!(control.names(), ["rollcall-plan-globex plan", "rollcall-plan-initech plan"]);
    // Without API Gateway.
    let (code, done, _) = tool(&["delete", "local", "--yes"]).await;
    assert_eq!((code, done["usageKeysDeleted"].as_u64()), (Some(0), Some(0)));
}

/// A copy of a table, such as a restored one, has the same tenants. Deleting one there must not stop the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_table_deletes_no_key_by_itself() {
    let (gateway, control) = serve().await;
    let embedded = support::serve().await;
    let at = ["--table", support::TABLE, "--endpoint-url", &embedded.endpoint];
    let tool = async |arguments: &[&str]| run(&[arguments, &at[..]].concat(), &gateway).await;
    for name in ["acme", "globex"] {
        assert_eq!(tool(&["create", name, "--usage-plan", "plan"]).await.0, Some(0));
        let key = rollcall::store::keys::tenant(&tenant(name));
        let mut item = embedded.table.get(&key).await.expect("a table").expect("a tenant");
        item.extend([rollcall::store::item::text("usagePlanTable", "original")]);
        embedded.table.put(&key, item).await.expect("a table");
    }
    let (code, done, _) = tool(&["delete", "acme", "--yes"]).await;
    assert_eq!((code, done["usageKeysDeleted"].as_u64()), (Some(0), Some(0)));
    assert!(done["note"].as_str().is_some_and(|note| note.contains("original")), "{done}");
    assert_eq!(control.names().len(), 2);
    let (_, done, _) = tool(&["delete", "globex", "--yes", "--usage-plan", "plan"]).await;
    assert_eq!(done["usageKeysDeleted"], 1);
    assert_eq!(control.names(), ["rollcall-plan-acme plan"]);
}

/// The usage plans go with a stack. The table must name those of the stack that was made again.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_names_the_plans_of_the_stack_that_was_made_again() {
    let (gateway, control) = serve().await;
    let embedded = support::serve().await;
    let at = ["--table", support::TABLE, "--endpoint-url", &embedded.endpoint];
    let tool = async |line: &str| {
        let arguments: Vec<&str> = line.split(' ').chain(at).collect();
        run(&arguments, &gateway).await
    };
    let done = async |line: &str| {
        let (code, done, error) = tool(line).await;
        assert_eq!(code, Some(0), "{line}: {error}");
        done
    };
    for name in ["acme", "globex", "initech"] {
        done(&format!("create {name} --usage-plan plan")).await;
    }
    for name in ["acme", "initech"] {
        done(&format!("update {name} --plan high --usage-plan other")).await;
    }
    // The stack is deleted with its plans, and one key with it.
    control.lock().attached.clear();
    control.lock().keys.retain(|key| key["name"] != "rollcall-plan-acme");
    for _ in 0..2 {
        assert_eq!(done("usage-key --usage-plan new").await["tenants"], 3);
        assert_eq!(done("usage-key acme --plan high --usage-plan new-high").await["tenants"], 1);
    }
    let (code, _, error) = tool("usage-key globex --plan high --usage-plan new-high").await;
    assert!(code == Some(1) && error.contains("never had the plan high"), "{error}");
    let mut names = control.names();
    names.sort();
    let of_acme = ["rollcall-new-acme new", "rollcall-new-high-acme new-high"];
    assert_eq!(names[..3], [of_acme[0], "rollcall-new-globex new", of_acme[1]]);
    assert_eq!(names[3..], ["rollcall-new-initech new", "rollcall-other-initech "]);

    // One way back and forth needs no plan; another key is still in the old one, or the plan is named again.
    done("update acme --plan default").await;
    done("update acme --plan high").await;
    assert_eq!(done("update initech --plan default").await["plan"], "default");
    done("update initech --plan high --usage-plan new-high").await;
    assert!(control.names().contains(&"rollcall-new-high-initech new-high".to_owned()));
    done("update globex --plan default --usage-plan new").await;

    // A plan of the original, which still serves requests.
    let id = control.lock().keys.iter().find(|key| key["name"] == "rollcall-new-globex").cloned();
    let id = id.expect("a key")["id"].as_str().expect("an id").to_owned();
    control.lock().attached.insert(("plan".to_owned(), id));
    for (name, keys) in [("acme", 2), ("globex", 1), ("initech", 2)] {
        assert_eq!(done(&format!("delete {name} --yes")).await["usageKeysDeleted"], keys, "{name}");
    }
    assert_eq!(control.names(), ["rollcall-new-globex plan", "rollcall-other-initech "]);
}

/// A deletion that is under way, or was interrupted, is not a tenant that exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_tenant_is_being_deleted_is_told() {
    let (gateway, control) = serve().await;
    let embedded = support::serve().await;
    let at = ["--table", support::TABLE, "--endpoint-url", &embedded.endpoint];
    let tool = async |arguments: &[&str]| run(&[arguments, &at[..]].concat(), &gateway).await;
    assert_eq!(tool(&["create", "acme", "--usage-plan", "plan"]).await.0, Some(0));
    let error = tool(&["create", "acme"]).await.2;
    assert!(error.contains("exists already"), "{error}");
    control.lock().refuses_deletions = true;
    assert_eq!(tool(&["delete", "acme", "--yes"]).await.0, Some(1));
    let error = tool(&["create", "acme"]).await.2;
    assert!(error.contains("is being deleted") && error.contains("rollcall tenant delete acme"), "{error}");
    for shown in [["list"].as_slice(), &["show", "acme"]] {
        assert!(tool(shown).await.1.to_string().contains("being deleted"), "{shown:?}");
    }
    let (table, acme) = (&embedded.table, &"acme".parse().expect("a tenant"));
    let refused = |error: AdminError| assert!(error.to_string().contains("is being deleted"), "{error}");
    refused(
        import(table, acme, &ImportFile::default(), true, &|_| ()).await.expect_err("nothing is made there"),
    );
    refused(user::create(table, acme, &json!({})).await.expect_err("nobody is made there"));
    let root = tenant::get(table, acme).await.expect("the tenant").root_team.expect("a root team");
    let role = |given| {
        let (tenant, role) = (acme.clone(), "reader".to_owned());
        let wanted = Assignment { tenant, group: root, team: None, role };
        async move { group::assign(table, &wanted, given).await.expect_err("there is no such role") }
    };
    refused(role(true).await);
    // What is there can still be looked at and removed.
    user::list(table, acme, 10).await.expect("users");
    let nobody = uuid::Uuid::now_v7();
    for gone in [
        user::find(table, acme, nobody).await.map(drop).expect_err("nobody"),
        user::purge(table, acme, nobody).await.expect_err("nobody"),
        role(false).await,
    ] {
        assert!(!gone.to_string().contains("is being deleted"), "{gone}");
    }
    control.lock().refuses_deletions = false;
    assert_eq!(tool(&["delete", "acme", "--yes"]).await.0, Some(0));
    let error = tool(&["create", "acme"]).await.2;
    assert!(error.contains("was deleted not long ago"), "{error}");
}
