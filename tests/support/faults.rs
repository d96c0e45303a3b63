//! What a network and a busy table do to requests: a proxy between the SDK and the embedded table.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// One call on its way to the table.
pub struct Call {
    /// Its number, from 1.
    pub number: usize,
    /// The operation: `TransactWriteItems`, …
    pub operation: String,
    /// The body.
    pub body: Value,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, and so does its answer.
    Pass,
    /// The connection breaks before it arrives.
    Lost,
    /// It arrives and takes effect; the connection breaks before the answer.
    Unanswered,
    /// It arrives and takes effect; the connection breaks at once, without waiting for that.
    Abandoned,
    /// The table is asked too much: nothing takes effect.
    Throttled,
    /// The table fails: nothing takes effect.
    Failed,
    /// The items of a transaction are more than 4 MB together: nothing takes effect.
    TooLarge,
    /// The caller may not do that: nothing takes effect.
    Denied,
    /// It takes effect, and the answer says that the caller may not do that.
    DoneButDenied,
    /// A write met a transaction: nothing takes effect. For reads as [`Fate::Throttled`].
    Conflict,
    /// A transaction was throttled: nothing takes effect. For other calls as [`Fate::Throttled`].
    ThrottledTransaction,
    /// Half of a batch takes effect. Other calls pass.
    Half,
    /// It waits, however long, until the test has it go on ([`Proxy::release`]), and passes then.
    /// One call at a time.
    Held,
}

type Decide = dyn FnMut(&Call) -> Fate + Send;

/// A proxy. Its clones are the same proxy.
#[derive(Clone)]
pub struct Proxy {
    /// Where it answers.
    pub endpoint: String,
    calls: Arc<AtomicUsize>,
    decide: Arc<Mutex<Box<Decide>>>,
    gate: Arc<Gate>,
    sizes: Arc<AtomicBool>,
}

/// The most bytes of the items of one transaction.
const TRANSACTION_LIMIT: usize = 4 * 1024 * 1024;

/// Where a call is held.
#[derive(Default)]
pub struct Gate {
    reached: Notify,
    open: Notify,
}

impl Gate {
    /// Has the call that is held go on.
    pub fn release(&self) {
        self.open.notify_one();
    }
}

impl Proxy {
    /// A proxy before this endpoint, that lets everything pass.
    pub async fn before(endpoint: &str) -> Self {
        let upstream = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let decide: Arc<Mutex<Box<Decide>>> = Arc::new(Mutex::new(Box::new(|_: &Call| Fate::Pass)));
        let proxy =
            Self { endpoint, calls: Arc::default(), decide, gate: Arc::default(), sizes: Arc::default() };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, upstream) = (serving.clone(), upstream.clone());
                // A connection that breaks is what this is about.
                tokio::spawn(async move {
                    let _ = serving.serve(stream, &upstream).await;
                });
            }
        });
        proxy
    }

    /// Decides from now on; the numbers of calls begin anew.
    pub fn decide(&self, decide: impl FnMut(&Call) -> Fate + Send + 'static) {
        self.calls.store(0, Ordering::SeqCst);
        *self.decide.lock().expect("a lock") = Box::new(decide);
    }

    /// From now on the 4 MB that the items of a transaction may have are kept, which the embedded
    /// table does not do: those that it writes, and those that it changes, as they are stored.
    pub fn enforce_sizes(&self) {
        self.sizes.store(true, Ordering::SeqCst);
    }

    /// Waits until a call is held.
    pub async fn held(&self) {
        self.gate.reached.notified().await;
    }

    /// Has the call that is held go on.
    pub fn release(&self) {
        self.gate.release();
    }

    /// Where calls are held.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// How many calls there were since.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A request or an answer.
pub struct Message {
    /// Its lines up to the empty one, which is included.
    pub head: String,
    /// What follows.
    pub body: Vec<u8>,
}

impl Message {
    /// The operation that a request asks for: `TransactWriteItems`, …
    pub fn operation(&self) -> String {
        let target = header(&self.head, "x-amz-target").unwrap_or_default();
        target.rsplit('.').next().unwrap_or_default().to_owned()
    }

    /// Whether the status of an answer is 200.
    pub fn is_success(&self) -> bool {
        self.head.split(' ').nth(1) == Some("200")
    }

    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }
}

/// Reads one message.
pub async fn read(stream: &mut BufReader<&mut TcpStream>) -> std::io::Result<Message> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Message { head, body })
}

/// A header in the head of a message.
pub fn header(head: &str, name: &str) -> Option<String> {
    let line = head
        .lines()
        .find(|line| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name)))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Proxy {
    /// Answers the calls of one connection.
    async fn serve(&self, mut stream: TcpStream, upstream: &str) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut table = TcpStream::connect(upstream).await?;
        table.set_nodelay(true)?;
        loop {
            let request = read(&mut BufReader::with_capacity(1 << 16, &mut stream)).await?;
            let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let call = Call { number, operation: request.operation(), body: request.json() };
            let mut fate = (self.decide.lock().expect("a lock"))(&call);
            if self.sizes.load(Ordering::SeqCst)
                && call.operation == "TransactWriteItems"
                && transaction_size(&mut table, &request.head, &call.body).await? > TRANSACTION_LIMIT
            {
                fate = Fate::TooLarge;
            }
            let answer = match fate {
                Fate::Lost => return Ok(()),
                Fate::Held => {
                    self.gate.reached.notify_one();
                    self.gate.open.notified().await;
                    forward(&mut table, &request.head, &request.body).await?.bytes()
                }
                Fate::Unanswered => {
                    forward(&mut table, &request.head, &request.body).await?;
                    return Ok(());
                }
                Fate::Abandoned => return abandon(table, &request).await,
                Fate::Half if call.operation.starts_with("Batch") => {
                    half(&mut table, &request.head, call.body).await?
                }
                Fate::Pass | Fate::Half => forward(&mut table, &request.head, &request.body).await?.bytes(),
                Fate::DoneButDenied => {
                    forward(&mut table, &request.head, &request.body).await?;
                    refusal(fate, &call)
                }
                _ => refusal(fate, &call),
            };
            stream.write_all(&answer).await?;
        }
    }
}

/// Sends a request whose answer meets nobody.
async fn abandon(mut table: TcpStream, request: &Message) -> std::io::Result<()> {
    table.write_all(request.head.as_bytes()).await?;
    table.write_all(&request.body).await?;
    tokio::spawn(async move {
        let _ = read(&mut BufReader::with_capacity(1 << 16, &mut table)).await;
    });
    Ok(())
}

/// The answer to a call that is refused.
fn refusal(fate: Fate, call: &Call) -> Vec<u8> {
    match fate {
        Fate::TooLarge => {
            let words = "The aggregate size of the items in the transaction exceeds 4 MB";
            error(400, "ValidationException", json!({ "message": words }))
        }
        Fate::Denied | Fate::DoneButDenied => error(400, "AccessDeniedException", json!({})),
        Fate::Failed => error(500, "InternalServerError", json!({})),
        Fate::Conflict | Fate::ThrottledTransaction if call.operation.starts_with("Transact") => {
            let code = if fate == Fate::Conflict { "TransactionConflict" } else { "ThrottlingError" };
            let count = call.body["TransactItems"].as_array().map_or(1, Vec::len);
            let is_first: Vec<bool> = (0..count).map(|at| at == 0).collect();
            transaction_cancelled(&is_first, code, "injected")
        }
        Fate::Conflict if ["PutItem", "BatchWriteItem"].contains(&call.operation.as_str()) => {
            error(400, "TransactionConflictException", json!({}))
        }
        _ => error(400, "ProvisionedThroughputExceededException", json!({})),
    }
}

/// Sends a request on; the answer.
pub async fn forward(table: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<Message> {
    table.write_all(head.as_bytes()).await?;
    table.write_all(body).await?;
    read(&mut BufReader::with_capacity(1 << 16, table)).await
}

/// The head of a message for another body of this length, and for another operation.
pub fn redirect(head: &str, operation: Option<&str>, length: usize) -> String {
    let mut lines = String::new();
    for line in head.lines().filter(|line| !line.is_empty()) {
        let name = line.split_once(':').map(|(name, _)| name.to_ascii_lowercase());
        match (name.as_deref(), operation) {
            // The checksum is that of the other body.
            (Some("content-length" | "x-amz-crc32"), _) => {}
            (Some("x-amz-target"), Some(operation)) => {
                lines.push_str(&format!("x-amz-target: DynamoDB_20120810.{operation}\r\n"));
            }
            _ => lines.push_str(&format!("{line}\r\n")),
        }
    }
    format!("{lines}content-length: {length}\r\n\r\n")
}

/// Does the first half of a batch, and hands the rest back as DynamoDB does.
async fn half(table: &mut TcpStream, head: &str, mut body: Value) -> std::io::Result<Vec<u8>> {
    let mut rest = body["RequestItems"].clone();
    let mut left = 0;
    for (now, later) in body["RequestItems"]
        .as_object_mut()
        .into_iter()
        .flatten()
        .zip(rest.as_object_mut().into_iter().flatten())
    {
        let (now, later) = match now.1 {
            Value::Array(_) => (now.1, later.1),
            _ => (&mut now.1["Keys"], &mut later.1["Keys"]),
        };
        if let (Value::Array(now), Value::Array(later)) = (now, later) {
            let middle = now.len().div_ceil(2);
            now.truncate(middle);
            later.drain(..middle);
            left += later.len();
        }
    }
    let body = body.to_string();
    let mut answered = forward(table, &redirect(head, None, body.len()), body.as_bytes()).await?.json();
    if left > 0 {
        let name = if answered.get("Responses").is_some() { "UnprocessedKeys" } else { "UnprocessedItems" };
        answered[name] = rest;
    }
    Ok(message(200, &answered))
}

/// A cancelled transaction: this is the reason at some of its places, and there is none at the others.
pub fn transaction_cancelled(is_reason: &[bool], code: &str, words: &str) -> Vec<u8> {
    let codes: Vec<&str> = is_reason.iter().map(|is_reason| if *is_reason { code } else { "None" }).collect();
    let reason = |found: &&str| match *found {
        "None" => json!({ "Code": "None" }),
        code => json!({ "Code": code, "Message": words }),
    };
    let reasons: Vec<Value> = codes.iter().map(reason).collect();
    let words = "Transaction cancelled, please refer cancellation reasons for specific reasons";
    let words = format!("{words} [{}]", codes.join(", "));
    let body = json!({ "Message": words, "CancellationReasons": reasons });
    error(400, "TransactionCanceledException", body)
}

/// An answer that says what went wrong.
pub fn error(status: u16, code: &str, mut body: Value) -> Vec<u8> {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    if body.get("message").is_none() && body.get("Message").is_none() {
        body["message"] = json!("injected");
    }
    message(status, &body)
}

/// How many bytes the items of a transaction have together.
async fn transaction_size(table: &mut TcpStream, head: &str, body: &Value) -> std::io::Result<usize> {
    let mut total = 0;
    for action in body["TransactItems"].as_array().into_iter().flatten() {
        let Some((verb, action)) = action.as_object().and_then(|action| action.iter().next()) else {
            continue;
        };
        total += match verb.as_str() {
            "Put" => item_size(&action["Item"]),
            _ => {
                item_size(&stored(table, head, action).await?)
                    + item_size(&action["ExpressionAttributeValues"])
            }
        };
    }
    Ok(total)
}

/// The item that an action is about, as it is stored.
async fn stored(table: &mut TcpStream, head: &str, action: &Value) -> std::io::Result<Value> {
    let get = json!({ "TableName": action["TableName"], "Key": action["Key"], "ConsistentRead": true });
    let get = get.to_string();
    let head = redirect(head, Some("GetItem"), get.len());
    let answered = forward(table, &head, get.as_bytes()).await?.json();
    Ok(answered["Item"].clone())
}

/// The bytes of an item's names and values, nearly as DynamoDB counts them.
fn item_size(item: &Value) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(all) => all.iter().map(of).sum(),
            // A type and a value, or the names and values of a map.
            Value::Object(all) => all.iter().map(|(name, value)| name.len() + of(value)).sum(),
            _ => 1,
        }
    }
    of(item)
}

/// An answer.
pub fn message(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
