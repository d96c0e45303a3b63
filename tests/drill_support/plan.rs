//! The part of API Gateway's control plane that the operator's tool calls for usage keys.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use serde_json::{Value, json};

/// A new usage plan without keys, beside the keys of the account.
#[derive(Clone, Default)]
pub struct PlanOfStack {
    keys: Arc<Mutex<Vec<Value>>>,
    attached: Arc<Mutex<Vec<String>>>,
}

impl PlanOfStack {
    /// A key that the old stack has left, as the operator's tool made it.
    pub fn keep(&self, value: &str) {
        let key = json!({ "id": "old", "name": "of the old plan", "value": value, "enabled": true });
        self.keys.lock().expect("a lock").push(key);
    }

    /// The names of all keys of the account.
    pub fn names(&self) -> Vec<String> {
        let keys = self.keys.lock().expect("a lock");
        keys.iter().map(|key| key["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Serves it; the URL.
    pub async fn start() -> (String, Self) {
        let plan = Self::default();
        let routes = axum::Router::new()
            .route("/apikeys", get(list).post(make))
            .route("/apikeys/{id}", patch(rename))
            .route("/usageplans/new/keys", post(attach))
            .route("/usageplans/new/keys/{id}", get(find))
            .with_state(plan.clone());
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async { axum::serve(listener, routes).await });
        (url, plan)
    }

    /// The values of the keys in the plan.
    pub fn values(&self) -> Vec<String> {
        let attached = self.attached.lock().expect("a lock").clone();
        let keys = self.keys.lock().expect("a lock").clone();
        let of = |id: &String| keys.iter().find(|key| key["id"] == id.as_str()).cloned();
        attached.iter().filter_map(of).map(|key| key["value"].as_str().expect("a value").to_owned()).collect()
    }
}

async fn list(State(plan): State<PlanOfStack>) -> String {
    json!({ "item": *plan.keys.lock().expect("a lock") }).to_string()
}

async fn make(State(plan): State<PlanOfStack>, body: String) -> Response {
    let mut keys = plan.keys.lock().expect("a lock");
    let mut key: Value = serde_json::from_str(&body).expect("JSON");
    // API Gateway refuses a value that another key has.
    if keys.iter().any(|one| one["value"] == key["value"]) {
        let refused = json!({ "message": "API Key already exists" }).to_string();
        return (StatusCode::CONFLICT, [("x-amzn-errortype", "ConflictException")], refused).into_response();
    }
    key["id"] = format!("id{}", keys.len()).into();
    keys.push(key.clone());
    (StatusCode::CREATED, key.to_string()).into_response()
}

async fn rename(State(plan): State<PlanOfStack>, Path(id): Path<String>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let change = &body["patchOperations"][0];
    assert_eq!((&change["op"], &change["path"]), (&json!("replace"), &json!("/name")), "{body}");
    let mut keys = plan.keys.lock().expect("a lock");
    let Some(key) = keys.iter_mut().find(|key| key["id"] == id.as_str()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    key["name"] = change["value"].clone();
    key.to_string().into_response()
}

async fn attach(State(plan): State<PlanOfStack>, body: String) -> Response {
    let key: Value = serde_json::from_str(&body).expect("JSON");
    let id = key["keyId"].as_str().expect("an id").to_owned();
    let mut attached = plan.attached.lock().expect("a lock");
    if attached.contains(&id) {
        let refused = json!({ "message": "there" }).to_string();
        return (StatusCode::CONFLICT, [("x-amzn-errortype", "ConflictException")], refused).into_response();
    }
    attached.push(id);
    (StatusCode::CREATED, key.to_string()).into_response()
}

async fn find(State(plan): State<PlanOfStack>, Path(id): Path<String>) -> Response {
    match plan.attached.lock().expect("a lock").contains(&id) {
        true => json!({ "id": id }).to_string().into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}
