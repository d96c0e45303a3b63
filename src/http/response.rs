//! Writing responses: every body is SCIM JSON, every refusal a SCIM error.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LOCATION, VARY, WWW_AUTHENTICATE};
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

/// A body is packed from this size on, where the client accepts it.
const PACK_FROM: usize = 256 * 1024;

/// A response with a JSON body.
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::Text(serde_json::to_string(body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SCIM_JSON));
    response
}

/// Makes a response fit into what Lambda passes on: a large body is packed with gzip where the
/// client accepts that (a group of 100,000 members is 18 MB, and 4 MB as base64 of gzip); where it
/// does not fit even so, the answer is an error rather than a part.
pub fn fit(mut response: Response<Body>, accept_encoding: Option<&str>) -> Response<Body> {
    let Body::Text(text) = response.body() else { return response };
    if text.len() >= PACK_FROM && accept_encoding.is_some_and(accepts_gzip) {
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        if let Ok(packed) = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
            let fits = packed.len().div_ceil(3) * 4 <= MAX_RESPONSE;
            if fits {
                *response.body_mut() = Body::Binary(packed);
                set(&mut response, CONTENT_ENCODING, "gzip");
                set(&mut response, VARY, "Accept-Encoding");
                return response;
            }
        }
    }
    if escaped_len(text) <= MAX_RESPONSE {
        return response;
    }
    error(&ScimError::too_many(
        "The answer is larger than the 6 MB that can be passed on. Send Accept-Encoding: gzip, or ask for less: excludedAttributes=members, or a smaller count.",
    ))
}

/// Whether `Accept-Encoding` names gzip and does not refuse it (RFC 9110 §12.5.3).
fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
        matches!(name.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip" | "*") && !refused
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_are_packed_or_refused_but_never_cut() {
        let body = |size: usize| serde_json::json!({ "a": "x".repeat(size) });
        for (size, accept, status, packed) in [
            (10, Some("gzip"), 200, false),
            (PACK_FROM, Some("gzip, deflate, br"), 200, true),
            (PACK_FROM, None, 200, false),
            (PACK_FROM, Some("gzip;q=0"), 200, false),
            (PACK_FROM, Some("identity"), 200, false),
            (7 * 1024 * 1024, Some("*"), 200, true),
            (7 * 1024 * 1024, None, 400, false),
        ] {
            let response = fit(json(StatusCode::OK, &body(size)), accept);
            assert_eq!(response.status().as_u16(), status, "{size} {accept:?}");
            assert_eq!(matches!(response.body(), Body::Binary(_)), packed, "{size} {accept:?}");
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), packed);
        }
    }
}
