//! The application's side in this process: gateway, authorizer, functions, embedded DynamoDB.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use rollcall::app::router::{AppRoute, route};
use rollcall::auth::application::ApplicationScope;
use rollcall::dev::backend::{AppBackend, Connection};
use rollcall::dev::gateway::front;
use rollcall::dev::gateway::lambda::{Clock, Lambda};
use rollcall::dev::gateway::rest_api::Gateway;
use rollcall::dev::template::facts::ApiFacts;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::dev::wiring::connect;
use rollcall::store::call::Table;
use rollcall::tenants::actor::Actor;
use rollcall::tenants::application::{NewApplication, create};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;

use crate::support;
use crate::support::client::Client;

/// What the application's side works with.
pub struct App {
    gateway: Gateway,
    /// The table, without what stands before it.
    pub table: Table,
    /// A key with the scope `manage`.
    pub key: String,
    /// A key with the scope `read`.
    pub reader: String,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// Asserts the status; the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        if status < 400 && status != 204 && status != 304 {
            assert_eq!(self.headers["content-type"], "application/json");
        }
        self.body
    }

    /// Asserts a whole problem of this status and type; its detail.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.body);
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body["status"], status, "{}", self.body);
        assert!(self.body["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.body);
        let expected =
            if kind.is_empty() { "about:blank".to_owned() } else { format!("urn:rollcall:problem:{kind}") };
        assert_eq!(self.body["type"], expected.as_str(), "{}", self.body);
        self.body["detail"].as_str().expect("a detail").to_owned()
    }
}

impl App {
    /// An empty table and all that stands before it.
    pub async fn start() -> Self {
        let embedded = support::serve().await;
        Self::over(&embedded.endpoint, embedded.table, |_| {}).await
    }

    /// The functions call the table at `endpoint`. Keys are made in `table`.
    pub async fn over(endpoint: &str, table: Table, adapt: impl FnOnce(&mut ApiFacts)) -> Self {
        let key = application_key(&table, ApplicationScope::Manage).await;
        let reader = application_key(&table, ApplicationScope::Read).await;
        let gateway = gateway(endpoint, None, adapt);
        Self { gateway, table, key, reader }
    }

    /// Serves the functions over the table at `endpoint` on a port of this machine, as `rollcall dev` does. Returns
    /// the base URL of the API.
    pub async fn listen(endpoint: &str) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}/app/v1", listener.local_addr().expect("an address"));
        let gateways = vec![gateway(endpoint, None, |_| {})];
        tokio::spawn(front::serve(listener, gateways, std::future::pending()));
        url
    }

    /// Only the function that reads calls the table at `endpoint`, with a key that is there already.
    pub async fn reading(endpoint: &str, table: Table, key: &str) -> Self {
        let gateway = gateway(endpoint, Some(ApplicationScope::Read), |_| {});
        Self { gateway, table, key: key.to_owned(), reader: key.to_owned() }
    }

    /// The same with the function that manages.
    pub async fn managing(endpoint: &str, table: Table, key: &str) -> Self {
        let gateway = gateway(endpoint, Some(ApplicationScope::Manage), |_| {});
        Self { gateway, table, key: key.to_owned(), reader: key.to_owned() }
    }

    /// Makes a tenant by the API, and a client of its SCIM side.
    pub async fn tenant(&self, policy: &'static str) -> Client {
        let body = json!({ "tenant": support::client::TENANT, "policy": policy });
        self.send("POST", "/tenants", Some(body)).await.expect(201);
        Client::new(self.table.fresh(), policy).await
    }

    /// Moves changes into the feed, as the table's stream does.
    pub async fn sequence(&self) {
        support::feed::sequence(&self.table).await;
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None).await
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let header = format!("Bearer {}", self.key);
        let headers = [("authorization", header.as_str()), ("content-type", "application/json")];
        self.raw((method, path), &headers, text.into()).await
    }

    /// Sends a GET with this key.
    pub async fn with_key(&self, key: &str, method: &str, path: &str) -> Reply {
        let header = format!("Bearer {key}");
        self.raw((method, path), &[("authorization", header.as_str())], Bytes::new()).await
    }

    /// Sends a request as it is.
    pub async fn raw(&self, (method, path): (&str, &str), headers: &[(&str, &str)], body: Bytes) -> Reply {
        let target = format!("/app/v1{}", path.replace(' ', "%20").replace('"', "%22"));
        let mut request =
            http::Request::builder().method(method).uri(target).header("host", "app.example.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let nobody: SocketAddr = ([127, 0, 0, 1], 1).into();
        let response = self.gateway.answer(&parts, Ok(body), nobody, nobody).await;
        let (parts, body) = response.into_parts();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        assert_described(method, path, parts.status.as_u16(), &body);
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

pub async fn application_key(table: &Table, scope: ApplicationScope) -> String {
    let new = NewApplication { name: "test".to_owned(), scope, expires: None };
    let made = create(table, &Actor::operator(), new, OffsetDateTime::now_utc()).await;
    made.expect("a key").0.reveal().to_owned()
}

/// The API of applications before the table at `endpoint`. With a scope, every key has it, and no authorizer
/// calls the table.
fn gateway(endpoint: &str, scope: Option<ApplicationScope>, adapt: impl FnOnce(&mut ApiFacts)) -> Gateway {
    let TemplateFacts { mut app_api, environment, .. } =
        TemplateFacts::parse(TEMPLATE).expect("the template");
    (app_api.usage_plan, app_api.stage) = (None, None);
    adapt(&mut app_api);
    let client = support::client(endpoint);
    let (table, app_url) = (support::TABLE.to_owned(), "http://app.example.com/app/v1".to_owned());
    let backend = connect(Connection { client, loader: None, table, environment, app_url }, &[]);
    let AppBackend { read, manage, authorizer } = backend.app;
    let authorizer = match scope {
        None => authorizer,
        Some(scope) => Lambda::new(move |_: Value| async move {
            let statement = json!({
                "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*",
            });
            Ok::<_, String>(json!({
                "principalId": "app_test",
                "policyDocument": { "Version": "2012-10-17", "Statement": [statement] },
                "context": { "keyId": "app_test", "scope": scope.name() },
                "usageIdentifierKey": "rollcall-application-test",
            }))
        }),
    };
    AppBackend { read, manage, authorizer }.gateway(app_api, Clock::system(), |function| function)
}

/// Asserts that changes are as docs/events.schema.json says.
pub fn assert_changes_described(changes: &[Value]) {
    let text = include_str!("../../docs/events.schema.json");
    let schema: Value = serde_json::from_str(text).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for change in changes {
        let errors: Vec<String> = validator.iter_errors(change).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{change}: {errors:#?}");
    }
}

/// Asserts that the OpenAPI document describes an answer: its status, and its body by the schema.
fn assert_described(method: &str, path: &str, status: u16, body: &Value) {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let text = include_str!("../../docs/app-openapi.json");
    let document = DOCUMENT.get_or_init(|| serde_json::from_str(text).expect("JSON"));
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    let AppRoute::To(operation, _) = route(&method.parse().expect("a method"), path) else { return };
    if method == "HEAD" || status >= 400 {
        return;
    }
    let items = document["paths"].as_object().expect("paths").values();
    let mut operations = items.flat_map(|item| item.as_object().expect("an item").values());
    let described = operations.find(|found| found["operationId"] == operation.name()).expect("an operation");
    let answer = &described["responses"][status.to_string()];
    assert!(answer.is_object(), "{method} {path}: {status} is not described");
    let schema = &answer["content"]["application/json"]["schema"];
    if schema.is_null() {
        return assert_eq!(*body, Value::Null, "{method} {path}");
    }
    static VALIDATORS: Mutex<BTreeMap<String, Arc<jsonschema::Validator>>> = Mutex::new(BTreeMap::new());
    let name = schema["$ref"].as_str().expect("a reference").to_owned();
    let validator = VALIDATORS.lock().unwrap().get(&name).cloned().unwrap_or_else(|| {
        let schema = json!({ "$ref": name, "components": document["components"] });
        Arc::new(jsonschema::validator_for(&schema).expect("a schema"))
    });
    VALIDATORS.lock().unwrap().insert(name, validator.clone());
    let errors: Vec<String> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?}");
}
