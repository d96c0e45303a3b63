//! Streamed answers (docs/streaming.md): the real binary, against a stand-in for Lambda's Runtime API.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, user};
use crate::support::faults::header;
use crate::support::lambda::{Lambda, Posted};

/// More than fits into 6 MB.
const MEMBERS: usize = 45_000;

/// An answer, however it left the function.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u64,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    /// A proxy answer in one piece.
    fn buffered(posted: &Posted) -> Self {
        assert_eq!(header(&posted.head, "lambda-runtime-function-response-mode"), None);
        let answer: Value = serde_json::from_slice(&posted.body).expect("JSON");
        let text = answer["body"].as_str().unwrap_or_default();
        let body = match answer["isBase64Encoded"].as_bool() {
            Some(true) => STANDARD.decode(text).expect("base64"),
            _ => text.as_bytes().to_vec(),
        };
        let headers = answer["multiValueHeaders"].as_object().expect("headers");
        let one = |(name, values): (&String, &Value)| {
            assert_eq!(values.as_array().map(Vec::len), Some(1), "{name}");
            (name.clone(), values[0].as_str().expect("text").to_owned())
        };
        let status = answer["statusCode"].as_u64().expect("a status");
        Self { status, headers: headers.iter().map(one).collect(), body }
    }

    /// A prelude, eight zero bytes, and the body as it is.
    fn streamed(posted: &Posted) -> Self {
        for (name, value) in [
            ("lambda-runtime-function-response-mode", "streaming"),
            ("content-type", "application/vnd.awslambda.http-integration-response"),
            ("transfer-encoding", "chunked"),
        ] {
            assert_eq!(header(&posted.head, name).as_deref(), Some(value), "{name}");
        }
        let end = posted.body.windows(8).position(|eight| eight == [0; 8]).expect("eight zero bytes");
        let prelude: Value = serde_json::from_slice(&posted.body[..end]).expect("JSON");
        assert_eq!(prelude["cookies"], json!([]));
        let headers = prelude["headers"].as_object().expect("headers");
        let one = |(name, value): (&String, &Value)| (name.clone(), value.as_str().expect("text").to_owned());
        let mut headers: BTreeMap<String, String> = headers.iter().map(one).collect();
        let body = posted.body[end + 8..].to_vec();
        assert_eq!(headers["content-type"], "application/scim+json");
        if body.is_empty() {
            // A stream has a type even where it has nothing else.
            headers.remove("content-type");
        }
        Self { status: prelude["statusCode"].as_u64().expect("a status"), headers, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// One table, and the function on it twice.
struct Scene {
    client: Client,
    endpoint: String,
    off: Lambda,
    on: Lambda,
}

impl Scene {
    async fn new() -> Self {
        let embedded = support::serve().await;
        let client = Client::new(embedded.table, "standard").await;
        let off = Lambda::start(&embedded.endpoint, None).await;
        let on = Lambda::start(&embedded.endpoint, Some("true")).await;
        Self { client, endpoint: embedded.endpoint, off, on }
    }

    /// Hands the event to both; they must answer the same.
    async fn both(&mut self, event: Value, status: u64) -> Answer {
        let buffered = Answer::buffered(&self.off.invoke(event.clone()).await);
        let streamed = Answer::streamed(&self.on.invoke(event).await);
        assert_eq!(buffered, streamed);
        assert_eq!(streamed.status, status, "{}", streamed.json());
        streamed
    }

    /// Creates a group with this number of members.
    async fn group(&self, members: usize) -> String {
        let group = self.client.group("Everyone", &[]).await;
        support::fill(&self.client, &group, 0, members).await;
        format!("/Groups/{group}")
    }
}

fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(name)).expect(name)
}

#[tokio::test]
async fn a_stream_tells_what_a_buffered_answer_does() {
    let mut scene = Scene::new().await;
    for (name, status) in [
        ("service-provider-config", 200),
        ("schemas", 200),
        ("users-list", 200),
        ("groups-filter", 200),
        ("users-read", 404),
        ("unknown-path", 404),
        ("method-not-allowed", 405),
        ("unsupported-media-type", 415),
        ("invalid-json", 400),
        ("read-scope", 403),
        ("unauthorized", 401),
        ("me", 501),
    ] {
        let answer = scene.both(file(name), status).await;
        if status >= 400 {
            assert_eq!(answer.json()["status"], status.to_string(), "{name}");
        }
    }

    let path = format!("/Users/{}", scene.client.user("otto").await);
    let found = scene.both(scene.client.event("GET", &path, None, &[]), 200).await;
    let known = [("If-None-Match", found.headers["etag"].as_str())];
    let unchanged = scene.both(scene.client.event("GET", &path, None, &known), 304).await;
    assert_eq!((unchanged.body.len(), &unchanged.headers["etag"]), (0, &found.headers["etag"]));
    // What lambda_http makes no URL of.
    let event = scene.client.event("GET", &path, None, &[("Host", "no host"), ("X-Forwarded-Proto", "?")]);
    scene.both(event, 200).await;

    let event = scene.client.event("POST", "/Users", Some(user("anna")), &[]);
    let created = Answer::streamed(&scene.on.invoke(event).await);
    assert_eq!(created.status, 201);
    assert_eq!(created.headers["location"], created.json()["meta"]["location"]);
    let path = format!("/Users/{}", created.json()["id"].as_str().expect("an id"));
    let deleted = Answer::streamed(&scene.on.invoke(scene.client.event("DELETE", &path, None, &[])).await);
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    scene.client.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_large_group_leaves_whole_as_a_stream_only() {
    let mut scene = Scene::new().await;
    let path = scene.group(MEMBERS).await;
    let plain = scene.client.event("GET", &path, None, &[]);
    let refused = Answer::buffered(&scene.off.invoke(plain.clone()).await);
    assert_eq!((refused.status, &refused.json()["scimType"]), (400, &json!("tooMany")));
    let whole = Answer::streamed(&scene.on.invoke(plain.clone()).await);
    assert_eq!((whole.status, whole.headers.get("content-encoding")), (200, None));
    assert!(whole.body.len() > 6 * 1024 * 1024, "{}", whole.body.len());
    assert_eq!(whole.json()["members"].as_array().map(Vec::len), Some(MEMBERS));

    let event = scene.client.event("GET", &path, None, &[("Accept-Encoding", "gzip")]);
    let packed = scene.both(event, 200).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let unpacked: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&packed.body[..])).unwrap();
    assert_eq!(unpacked, whole.json());

    // Lambda starts another process; the request counts as answered in the log, either way.
    for lambda in [&mut scene.off, &mut scene.on] {
        let event = scene.client.event("GET", &path, None, &[("Accept-Encoding", "gzip")]);
        assert_eq!(lambda.invoke_and_break(event, 200_000).await.code(), Some(1));
    }
}

/// What streaming costs and spares, as ratios of one run; for docs/streaming.md.
#[tokio::test]
#[ignore = "measures, asserts nothing"]
async fn measure() {
    let scene = Scene::new().await;
    let path = scene.group(100_000).await;
    let (plain, gzip) = (&[][..], &[("Accept-Encoding", "gzip")][..]);
    let ways =
        [("buffered, gzip", "false", gzip), ("streamed, gzip", "true", gzip), ("streamed", "true", plain)];
    let mut lambdas = Vec::new();
    for (_, streaming, _) in ways {
        let mut lambda = Lambda::start(&scene.endpoint, Some(streaming)).await;
        lambda.invoke(scene.client.event("GET", "/Schemas", None, &[])).await;
        lambdas.push((lambda, f64::INFINITY, f64::INFINITY, 0, 0));
    }
    // By turns, so that other work of the machine slows all of them down alike.
    for _ in 0..7 {
        for ((_, _, headers), (lambda, first, whole, size, chunks)) in ways.iter().zip(&mut lambdas) {
            let began = Instant::now();
            let posted = lambda.invoke(scene.client.event("GET", &path, None, headers)).await;
            *whole = whole.min(began.elapsed().as_secs_f64());
            *first = first.min((posted.first - began).as_secs_f64());
            (*size, *chunks) = (posted.body.len(), posted.chunks);
        }
    }
    let peak = |lambda: &Lambda| lambda.peak().unwrap_or(f64::NAN);
    let (one, largest) = (&lambdas[0], lambdas[2].3 as f64);
    for ((name, ..), (lambda, first, whole, size, chunks)) in ways.iter().zip(&lambdas) {
        println!(
            "{name}: first byte {:.2}, whole {:.2}, memory {:.2}; {:.2} of the largest, in {chunks} chunks",
            first / one.1,
            whole / one.2,
            peak(lambda) / peak(&one.0),
            *size as f64 / largest
        );
    }
    println!("memory: {:.1} times the largest", peak(&one.0) * 1024.0 / largest);
}
