//! The gateway over real HTTP, on the template that deploys, with stubs for the two functions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::template::facts::ApiFacts;
use super::super::template::read::{TEMPLATE, TemplateFacts};
use super::front;
use super::lambda::{Clock, Lambda};
use super::rest_api::Gateway;
use crate::limits::MAX_GATEWAY_BODY_BYTES;

const KEY: &str = "rc_demo_0123456789012345678901234567890123456789012_abcdef";
const UNKNOWN: &str = "rc_demo_0123456789012345678901234567890123456789012_nobody";

/// A gateway that listens, its clock, and how often each function was called.
struct Local {
    address: SocketAddr,
    seconds: Arc<AtomicU64>,
    authorized: Arc<AtomicUsize>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The function answers with its event; some paths make it fail.
async fn function(event: Value) -> Result<Value, String> {
    let event_text = event.to_string();
    lambda_http::request::from_str(&event_text).map_err(|error| error.to_string())?;
    let path = event["path"].as_str().unwrap_or_default();
    match path.rsplit('/').next().unwrap_or_default() {
        "panic" => panic!("as the test wants it"),
        "error" => Err("no".to_owned()),
        "malformed" => Ok(json!({ "statusCode": "many" })),
        "empty" => Ok(json!({ "statusCode": 204, "headers": {} })),
        _ => Ok(json!({
            "statusCode": 200,
            "headers": { "Content-Type": "application/scim+json" },
            "multiValueHeaders": { "ETag": ["W/\"1\""] },
            "body": event_text,
            "isBase64Encoded": false,
        })),
    }
}

fn policy(effect: &str) -> Value {
    json!({ "Statement": [{ "Effect": effect, "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:local/local/*" }] })
}

/// The authorizer knows one key, and others by their last letters.
fn authorize(event: &Value) -> Result<Value, &'static str> {
    assert_eq!(event["type"], "TOKEN");
    assert!(
        event["methodArn"]
            .as_str()
            .unwrap()
            .starts_with("arn:aws:execute-api:us-east-1:000000000000:local/local/")
    );
    let token = event["authorizationToken"].as_str().unwrap();
    let usage_key = format!("usage-key-of-{}", &token[token.len() - 10..]);
    match &token[token.len() - 6..] {
        "nobody" => Ok(json!({ "principalId": "none", "policyDocument": policy("Deny") })),
        "raises" => Err("Unauthorized"),
        "broken" => Err("timeout"),
        "absurd" => Ok(json!({ "principalId": 1 })),
        "nousag" => Ok(json!({ "principalId": "k", "policyDocument": policy("Allow") })),
        _ => Ok(json!({
            "principalId": "k1",
            "policyDocument": policy("Allow"),
            "context": { "tenantId": "demo", "bulk": true },
            "usageIdentifierKey": usage_key,
        })),
    }
}

async fn local(adapt: impl FnOnce(&mut ApiFacts)) -> Local {
    let mut facts = TemplateFacts::parse(TEMPLATE).unwrap().api;
    adapt(&mut facts);
    let seconds = Arc::new(AtomicU64::new(1_000_000));
    let authorized = Arc::new(AtomicUsize::new(0));
    let (time, calls) = (Arc::clone(&seconds), Arc::clone(&authorized));
    let clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)));
    let authorizer = Lambda::new(move |event: Value| {
        calls.fetch_add(1, Ordering::SeqCst);
        async move { authorize(&event) }
    });
    let gateway = Gateway::new(facts, Lambda::new(function), authorizer, clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(front::serve(listener, vec![gateway], async { stopped.await.unwrap_or_default() }));
    Local { address, seconds, authorized, _stop: stop }
}

impl Local {
    /// Sends these bytes and reads until the server closes.
    async fn send(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).unwrap();
        let answer = Answer { status, headers: lines.map(header).collect(), body: body.to_owned() };
        assert!(answer.header("x-amzn-requestid").is_some() || status == 400, "{head}");
        answer
    }

    /// A request with these header lines.
    async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        self.send(format!("{head}{headers}\r\n{body}").as_bytes()).await
    }

    async fn get(&self, path: &str, key: &str) -> Answer {
        self.request("GET", path, &format!("Host: localhost\r\nAuthorization: Bearer {key}\r\n"), "").await
    }
}

#[tokio::test]
async fn the_function_sees_the_request_and_the_client_the_answer() {
    let local = local(|_| {}).await;
    let headers = format!(
        "Host: scim.test:3000\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/scim+json\r\n"
    );
    let answer = local.request("POST", "/scim/v2/Users?a=%22x%22", &headers, "{\"userName\":\"é\"}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/scim+json"));
    assert_eq!(answer.header("etag"), Some("W/\"1\""));
    let event = answer.json();
    assert_eq!(event["resource"], "/scim/v2/{proxy+}");
    assert_eq!(event["pathParameters"], json!({ "proxy": "Users" }));
    // Every media type is declared as binary, so bodies travel as base64.
    assert_eq!(event["isBase64Encoded"], true);
    let body = STANDARD.decode(event["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, "{\"userName\":\"é\"}".as_bytes());
    assert_eq!(event["headers"]["Host"], "scim.test:3000");
    assert_eq!(event["queryStringParameters"], json!({ "a": "\"x\"" }));
    let context = &event["requestContext"];
    assert_eq!(context["requestId"].as_str(), answer.header("x-amzn-requestid"));
    assert_eq!(
        context["authorizer"],
        json!({ "principalId": "k1", "integrationLatency": 0, "bulk": "true", "tenantId": "demo" })
    );
    assert_eq!(local.get("/scim/v2", KEY).await.json()["pathParameters"], Value::Null);
    assert_eq!(local.get("/scim/v2/Users/empty", KEY).await.status, 204);
}

#[tokio::test]
async fn keys_are_checked_in_order() {
    let local = local(|_| {}).await;
    for (headers, status, calls) in [
        ("".to_owned(), 401, 0),
        ("Authorization: \r\n".to_owned(), 401, 0),
        ("Authorization: Basic x\r\n".to_owned(), 401, 0),
        (format!("Authorization: Bearer {}\r\n", &KEY[..30]), 401, 0),
        (format!("Authorization: Bearer {KEY}x\r\n"), 401, 0),
        (format!("Authorization: Bearer {UNKNOWN}\r\n"), 401, 1),
        (format!("Authorization: bearer {}raises\r\n", &KEY[..KEY.len() - 6]), 401, 2),
        (format!("Authorization: Bearer {}broken\r\n", &KEY[..KEY.len() - 6]), 500, 3),
        (format!("Authorization: Bearer {}absurd\r\n", &KEY[..KEY.len() - 6]), 500, 4),
        (format!("Authorization: Bearer {}nousag\r\n", &KEY[..KEY.len() - 6]), 403, 5),
        (format!("Authorization: Bearer {KEY}\r\n"), 200, 6),
    ] {
        let answer = local.request("GET", "/scim/v2/Users", &format!("Host: a\r\n{headers}"), "").await;
        assert_eq!(answer.status, status, "{headers}");
        assert_eq!(local.authorized.load(Ordering::SeqCst), calls, "{headers}");
        if status != 200 {
            assert_eq!(answer.json()["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
            assert_eq!(answer.json()["status"], status.to_string());
            assert_eq!(answer.header("content-type"), Some("application/scim+json"));
            assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"));
        }
    }
    for path in ["/", "/scim", "/scim/v3/Users", "//scim/v2/Users", "/scim/v20"] {
        assert_eq!(local.get(path, KEY).await.status, 404, "{path}");
        assert_eq!(local.request("GET", path, "Host: a\r\n", "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_plan_admits_200_while_the_clock_stands() {
    let local = local(|_| {}).await;
    for number in 0..200 {
        assert_eq!(local.get("/scim/v2/Users", KEY).await.status, 200, "{number}");
    }
    let throttled = local.get("/scim/v2/Users", KEY).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("1")));
    assert_eq!(throttled.json()["status"], "429");
    let other = format!("{}fellow", &KEY[..KEY.len() - 6]);
    assert_eq!(local.get("/scim/v2/Users", &other).await.status, 200, "another tenant has its own rate");
    local.seconds.fetch_add(1, Ordering::SeqCst);
    let admitted = [(); 5].map(|()| local.get("/scim/v2/Users", KEY));
    let mut statuses = Vec::new();
    for answer in admitted {
        statuses.push(answer.await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[tokio::test]
async fn the_stage_bounds_what_unknown_keys_cost_and_reading_takes_nothing_from_writing() {
    let local = local(|facts| {
        let throttle = super::super::template::facts::Throttle { rate: 1.0, burst: 2.0 };
        facts.stage = Some(throttle);
        facts.methods.values_mut().for_each(|own| *own = throttle);
    })
    .await;
    for status in [401, 401, 429] {
        assert_eq!(local.get("/scim/v2/Users", UNKNOWN).await.status, status);
    }
    // Reads and writes of all callers have throttles of their own.
    let local = &local;
    let patch = |key: &'static str| async move {
        local
            .request("PATCH", "/scim/v2/Users/1", &format!("Authorization: Bearer {key}\r\n"), "{}")
            .await
            .status
    };
    assert_eq!(patch(KEY).await, 200);
    assert_eq!(patch(UNKNOWN).await, 401);
    assert_eq!(patch(KEY).await, 429);
}

#[tokio::test]
async fn answers_of_the_authorizer_are_kept_for_the_time_that_the_template_says() {
    let kept = local(|_| {}).await;
    let calls = |local: &Local| local.authorized.load(Ordering::SeqCst);
    for (key, expected) in [(KEY, 1), (KEY, 1), (UNKNOWN, 2), (UNKNOWN, 2)] {
        kept.get("/scim/v2/Users", key).await;
        assert_eq!(calls(&kept), expected);
    }
    kept.seconds.fetch_add(59, Ordering::SeqCst);
    kept.get("/scim/v2/Groups", KEY).await;
    assert_eq!(calls(&kept), 2);
    kept.seconds.fetch_add(1, Ordering::SeqCst);
    kept.get("/scim/v2/Users", KEY).await;
    assert_eq!(calls(&kept), 3);

    let unkept = local(|facts| facts.authorizer.as_mut().unwrap().ttl = Duration::ZERO).await;
    unkept.get("/scim/v2/Users", KEY).await;
    unkept.get("/scim/v2/Users", KEY).await;
    assert_eq!(calls(&unkept), 2);
}

#[tokio::test]
async fn faults_of_the_function_are_answers() {
    let local = local(|_| {}).await;
    for path in ["panic", "error", "malformed"] {
        let answer = local.get(&format!("/scim/v2/{path}"), KEY).await;
        assert_eq!(answer.status, 500, "{path}");
        assert_eq!(answer.json()["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    }
    assert_eq!(local.get("/scim/v2/Users", KEY).await.status, 200);
}

#[tokio::test]
async fn without_a_customised_answer_it_is_the_gateways_own() {
    let local = local(|facts| facts.gateway_responses.clear()).await;
    let answer = local.get("/scim/v2/panic", KEY).await;
    assert_eq!((answer.status, answer.body.as_str()), (502, "{\"message\":\"Internal server error\"}"));
    let answer = local.request("GET", "/", "Host: a\r\n", "").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (403, "{\"message\":\"Missing Authentication Token\"}")
    );
}

#[tokio::test]
async fn head_has_no_body() {
    let local = local(|_| {}).await;
    let headers = format!("Host: a\r\nAuthorization: Bearer {KEY}\r\n");
    let answer = local.request("HEAD", "/scim/v2/Users", &headers, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(answer.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
    let answer = local.request("HEAD", "/scim/v2/Users", "Host: a\r\n", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (401, ""));
}

#[tokio::test]
async fn sizes_are_bounded() {
    let local = local(|_| {}).await;
    let headers = format!("Host: a\r\nAuthorization: Bearer {KEY}\r\n");
    for (size, status) in
        [(MAX_GATEWAY_BODY_BYTES, 500), (MAX_GATEWAY_BODY_BYTES + 1, 413), (12 * 1024 * 1024, 413)]
    {
        // An answer that repeats 10 MB is larger than a function may give.
        let answer = local.request("POST", "/scim/v2/Users", &headers, &"x".repeat(size)).await;
        assert_eq!(answer.status, status, "{size}");
    }
    let long = format!("/scim/v2/Users?filter={}", "x".repeat(10_240));
    assert_eq!(local.get(&long, KEY).await.status, 413);
    let chunked = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    assert_eq!(local.send(chunked.as_bytes()).await.json()["body"], STANDARD.encode("abc"));
}

#[tokio::test]
async fn odd_requests_do_no_harm() {
    let local = local(|facts| (facts.usage_plan, facts.stage) = (None, None)).await;
    let authorization = format!("Authorization: Bearer {KEY}\r\n");
    for host in [
        "",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: 1.2.3.4.5\r\n",
        "Host: xn--zz--\r\n",
        "Host: a/b?c#d\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: [::1\r\n",
        "Host: a\r\nX-Forwarded-Proto: ://\r\n",
        "Host: a\r\nX-Forwarded-Proto: mailto\r\n",
    ] {
        let answer = local.request("GET", "/scim/v2/Users", &format!("{host}{authorization}"), "").await;
        if answer.status != 200 {
            assert_eq!(answer.status, 400, "{host}"); // refused by HTTP itself
        }
    }
    for target in [
        "*",
        "http://a b/",
        "http://other/scim/v2/Users",
        "/scim/v2/%",
        "/scim/v2/%00",
        "/scim/v2/../..",
        "/scim/v2/a\\b",
        "/scim/v2/\"{}|^`",
        "/scim/v2/Users?%&=&&%zz",
        "/scim/v2/Users?a=%00%ff",
        "/scim/v2/\u{e9}",
    ] {
        let answer = local.get(target, KEY).await;
        assert!([200, 400, 404].contains(&answer.status), "{target}: {}", answer.status);
    }
    for method in ["OPTIONS", "TRACE", "PURGE", "CONNECT"] {
        let answer =
            local.request(method, "/scim/v2/Users", &format!("Host: a\r\n{authorization}"), "").await;
        assert!([200, 400, 404].contains(&answer.status), "{method}: {}", answer.status);
    }
    let bytes = [
        b"GET /scim/v2/Users HTTP/1.1\r\nConnection: close\r\nHost: a\r\nX-Odd: \xff\xfe\r\n".as_slice(),
        authorization.as_bytes(),
        b"\r\n",
    ];
    assert_eq!(local.send(&bytes.concat()).await.json()["headers"]["x-odd"], "??");
    let half =
        format!("POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n{authorization}\r\nhalf");
    let mut stream = TcpStream::connect(local.address).await.unwrap();
    stream.write_all(half.as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(local.get("/scim/v2/Users", KEY).await.status, 200);
}
