//! A caller of the function: proxy events in, answers and their cost out.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use rollcall::http::event::ProxyEvent;
use rollcall::http::function::Function;
use rollcall::http::log::Line;
use rollcall::http::response::Transfer;
use rollcall::store::Store;
use rollcall::store::call::Table;
use serde_json::{Value, json};

/// The tenant that every client here belongs to, unless told otherwise.
pub const TENANT: &str = "acme";

/// A client of the function under one policy.
#[derive(Clone)]
pub struct Client {
    pub function: Arc<Function>,
    pub table: Table,
    pub tenant: String,
    pub policy: &'static str,
    /// The tenant's limit of deactivations, in percent, and until when it is lifted.
    pub breaker: Option<(u32, u64)>,
    /// Whether the tenant keeps identity providers away from its root team.
    pub protected: bool,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub line: Line,
}

impl Reply {
    /// The id in the body.
    pub fn id(&self) -> String {
        self.body["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id in {} {}", self.status, self.body))
            .to_owned()
    }

    /// The body, if the status is this one.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Client {
    /// A client of a function over this table.
    pub async fn new(table: Table, policy: &'static str) -> Self {
        let function = Function::new(table.clone(), None).expect("a function");
        let client = Self {
            function: Arc::new(function),
            table,
            tenant: TENANT.to_owned(),
            policy,
            breaker: None,
            protected: false,
        };
        // The first request of a day notes the key's use, beside the request.
        client.get("/ServiceProviderConfig").await.expect(200);
        client
    }

    /// The same function, for another tenant.
    pub fn of(&self, tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), ..self.clone() }
    }

    /// The same, for a tenant with a limit of deactivations.
    pub fn limited(&self, percent: u32, lifted_until: u64) -> Self {
        Self { breaker: Some((percent, lifted_until)), ..self.clone() }
    }

    /// The same, for a tenant that keeps identity providers away from its root team.
    pub fn protected(&self) -> Self {
        Self { protected: true, ..self.clone() }
    }

    /// The table as the client's requests see it.
    pub fn store(&self) -> Store {
        Store {
            table: self.table.fresh(),
            tenant: self.tenant.parse().expect("a tenant"),
            actor: "key_test".to_owned(),
            request_id: "test".to_owned(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, Some(body), &[]).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send("PUT", path, Some(body), &[]).await
    }

    pub async fn patch(&self, path: &str, operations: Value) -> Reply {
        let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
        self.send("PATCH", path, Some(json!({ "schemas": schemas, "Operations": operations })), &[]).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None, &[]).await
    }

    /// A request as API Gateway hands it on.
    pub fn event(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Value {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parameters = serde_json::Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.insert(name.to_owned(), json!([value]));
        }
        let mut all = json!({ "Host": ["scim.example.com"], "Content-Type": ["application/scim+json"] });
        for (name, value) in headers {
            all[*name] = json!([value]);
        }
        let mut event = json!({
            "resource": "/scim/v2/{proxy+}",
            "path": format!("/scim/v2{path}"),
            "httpMethod": method,
            "headers": {},
            "multiValueHeaders": all,
            "queryStringParameters": null,
            "multiValueQueryStringParameters": parameters,
            "pathParameters": { "proxy": path.trim_start_matches('/') },
            "stageVariables": null,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "api",
                "authorizer": {
                    "tenantId": self.tenant, "keyId": "key_test", "scope": "provision", "policy": self.policy
                },
                "domainName": "scim.example.com",
                "httpMethod": method,
                "identity": { "sourceIp": "192.0.2.7" },
                "path": format!("/prod/scim/v2{path}"),
                "requestId": "request-1",
                "stage": "prod"
            },
            // Every media type is binary in the template, so the gateway sends bodies as base64.
            "isBase64Encoded": body.is_some(),
            "body": body.map(|body| STANDARD.encode(body.to_string()))
        });
        if self.protected {
            event["requestContext"]["authorizer"]["rootTeamProtected"] = "true".into();
        }
        if let Some((percent, lifted_until)) = self.breaker {
            let context = &mut event["requestContext"]["authorizer"];
            context["breakerPercent"] = percent.to_string().into();
            context["breakerLiftedUntil"] = lifted_until.to_string().into();
        }
        event
    }

    /// Sends a request as API Gateway hands it on.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let event = self.event(method, path, body, headers);
        let ProxyEvent(request) = serde_json::from_value(event).expect("an event");
        let (response, line) = self.function.answer_with_line(request, Transfer::Buffered).await;
        let (parts, body) = response.into_parts();
        let packed = parts.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
        let body = if packed {
            serde_json::from_reader(flate2::read::GzDecoder::new(&body[..])).expect("JSON")
        } else {
            serde_json::from_slice(&body).unwrap_or(Value::Null)
        };
        Reply { status: parts.status.as_u16(), headers: parts.headers, body, line }
    }

    /// Makes users of these numbers, and gives their ids in order: some at a time, since a thousand
    /// requests at once would be a test of the machine.
    pub async fn users(&self, numbers: std::ops::Range<usize>) -> Vec<String> {
        let make = |at| async move { self.user(&format!("u{at}")).await };
        let mut ids: Vec<String> = stream::iter(numbers.map(make)).buffer_unordered(16).collect().await;
        ids.sort_unstable();
        ids
    }

    /// Creates a user that is complete under every policy; its id.
    pub async fn user(&self, name: &str) -> String {
        self.post("/Users", user(name)).await.expect(201).id()
    }

    /// Creates a group; its id.
    pub async fn group(&self, name: &str, members: &[String]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        self.post("/Groups", json!({ "displayName": name, "members": members })).await.expect(201).id()
    }
}

impl Client {
    /// The same, with members added by several requests, so that none is a large change. For a minute after a
    /// large change, changes of the group read twice.
    pub async fn group_by_and_by(&self, name: &str, members: &[String]) -> String {
        let group = self.group(name, &[]).await;
        for some in members.chunks(45) {
            let some: Vec<Value> = some.iter().map(|id| json!({ "value": id })).collect();
            let add = json!([{ "op": "add", "path": "members", "value": some }]);
            let path = format!("/Groups/{group}?excludedAttributes=members");
            self.patch(&path, add).await.expect(200);
        }
        group
    }
}

/// A user that is complete under every policy.
pub fn user(name: &str) -> Value {
    let email = format!("{name}@example.com");
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": email,
        "externalId": format!("ext-{name}"),
        "name": { "givenName": "Given", "familyName": name },
        "displayName": name,
        "active": true,
        "emails": [{ "value": email, "type": "work", "primary": true }]
    })
}
