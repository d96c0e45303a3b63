//! The whole stack in this process: gateway, authorizer, function, embedded DynamoDB.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lambda_http::{Body, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rollcall::admin::key::{NewKey, create};
use rollcall::admin::tenant;
use rollcall::auth::record::Scope;
use rollcall::auth::tenant::TenantRecord;
use rollcall::dev::backend::Connection;
use rollcall::dev::gateway::lambda::{Clock, Lambda};
use rollcall::dev::gateway::rest_api::Gateway;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::dev::wiring::connect;
use rollcall::http::function::Function;
use rollcall::http::response::Transfer;
use rollcall::http::service::{HttpFunction, invoke_with_event};
use rollcall::scim::policy::Policy;
use rollcall::store::call::{ScanPage, ScanSegment, Table};
use rollcall::store::keys;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::case::{self, Case, Request, Setup, Step};
use super::expected::compare;
use super::names::Names;
use crate::roles_support::client_with_role;
use crate::support;

const HOST: &str = "scim.example.com";
const BASE_PATH: &str = "/scim/v2";

/// Everything that cases share.
pub struct Stack {
    gateway: Gateway,
    table: Table,
    notes: Arc<NotesByRequest>,
}

/// The codes of the notes of each request, by the id of the request.
type NotesByRequest = Mutex<BTreeMap<String, Vec<String>>>;

/// The function, with what its log lines note.
struct NotingFunction {
    function: Function,
    notes: Arc<NotesByRequest>,
}

impl HttpFunction for NotingFunction {
    async fn answer(&self, request: lambda_http::Request, transfer: Transfer) -> Response<Body> {
        let (response, line) = self.function.answer_with_line(request, transfer).await;
        let codes = line.notes.iter().map(ToString::to_string).collect();
        self.notes.lock().expect("a lock").insert(line.ids.request, codes);
        response
    }
}

/// An answer of the stack.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

/// A case on its way.
struct Play<'a> {
    stack: &'a Stack,
    tenant: String,
    keys: BTreeMap<String, String>,
    names: Names,
}

impl Stack {
    /// An empty table and all that stands before it.
    pub async fn start() -> Self {
        let embedded = support::serve().await;
        let TemplateFacts { mut api, environment, .. } =
            TemplateFacts::parse(TEMPLATE).expect("the template");
        (api.usage_plan, api.high_usage_plan, api.stage) = (None, None, None);
        // Each function calls the table with the rights that its role has, and no others.
        let scim = client_with_role(&embedded.endpoint, "ScimRole").await;
        let client = client_with_role(&embedded.endpoint, "AuthorizerRole").await;
        let (table, app_url) = (support::TABLE.to_owned(), "http://app.example.com/app/v1".to_owned());
        let backend = connect(Connection { client, table, environment, app_url }, &[]);
        let notes = Arc::new(NotesByRequest::default());
        let function = Function::new(Table::new(scim, support::TABLE), None).expect("a function");
        let function = Arc::new(NotingFunction { function, notes: notes.clone() });
        let function = Lambda::new(move |event| invoke_with_event(function.clone(), event));
        let gateway = Gateway::new(api, function, backend.authorizer, Clock::system());
        Self { gateway, table: embedded.table, notes }
    }

    /// Plays a case with a tenant of its own. An error says which step differs and how.
    pub async fn play(&self, case: &Case, policy: &str, number: usize) -> Result<(), String> {
        let tenant = format!("case-{number}-{policy}");
        let id = tenant.parse().map_err(|_| format!("{tenant} is no tenant"))?;
        let policy = Policy::named(policy).ok_or("no such policy")?;
        let new = tenant::NewTenant::new(&id, policy, &"u".repeat(40));
        let now = OffsetDateTime::now_utc();
        let made = tenant::create(&self.table, &new, now).await.map_err(|error| error.to_string())?;
        if case.needs_empty_tenant {
            self.empty(&made).await;
        }
        let mut names = Names::default();
        names.set("unique", format!("c{number}x").into());
        names.set("tenant", tenant.clone().into());
        names.set("base", format!("http://{HOST}{BASE_PATH}").into());
        let mut play = Play { stack: self, tenant, keys: BTreeMap::new(), names };
        for setup in &case.setup {
            play.set_up(setup).await?;
        }
        for (index, step) in case.steps.iter().enumerate() {
            play.step(step).await.map_err(|failed| {
                let Request { method, path, .. } = &step.request;
                format!("step {} ({method} {path}):\n{failed}", index + 1)
            })?;
        }
        Ok(())
    }

    /// Takes the root team away: what is left is a tenant that holds nothing.
    async fn empty(&self, tenant: &TenantRecord) {
        let (mut start, prefix) = (None, keys::data(&tenant.id));
        loop {
            let ScanPage { found, next } =
                self.table.scan_page(&prefix, start, ScanSegment::WHOLE).await.expect("a scan");
            self.table.batch_delete(found).await.expect("a deletion");
            match next {
                Some(next) => start = Some(next),
                None => return,
            }
        }
    }

    async fn send(&self, request: http::Request<Bytes>) -> Answer {
        let nobody: SocketAddr = ([127, 0, 0, 1], 1).into();
        let (parts, body) = request.into_parts();
        let response = self.gateway.answer(&parts, Ok(body), nobody, nobody).await;
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

impl Play<'_> {
    async fn set_up(&mut self, setup: &Setup) -> Result<(), String> {
        let (path, name, mut body) = match (&setup.user, &setup.group) {
            (Some(name), _) => ("/Users", name, user(name)),
            (None, Some(name)) => ("/Groups", name, group(name)),
            (None, None) => return Err("setup makes one user or one group each".to_owned()),
        };
        for (key, value) in &setup.with {
            match value {
                Value::Null => body.shift_remove(key),
                value => body.insert(key.clone(), value.clone()),
            };
        }
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: Map::new(),
            headers: BTreeMap::new(),
            key: None,
            body: Some(Value::Object(body)),
            raw: None,
            padding: 0,
        };
        let answer = self.request(&request).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, body["id"].as_str()) {
            (201, Some(id)) => self.names.set(name, id.into()),
            _ => return Err(format!("setup of {name}: {} {body}", answer.status)),
        }
        self.names.set(&format!("{name}.version"), body["meta"]["version"].clone());
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let answer = self.request(&step.request).await?;
        let mut differences = Vec::new();
        let expected = &step.response;
        if answer.status != expected.status {
            differences.push(format!("status: expected {}, found {}", expected.status, answer.status));
        }
        for (name, value) in &expected.headers {
            let found = answer.headers.get(name).map(|found| String::from_utf8_lossy(found.as_bytes()));
            match found {
                Some(found) => {
                    let found = Value::String(found.into_owned());
                    compare(&Value::String(value.clone()), &found, name, &mut self.names, &mut differences);
                }
                None if value == "absent" => {}
                None => differences.push(format!("{name}: expected {value:?}, found nothing")),
            }
        }
        self.compare_body(expected.body.as_ref(), &answer, &mut differences)?;
        self.compare_notes(expected, &answer, &mut differences);
        if differences.is_empty() {
            return Ok(());
        }
        let whole = String::from_utf8_lossy(&answer.body);
        let whole: String = whole.chars().take(2000).collect();
        Err(format!("  {}\n  answered {} {whole}", differences.join("\n  "), answer.status))
    }

    /// Compares the codes in the log line, and what `detail` tells the administrator.
    fn compare_notes(&self, expected: &case::Response, answer: &Answer, differences: &mut Vec<String>) {
        if let Some(hint) = &expected.hint {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if !body["detail"].as_str().is_some_and(|detail| detail.contains(hint)) {
                differences.push(format!("detail: expected {hint:?} in {}", body["detail"]));
            }
        }
        let Some(mut notes) = expected.notes.clone() else { return };
        let id = answer.headers.get("x-amzn-requestid").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let mut found = self.stack.notes.lock().expect("a lock").remove(id).unwrap_or_default();
        notes.sort();
        found.sort();
        if notes != found {
            differences.push(format!("notes: expected {notes:?}, found {found:?}"));
        }
    }

    fn compare_body(
        &mut self,
        expected: Option<&Value>,
        answer: &Answer,
        differences: &mut Vec<String>,
    ) -> Result<(), String> {
        let absent = expected.is_none_or(|expected| expected == "absent");
        if absent || answer.body.is_empty() {
            if !absent || !answer.body.is_empty() {
                differences.push(format!("body: {}", if absent { "expected none" } else { "found none" }));
            }
            return Ok(());
        }
        // Every body is SCIM JSON (RFC 7644 §8.1).
        let media_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
        if media_type != Some("application/scim+json") {
            differences.push(format!("content-type: found {media_type:?}"));
        }
        match serde_json::from_slice(&answer.body) {
            Ok(found) => {
                let expected = expected.unwrap_or(&Value::Null);
                compare(expected, &found, "body", &mut self.names, differences);
            }
            Err(error) => differences.push(format!("body: no JSON: {error}")),
        }
        Ok(())
    }

    async fn request(&mut self, request: &Request) -> Result<Answer, String> {
        let mut path = self.names.text(&request.path)?;
        for (name, value) in &request.query {
            path.push(if path.contains('?') { '&' } else { '?' });
            let value = match self.names.value(value)? {
                Value::String(text) => text,
                value => value.to_string(),
            };
            path.push_str(&format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
        }
        let mut http = http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("http://{HOST}{BASE_PATH}{path}"))
            .header("host", HOST);
        if let Some(key) = self.key(request.key.as_deref().unwrap_or("provision")).await? {
            http = http.header("authorization", format!("Bearer {key}"));
        }
        let body = match (&request.body, &request.raw) {
            (Some(body), _) => Some(self.names.value(body)?.to_string()),
            (None, Some(raw)) => Some(self.names.text(raw)?),
            (None, None) => None,
        };
        let mut headers = request.headers.clone();
        if request.body.is_some() && !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            headers.insert("content-type".to_owned(), "application/scim+json".to_owned());
        }
        for (name, value) in &headers {
            http = http.header(name, self.names.text(value)?);
        }
        let mut body = body.unwrap_or_default();
        body.push_str(&" ".repeat(request.padding));
        let body = Bytes::from(body);
        Ok(self.stack.send(http.body(body).map_err(|error| error.to_string())?).await)
    }

    /// The text of a key, made when it is first used.
    async fn key(&mut self, which: &str) -> Result<Option<String>, String> {
        let (scope, user) = match which.split_once(':') {
            _ if which == "none" => return Ok(None),
            _ if which == "provision" => (Scope::Provision, None),
            _ if which == "read" => (Scope::Read, None),
            Some(("user", name)) => {
                let id = self.names.text(&format!("{{{name}}}"))?;
                (Scope::Provision, Some(Uuid::parse_str(&id).map_err(|error| error.to_string())?))
            }
            _ => return self.names.text(which).map(Some),
        };
        if let Some(key) = self.keys.get(which) {
            return Ok(Some(key.clone()));
        }
        let tenant = self.tenant.parse().map_err(|_| "no tenant")?;
        let new = NewKey { tenant, name: which.to_owned(), scope, expires: None, user };
        let (key, _) = create(&self.stack.table, new, OffsetDateTime::now_utc())
            .await
            .map_err(|error| error.to_string())?;
        self.keys.insert(which.to_owned(), key.reveal().to_owned());
        Ok(Some(key.reveal().to_owned()))
    }
}

/// A user that every policy takes.
pub fn user(name: &str) -> Map<String, Value> {
    let user_name = format!("{name}.{{unique}}@example.com");
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user_name,
        "name": { "givenName": name, "familyName": "Example" },
        "displayName": format!("{name} Example"),
        "emails": [{ "value": user_name, "type": "work", "primary": true }],
        "active": true,
    });
    body.as_object().cloned().unwrap_or_default()
}

fn group(name: &str) -> Map<String, Value> {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": format!("{name} {{unique}}"),
    });
    body.as_object().cloned().unwrap_or_default()
}
