//! The application's side of `rollcall dev`, over the wire.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::dev::{Answer, Dev, folder};
use crate::support::receiver::Receiver;

fn send(dev: &Dev, key: &str, (method, path): (&str, &str), body: &str) -> Answer {
    let url = dev.shown["app_url"].as_str().expect("a URL");
    let rest = url.strip_prefix("http://").unwrap();
    let (host, base) = rest.split_once('/').expect("a path");
    let length = body.len();
    let head = format!(
        "{method} /{base}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    dev.raw(format!("{head}Authorization: Bearer {key}\r\n\r\n{body}").as_bytes())
}

#[test]
fn it_serves_both_apis_and_keeps_its_application_key() {
    let folder = folder();
    let data_dir = ["--data-dir", folder.to_str().unwrap()];
    let dev = Dev::start(&data_dir);
    assert!(dev.shown["app_url"].as_str().unwrap().ends_with("/app/v1"));
    let key = dev.shown["application_key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("rca_"));
    let tenants = send(&dev, &key, ("GET", "/tenants"), "");
    assert_eq!((tenants.status, &tenants.body["tenants"][0]["tenant"]), (200, &json!("demo")));
    assert_eq!(send(&dev, &key, ("POST", "/tenants"), "{\"tenant\":\"acme\"}").status, 201);
    // What a request wrote is in the feed soon, with nobody's help.
    let mut last = Value::Null;
    for _ in 0..100 {
        last = send(&dev, &key, ("GET", "/changes?tenant=acme"), "").body;
        if last["changes"][0]["type"] == "tenant.created" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(last["changes"].as_array().unwrap().iter().any(|change| change["type"] == "tenant.created"));
    // Each API refuses the keys of the other, in its own form.
    let refused = send(&dev, dev.key(), ("GET", "/changes"), "");
    assert_eq!((refused.status, &refused.body["status"]), (401, &json!(401)));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let header = format!("Bearer {key}");
    dev.send("GET", "/Users", &[("Authorization", &header)], b"").is_error(401, None);
    let nowhere = dev.raw(b"GET /app/v2/changes HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(nowhere.status, 404);
    dev.end();
    let dev = Dev::start(&data_dir);
    assert_eq!(dev.shown["application_key"], key.as_str());
    assert_eq!(send(&dev, &key, ("GET", "/tenants/acme"), "").status, 200);
    dev.end();
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_the_test_of_a_webhook_within_seconds() {
    let receiver = Receiver::start().await;
    let dev = Dev::start(&[]);
    let key = dev.shown["application_key"].as_str().expect("a key");
    let send = |method: &str, path: &str, body: &str| send(&dev, key, (method, path), body).body;
    let made = send("POST", "/webhooks", &json!({ "url": receiver.url }).to_string());
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let asked = send("POST", &format!("{path}/test"), "");
    assert_eq!(asked["state"], "pending");
    let began = Instant::now();
    while send("GET", &path, "")["test"]["state"] == "pending" {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(send("GET", &path, "")["test"]["state"], "taken");
    assert!(receiver.received().iter().any(|message| message.id().ends_with(asked["id"].as_str().unwrap())));
}
