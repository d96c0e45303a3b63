//! A tenant's API key in its usage plan, against a stand-in for API Gateway's control plane.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used)]

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::config::{BehaviorVersion, Config, Credentials, Region};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rollcall::admin::usage_key::{attach, fetch};
use rollcall::store::keys::TenantId;
use serde_json::{Value, json};

/// API keys, and which are in the plan `plan`.
#[derive(Default)]
struct Control {
    keys: Vec<Value>,
    attached: Vec<String>,
    calls: Vec<&'static str>,
}

type Shared = Arc<Mutex<Control>>;

fn refused(status: StatusCode, code: &str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-errortype", code.parse().expect("a header"));
    (status, headers, json!({ "message": "refused" }).to_string()).into_response()
}

async fn list(State(control): State<Shared>) -> String {
    let mut control = control.lock().expect("one thread");
    control.calls.push("list");
    json!({ "item": control.keys }).to_string()
}

async fn make(State(control): State<Shared>, body: String) -> Response {
    let mut control = control.lock().expect("one thread");
    control.calls.push("make");
    let mut key: Value = serde_json::from_str(&body).expect("JSON");
    key["id"] = format!("id{}", control.keys.len()).into();
    control.keys.push(key.clone());
    (StatusCode::CREATED, key.to_string()).into_response()
}

async fn put(State(control): State<Shared>, Path(plan): Path<String>, body: String) -> Response {
    let mut control = control.lock().expect("one thread");
    control.calls.push("attach");
    let key: Value = serde_json::from_str(&body).expect("JSON");
    let id = key["keyId"].as_str().expect("an id").to_owned();
    if plan != "plan" {
        return refused(StatusCode::NOT_FOUND, "NotFoundException");
    }
    if control.attached.contains(&id) {
        return refused(StatusCode::CONFLICT, "ConflictException");
    }
    control.attached.push(id);
    (StatusCode::CREATED, key.to_string()).into_response()
}

async fn is_in(State(control): State<Shared>, Path((_, id)): Path<(String, String)>) -> Response {
    match control.lock().expect("one thread").attached.contains(&id) {
        true => json!({ "id": id }).to_string().into_response(),
        false => refused(StatusCode::NOT_FOUND, "NotFoundException"),
    }
}

async fn one(State(control): State<Shared>, Path(id): Path<String>) -> Response {
    match control.lock().expect("one thread").keys.iter().find(|key| key["id"] == *id) {
        Some(key) => key.to_string().into_response(),
        None => refused(StatusCode::NOT_FOUND, "NotFoundException"),
    }
}

async fn gateway() -> (Client, Shared) {
    let control = Shared::default();
    let routes = axum::Router::new()
        .route("/apikeys", get(list).post(make))
        .route("/apikeys/{id}", get(one))
        .route("/usageplans/{plan}/keys", post(put))
        .route("/usageplans/{plan}/keys/{id}", get(is_in))
        .with_state(control.clone());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint);
    (Client::from_conf(config.build()), control)
}

#[tokio::test]
async fn a_retry_finds_what_the_first_attempt_left() {
    let (client, control) = gateway().await;
    let (acme, acm): (TenantId, TenantId) =
        ("acme".parse().expect("a tenant"), "acm".parse().expect("a tenant"));
    // The first attempt made the key and failed at the plan.
    let error = attach(&client, "gone", &acme).await.expect_err("no such plan").to_string();
    assert!(error.contains("rollcall-acme") && error.contains("NotFoundException"), "{error}");
    let value = attach(&client, "plan", &acme).await.expect("attached");
    assert_eq!(value.len(), 40);
    assert_eq!(attach(&client, "plan", &acme).await.expect("attached already"), value);
    // Another tenant whose name the first one's begins with.
    assert_ne!(attach(&client, "plan", &acm).await.expect("attached"), value);
    assert_eq!(fetch(&client, "id0").await.expect("a value"), value);
    let error = fetch(&client, "id9").await.expect_err("no such key").to_string();
    assert!(error.contains("id9") && !error.contains('\n'), "{error}");
    let calls = control.lock().expect("one thread").calls.join(" ");
    assert_eq!(calls, "list make attach list attach list attach list make attach");
}

#[tokio::test]
async fn a_disabled_key_is_refused() {
    let (client, control) = gateway().await;
    let key = json!({ "id": "id0", "name": "rollcall-acme", "value": "v".repeat(20), "enabled": false });
    control.lock().expect("one thread").keys.push(key);
    for outcome in
        [attach(&client, "plan", &"acme".parse().expect("a tenant")).await, fetch(&client, "id0").await]
    {
        assert!(outcome.expect_err("disabled").to_string().contains("enable it first"));
    }
}
