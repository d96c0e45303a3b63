//! The hook that tries a new version before it gets requests: the real binary, before a stand-in for Lambda and
//! CodeDeploy. What it tries is the real `scim` binary, or a build that is broken in some way.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support;
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::lambda::{Lambda, Posted};

const VERSION: &str = "arn:aws:lambda:us-east-1:123456789012:function:stack-Scim:7";

/// What Lambda answers to an invocation.
enum Build {
    /// What the real function answers.
    Real(tokio::sync::Mutex<Lambda>),
    /// Always this: the status of Lambda's API, whether the function ended without an answer, and its result.
    Broken(u16, bool, String),
    /// What the real function answers to GET, and this to POST.
    BrokenWrites(tokio::sync::Mutex<Lambda>, String),
}

/// The services of AWS that the hook calls.
struct Aws {
    build: Build,
    /// How many calls Lambda and CodeDeploy each refuse before they answer.
    throttled: Mutex<[u32; 2]>,
    invoked: Mutex<Vec<String>>,
    reported: Mutex<Vec<Value>>,
}

type Shared = Arc<Aws>;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The `Authorization` header that Signature Version 4 makes of a call, with the secret `test`.
fn signature(service: &str, path: &str, query: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let text = |name: &str| headers[name].to_str().unwrap();
    let date = text("x-amz-date");
    let mut signed = vec!["content-type", "host", "x-amz-date"];
    signed.extend(headers.contains_key("x-amz-target").then_some("x-amz-target"));
    let lines: String = signed.iter().map(|name| format!("{name}:{}\n", text(name))).collect();
    let signed = signed.join(";");
    let canonical = format!("POST\n{path}\n{query}\n{lines}\n{signed}\n{}", hex(Sha256::digest(body)));
    let scope = format!("{}/us-east-1/{service}/aws4_request", &date[..8]);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(Sha256::digest(canonical)));
    let parts = scope.split('/').fold(b"AWS4test".to_vec(), |key, part| hmac(&key, part));
    let signature = hex(hmac(&parts, &to_sign));
    format!("AWS4-HMAC-SHA256 Credential=test/{scope}, SignedHeaders={signed}, Signature={signature}")
}

fn is_signed(service: &str, path: &str, query: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let found = headers.get("authorization").and_then(|value| value.to_str().ok());
    found == Some(&signature(service, path, query, headers, body))
}

fn refused(status: u16, kind: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), json!({ "__type": kind }).to_string()).into_response()
}

impl Aws {
    fn throttles(&self, service: usize) -> bool {
        let left = &mut self.throttled.lock().unwrap()[service];
        let throttles = *left > 0;
        *left = left.saturating_sub(1);
        throttles
    }
}

async fn invoke(
    State(aws): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = query.unwrap_or_default();
    let path = format!("/2015-03-31/functions/{name}/invocations");
    if !is_signed("lambda", &path, &query, &headers, &body) {
        return refused(403, "InvalidSignatureException");
    }
    aws.invoked.lock().unwrap().push(format!("{name}?{query}"));
    if aws.throttles(0) {
        return refused(429, "TooManyRequestsException");
    }
    let event: Value = serde_json::from_slice(&body).expect("an event");
    let real = async |lambda: &tokio::sync::Mutex<Lambda>, event| {
        lambda.lock().await.invoke(event).await.body.into_response()
    };
    match &aws.build {
        Build::Real(lambda) => real(lambda, event).await,
        Build::BrokenWrites(lambda, _) if event["httpMethod"] == "GET" => real(lambda, event).await,
        Build::BrokenWrites(_, result) => result.clone().into_response(),
        Build::Broken(status, has_ended, result) => {
            let mut answer = (StatusCode::from_u16(*status).unwrap(), result.clone()).into_response();
            if *has_ended {
                answer.headers_mut().insert("x-amz-function-error", "Unhandled".parse().unwrap());
            }
            answer
        }
    }
}

async fn report(State(aws): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed("codedeploy", "/", "", &headers, &body) {
        return refused(403, "InvalidSignatureException");
    }
    assert_eq!(headers["x-amz-target"], "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus");
    if aws.throttles(1) {
        return refused(400, "ThrottlingException");
    }
    aws.reported.lock().unwrap().push(serde_json::from_slice(&body).expect("JSON"));
    json!({ "lifecycleEventHookExecutionId": "e-1" }).to_string().into_response()
}

/// Serves what the hook calls; returns where.
async fn serve(build: Build, throttled: [u32; 2]) -> (String, Shared) {
    let (throttled, invoked, reported) = (Mutex::new(throttled), Mutex::default(), Mutex::default());
    let aws = Arc::new(Aws { build, throttled, invoked, reported });
    let routes = Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/", post(report))
        .with_state(aws.clone());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    (url, aws)
}

/// Runs the hook, without the variable `missing`.
async fn run(url: &str, missing: &str, event: Value) -> Posted {
    let mut variables = vec![
        ("ROLLCALL_PROBED_FUNCTION", VERSION),
        ("ROLLCALL_LAMBDA_URL", url),
        ("ROLLCALL_CODEDEPLOY_URL", url),
    ];
    variables.retain(|(name, _)| *name != missing);
    Lambda::spawn(std::path::Path::new(env!("CARGO_BIN_EXE_pre_traffic")), &variables)
        .await
        .invoke(event)
        .await
}

fn of_deployment() -> Value {
    json!({ "DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1" })
}

fn of_schedule() -> Value {
    json!({ "source": "aws.events", "detail-type": "Scheduled Event", "detail": {} })
}

/// Whether the function failed, as Lambda sees it.
fn has_failed(posted: &Posted) -> bool {
    assert!(posted.head.contains("/invocation/request-1/"), "{}", posted.head);
    posted.head.contains("/request-1/error ")
}

async fn real_function(streaming: Option<&str>) -> (tokio::sync::Mutex<Lambda>, support::Embedded) {
    let embedded = support::serve().await;
    (tokio::sync::Mutex::new(Lambda::start(&embedded.endpoint, streaming).await), embedded)
}

fn reported(status: &str) -> Value {
    json!({ "deploymentId": "d-1", "lifecycleEventHookExecutionId": "e-1", "status": status })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_build_succeeds_and_leaves_nothing_in_the_table() {
    for streaming in [None, Some("true")] {
        let (function, embedded) = real_function(streaming).await;
        // Both services are busy for a moment.
        let (url, aws) = serve(Build::Real(function), [1, 2]).await;
        assert!(!has_failed(&run(&url, "", of_deployment()).await));
        assert_eq!(*aws.reported.lock().unwrap(), [reported("Succeeded")]);
        let invoked = aws.invoked.lock().unwrap().clone();
        assert_eq!(invoked, ["stack-Scim?Qualifier=7"; 3], "the new version, and no other");
        let left = embedded.table.client().scan().table_name(support::TABLE).send().await.expect("a table");
        assert!(left.items().is_empty(), "{:?}", left.items());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_build_fails() {
    let answer = |status: u16, kind: &str, body: &str| {
        let headers = json!({ "content-type": [kind] });
        json!({ "statusCode": status, "multiValueHeaders": headers, "body": body }).to_string()
    };
    let scim = "application/scim+json";
    let list = "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:ListResponse\"],\"totalResults\":0}";
    let builds = [
        ("500", 200, false, answer(500, scim, "{\"status\":\"500\"}")),
        ("another list", 200, false, answer(200, scim, &list.replace(":0", ":1"))),
        ("another type", 200, false, answer(200, "text/html", list)),
        ("the list for POST as well", 200, false, answer(200, scim, list)),
        ("no JSON in the body", 200, false, answer(200, scim, "<html>")),
        ("no proxy answer", 200, false, "null".to_owned()),
        ("garbage", 200, false, "\u{0}garbage".to_owned()),
        ("nothing", 200, false, String::new()),
        ("a panic", 200, true, "{\"errorType\":\"Runtime.ExitError\"}".to_owned()),
        ("a time-out", 200, true, "{\"errorMessage\":\"Task timed out after 29.00 seconds\"}".to_owned()),
        ("no such version", 404, false, "{\"Message\":\"Function not found\"}".to_owned()),
        ("Lambda fails", 500, false, "{\"Message\":\"\"}".to_owned()),
    ];
    let runs = builds.map(|(what, status, has_ended, result)| async move {
        let (url, aws) = serve(Build::Broken(status, has_ended, result), [0, 0]).await;
        assert!(!has_failed(&run(&url, "", of_deployment()).await), "{what}: it was reported");
        assert_eq!(*aws.reported.lock().unwrap(), [reported("Failed")], "{what}");
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_only_reads_fails() {
    let (function, _embedded) = real_function(None).await;
    let result = json!({ "statusCode": 500, "headers": {}, "body": "{}" }).to_string();
    let (url, aws) = serve(Build::BrokenWrites(function, result), [0, 0]).await;
    assert!(!has_failed(&run(&url, "", of_deployment()).await));
    assert_eq!(*aws.reported.lock().unwrap(), [reported("Failed")]);
    assert_eq!(aws.invoked.lock().unwrap().len(), 2);
}

/// The real function under a role that lacks a permission.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_may_not_write_fails() {
    for operation in ["PutItem", "BatchWriteItem", "BatchGetItem"] {
        let embedded = support::serve().await;
        let proxy = Proxy::before(&embedded.endpoint).await;
        proxy.decide(move |call: &Call| if call.operation == operation { Fate::Denied } else { Fate::Pass });
        let function = tokio::sync::Mutex::new(Lambda::start(&proxy.endpoint, None).await);
        let (url, aws) = serve(Build::Real(function), [0, 0]).await;
        assert!(!has_failed(&run(&url, "", of_deployment()).await));
        assert_eq!(*aws.reported.lock().unwrap(), [reported("Failed")], "{operation}");
    }
}

/// The real function with a table that it cannot use, such as after a wrong parameter.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_its_table_fails() {
    let embedded = support::serve().await;
    embedded.table.client().delete_table().table_name(support::TABLE).send().await.expect("a table");
    let function = tokio::sync::Mutex::new(Lambda::start(&embedded.endpoint, None).await);
    let (url, aws) = serve(Build::Real(function), [0, 0]).await;
    assert!(!has_failed(&run(&url, "", of_deployment()).await));
    assert_eq!(*aws.reported.lock().unwrap(), [reported("Failed")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_set_up_never_succeeds() {
    for (missing, fails) in [
        ("ROLLCALL_PROBED_FUNCTION", false),
        ("ROLLCALL_LAMBDA_URL", false),
        // It cannot report: CodeDeploy sees a function that failed.
        ("ROLLCALL_CODEDEPLOY_URL", true),
    ] {
        let (function, _embedded) = real_function(None).await;
        let (url, aws) = serve(Build::Real(function), [0, 0]).await;
        assert_eq!(has_failed(&run(&url, missing, of_deployment()).await), fails, "{missing}");
        let expected = if fails { vec![] } else { vec![reported("Failed")] };
        assert_eq!(*aws.reported.lock().unwrap(), expected, "{missing}");
    }
    let (url, aws) = serve(Build::Broken(200, false, String::new()), [0, 0]).await;
    assert!(has_failed(&run(&url, "", json!({ "DeploymentId": "d-1" })).await), "half an event");
    assert!(aws.reported.lock().unwrap().is_empty() && aws.invoked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_of_a_schedule_fails_with_the_function() {
    let (function, _embedded) = real_function(None).await;
    let (url, good) = serve(Build::Real(function), [0, 0]).await;
    assert!(!has_failed(&run(&url, "ROLLCALL_CODEDEPLOY_URL", of_schedule()).await));
    let (url, bad) = serve(Build::Broken(200, true, String::new()), [0, 0]).await;
    let posted = run(&url, "ROLLCALL_CODEDEPLOY_URL", of_schedule()).await;
    assert!(has_failed(&posted));
    let text = String::from_utf8_lossy(&posted.body).into_owned();
    assert!(text.contains("GET /Users: the function ended without an answer"), "{text}");
    assert!(good.reported.lock().unwrap().is_empty() && bad.reported.lock().unwrap().is_empty());
}
