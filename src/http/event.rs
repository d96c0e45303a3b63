//! The event of a REST proxy integration, read as a request. Only what the functions use of the event is read, since
//! every request pays for the reading.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, IF_MATCH, IF_NONE_MATCH,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lambda_http::{Body, Request, RequestExt as _};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::clock;

/// A REST proxy event as a request. `lambda_http::RequestExt` finds its path, its query and its stage variables.
/// [`GatewayContext::of`] finds what API Gateway says of it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "EventFields")]
pub struct ProxyEvent(pub Request);

/// What API Gateway says of a request: the member `requestContext` of the event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayContext {
    /// The id of the request. A caller can choose it.
    pub request_id: Option<String>,
    /// The id of the request that a caller cannot choose.
    pub extended_request_id: Option<String>,
    /// The path with the stage and the base path.
    pub path: Option<String>,
    /// The host name of the API.
    pub domain_name: Option<String>,
    /// Who sent the request.
    pub identity: Option<CallerIdentity>,
    /// What the authorizer says of the caller.
    pub authorizer: Option<Map<String, Value>>,
}

/// Who sent a request, as API Gateway saw it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallerIdentity {
    /// The address that the request came from.
    pub source_ip: Option<String>,
}

impl GatewayContext {
    /// What API Gateway says of this request. `None` for a request that was not read from an event.
    pub fn of(request: &Request) -> Option<&Self> {
        request.extensions().get()
    }

    /// Whether the key or the token of the request has expired since the authorizer was asked: API Gateway caches its
    /// answer. An end that cannot be read counts as past.
    pub fn has_expired(&self, now: OffsetDateTime) -> bool {
        let end = self.authorizer.as_ref().and_then(|fields| fields.get("expires"));
        end.is_some_and(|end| end.as_str().and_then(clock::parse).is_none_or(|end| end <= now))
    }
}

/// The members of an event that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventFields {
    http_method: String,
    path: Option<String>,
    headers: Option<EventHeaders>,
    multi_value_headers: Option<EventHeaders>,
    query_string_parameters: Option<HashMap<String, String>>,
    multi_value_query_string_parameters: Option<HashMap<String, Vec<String>>>,
    stage_variables: Option<HashMap<String, String>>,
    request_context: GatewayContext,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

impl TryFrom<EventFields> for ProxyEvent {
    type Error = &'static str;

    fn try_from(event: EventFields) -> Result<Self, Self::Error> {
        let body = match event.body {
            Some(text) if event.is_base64_encoded == Some(true) => {
                Body::Binary(STANDARD.decode(text).map_err(|_| "the body is not base64")?)
            }
            Some(text) => Body::Text(text),
            None => Body::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() =
            Method::from_bytes(event.http_method.as_bytes()).map_err(|_| "httpMethod is not a method")?;
        // The event names each header twice: with all its values, and with the last one. The last one counts.
        let EventHeaders(headers) = event.multi_value_headers.unwrap_or_default();
        *request.headers_mut() = headers;
        request.headers_mut().extend(event.headers.unwrap_or_default().0);
        request.extensions_mut().insert(event.request_context);
        let request = request.with_raw_http_path(event.path.unwrap_or_default());
        let request = request.with_stage_variables(event.stage_variables.unwrap_or_default());
        Ok(Self(match event.multi_value_query_string_parameters.filter(|all| !all.is_empty()) {
            Some(parameters) => request.with_query_string_parameters(parameters),
            None => request.with_query_string_parameters(event.query_string_parameters.unwrap_or_default()),
        }))
    }
}

/// The scheme of the URL that the client has sent its request to.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers that the functions read. Clients and API Gateway send others beside them.
static HEADERS_READ: [HeaderName; 8] = [
    ACCEPT_ENCODING,
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    HOST,
    IF_MATCH,
    IF_NONE_MATCH,
    X_FORWARDED_PROTO,
];

/// Headers of an event: a value, or an array of values, for each name. Only those of [`HEADERS_READ`].
#[derive(Default)]
struct EventHeaders(HeaderMap);

impl<'de> Deserialize<'de> for EventHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor).map(Self)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = HeaderMap;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("headers by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<HeaderMap, A::Error> {
        let mut headers = HeaderMap::new();
        while let Some(EventText(name)) = members.next_key()? {
            match HEADERS_READ.iter().find(|own| own.as_str().eq_ignore_ascii_case(&name)) {
                Some(name) => members.next_value_seed(HeaderReader { headers: &mut headers, name })?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(headers)
    }
}

/// Adds what it reads to the headers, under this name.
struct HeaderReader<'h> {
    headers: &'h mut HeaderMap,
    name: &'static HeaderName,
}

impl HeaderReader<'_> {
    fn add<E: Error>(&mut self, value: &str) -> Result<(), E> {
        let value = HeaderValue::try_from(value).map_err(|_| E::custom("a header has a malformed value"))?;
        self.headers.append(self.name, value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for HeaderReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HeaderReader<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the value of a header")
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<(), E> {
        self.add(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        while let Some(EventText(value)) = values.next_element()? {
            self.add(&value)?;
        }
        Ok(())
    }
}

/// A text of the event, in its place if it has no escapes.
#[derive(Deserialize)]
struct EventText<'e>(#[serde(borrow)] Cow<'e, str>);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(event: Value) -> Result<Request, String> {
        serde_json::from_value(event).map(|ProxyEvent(request)| request).map_err(|error| error.to_string())
    }

    #[test]
    fn an_event_is_read_as_a_request() {
        let request = read(json!({
            "resource": "/scim/v2/{proxy+}", "path": "/scim/v2/Users", "httpMethod": "POST",
            "headers": { "Content-Type": "2", "Host": "no host", "Via": "no one reads it" },
            "multiValueHeaders": {
                "Content-Type": ["1", "2"], "If-Match": ["a", "b"], "Host": ["no host"], "Via": ["no one reads it"]
            },
            "queryStringParameters": { "a": "2" }, "multiValueQueryStringParameters": { "a": ["1", "2"] },
            "pathParameters": null, "stageVariables": { "tokenUrl": "https://x" },
            "requestContext": {
                "requestId": "r", "extendedRequestId": "e", "path": "/prod/scim/v2/Users", "domainName": "d",
                "identity": { "sourceIp": "192.0.2.7", "userAgent": null }, "authorizer": { "tenantId": "acme" },
                "requestTimeEpoch": 1,
            },
            "body": "eA==", "isBase64Encoded": true,
        }));
        let request = request.expect("a request");
        let values = |name| {
            let values = request.headers().get_all(name).iter();
            values.map(|value| value.to_str().expect("a text")).collect::<Vec<_>>()
        };
        assert_eq!((request.method(), request.body()), (&Method::POST, &Body::Binary(b"x".to_vec())));
        assert_eq!(
            (values("content-type"), values("if-match"), values("host")),
            (vec!["2"], vec!["a", "b"], vec!["no host"])
        );
        assert_eq!(request.headers().keys_len(), 3);
        assert_eq!(request.raw_http_path(), "/scim/v2/Users");
        let parameters = request.query_string_parameters_ref().expect("a query");
        assert_eq!(parameters.all("a"), Some(vec!["1", "2"]));
        assert_eq!(request.stage_variables_ref().and_then(|all| all.first("tokenUrl")), Some("https://x"));
        let context = GatewayContext::of(&request).expect("a context");
        assert_eq!(
            (context.request_id.as_deref(), context.extended_request_id.as_deref()),
            (Some("r"), Some("e"))
        );
        assert_eq!(
            (context.path.as_deref(), context.domain_name.as_deref()),
            (Some("/prod/scim/v2/Users"), Some("d"))
        );
        let address = context.identity.as_ref().and_then(|identity| identity.source_ip.as_deref());
        assert_eq!(address, Some("192.0.2.7"));
        assert_eq!(
            context.authorizer.as_ref().and_then(|fields| fields.get("tenantId")),
            Some(&json!("acme"))
        );
    }

    #[test]
    fn headers_are_read_from_a_text_with_escapes_too() {
        let text = r#"{ "httpMethod": "GET", "requestContext": {},
            "headers": { "H\u006fst": "a\"b", "content-type": "p" },
            "multiValueHeaders": { "if-m\u0061tch": ["\u0031", "2"], "content-type": ["o", "p"], "if-none-match": [] } }"#;
        let ProxyEvent(request) = serde_json::from_str(text).expect("a request");
        let values =
            |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(values("host"), [b"a\"b"]);
        assert_eq!(values("if-match"), [b"1", b"2"]);
        assert_eq!(values("content-type"), [b"p"]);
        assert!(values("if-none-match").is_empty());
        for wrong in [
            r#"{ "host": 1 }"#,
            r#"{ "host": null }"#,
            r#"{ "host": { "y": "z" } }"#,
            r#"[]"#,
            r#"{ "host": [1] }"#,
        ] {
            let text = format!(r#"{{ "httpMethod": "GET", "requestContext": {{}}, "headers": {wrong} }}"#);
            assert!(serde_json::from_str::<ProxyEvent>(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_an_event_lacks_is_absent_and_what_is_malformed_is_refused() {
        let request =
            read(json!({ "httpMethod": "GET", "requestContext": {}, "headers": null, "body": null }));
        let request = request.expect("a request");
        assert_eq!((request.body(), request.raw_http_path()), (&Body::Empty, ""));
        assert!(request.query_string_parameters_ref().is_none() && request.headers().is_empty());
        let text =
            read(json!({ "httpMethod": "GET", "requestContext": {}, "body": "eA==" })).expect("a request");
        assert_eq!(text.body(), &Body::Text("eA==".to_owned()));
        for (name, value, problem) in [
            ("httpMethod", json!("G T"), "httpMethod is not a method"),
            ("httpMethod", Value::Null, "invalid type"),
            ("requestContext", Value::Null, "invalid type"),
            ("body", json!("?"), "the body is not base64"),
            ("headers", json!({ "host": "b\nc" }), "a header has a malformed value"),
        ] {
            let mut event = json!({ "httpMethod": "GET", "requestContext": {}, "isBase64Encoded": true });
            event[name] = value;
            let refused = read(event).expect_err("a malformed event");
            assert!(refused.starts_with(problem), "{name}: {refused}");
        }
        assert!(read(json!({ "version": "2.0" })).is_err());
    }
}
