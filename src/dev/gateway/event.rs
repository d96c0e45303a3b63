//! The Lambda proxy event of a REST API (API Gateway: input format of a Lambda function for proxy integration).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::authority::authority;
use super::authorization::Authorization;
use crate::http::log::is_trace_id;
use crate::log::ids::RequestIds;

/// The name of the one stage. Local paths do not begin with it, as under a custom domain.
pub const STAGE: &str = "local";
/// The account that local ARNs name.
pub const ACCOUNT: &str = "000000000000";
/// The region that local ARNs name.
pub const REGION: &str = "us-east-1";

/// Headers between two hops, which the gateway keeps to itself or writes anew.
const NOT_PASSED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];

/// What the template's route says of a request's path.
pub struct Target<'a> {
    /// The route's path, as `/scim/v2/{proxy+}`.
    pub path: &'a str,
    /// The part of the request's path that `{proxy+}` stands for.
    pub proxy: Option<&'a str>,
}

/// What is known of a request, for its event and for a gateway response.
pub struct Context {
    /// The id that the caller chose by the header `x-amzn-RequestId`, or a new one.
    pub request_id: String,
    /// A new id, which no caller chooses.
    pub extended_request_id: String,
    /// The HTTP method.
    pub method: String,
    /// The path, percent-encoded.
    pub path: String,
    /// The `Accept` header.
    pub accept: String,
    /// What the authorizer said.
    pub authorization: Option<Arc<Authorization>>,
    host: String,
    peer: SocketAddr,
    local: SocketAddr,
    user_agent: Option<String>,
    time: SystemTime,
}

impl Context {
    /// Reads the head of a request that came from `peer` on `local`.
    pub fn new(parts: &Parts, peer: SocketAddr, local: SocketAddr, time: SystemTime) -> Self {
        let single = |name: &str| parts.headers.get(name).map(text);
        Self {
            request_id: single("x-amzn-requestid")
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| Uuid::now_v7().to_string()),
            extended_request_id: Uuid::now_v7().simple().to_string(),
            method: parts.method.as_str().to_owned(),
            path: utf8_percent_encode(parts.uri.path(), CONTROLS).to_string(),
            accept: single("accept").unwrap_or_default(),
            authorization: None,
            host: authority(&parts.headers, local),
            peer,
            local,
            user_agent: single("user-agent"),
            time,
        }
    }

    /// The ids of the request, before a function is invoked.
    pub fn ids(&self) -> RequestIds {
        // A caller can choose the first.
        let request = Some(self.request_id.clone()).filter(|id| is_trace_id(id)).unwrap_or_default();
        RequestIds { request, extended: self.extended_request_id.clone(), ..RequestIds::default() }
    }

    /// The address that the request came from.
    pub fn source_ip(&self) -> String {
        self.peer.ip().to_string()
    }

    /// The ARN of the method, as authorizers and policies name it.
    pub fn method_arn(&self) -> String {
        let path = self.path.trim_start_matches('/');
        format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:local/{STAGE}/{}/{path}", self.method)
    }

    /// The event for the function. With `binary`, the body's media type travels as base64.
    pub fn event(&self, parts: &Parts, body: &Bytes, target: &Target<'_>, binary: bool) -> Value {
        let (headers, multi_value_headers) = self.headers(&parts.headers);
        let (query, multi_value_query) = query(parts.uri.query());
        let (body, encoded) = encode(body, binary);
        json!({
            "resource": target.path,
            "path": self.path,
            "httpMethod": self.method,
            "headers": headers,
            "multiValueHeaders": multi_value_headers,
            "queryStringParameters": query,
            "multiValueQueryStringParameters": multi_value_query,
            "pathParameters": target.proxy.map(|proxy| json!({ "proxy": proxy })),
            "stageVariables": null,
            "requestContext": self.request_context(target.path),
            "body": body,
            "isBase64Encoded": encoded,
        })
    }

    fn request_context(&self, resource: &str) -> Value {
        let utc = OffsetDateTime::from(self.time);
        let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
        let milliseconds = self.time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let domain = self.host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let domain = domain.map_or(self.host.as_str(), |(name, _)| name);
        let mut context = json!({
            "accountId": ACCOUNT,
            "apiId": "local",
            "authorizer": null,
            "domainName": self.host,
            "domainPrefix": domain.split('.').next(),
            "extendedRequestId": self.extended_request_id,
            "httpMethod": self.method,
            "identity": {
                "accessKey": null,
                "accountId": null,
                "apiKey": null,
                "apiKeyId": null,
                "caller": null,
                "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null,
                "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null,
                "principalOrgId": null,
                "sourceIp": self.peer.ip().to_string(),
                "user": null,
                "userAgent": self.user_agent,
                "userArn": null,
            },
            "path": self.path,
            "protocol": "HTTP/1.1",
            "requestId": self.request_id,
            "requestTime": utc.format(&format).unwrap_or_default(),
            "requestTimeEpoch": milliseconds,
            "resourceId": "local",
            "resourcePath": resource,
            "stage": STAGE,
        });
        if let Some(authorization) = &self.authorization {
            let mut values = Map::new();
            values.insert("principalId".to_owned(), authorization.principal.as_str().into());
            values.insert("integrationLatency".to_owned(), 0.into());
            for (name, value) in &authorization.context {
                values.insert(name.clone(), value.as_str().into());
            }
            context["authorizer"] = values.into();
            context["identity"]["apiKey"] = authorization.usage_key.as_deref().into();
        }
        context
    }

    /// The headers with their last and with all their values. Those about the connection are the gateway's own.
    fn headers(&self, sent: &HeaderMap) -> (Map<String, Value>, Map<String, Value>) {
        let mut multi: Vec<(String, Vec<String>)> = Vec::new();
        for name in sent.keys().filter(|name| !NOT_PASSED.contains(&name.as_str())) {
            multi.push((name.to_string(), sent.get_all(name).iter().map(text).collect()));
        }
        let mut forwarded: Vec<String> = sent.get_all("x-forwarded-for").iter().map(text).collect();
        forwarded.push(self.peer.ip().to_string());
        for (name, value) in [
            ("Host", self.host.clone()),
            ("X-Forwarded-For", forwarded.join(", ")),
            ("X-Forwarded-Port", self.local.port().to_string()),
            ("X-Forwarded-Proto", "http".to_owned()),
        ] {
            multi.push((name.to_owned(), vec![value]));
        }
        let last = |values: &[String]| values.last().map_or(Value::Null, |value| value.as_str().into());
        let single = multi.iter().map(|(name, values)| (name.clone(), last(values))).collect();
        (single, multi.into_iter().map(|(name, values)| (name, values.into())).collect())
    }
}

/// A header's value as the text that an event can hold: what is not ASCII becomes `?`.
pub fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// The decoded parameters with their last and with all their values, or null where there is no query.
fn query(query: Option<&str>) -> (Value, Value) {
    let mut multi: Map<String, Value> = Map::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let values = multi.entry(decode(name)).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(decode(value).into());
        }
    }
    if multi.is_empty() {
        return (Value::Null, Value::Null);
    }
    let last =
        |values: &Value| values.as_array().and_then(|values| values.last()).cloned().unwrap_or_default();
    let single: Map<_, _> = multi.iter().map(|(name, values)| (name.clone(), last(values))).collect();
    (single.into(), multi.into())
}

/// Decodes a part of a query: `+` is a space, `%2B` is a plus. A malformed escape stays as it is.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The body as text, or as base64 if it must be. An empty body is null.
fn encode(body: &Bytes, binary: bool) -> (Value, bool) {
    if body.is_empty() {
        return (Value::Null, false);
    }
    match std::str::from_utf8(body) {
        Ok(text) if !binary => (text.into(), false),
        _ => (STANDARD.encode(body).into(), true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::*;

    fn event(request: Request<&'static [u8]>) -> Value {
        let (parts, body) = request.into_parts();
        let address = "127.0.0.1:3000".parse().unwrap();
        let context = Context::new(
            &parts,
            "10.0.0.9:5555".parse().unwrap(),
            address,
            UNIX_EPOCH + Duration::from_millis(1500),
        );
        let target = Target { path: "/scim/v2/{proxy+}", proxy: Some("Users") };
        context.event(&parts, &Bytes::from_static(body), &target, false)
    }

    /// The event as the function's own request type takes it.
    fn taken(event: &Value) -> lambda_http::Request {
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    #[test]
    fn queries_are_decoded_once() {
        for (query, expected) in [
            ("filter=userName%20eq%20%22a%22", json!({ "filter": ["userName eq \"a\""] })),
            ("filter=a+b", json!({ "filter": ["a b"] })),
            ("filter=a%2Bb@x.com", json!({ "filter": ["a+b@x.com"] })),
            ("filter=a;b=c", json!({ "filter": ["a;b=c"] })),
            ("a=1&a=2&b", json!({ "a": ["1", "2"], "b": [""] })),
            (
                "attributes=urn:ietf:params:scim:schemas:core:2.0:User:userName",
                json!({ "attributes": ["urn:ietf:params:scim:schemas:core:2.0:User:userName"] }),
            ),
            ("a=%25%zz%2", json!({ "a": ["%%zz%2"] })),
            ("a=%ff%C3%A9", json!({ "a": ["\u{fffd}é"] })),
            ("=x", json!({ "": ["x"] })),
            ("&&", Value::Null),
            ("", Value::Null),
        ] {
            let event = event(Request::get(format!("/scim/v2/Users?{query}")).body(&b""[..]).unwrap());
            assert_eq!(event["multiValueQueryStringParameters"], expected, "{query}");
            taken(&event);
        }
        let event = event(Request::get("/scim/v2/Users?a=1&a=2").body(&b""[..]).unwrap());
        assert_eq!(event["queryStringParameters"], json!({ "a": "2" }));
    }

    #[test]
    fn paths_stay_encoded() {
        for path in [
            "/scim/v2/Users/a%20b",
            "/scim/v2/a%2Fb",
            "/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
            "/scim/v2/../x",
            "/scim/v2/%2e%2e/x",
            "/scim/v2/%",
            "/scim/v2/%zz",
            "/scim/v2/{a}|\"",
            "/scim/v2/a;b=c",
        ] {
            let event = event(Request::get(path).body(&b""[..]).unwrap());
            assert_eq!(event["path"], path);
            assert_eq!(event["requestContext"]["path"], path);
            taken(&event);
        }
    }

    #[test]
    fn the_connection_is_described_by_the_gateway() {
        let request = Request::post("/scim/v2/Users")
            .header("Host", "exa mple")
            .header("X-Forwarded-Proto", "java\tscript")
            .header("X-Forwarded-For", "1.2.3.4")
            .header("X-Forwarded-Host", "evil")
            .header("Connection", "close")
            .header("X-Odd", HeaderValue::from_bytes(b"caf\xc3\xa9\xff").unwrap())
            .header("X-Two", "1")
            .header("X-Two", "2")
            .body(&b"{\"a\":\"\xc3\xa9\"}"[..]);
        let event = event(request.unwrap());
        assert_eq!(
            event["headers"],
            json!({
                "x-odd": "caf??", "x-two": "2",
                "Host": "127.0.0.1:3000", "X-Forwarded-For": "1.2.3.4, 10.0.0.9",
                "X-Forwarded-Port": "3000", "X-Forwarded-Proto": "http",
            })
        );
        assert_eq!(event["multiValueHeaders"]["x-two"], json!(["1", "2"]));
        assert_eq!(event["requestContext"]["domainName"], "127.0.0.1:3000");
        assert_eq!(event["requestContext"]["requestTime"], "01/Jan/1970:00:00:01 +0000");
        assert_eq!(event["requestContext"]["requestTimeEpoch"], 1500);
        assert_eq!(event["requestContext"]["identity"]["sourceIp"], "10.0.0.9");
        assert_eq!(event["body"], "{\"a\":\"é\"}");
        assert_eq!(event["isBase64Encoded"], false);
        assert_eq!(taken(&event).uri().host(), Some("127.0.0.1"));
    }

    #[test]
    fn bodies_that_are_not_text_travel_as_base64() {
        let event = event(Request::post("/scim/v2/Users").body(&b"\xff\xfe"[..]).unwrap());
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("//4="), &json!(true)));
        assert_eq!(taken(&event).body().as_ref(), b"\xff\xfe");
    }
}
