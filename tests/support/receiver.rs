//! A receiver of webhooks on this machine: a small HTTP server that answers what the test tells it.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// Answers with this status, these header lines and this body, after this time.
    Answer { status: u16, head: String, body: String, after: Duration },
    /// Answers with this status as soon as the test says so ([`Receiver::release`]). One request at a time.
    Held { status: u16 },
    /// Closes the connection without an answer.
    Vanish,
}

impl Reaction {
    /// Answers with this status.
    pub fn status(status: u16) -> Self {
        Self::head(status, "")
    }

    /// Answers with this status and these header lines.
    pub fn head(status: u16, head: &str) -> Self {
        Self::Answer { status, head: head.to_owned(), body: String::new(), after: Duration::ZERO }
    }

    /// Answers 200 with this JSON.
    pub fn json(body: &Value) -> Self {
        let head = "Content-Type: application/x-amz-json-1.1".to_owned();
        Self::Answer { status: 200, head, body: body.to_string(), after: Duration::ZERO }
    }

    /// Answers 204 after this time.
    pub fn after(after: Duration) -> Self {
        Self::Answer { status: 204, head: String::new(), body: String::new(), after }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Message {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Message {
    /// The message's id.
    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().expect("a text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The numbers of its changes.
    pub fn numbers(&self) -> Vec<u64> {
        let json = self.json();
        let changes = json["data"]["changes"].as_array().expect("changes");
        changes.iter().map(|change| change["seq"].as_u64().expect("a number")).collect()
    }

    /// Whether the library of the Standard Webhooks project accepts the message.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
        webhook.verify(&self.body, &self.headers).is_ok()
    }
}

type React = dyn Fn(&Message) -> Reaction + Send + Sync;

/// A receiver. It answers 204 unless there is another reaction.
#[derive(Clone)]
pub struct Receiver {
    /// Its URL.
    pub url: String,
    received: Arc<Mutex<Vec<Message>>>,
    next: Arc<Mutex<VecDeque<Reaction>>>,
    always: Arc<Mutex<Arc<React>>>,
    gate: Arc<Notify>,
}

impl Receiver {
    /// Starts a receiver. It lives as long as the runtime of the test.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let receiver = Self::at(format!("http://{}/hook", listener.local_addr().expect("an address")));
        let own = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        receiver
    }

    /// A receiver that serves connections which the test accepts itself.
    pub fn at(url: String) -> Self {
        let always: Arc<React> = Arc::new(|_: &Message| Reaction::status(204));
        let always = Arc::new(Mutex::new(always));
        Self { url, received: Arc::default(), next: Arc::default(), always, gate: Arc::default() }
    }

    /// Serves one request on a connection.
    pub async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Some(message) = read(&mut stream).await else { return };
        let next = self.next.lock().unwrap().pop_front();
        let reaction = next.unwrap_or_else(|| {
            let always = self.always.lock().unwrap().clone();
            always(&message)
        });
        self.received.lock().unwrap().push(message);
        let reaction = match reaction {
            Reaction::Held { status } => {
                self.gate.notified().await;
                Reaction::status(status)
            }
            reaction => reaction,
        };
        let Reaction::Answer { status, head, body, after } = reaction else { return };
        tokio::time::sleep(after).await;
        let head = if head.is_empty() { String::new() } else { format!("{head}\r\n") };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} X\r\n{head}Content-Length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    /// The reactions to the next requests.
    pub fn then(&self, reactions: impl IntoIterator<Item = Reaction>) {
        self.next.lock().unwrap().extend(reactions);
    }

    /// The reaction to all further requests.
    pub fn always(&self, react: impl Fn(&Message) -> Reaction + Send + Sync + 'static) {
        *self.always.lock().unwrap() = Arc::new(react);
    }

    /// Has the request that is held be answered.
    pub fn release(&self) {
        self.gate.notify_one();
    }

    /// What has come until now.
    pub fn received(&self) -> Vec<Message> {
        self.received.lock().unwrap().clone()
    }

    /// The numbers of all changes that have come, in this order.
    pub fn numbers(&self) -> Vec<u64> {
        self.received().iter().flat_map(Message::numbers).collect()
    }

    /// Waits until so many requests have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Message> {
        for _ in 0..1_000 {
            if self.received.lock().unwrap().len() >= count {
                return self.received();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        unreachable!("only {} requests have come", self.received().len())
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name: HeaderName = name.to_ascii_lowercase().parse().ok()?;
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Message { path, headers, body })
}
