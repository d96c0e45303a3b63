//! Writing responses: every body is SCIM JSON, every refusal a SCIM error.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde_json::Value;

use crate::limits::{
    MAX_BUFFERED_ANSWER_MB, MAX_STREAMED_ANSWER_MB, MIN_GZIP_BYTES, RESPONSE_HEAD_BYTES, RETRY_AFTER_SECONDS,
};
use crate::provider::answer::Answer;
use crate::provider::reading::list_response::ListResponse;
use crate::scim::error::{ErrorKind, ScimError};

/// The media type of every body (RFC 7644 §8.1).
pub const SCIM_JSON: &str = "application/scim+json";

/// How an answer leaves the function, which bounds its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// In one piece: a JSON document in which the body is a string, in base64 where it is packed.
    Buffered,
    /// As a stream, after status and headers: the body as it is.
    Streamed,
}

impl Transfer {
    /// What Lambda passes on, in MB.
    const fn megabytes(self) -> usize {
        match self {
            Self::Buffered => MAX_BUFFERED_ANSWER_MB,
            Self::Streamed => MAX_STREAMED_ANSWER_MB,
        }
    }

    /// Whether a body can be passed on.
    fn holds(self, body: &Body) -> bool {
        let most = self.megabytes() * 1024 * 1024 - RESPONSE_HEAD_BYTES;
        match (self, body) {
            // A byte takes two at most, so few texts must be looked through.
            (Self::Buffered, Body::Text(text)) => text.len() <= most / 2 || escaped_len(text) <= most,
            (Self::Buffered, _) => body.len().div_ceil(3) * 4 <= most,
            (Self::Streamed, _) => body.len() <= most,
        }
    }
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    text(status, serde_json::to_string(body).unwrap_or_default())
}

/// A response whose body is JSON already.
pub fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SCIM_JSON));
    response
}

/// Makes a response fit into what Lambda passes on. A large body is compressed if the client accepts gzip. A
/// group of 100,000 members is 18 MB, and 4 MB as base64 of gzip. A body that does not fit becomes an error, or is left
/// out of the answer to a change.
///
/// A stream always gets a content type, also a 304. Without one lambda_runtime sends
/// `application/octet-stream`.
pub fn fit_into_transfer(
    mut response: Response<Body>,
    accept_encoding: Option<&str>,
    transfer: Transfer,
    method: &Method,
) -> Response<Body> {
    if transfer == Transfer::Streamed && !response.headers().contains_key(CONTENT_TYPE) {
        set(&mut response, CONTENT_TYPE, SCIM_JSON);
    }
    let Body::Text(text) = response.body() else { return response };
    if text.len() >= MIN_GZIP_BYTES && accept_encoding.is_some_and(accepts_gzip) {
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        if let Ok(packed) = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
            let packed = Body::Binary(packed);
            if transfer.holds(&packed) {
                *response.body_mut() = packed;
                set(&mut response, CONTENT_ENCODING, "gzip");
                set(&mut response, VARY, "Accept-Encoding");
                return response;
            }
        }
    }
    if transfer.holds(response.body()) {
        return response;
    }
    // The answer to a change of one resource. It is made: an error would deny it.
    if ![Method::GET, Method::HEAD].contains(method) && response.headers().contains_key(ETAG) {
        return drop_body(response);
    }
    error(&ScimError::too_many(format!(
        "The answer is larger than the {} MB that can be passed on. Send Accept-Encoding: gzip, or ask for less: excludedAttributes=members, or a smaller count.",
        transfer.megabytes()
    )))
}

/// The answer to a change without the resource (RFC 7644 §3.5): `Location` and `ETag` say where and what it is.
fn drop_body(mut response: Response<Body>) -> Response<Body> {
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    *response.body_mut() = Body::Empty;
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// Adds the headers that forbid caches to store an answer and clients to guess its type. An answer holds
/// personal data (RFC 7644 §7, RFC 9111 §5.2.2.5). A 503 gets the time after which to ask again, unless it has one
/// (RFC 9110 §10.2.3).
pub fn protect(response: &mut Response<Body>) {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let wait = HeaderValue::from(RETRY_AFTER_SECONDS);
        response.headers_mut().entry(RETRY_AFTER).or_insert(wait);
    }
    set(response, CACHE_CONTROL, "no-store");
    set(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
}

/// Says where the resource is for good that the answer is about. Every answer of `/Me` does (RFC 7644 §3.11).
pub fn locate(response: &mut Response<Body>, location: &str) {
    set(response, LOCATION, location);
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

/// The response with a resource and its `ETag`, and with `Location` for 201. An answer without a body is 204.
pub fn resource(status: StatusCode, answer: Answer) -> Response<Body> {
    let (etag, location) = (answer.etag(), answer.location);
    let mut response = match answer.body {
        Some(body) => text(status, body),
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

/// The 304 response: the client has this version already.
pub fn not_modified(answer: &Answer) -> Response<Body> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    set(&mut response, ETAG, &answer.etag());
    response
}

/// The 200 response with a `ListResponse` (RFC 7644 §3.4.2).
pub fn list(list: ListResponse) -> Response<Body> {
    text(StatusCode::OK, list.text())
}

/// The response for an error (RFC 7644 §3.12).
pub fn error(error: &ScimError) -> Response<Body> {
    let (status, _) = error.kind.wire();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.body());
    if error.kind == ErrorKind::Unauthorized {
        set(&mut response, WWW_AUTHENTICATE, "Bearer realm=\"scim\"");
    }
    response
}

/// The 405 response. `Allow` lists the methods of the path.
pub fn method_not_allowed(refused: &ScimError, methods: &str) -> Response<Body> {
    let mut response = error(refused);
    set(&mut response, ALLOW, methods);
    response
}

/// The response to OPTIONS. `Allow` lists the methods of the path.
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
        use Transfer::{Buffered, Streamed};
        const MB: usize = 1024 * 1024;
        let text = |size: usize| Response::new(Body::Text("x".repeat(size)));
        for (size, accept, transfer, status, packed) in [
            (10, Some("gzip"), Buffered, 200, false),
            (MIN_GZIP_BYTES, Some("gzip, deflate, br"), Buffered, 200, true),
            (MIN_GZIP_BYTES, None, Buffered, 200, false),
            (MIN_GZIP_BYTES, Some("gzip;q=0"), Buffered, 200, false),
            (MIN_GZIP_BYTES, Some("identity"), Buffered, 200, false),
            (7 * MB, Some("*"), Buffered, 200, true),
            (7 * MB, None, Buffered, 400, false),
            (MIN_GZIP_BYTES, Some("gzip"), Streamed, 200, true),
            (7 * MB, None, Streamed, 200, false),
            (200 * MB, None, Streamed, 400, false),
        ] {
            let response = fit_into_transfer(text(size), accept, transfer, &Method::GET);
            assert_eq!(response.status().as_u16(), status, "{size} {accept:?}");
            assert_eq!(matches!(response.body(), Body::Binary(_)), packed, "{size} {accept:?}");
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), packed);
        }
        let quotes = || Response::new(Body::Text("\"".repeat(4 * MB)));
        assert_eq!(
            fit_into_transfer(quotes(), None, Buffered, &Method::GET).status(),
            400,
            "a quote takes two bytes in JSON"
        );
        assert_eq!(fit_into_transfer(quotes(), None, Streamed, &Method::GET).status(), 200);
    }

    #[test]
    fn a_change_whose_answer_is_too_large_has_succeeded() {
        for (method, status, expected) in
            [(Method::PUT, 200, 204), (Method::PATCH, 200, 204), (Method::POST, 201, 201)]
        {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut made = super::text(status, "x".repeat(7 * 1024 * 1024));
            set(&mut made, ETAG, "W/\"2\"");
            let answer = fit_into_transfer(made, None, Transfer::Buffered, &method);
            assert_eq!((answer.status().as_u16(), answer.body().is_empty()), (expected, true), "{method}");
            assert_eq!(answer.headers()[ETAG], "W/\"2\"");
        }
    }
}
