//! Writing responses: every body is SCIM JSON, every refusal a SCIM error.

use http::header::{ALLOW, CONTENT_TYPE, ETAG, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde_json::{Map, Value};

use crate::provider::answer::Answer;
use crate::scim::error::{ErrorKind, ScimError};

/// The media type of every body (RFC 7644 §8.1).
pub const SCIM_JSON: &str = "application/scim+json";

/// The largest body: Lambda passes on 6 MB, in which the body stands as a JSON string, and leaves
/// room for headers.
const MAX_RESPONSE: usize = 6 * 1024 * 1024 - 16 * 1024;

/// A response with a JSON body, or an error where the body is larger than Lambda passes on.
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let text = serde_json::to_string(body).unwrap_or_default();
    if escaped_len(&text) > MAX_RESPONSE {
        return error(&ScimError::too_many(
            "The answer is larger than 6 MB. Ask for less: excludedAttributes=members, or a smaller count.",
        ));
    }
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SCIM_JSON));
    response
}

/// The length of a text inside JSON.
fn escaped_len(text: &str) -> usize {
    text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\')).count()
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// A resource: with `ETag`, and `Location` where it was created; 204 where there is no body.
pub fn resource(status: StatusCode, answer: Answer) -> Response<Body> {
    let (etag, location) = (answer.etag(), answer.location);
    let mut response = match answer.body {
        Some(body) => json(status, &Value::Object(body)),
        None => empty(StatusCode::NO_CONTENT),
    };
    if response.status().is_success() {
        set(&mut response, ETAG, &etag);
    }
    if response.status() == StatusCode::CREATED {
        set(&mut response, LOCATION, &location);
    }
    response
}

/// The client has this version already.
pub fn not_modified(answer: &Answer) -> Response<Body> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    set(&mut response, ETAG, &answer.etag());
    response
}

/// A list.
pub fn list(body: Map<String, Value>) -> Response<Body> {
    json(StatusCode::OK, &Value::Object(body))
}

/// A refusal.
pub fn error(error: &ScimError) -> Response<Body> {
    let (status, _) = error.kind.wire();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.body());
    if error.kind == ErrorKind::Unauthorized {
        set(&mut response, WWW_AUTHENTICATE, "Bearer realm=\"scim\"");
    }
    response
}

/// 405 with the methods that there are.
pub fn method_not_allowed(methods: &str) -> Response<Body> {
    let mut response =
        error(&ScimError::new(ErrorKind::MethodNotAllowed, format!("This endpoint answers {methods}.")));
    set(&mut response, ALLOW, methods);
    response
}

/// The answer to OPTIONS: the methods that there are.
pub fn options(methods: &str) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    set(&mut response, ALLOW, methods);
    response
}

fn set(response: &mut Response<Body>, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
