//! Plays every event in `events/` in this process. The function and the authorizer give the expected answers. The
//! events and the router agree with `template.yaml`.
#![allow(clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rollcall::admin::tenant::{self, NewTenant};
use rollcall::app::function::AppFunction;
use rollcall::app::request::Managing;
use rollcall::auth::app_authorizer::AppAuthorizer;
use rollcall::auth::authorizer::Authorizer;
use rollcall::deliver::message::NoResources;
use rollcall::deliver::sender::MessageSender;
use rollcall::deliver::worker::Worker;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::http::caller::BASE_PATH;
use rollcall::http::function::Function;
use rollcall::http::router::{ROUTES, Route, route};
use rollcall::http::service::invoke_with_event;
use rollcall::limits::DEFAULT_CHANGE_RETENTION_DAYS;
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::{Kind, Model};
use rollcall::store::Store;
use rollcall::store::call::Table;
use rollcall::store::keys::parse_id;
use rollcall::store::record::Record;
use rollcall::store::resource::ResourceCreation;
use rollcall::tenants::usage::GeneratedUsageKeys;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support;

/// Who and what the events name (`events/generate.py`).
const USER: &str = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d5e";
const OTHER_USER: &str = "019aaf5c-8b41-7a10-8e63-7a2c3b4d5e6f";
const GROUP: &str = "019aaf5c-8b42-7f21-af74-8b3d4c5e6f70";

/// What each event gives on a table where USER, OTHER_USER and GROUP exist.
const EXPECTED: &[(&str, u16)] = &[
    ("users-list", 200),
    ("users-list-page", 200),
    ("users-list-sorted", 200),
    ("users-filter", 200),
    ("users-filter-plus", 200),
    ("users-create", 201),
    ("users-create-enterprise", 201),
    ("users-read", 200),
    ("users-replace", 200),
    ("users-patch", 200),
    ("users-patch-deactivate", 200),
    ("users-delete", 204),
    ("users-search", 200),
    ("groups-list", 200),
    ("groups-filter", 200),
    ("groups-filter-member", 200),
    ("groups-create", 201),
    ("groups-read", 200),
    ("groups-read-without-members", 200),
    ("groups-replace", 200),
    ("groups-patch", 200),
    ("groups-patch-add-member", 200),
    ("groups-patch-remove-member", 200),
    ("groups-delete", 204),
    ("groups-search", 200),
    ("search", 200),
    ("bulk", 200),
    ("schemas", 200),
    ("schema", 200),
    ("resource-types", 200),
    ("resource-type", 200),
    ("roles-list", 200),
    ("entitlements-list", 200),
    ("service-provider-config", 200),
    ("me", 501),
    ("base-path", 404),
    ("unknown-path", 404),
    ("method-not-allowed", 405),
    ("unsupported-media-type", 415),
    ("invalid-json", 400),
    ("read-scope", 403),
    ("unauthorized", 401),
];

/// The events of the authorizer; it knows neither key.
const DENIED: &[&str] = &["authorizer-unknown-key", "authorizer-malformed-key"];

/// What each event of the application's side gives.
const APP_EXPECTED: &[(&str, u16)] = &[
    ("app-read-tenants", 200),
    ("app-read-users-filter", 200),
    ("app-read-changes", 200),
    ("app-read-status", 200),
    ("app-read-unknown-path", 404),
    ("app-manage-tenant-create", 201),
    ("app-manage-tenant-update", 200),
    ("app-manage-key-create", 201),
    ("app-manage-read-scope", 403),
    ("app-manage-role-create", 201),
];
/// The event of its authorizer, which does not know the key.
const APP_DENIED: &str = "app-authorizer-unknown-key";
/// What each event of the token endpoint gives.
const TOKEN_EXPECTED: &[(&str, u16)] = &[("token-unknown-client", 401), ("token-metadata", 200)];
/// The events of the worker.
const WORKER: &[&str] = &["worker-minute", "worker-stream"];

fn event(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(name)).expect(name)
}

/// A table with those whom the events name.
async fn table() -> Table {
    let table = support::embedded().await;
    let store = Store {
        table: table.fresh(),
        tenant: "demo".parse().expect("a tenant"),
        actor: "k_events".to_owned(),
        request_id: "events".to_owned(),
    };
    let model = Model::new(&VEZA, &[]).expect("a model");
    let user = |mail: &str| {
        json!({
            "userName": mail,
            "name": { "givenName": "A", "familyName": "B" },
            "displayName": "A B",
            "emails": [{ "value": mail, "primary": true }],
            "active": true,
        })
    };
    for (kind, id, doc) in [
        (Kind::User, USER, user("barbara@example.com")),
        (Kind::User, OTHER_USER, user("otto@example.com")),
        (Kind::Group, GROUP, json!({ "displayName": "Night Shift" })),
    ] {
        let doc = doc.as_object().cloned().expect("an object");
        let record = Record::new(kind, parse_id(id).expect("an id"), doc, "2026-01-01T00:00:00.000Z");
        let event = store.event("made", &record);
        let ty = model.of(kind);
        let creation =
            ResourceCreation { record: &record, members: &[], ty, event: &event, takes_over: None };
        store.create(&creation).await.expect("created");
    }
    table
}

async fn answer(table: &Table, event: Value) -> Value {
    let function = Arc::new(Function::new(table.fresh(), None).expect("a function"));
    function.invoke(event).await.expect("an answer")
}

fn body(answer: &Value) -> Value {
    let text = answer["body"].as_str().filter(|text| !text.is_empty());
    serde_json::from_str(text.unwrap_or("null")).expect("JSON")
}

#[tokio::test]
async fn every_event_gives_its_status() {
    for (name, status) in EXPECTED {
        let answer = answer(&table().await, event(name)).await;
        // Bulk is refused as an unknown path until the router has it.
        let served = *name != "bulk" || ROUTES.iter().any(|(_, path, _)| *path == "/Bulk");
        let status = if served { *status } else { 404 };
        assert_eq!(answer["statusCode"], status, "{name}: {answer}");
        let body = body(&answer);
        if status >= 400 {
            assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{name}");
            assert_eq!(body["status"], status.to_string(), "{name}");
        }
        if *name == "bulk" && served {
            let results = body["Operations"].as_array().expect("results");
            let good = |result: &&Value| result["status"].as_str().is_some_and(|s| s.starts_with('2'));
            assert_eq!(results.iter().filter(good).count(), 3, "{body}");
        }
    }
}

#[tokio::test]
async fn the_authorizer_denies_keys_that_it_does_not_know() {
    let table = table().await;
    for name in DENIED {
        let answer = Authorizer::new(table.fresh()).invoke(event(name)).await.expect("an answer");
        assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Deny", "{name}: {answer}");
    }
}

#[tokio::test]
async fn every_event_of_the_applications_side_gives_its_status() {
    let table = table().await;
    let new = NewTenant::new(&"demo".parse().expect("a tenant"), &VEZA, &"u".repeat(40));
    tenant::create(&table, &new, OffsetDateTime::now_utc()).await.expect("the tenant");
    for (name, status) in APP_EXPECTED {
        let managing =
            || Managing { usage_keys: Box::new(GeneratedUsageKeys), target_rule: TargetRule::Public };
        let managing = name.starts_with("app-manage").then(managing);
        let function = AppFunction::new(table.fresh(), &[], managing).expect("a function");
        let answer: Value = Arc::new(function).invoke(event(name)).await.expect("an answer");
        assert_eq!(answer["statusCode"], *status, "{name}: {answer}");
        let expected = if *status < 400 { "application/json" } else { "application/problem+json" };
        assert_eq!(answer["multiValueHeaders"]["content-type"], json!([expected]), "{name}");
    }
    let authorizer = AppAuthorizer::new(table.fresh(), "usage".to_owned());
    let answer: Value = authorizer.invoke(event(APP_DENIED)).await.expect("an answer");
    assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Deny", "{answer}");
}

#[tokio::test]
async fn every_event_of_the_token_endpoint_gives_its_status() {
    let table = table().await;
    for (name, status) in TOKEN_EXPECTED {
        let function = TokenFunction::new(table.fresh(), None, TargetRule::Public).expect("a function");
        let answer: Value = invoke_with_event(Arc::new(function), event(name)).await.expect("an answer");
        assert_eq!(answer["statusCode"], *status, "{name}: {answer}");
        assert_eq!(answer["multiValueHeaders"]["content-type"], json!(["application/json"]), "{name}");
        let body = body(&answer);
        let url = "https://f6g7h8i9j0.execute-api.eu-west-1.amazonaws.com/oauth2/token";
        let issuer = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod";
        match status {
            200 => {
                assert_eq!(
                    (&body["token_endpoint"], &body["issuer"]),
                    (&json!(url), &json!(issuer)),
                    "{name}"
                );
            }
            _ => assert_eq!(body["error"], "invalid_client", "{name}"),
        }
    }
}

#[tokio::test]
async fn the_worker_moves_changes_into_the_feed_on_each_of_its_events() {
    for name in WORKER {
        let table = table().await;
        let sender = MessageSender::new(TargetRule::Public).expect("a sender");
        let worker = Worker {
            bus: None,
            sender,
            resources: Arc::new(NoResources),
            retention_days: DEFAULT_CHANGE_RETENTION_DAYS,
        };
        worker.invoke(&table, &event(name)).await.expect(name);
        assert_eq!(support::feed::read_feed(&table).await.len(), 3, "{name}");
    }
}

#[test]
fn every_event_is_in_a_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    let names = EXPECTED.iter().chain(APP_EXPECTED).chain(TOKEN_EXPECTED).map(|(name, _)| *name);
    let names = names.chain(DENIED.iter().chain(WORKER).copied()).chain([APP_DENIED]);
    assert_eq!(files, names.map(str::to_owned).collect());
}

/// A request without the authorizer's context is refused (RFC 6750 §3).
#[tokio::test]
async fn without_authorizer_context_every_event_is_401() {
    let table = table().await;
    for (name, _) in EXPECTED {
        let mut event = event(name);
        let context = event["requestContext"].as_object_mut().expect("a context");
        context.remove("authorizer");
        let answer = answer(&table, event).await;
        assert_eq!(answer["statusCode"], 401, "{name}: {answer}");
        assert_eq!(answer["multiValueHeaders"]["content-type"][0], "application/scim+json", "{name}");
        let challenge = answer["multiValueHeaders"]["www-authenticate"][0].as_str().unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{name}: {answer}");
        let body = body(&answer);
        assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{name}");
        assert_eq!(body["status"], "401", "{name}");
    }
}

/// The gateway's own answers forbid caches to store them, as the function's answers do.
#[tokio::test]
async fn no_answer_is_stored_or_taken_for_another_type() {
    let api = TemplateFacts::parse(TEMPLATE).expect("the template").api;
    let template: Vec<&str> = TEMPLATE.lines().map(str::trim).collect();
    for name in api.gateway_responses.keys() {
        let at = template.iter().position(|line| *line == format!("{name}:")).expect(name);
        let own = &template[at..at + 9];
        assert!(own.contains(&"Cache-Control: \"'no-store'\""), "{name}");
        assert!(own.contains(&"X-Content-Type-Options: \"'nosniff'\""), "{name}");
    }
    for (name, status) in EXPECTED {
        let answer = answer(&table().await, event(name)).await;
        assert_eq!(answer["statusCode"], *status, "{name}");
        let headers = &answer["multiValueHeaders"];
        assert_eq!(headers["cache-control"], json!(["no-store"]), "{name}");
        assert_eq!(headers["x-content-type-options"], json!(["nosniff"]), "{name}");
    }
}

/// The template sends everything below the router's base path, and nothing else, to the function that serves SCIM,
/// always behind the authorizer and the usage plan. What has neither goes to the function of the token endpoint.
#[test]
fn the_templates_routes_are_the_routers() {
    let api = TemplateFacts::parse(TEMPLATE).expect("the template").api;
    assert_eq!(api.base_path(), BASE_PATH);
    let (scim, others): (Vec<_>, Vec<_>) =
        api.routes.iter().partition(|route| route.function == "ScimFunction");
    assert!(others.iter().all(|route| route.function == "TokenFunction" && !route.authorized));
    let routes: BTreeMap<&str, _> = scim.iter().map(|route| (route.path.as_str(), *route)).collect();
    let greedy = format!("{BASE_PATH}/{{proxy+}}");
    assert_eq!(routes.keys().copied().collect::<Vec<_>>(), [BASE_PATH, greedy.as_str()]);
    for (path, route) in routes {
        assert!(route.authorized && route.key_required, "{path}: {route:?}");
    }
    for (method, path, operation) in ROUTES {
        assert!(path.len() > 1 && path.starts_with('/'), "{{proxy+}} matches {path}");
        let asked = path.replace("{}", "x");
        assert_eq!(
            route(method, &asked),
            Route::To(*operation, if *path == asked { String::new() } else { "x".to_owned() }),
            "{method} {path}"
        );
    }
    for (name, _) in EXPECTED {
        let resource = event(name)["resource"].as_str().expect("a resource").to_owned();
        assert!(resource == BASE_PATH || resource == greedy, "{name}: {resource}");
    }
}
