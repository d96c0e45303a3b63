//! A stand-in for Lambda's Runtime API that notes when a function asks and when it answers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How often an event is handed to one process. The first is that of the cold start.
const EVENTS: usize = 6;
/// How long an event waits after the answer to the one before, so that the function has processor time again.
const PAUSE: Duration = Duration::from_millis(120);

/// What a process had taken at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The moment.
    pub at: Instant,
    /// The processor time of the process until then.
    pub processor: Duration,
}

impl Moment {
    /// This moment in the process of this id.
    pub fn of_process(process: u32) -> Self {
        let at = Instant::now();
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        // The first number is the time on a processor, in nanoseconds. A thread may have ended.
        let times = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Self { at, processor: Duration::from_nanos(times.sum()) }
    }
}

/// When one process asked and answered.
#[derive(Debug)]
pub struct Seen {
    /// When it asked for its first event.
    pub first_poll: Moment,
    /// When it had answered its first event.
    pub first_answer: Moment,
    /// How long it took for each further event.
    pub warm: Vec<Duration>,
    /// The first answer.
    pub answer: String,
}

/// The Runtime API of one process.
pub struct RuntimeApi {
    /// Where it answers.
    pub address: String,
    watch: Shared,
    served: JoinHandle<()>,
    seen: oneshot::Receiver<Seen>,
}

struct Watch {
    event: String,
    process: u32,
    first: Vec<Moment>,
    /// When each event was handed over.
    handed: Vec<Instant>,
    /// When each answer came.
    answered: Vec<Instant>,
    answer: String,
    done: Option<oneshot::Sender<Seen>>,
}

type Shared = Arc<Mutex<Watch>>;

impl RuntimeApi {
    /// Starts one that hands over this event, as often as it is asked to.
    pub async fn start(event: &str) -> Self {
        let (done, seen) = oneshot::channel();
        let watch = Watch {
            event: event.to_owned(),
            process: 0,
            first: Vec::new(),
            handed: Vec::new(),
            answered: Vec::new(),
            answer: String::new(),
            done: Some(done),
        };
        let watch = Arc::new(Mutex::new(watch));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_event))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(take_answer))
            .route("/2018-06-01/runtime/init/error", post(take_answer))
            .with_state(Arc::clone(&watch));
        let served = tokio::spawn(async move { axum::serve(listener, routes).await.expect("a server") });
        Self { address, watch, served, seen }
    }

    /// Names the process whose processor time counts.
    pub fn watch(&self, process: u32) {
        self.watch.lock().expect("a lock").process = process;
    }

    /// Waits until the process has answered all events.
    pub async fn seen(self) -> Seen {
        let seen = tokio::time::timeout(Duration::from_secs(30), self.seen).await;
        self.served.abort();
        seen.expect("the function answers within 30 seconds").expect("a stand-in")
    }
}

async fn next_event(State(watch): State<Shared>) -> impl IntoResponse {
    let before = {
        let mut watch = watch.lock().expect("a lock");
        if watch.handed.is_empty() {
            let asked = Moment::of_process(watch.process);
            watch.first.push(asked);
        }
        watch.handed.len()
    };
    match before {
        0 => {}
        EVENTS => std::future::pending().await,
        _ => tokio::time::sleep(PAUSE).await,
    }
    let mut watch = watch.lock().expect("a lock");
    watch.handed.push(Instant::now());
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{before}")),
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:cold".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, watch.event.clone())
}

async fn take_answer(State(watch): State<Shared>, body: Bytes) -> StatusCode {
    let now = Instant::now();
    let mut watch = watch.lock().expect("a lock");
    if watch.answered.is_empty() {
        let answered = Moment::of_process(watch.process);
        watch.first.push(answered);
        watch.answer = String::from_utf8_lossy(&body).into_owned();
    }
    watch.answered.push(now);
    if watch.answered.len() == EVENTS {
        let warm = watch.handed.iter().zip(&watch.answered).skip(1);
        let seen = Seen {
            first_poll: watch.first[0],
            first_answer: watch.first[1],
            warm: warm.map(|(handed, answered)| answered.duration_since(*handed)).collect(),
            answer: std::mem::take(&mut watch.answer),
        };
        // The receiver may have given up.
        let _ = watch.done.take().expect("one last answer").send(seen);
    }
    StatusCode::ACCEPTED
}
