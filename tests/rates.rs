//! The plans of tenants, as the local gateway plays them with the rates of the template.
//!
//! RATE_SECONDS is how long the plan `high` is loaded. `make test-long` loads it for ten minutes.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::dev::{Dev, TOOL};

/// What Microsoft's gallery asks for, in requests a second.
const REQUESTS_A_SECOND: u32 = 25;
/// How many callers share the requests.
const CALLERS: u32 = 8;

/// Runs the tool on the table of a running `rollcall dev`.
fn tool(dev: &Dev, arguments: &[&str]) -> String {
    let shown = |name: &str| dev.shown[name].as_str().expect(name).to_owned();
    let output = Command::new(TOOL)
        .args(arguments)
        .args(["--json", "--endpoint-url", &shown("dynamodb_endpoint"), "--table", &shown("table")])
        .output()
        .expect("the tool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Sends a request. Returns whether it passed; a refusal must be whole.
fn passes(dev: &Dev, key: &str) -> bool {
    let bearer = format!("Bearer {key}");
    let answer = dev.send("GET", "/Users?count=1", &[("Authorization", &bearer)], b"");
    if answer.status == 200 {
        return true;
    }
    answer.is_error(429, None);
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    false
}

/// Sends so many requests as fast as it can. Asserts that no more passed than a burst and a rate allow. Returns how
/// many passed.
fn send(dev: &Dev, key: &str, count: u32, (burst, rate): (f64, f64)) -> u32 {
    let start = Instant::now();
    let passed = (0..count).filter(|_| passes(dev, key)).count();
    let allowed = burst + rate * start.elapsed().as_secs_f64() + 1.0;
    let passed = u32::try_from(passed).expect("few");
    assert!(f64::from(passed) <= allowed, "{passed} of {count} passed, {allowed} may");
    passed
}

/// Sends 25 requests a second, evenly. Returns how many were refused, and how long it took.
fn load(dev: &Dev, key: &str, seconds: u64) -> (usize, Duration) {
    let (start, pause) = (Instant::now(), Duration::from_secs(1) / REQUESTS_A_SECOND);
    let count = u32::try_from(seconds).expect("few") * REQUESTS_A_SECOND;
    let send = |first: u32| {
        let turns = (first..count).step_by(CALLERS as usize);
        let refused = turns.filter(|at| {
            thread::sleep((start + pause * *at).saturating_duration_since(Instant::now()));
            !passes(dev, key)
        });
        refused.count()
    };
    let refused = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|first| scope.spawn(move || send(first))).collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller")).sum()
    });
    (refused, start.elapsed())
}

#[test]
fn a_tenant_with_the_plan_high_sends_25_requests_a_second() {
    let asked = std::env::var("RATE_SECONDS").ok();
    let seconds = asked.as_ref().map_or(4, |text| text.parse().expect("a number"));
    let dev = Dev::start(&["--in-memory", "--rate-limit", "template"]);
    tool(&dev, &["tenant", "create", "fast", "--plan", "high", "--policy", "standard"]);
    let key = tool(&dev, &["key", "create", "fast", "--name", "entra"]);
    let key: serde_json::Value = serde_json::from_str(&key).expect("JSON");
    let key = key["key"].as_str().expect("a key");
    let (refused, took) = load(&dev, key, seconds);
    assert_eq!(refused, 0, "none is refused");
    // A machine that does other work may be too slow for the short load.
    let most = Duration::from_secs(seconds + 5);
    assert!(
        asked.is_none() || took < most,
        "{took:?}: this machine is too slow to send 25 requests a second"
    );
    send(&dev, key, 400, (60.0, 30.0));
}

#[test]
fn a_change_of_the_plan_acts_without_a_refused_request() {
    let dev = Dev::start(&["--in-memory", "--rate-limit", "template"]);
    let key = dev.key().to_owned();
    let tenant = dev.shown["tenant"].as_str().expect("a tenant").to_owned();
    assert!(send(&dev, &key, 400, (200.0, 3.3333)) >= 200, "200 at once, then 200 a minute");
    let shown = tool(&dev, &["tenant", "set", &tenant, "--plan", "high"]);
    assert!(shown.contains("\"plan\": \"high\""), "{shown}");
    // The authorizer's answer is remembered; a new key of the tenant has none.
    let new = tool(&dev, &["key", "create", &tenant, "--name", "new"]);
    let new: serde_json::Value = serde_json::from_str(&new).expect("JSON");
    assert_eq!(load(&dev, new["key"].as_str().expect("a key"), 2).0, 0);
    // By the application's side, and back: the key of the plan before is used again.
    let application = format!("Bearer {}", dev.shown["application_key"].as_str().expect("a key"));
    let change = |body: &str| {
        let head = format!("PATCH /app/v1/tenants/{tenant} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        dev.raw(format!("{head}Authorization: {application}\r\n\r\n{body}").as_bytes())
    };
    let before = tool(&dev, &["tenant", "show", &tenant]);
    for plan in ["default", "high"] {
        let body = json!({ "plan": plan }).to_string();
        let answer = change(&body);
        assert_eq!((answer.status, &answer.body["plan"]), (200, &json!(plan)));
    }
    let usage_key =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["usageKey"].clone();
    assert_eq!(usage_key(&before), usage_key(&tool(&dev, &["tenant", "show", &tenant])));
    assert_eq!(change(r#"{"plan":"huge"}"#).status, 400);
}
