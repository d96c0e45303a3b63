//! The requests of the probe, as events of a REST API, and what their answers must be.
//!
//! They are made for the tenant [`TenantId::probe`], which does not exist and cannot be created. So they find
//! nothing, and change nothing:
//!
//! - `GET /Users` with a filter looks up a name that nobody has: 200, an empty list.
//! - `POST /Groups` wants more members than one transaction takes, none of which exists. The function writes the
//!   members down as a staged change, looks for them, deletes what it wrote, and answers 400. That takes all kinds of
//!   calls that a change takes, except for its commit. No event is written.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;
use crate::limits::MAX_MEMBER_CHANGES_PER_TX;
use crate::scim::policy::VEZA;
use crate::scim::urn;
use crate::store::keys::TenantId;

/// What stands between the head and the body of an answer that is streamed.
const END_OF_HEAD: [u8; 8] = [0; 8];

/// A request of the probe.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// For the log.
    pub name: &'static str,
    /// The event.
    pub event: Value,
    status: u16,
    is_expected: fn(&Value) -> bool,
}

/// The answer of a function to an event of a REST API.
struct ProxyAnswer {
    head: Value,
    body: Value,
}

impl ProbeRequest {
    /// The requests, with names and ids that are new each time.
    pub fn all() -> [Self; 2] {
        let nobody = format!("{}@probe.invalid", Uuid::now_v7());
        let filter = format!("userName eq \"{nobody}\"");
        let members = (0..=MAX_MEMBER_CHANGES_PER_TX).map(|_| json!({ "value": Uuid::now_v7().to_string() }));
        let group = json!({
            "schemas": [urn::GROUP],
            "displayName": format!("Probe {}", Uuid::now_v7()),
            "members": members.collect::<Vec<_>>(),
        });
        [
            Self {
                name: "GET /Users",
                event: event("GET", "/scim/v2/Users", Some(&filter), None),
                status: 200,
                is_expected: |body| {
                    body["schemas"] == json!([urn::LIST_RESPONSE]) && body["totalResults"] == json!(0)
                },
            },
            Self {
                name: "POST /Groups",
                event: event("POST", "/scim/v2/Groups", None, Some(&group)),
                status: 400,
                is_expected: |body| {
                    body["schemas"] == json!([urn::ERROR])
                        && body["status"] == "400"
                        && body["scimType"] == "invalidValue"
                },
            },
        ]
    }

    /// Judges what the function answered.
    ///
    /// # Errors
    /// One line that says what is wrong, without the answer's body.
    pub fn judge(&self, payload: &[u8]) -> Result<(), String> {
        let name = self.name;
        let answer = ProxyAnswer::read(payload).ok_or_else(|| {
            format!("{name}: the function's result is no answer to a request of API Gateway")
        })?;
        let (status, wanted) = (&answer.head["statusCode"], self.status);
        if *status != json!(wanted) {
            return Err(format!("{name}: the status is {status}, not {wanted}"));
        }
        if !answer.is_scim() {
            return Err(format!("{name}: the answer has not the type application/scim+json"));
        }
        if !(self.is_expected)(&answer.body) {
            return Err(format!("{name}: the body of the answer is not the expected one"));
        }
        Ok(())
    }
}

impl ProxyAnswer {
    /// Reads the result of an invocation, streamed or not.
    fn read(payload: &[u8]) -> Option<Self> {
        let end = payload.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD);
        if let Some(end) = end {
            let (head, body) = (&payload[..end], &payload[end + END_OF_HEAD.len()..]);
            return Some(Self {
                head: serde_json::from_slice(head).ok()?,
                body: serde_json::from_slice(body).ok()?,
            });
        }
        let head: Value = serde_json::from_slice(payload).ok()?;
        let body = serde_json::from_str(head.get("body")?.as_str()?).ok()?;
        Some(Self { head, body })
    }

    fn is_scim(&self) -> bool {
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        let of = |headers: &Value| {
            let found = headers.as_object()?.iter().find(|(name, _)| is_type(name))?.1;
            found.as_str().or_else(|| found.get(0)?.as_str()).map(str::to_owned)
        };
        let found = of(&self.head["headers"]).or_else(|| of(&self.head["multiValueHeaders"]));
        found.is_some_and(|found| found.starts_with("application/scim+json"))
    }
}

/// An event as API Gateway makes it after its authorizer.
fn event(method: &str, path: &str, filter: Option<&str>, body: Option<&Value>) -> Value {
    let headers = [
        ("Accept", "application/scim+json"),
        ("Content-Type", "application/scim+json"),
        ("Host", "probe.invalid"),
        ("User-Agent", "rollcall-probe"),
        ("X-Forwarded-Proto", "https"),
    ];
    let one: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let many: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect();
    let tenant = TenantId::probe();
    let id = Uuid::now_v7().to_string();
    json!({
        "resource": "/scim/v2/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": one,
        "multiValueHeaders": many,
        "queryStringParameters": filter.map(|filter| json!({ "filter": filter })),
        "multiValueQueryStringParameters": filter.map(|filter| json!({ "filter": [filter] })),
        "pathParameters": { "proxy": path.trim_start_matches("/scim/v2/") },
        "stageVariables": null,
        "requestContext": {
            "resourceId": "probe",
            "resourcePath": "/scim/v2/{proxy+}",
            "httpMethod": method,
            "path": format!("/probe{path}"),
            "protocol": "HTTP/1.1",
            "stage": "probe",
            "requestTimeEpoch": clock::epoch_seconds() * 1_000,
            "requestId": id,
            "extendedRequestId": id,
            "accountId": "000000000000",
            "apiId": "probe",
            "identity": { "sourceIp": "127.0.0.1", "userAgent": "rollcall-probe" },
            "authorizer": {
                "principalId": format!("{tenant}/probe"),
                "tenantId": tenant.as_str(),
                "keyId": "probe",
                "scope": "provision",
                "policy": VEZA.name,
                "retentionDays": "0",
                "rootTeamProtected": "false",
            },
        },
        "body": body.map(Value::to_string),
        "isBase64Encoded": false,
    })
}
