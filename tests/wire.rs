//! The tool as a stranger runs it: the real binary, over the wire.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::dev::{Answer, Dev, TOOL, folder};

fn user(name: &str) -> Vec<u8> {
    json!({
        "userName": format!("{name}@x.com"), "displayName": name,
        "name": { "givenName": "G", "familyName": "F" },
        "emails": [{ "value": format!("{name}@x.com"), "primary": true }]
    })
    .to_string()
    .into_bytes()
}

#[test]
fn a_burst_meets_the_plan() {
    let dev = Dev::start(&["--rate-limit", "template"]);
    let mut statuses = BTreeMap::new();
    let mut refused = None;
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| (0..23).map(|_| dev.get("/ServiceProviderConfig")).collect::<Vec<_>>()))
            .collect();
        for answer in tasks.into_iter().flat_map(|task| task.join().unwrap()) {
            *statuses.entry(answer.status).or_insert(0) += 1;
            if answer.status == 429 {
                refused = Some(answer);
            }
        }
    });
    // 200 at once, and three and a third more for every second that the burst took.
    let (admitted, limited) = (statuses[&200], statuses[&429]);
    assert_eq!(admitted + limited, 230, "{statuses:?}");
    assert!((200..230).contains(&admitted), "{statuses:?}");
    let refused = refused.unwrap();
    refused.is_error(429, None);
    assert!(refused.headers["retry-after"].parse::<u32>().unwrap() > 0);
}

#[test]
fn keys_that_are_none_are_401() {
    let dev = Dev::start(&[]);
    let unknown = rollcall::auth::key::BearerKey::generate(&"demo".parse().unwrap()).unwrap();
    let (rest, last) = dev.key().split_at(dev.key().len() - 1);
    let wrong_checksum = format!("{rest}{}", if last == "x" { "y" } else { "x" });
    let stranger = dev.key().replace("rc_demo_", "rc_other_");
    for header in [
        "",
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        dev.key(),
        &format!("Bearer {}", unknown.reveal()),
        &format!("Bearer {wrong_checksum}"),
        &format!("Bearer {stranger}"),
        &format!("Bearer {}", dev.key().to_lowercase()),
    ] {
        let answer = dev.send("GET", "/Users", &[("Authorization", header)], b"");
        answer.is_error(401, None);
        assert!(answer.headers["www-authenticate"].starts_with("Bearer"), "{header:?}: {answer:?}");
    }
    for header in ["bearer", "BEARER", "Bearer  "] {
        let header = format!("{header} {}", dev.key());
        assert_eq!(dev.send("GET", "/Users", &[("Authorization", &header)], b"").status, 200);
    }
}

/// A body, and the status and `scimType` of the answer.
type Refused<'a> = (&'a [u8], u16, Option<&'a str>);

const BAD_BODIES: [Refused<'_>; 17] = [
    (b"", 400, Some("invalidSyntax")),
    (b"   ", 400, Some("invalidSyntax")),
    (b"{", 400, Some("invalidSyntax")),
    (b"[]", 400, Some("invalidSyntax")),
    (b"null", 400, Some("invalidSyntax")),
    (b"\"text\"", 400, Some("invalidSyntax")),
    (b"{\"userName\": nope}", 400, Some("invalidSyntax")),
    (b"\xff\xfe", 400, Some("invalidSyntax")),
    (b"{\"userName\": 5}", 400, Some("invalidValue")),
    (b"{\"userName\": [\"a\"]}", 400, Some("invalidValue")),
    (b"{\"userName\": \"  \"}", 400, Some("invalidValue")),
    (b"{\"userName\": \"a\", \"USERNAME\": \"b\"}", 400, Some("invalidSyntax")),
    (b"{\"emails\": \"a@x.com\"}", 400, Some("invalidValue")),
    (b"{\"emails\": [5]}", 400, Some("invalidValue")),
    (b"{\"active\": \"perhaps\"}", 400, Some("invalidValue")),
    (b"{\"schemas\": \"x\"}", 400, Some("invalidSyntax")),
    (b"{\"schemas\": [\"urn:x\"]}", 400, Some("invalidSyntax")),
];

fn assert_nothing_is_stored(dev: &Dev) {
    assert_eq!(dev.get("/Users").body["totalResults"], 1, "the administrator");
    assert_eq!(dev.get("/Groups").body["totalResults"], 1, "the root team");
}

#[test]
fn bad_bodies_are_answered_and_store_nothing() {
    let dev = Dev::start(&[]);
    let brackets = [b"[".repeat(500_000), b"]".repeat(500_000)].concat();
    let nested = [b"{\"a\":".repeat(200_000).as_slice(), b"1", &b"}".repeat(200_000)].concat();
    let large = [b"{\"displayName\":\"".as_slice(), &b"x".repeat(4 * 1024 * 1024), b"\"}"].concat();
    let huge: [Refused<'_>; 3] =
        [(&brackets, 400, Some("invalidSyntax")), (&nested, 400, Some("invalidSyntax")), (&large, 413, None)];
    for (body, status, scim_type) in BAD_BODIES.into_iter().chain(huge) {
        for path in ["/Users", "/Groups"] {
            let answer = dev.send("POST", path, &[("Content-Type", "application/scim+json")], body);
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
            assert_eq!(answer.status, status, "{path} {shown}: {answer:?}");
            if path == "/Users" {
                answer.is_error(status, scim_type);
            }
        }
    }
    for (media_type, body) in
        [("text/plain", b"{}".as_slice()), ("application/x-www-form-urlencoded", b"a=b")]
    {
        dev.send("POST", "/Users", &[("Content-Type", media_type)], body).is_error(415, None);
    }
    assert_nothing_is_stored(&dev);
}

#[test]
fn bad_paths_queries_and_headers_are_answered() {
    let dev = Dev::start(&[]);
    for path in ["", "/", "/users", "/Nothing", "/Users/a/b", "/Users//", "/%00", "/Users%2F", "/../Users"] {
        dev.get(path).is_error(404, None);
    }
    let ids =
        ["x", "..", "%00", "%ff", "%F0%9F%92%A9", "a%23b", "T%23demo%23U", "{}", "'", "%25", "1;2", "%20"];
    for id in ids {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            dev.send(method, &format!("/Users/{id}"), &[], b"{}").is_error(404, None);
        }
    }
    for (method, path) in
        [("PUT", "/Users"), ("DELETE", "/Groups"), ("POST", "/Schemas"), ("PATCH", "/ServiceProviderConfig")]
    {
        let answer = dev.send(method, path, &[], b"{}");
        answer.is_error(405, None);
        assert!(answer.headers["allow"].contains("GET"), "{answer:?}");
    }
    for query in [
        "filter=",
        "filter=%22",
        "filter=userName",
        "filter=nope%20eq%201",
        "filter=((((",
        "Filter=((((",
        "filter=id%20pr&filter=userName%20eq%20%22a%22",
        "filter=id%20pr&FILTER=id%20pr",
    ] {
        dev.get(&format!("/Users?{query}")).is_error(400, Some("invalidFilter"));
    }
    // The usual spelling counts before others, and those in the order of their names.
    for _ in 0..20 {
        dev.get("/Users?Count=5&count=x").is_error(400, Some("invalidValue"));
        assert_eq!(dev.get("/Users?Count=x&COUNT=5").status, 200);
    }
    for query in ["count=x", "startIndex=1.5", "sortBy=nope", "sortOrder=up&sortBy=userName"] {
        dev.get(&format!("/Users?{query}")).is_error(400, Some("invalidValue"));
    }
    assert_nothing_is_stored(&dev);
    // Hosts that are no part of a URL.
    let key = dev.key().to_owned();
    for host in ["%%%", "a b", "[::", "x\"y"] {
        let request = format!(
            "GET /scim/v2/Users HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: no scheme\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        assert!(dev.raw(request.as_bytes()).status < 500, "{host}");
    }
    assert_eq!(dev.get("/Users").status, 200);
}

#[test]
fn an_operators_extension_is_enforced_and_announced() {
    let folder = folder();
    let urn = "urn:example:params:scim:badge:1.0:User";
    let schema = json!({ "id": urn, "name": "Badge", "attributes": [
        { "name": "number", "type": "integer", "multiValued": false, "required": false }] });
    std::fs::write(folder.join("badge.json"), schema.to_string()).unwrap();
    let dev = Dev::start(&["--extensions", folder.to_str().unwrap()]);
    assert_eq!(dev.get(&format!("/Schemas/{urn}")).body["attributes"][0]["name"], "number");
    let mut body: Value = serde_json::from_slice(&user("badged")).unwrap();
    body[urn] = json!({ "number": "seven" });
    let refused = dev.send("POST", "/Users", &[], body.to_string().as_bytes());
    refused.is_error(400, Some("invalidValue"));
    body[urn] = json!({ "NUMBER": 7 });
    let created = dev.send("POST", "/Users", &[], body.to_string().as_bytes());
    assert_eq!((created.status, &created.body[urn]), (201, &json!({ "number": 7 })));
    assert!(created.body["schemas"].as_array().unwrap().contains(&json!(urn)));
    let found = dev.get(&format!("/Users?filter={urn}:number%20gt%206"));
    assert_eq!(found.body["totalResults"], 1);
    std::fs::write(folder.join("broken.json"), "{}").unwrap();
    let output = Command::new(TOOL).args(["dev", "--extensions", folder.to_str().unwrap()]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("broken.json"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn everything_survives_kill_9() {
    let folder = folder();
    let args = ["--data-dir", folder.to_str().unwrap()];
    let dev = Dev::start(&args);
    let key = dev.key().to_owned();
    for n in 0..20 {
        assert_eq!(dev.send("POST", "/Users", &[], &user(&format!("u{n}"))).status, 201);
    }
    dev.kill();
    let dev = Dev::start(&args);
    assert_eq!(dev.key(), key);
    let list = dev.get("/Users").body;
    assert_eq!((&list["totalResults"], &list["itemsPerPage"]), (&json!(21), &json!(21)));
    assert_eq!(dev.send("POST", "/Users", &[], &user("u7")).status, 409);
    let (status, _) = dev.end();
    assert_eq!(status, Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_cannot_be_done_is_one_line_and_exit_1_or_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = folder();
    let file = folder.join("a-file");
    std::fs::write(&file, "x").unwrap();
    let held = Dev::start(&["--data-dir", folder.join("held").to_str().unwrap()]);
    for (code, args) in [
        (1, vec!["--port", &port]),
        (2, vec!["--port", "x"]),
        (2, vec!["--no-such-flag"]),
        (2, vec!["--policy", "lax"]),
        (2, vec!["--tenant", "No"]),
        (2, vec!["--rate-limit", "0"]),
        (2, vec!["--seed-members", "2"]),
        (1, vec!["--data-dir", file.to_str().unwrap()]),
        (1, vec!["--data-dir", folder.join("held").to_str().unwrap(), "--port", "0"]),
        (1, vec!["--data-dir", "/proc/nowhere", "--port", "0"]),
        (2, vec!["--data-dir", "x", "--in-memory"]),
    ] {
        let output = Command::new(TOOL).arg("dev").args(&args).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert_eq!(told.trim_end().lines().count(), 1, "{args:?}: {told}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    drop(held);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn one_line_a_request_tells_the_cost_and_no_secret() {
    let dev = Dev::start(&[]);
    let key = dev.key().to_owned();
    let chosen = [("X-Amzn-RequestId", "chosen-1")];
    let created = dev.send("POST", "/Users?id=trace-7", &chosen, &user("secretive"));
    assert_eq!(created.status, 201);
    assert_eq!(created.headers["x-amzn-requestid"], "chosen-1");
    let extended = created.headers["x-amz-apigw-id"].clone();
    dev.send("POST", "/Users", &[], b"{\"password\":\"hunter2\",\"userName\":\"secretive@x.com\"}");
    dev.send("POST", "/Users", &[], &user("secretive"));
    dev.get("/Users?filter=userName%20eq%20%22secretive@x.com%22");
    dev.send("GET", "/Users", &[("Authorization", "Bearer nonsense")], b"");
    let (status, log) = dev.end();
    assert_eq!(status, Some(0));
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 5, "{log}");
    let first = requests[0];
    assert_eq!((&first["request_id"], &first["extended_request_id"]), (&json!("chosen-1"), &json!(extended)));
    let ids: BTreeSet<&str> = requests.iter().filter_map(|line| line["lambda_request_id"].as_str()).collect();
    assert_eq!(ids.len(), 4, "the gateway refused the fifth by itself: {log}");
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap_or_default();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
    }
    for line in &requests {
        assert!(line["request_id"].is_string() && line["extended_request_id"].is_string(), "{line}");
        assert!(line.get("_aws").is_none(), "there is no stack: {line}");
    }
    assert_eq!(
        (&first["tenant"], &first["operation"], &first["status"], &first["trace_id"]),
        (&json!("demo"), &json!("create.User"), &json!(201), &json!("trace-7"))
    );
    assert!(first["key_id"].as_str().is_some_and(|id| !id.is_empty()));
    assert!(first["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0));
    assert_eq!(first["dynamodb"], json!({ "calls": 1, "rounds": 1, "read_units": 0.0, "write_units": 12.0 }));
    assert_eq!(requests[2]["scimType"], "uniqueness");
    assert_eq!((&requests[4]["operation"], &requests[4]["status"]), (&json!("gateway"), &json!(401)));
    for secret in ["secretive", "hunter2", &key, &key[8..40], "nonsense"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

/// How much more memory 16 readers of a group of 5,000 may take while they are answered, and may leave, in MB. One
/// reader takes 5 MB.
const MEMORY_OF_READERS: u64 = 48;

#[test]
fn all_who_read_a_large_group_at_once_are_answered() {
    let dev = Dev::start(&["--seed-users", "5000", "--seed-members", "5000"]);
    let path = format!("/Groups/{}", rollcall::dev::seed::group_id());
    assert_eq!(dev.get(&path).body["members"].as_array().map(Vec::len), Some(5_000));
    let before = dev.memory();
    let (read, most) = thread::scope(|scope| {
        let readers: Vec<_> = (0..16).map(|_| scope.spawn(|| dev.get(&path))).collect();
        let mut most = 0;
        while !readers.iter().all(thread::ScopedJoinHandle::is_finished) {
            most = most.max(dev.memory().unwrap_or(0));
            thread::sleep(Duration::from_millis(10));
        }
        let answers = readers.into_iter().map(|reader| reader.join().expect("a reader"));
        (answers.filter(is_read).count(), most)
    });
    assert!(read > 0, "nobody read the group");
    let Some(before) = before else { return };
    assert!(most < before + MEMORY_OF_READERS, "{before} MB before, {most} MB at most");
    let left = || dev.memory().unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(10);
    while left() >= before + MEMORY_OF_READERS / 2 && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
    }
    assert!(left() < before + MEMORY_OF_READERS / 2, "{before} MB before, {} MB after", left());
}

/// Whether an answer is the whole group. If not, it says when to ask again.
fn is_read(answer: &Answer) -> bool {
    if answer.status == 200 {
        assert_eq!(answer.body["members"].as_array().map(Vec::len), Some(5_000));
        return true;
    }
    answer.is_error(429, None);
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    false
}
