//! The tool as a stranger runs it: the real binary, over the wire.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The real binary.
pub const TOOL: &str = env!("CARGO_BIN_EXE_rollcall");

/// A running `rollcall dev --json`.
pub struct Dev {
    child: Child,
    address: String,
    /// What it printed.
    pub shown: Value,
    log: Option<thread::JoinHandle<String>>,
}

impl Dev {
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(args, &[])
    }

    /// Starts it with these variables.
    pub fn start_in(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(TOOL)
            .args(["dev", "--json", "--port", "0"])
            .args(args)
            // The tool of a developer does not find it.
            .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).expect("a line");
        let shown: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let base = shown["base_url"].as_str().expect("a base URL");
        let address = base.strip_prefix("http://").unwrap().strip_suffix("/scim/v2").expect("the path");
        let address = address.to_owned();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, address, shown, log: Some(log) }
    }

    pub fn key(&self) -> &str {
        self.shown["key"].as_str().expect("a key")
    }

    /// Sends raw bytes; the answer.
    pub fn raw(&self, request: &[u8]) -> Answer {
        self.exchange(request).expect("an answer")
    }

    /// Sends raw bytes; the answer, if there is a whole one.
    fn exchange(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::read(&answer)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(&self.request(method, path, headers, body))
    }

    /// Sends a request during which the process may die; the answer, if there was one before.
    pub fn try_send(&self, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
        self.exchange(&self.request(method, path, &[], body))
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut request = format!(
            "{method} /scim/v2{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "Authorization") {
            request.push_str(&format!("Authorization: Bearer {}\r\n", self.key()));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        [request.as_bytes(), b"\r\n", body].concat()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends it a signal: `-KILL`, …
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The memory that it has, in MB. `None` on systems without /proc.
    pub fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        resident.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
    }

    /// Ends it as Ctrl-C does; the exit status and the log.
    pub fn end(mut self) -> (Option<i32>, String) {
        self.signal("-INT");
        let status = self.child.wait().unwrap().code();
        (status, self.log.take().unwrap().join().unwrap())
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Answer {
    /// `None`: it was cut off before the end of its head.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Self { status, headers, body: serde_json::from_str(body).unwrap_or(Value::Null) })
    }

    /// A whole SCIM error of this status.
    #[track_caller]
    pub fn is_error(&self, status: u16, scim_type: Option<&str>) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{self:?}");
        assert_eq!(self.body["status"], status.to_string(), "{self:?}");
        assert_eq!(self.body["scimType"].as_str(), scim_type, "{self:?}");
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/scim+json", "{self:?}");
        assert!(self.headers.contains_key("x-amzn-requestid"), "{self:?}");
    }
}

/// Makes a folder. The caller removes it.
pub fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rollcall-test-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
