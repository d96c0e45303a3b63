//! The function's answer (API Gateway: output format of a Lambda function for proxy integration).

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

use crate::limits::MAX_BUFFERED_ANSWER_MB;

/// The largest answer of a Lambda function, in bytes.
const MAX_ANSWER_BYTES: usize = MAX_BUFFERED_ANSWER_MB * 1024 * 1024;

static TOO_LARGE: LazyLock<String> =
    LazyLock::new(|| format!("is larger than a function may answer ({MAX_BUFFERED_ANSWER_MB} MB)"));

/// Headers that a function cannot set, and that API Gateway passes on under another name.
const REMAPPED: &[&str] = &["connection", "content-md5", "date", "host", "server", "www-authenticate"];
/// Headers that API Gateway does not pass on at all.
const DROPPED: &[&str] = &["content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Reads the function's answer. A body in base64 is decoded where the API declares the media type as binary
/// (`decode`); elsewhere clients get the base64 text, as on AWS.
///
/// # Errors
/// What is wrong with the answer.
pub fn read(answer: &Value, decode: bool) -> Result<Response<Bytes>, &'static str> {
    let answer = answer.as_object().ok_or("is not an object")?;
    let status = answer.get("statusCode").and_then(status).ok_or("has no valid statusCode")?;
    let text = match answer.get("body") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err("has a body that is not text"),
    };
    if text.len() > MAX_ANSWER_BYTES {
        return Err(&TOO_LARGE);
    }
    let encoded = match answer.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(flag) => flag.as_bool().ok_or("has an isBase64Encoded that is no boolean")?,
    };
    let body = if encoded && decode {
        Bytes::from(STANDARD.decode(text).map_err(|_| "has a body that is not base64")?)
    } else {
        Bytes::from(text.to_owned())
    };
    let mut headers = headers(answer)?;
    if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A final status, as a number or as text.
fn status(value: &Value) -> Option<StatusCode> {
    let code = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    u16::try_from(code).ok().filter(|code| *code >= 200).and_then(|code| StatusCode::from_u16(code).ok())
}

/// Both maps together; the same name and value in both counts once.
fn headers(answer: &Map<String, Value>) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    for (name, values) in entries(answer, "multiValueHeaders")? {
        let values = values.as_array().ok_or("has a multi-value header that is no list")?;
        for value in values {
            insert(&mut headers, name, value)?;
        }
    }
    for (name, value) in entries(answer, "headers")? {
        insert(&mut headers, name, value)?;
    }
    Ok(headers)
}

fn entries<'a>(
    answer: &'a Map<String, Value>,
    key: &str,
) -> Result<Vec<(&'a String, &'a Value)>, &'static str> {
    match answer.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => Ok(map.iter().collect()),
        Some(_) => Err("has headers that are no object"),
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), &'static str> {
    let lower = name.to_ascii_lowercase();
    if DROPPED.contains(&lower.as_str()) {
        return Ok(());
    }
    let name = match REMAPPED.contains(&lower.as_str()) {
        true => HeaderName::try_from(format!("x-amzn-remapped-{lower}")),
        false => HeaderName::try_from(lower),
    };
    let value = match value {
        Value::String(text) => HeaderValue::from_str(text),
        Value::Number(_) | Value::Bool(_) => HeaderValue::from_str(&value.to_string()),
        _ => return Err("has a header that is no text"),
    };
    let (Ok(name), Ok(value)) = (name, value) else { return Err("has a malformed header") };
    if !headers.get_all(&name).iter().any(|present| *present == value) {
        headers.append(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let response = read(
            &json!({
                "statusCode": 201,
                "headers": { "ETag": "W/\"1\"", "WWW-Authenticate": "Bearer", "Content-Length": "99" },
                "multiValueHeaders": { "etag": ["W/\"1\""], "X-Two": ["1", "2"] },
                "body": "{}",
            }),
            false,
        )
        .unwrap();
        assert_eq!(response.status(), 201);
        let headers: Vec<_> =
            response.headers().iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(
            headers,
            [
                ("etag", "W/\"1\""),
                ("x-two", "1"),
                ("x-two", "2"),
                ("x-amzn-remapped-www-authenticate", "Bearer"),
                ("content-type", "application/json"),
            ]
        );
        assert_eq!(read(&json!({ "statusCode": "204" }), false).unwrap().status(), 204);
    }

    #[test]
    fn base64_is_decoded_where_the_api_says_so() {
        let answer = json!({ "statusCode": 200, "body": "//4=", "isBase64Encoded": true });
        assert_eq!(read(&answer, true).unwrap().body().as_ref(), b"\xff\xfe");
        assert_eq!(read(&answer, false).unwrap().body().as_ref(), b"//4=");
    }

    #[test]
    fn a_malformed_answer_is_refused() {
        for answer in [
            json!(null),
            json!([]),
            json!({}),
            json!({ "statusCode": 99 }),
            json!({ "statusCode": 101 }),
            json!({ "statusCode": 70000 }),
            json!({ "statusCode": "ok" }),
            json!({ "statusCode": 200, "body": {} }),
            json!({ "statusCode": 200, "headers": [] }),
            json!({ "statusCode": 200, "headers": { "a b": "c" } }),
            json!({ "statusCode": 200, "headers": { "a": "b\n" } }),
            json!({ "statusCode": 200, "multiValueHeaders": { "a": "b" } }),
            json!({ "statusCode": 200, "body": "x", "isBase64Encoded": true }),
            json!({ "statusCode": 200, "body": "x".repeat(MAX_ANSWER_BYTES + 1) }),
        ] {
            assert!(read(&answer, true).is_err(), "{}", answer.to_string().get(..60).unwrap_or_default());
        }
    }
}
