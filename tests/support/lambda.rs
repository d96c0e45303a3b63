//! The real binaries of functions, and before each what Lambda is for it: a stand-in for the Runtime API.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};

use super::faults::header;

/// What the function sent in answer to an event.
pub struct Posted {
    /// The request's line and headers.
    pub head: String,
    /// The body, out of its chunks.
    pub body: Vec<u8>,
    /// In how many chunks it came; 0: in none, with its length before it.
    pub chunks: usize,
    /// When its first byte arrived.
    pub first: Instant,
}

/// A running function.
pub struct Lambda {
    process: Child,
    events: mpsc::UnboundedSender<Value>,
    posted: mpsc::UnboundedReceiver<Posted>,
    cut: Arc<AtomicUsize>,
}

impl Lambda {
    /// Starts the `scim` function on this table, with the variable that lets it stream, if there is a value.
    pub async fn start(table: &str, streaming: Option<&str>) -> Self {
        let streaming: Vec<(&str, &str)> =
            streaming.map(|value| ("ROLLCALL_RESPONSE_STREAMING", value)).into_iter().collect();
        Self::run(Path::new(env!("CARGO_BIN_EXE_scim")), table, &streaming).await
    }

    /// Starts the function of this program on this table, with these variables.
    pub async fn run(program: &Path, table: &str, variables: &[(&str, &str)]) -> Self {
        let of_table = [("AWS_ENDPOINT_URL_DYNAMODB", table), ("ROLLCALL_TABLE", super::TABLE)];
        Self::spawn(program, &[&of_table, variables].concat()).await
    }

    /// Starts the function of this program with these variables besides those of Lambda.
    pub async fn spawn(program: &Path, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (events, next) = mpsc::unbounded_channel();
        let (post, posted) = mpsc::unbounded_channel();
        let (next, cut) = (Arc::new(Mutex::new(next)), Arc::new(AtomicUsize::new(usize::MAX)));
        let limit = cut.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (next, post, limit) = (next.clone(), post.clone(), limit.clone());
                tokio::spawn(async move { serve(stream, &next, &post, &limit).await });
            }
        });
        let name = program.file_name().and_then(|name| name.to_str()).expect("a name");
        let mut function = Command::new(program);
        function.env_clear().stdout(Stdio::null()).stderr(Stdio::null()).envs([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("ROLLCALL_LOG", "warn"),
        ]);
        function.envs(variables.iter().copied());
        let process = function.spawn().expect("the function");
        Self { process, events, posted, cut }
    }

    /// Hands an event over and waits for the answer.
    pub async fn invoke(&mut self, event: Value) -> Posted {
        self.events.send(event).expect("the stand-in");
        self.posted.recv().await.expect("an answer")
    }

    /// Invokes the function, breaks the connection after `after` bytes of the answer, and waits for the process to
    /// end.
    pub async fn invoke_and_break(&mut self, event: Value, after: usize) -> ExitStatus {
        self.cut.store(after, Ordering::SeqCst);
        self.events.send(event).expect("the stand-in");
        loop {
            if let Some(status) = self.process.try_wait().expect("a process") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The most memory that the process has had so far, in KB (Linux).
    pub fn peak(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serve(
    stream: TcpStream,
    next: &Mutex<mpsc::UnboundedReceiver<Value>>,
    post: &mpsc::UnboundedSender<Posted>,
    cut: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        if head.starts_with("GET /2018-06-01/runtime/invocation/next ") {
            let Some(event) = next.lock().await.recv().await else { return Ok(()) };
            let event = event.to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: request-1\r\n\
                 lambda-runtime-deadline-ms: 4102444800000\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:scim\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
                event.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        stream.fill_buf().await?;
        let first = Instant::now();
        let (body, chunks) = body(&mut stream, &head, cut.load(Ordering::SeqCst)).await?;
        // The caller may have broken the connection.
        let _ = post.send(Posted { head, body, chunks, first });
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await?;
    }
}

/// Reads a body, whole or in chunks, but no more of it than `cut`.
async fn body(
    stream: &mut BufReader<TcpStream>,
    head: &str,
    cut: usize,
) -> std::io::Result<(Vec<u8>, usize)> {
    let (mut body, mut chunks) = (Vec::new(), 0);
    let length = header(head, "content-length").and_then(|length| length.parse().ok());
    loop {
        let size = match length {
            Some(length) => length,
            None => {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                usize::from_str_radix(line.trim(), 16).expect("the size of a chunk")
            }
        };
        let from = body.len();
        body.resize(cut.min(from + size), 0);
        stream.read_exact(&mut body[from..]).await?;
        if from + size > cut {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        if length.is_some() {
            return Ok((body, 0));
        }
        let mut end = String::new();
        stream.read_line(&mut end).await?; // of the chunk; of the whole, where it was the empty one
        assert_eq!(end, "\r\n", "a trailer");
        if size == 0 {
            return Ok((body, chunks));
        }
        chunks += 1;
    }
}
