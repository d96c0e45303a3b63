//! Prints a Markdown table: the processor time that the function takes for an operation, as a ratio to that of the
//! same calls of DynamoDB made with the SDK alone.
//!
//! Three processes take part, so that only the function or the bare calls are measured:
//!
//! - this one, which starts the others and prints what they found,
//! - `--table`, which serves the embedded table,
//! - `--measure ENDPOINT`, which is the function, and makes the bare calls in turn with it. What it logs goes nowhere,
//!   but it is written as in Lambda.

mod bare;
#[path = "../../tests/support/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../../tests/support/faults.rs"]
mod faults;
mod operation;
mod record;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use operation::{Operation, Site};
use rollcall::dev::embedded::Embedded;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};

/// The allocator of the function. The bare calls have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the function and the bare calls take turns.
const PAIRS: usize = 30;
/// What the table is called.
const TABLE: &str = "rollcall";

/// What was found of one operation.
struct Row {
    operation: Operation,
    /// Processor time of one operation of the function, in microseconds: the median of the pairs.
    function: f64,
    /// The same of the bare calls.
    bare: f64,
    /// The ratio of each pair, in order.
    ratios: Vec<f64>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => start(),
        ["--table"] => runtime.block_on(serve_table()),
        ["--measure", endpoint] => runtime.block_on(measure(endpoint)),
        _ => {
            eprintln!("usage: floor");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Runs the two other processes, and prints the table.
fn start() {
    let mut table =
        this_program(&["--table"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
    let mut endpoint = String::new();
    let said = table.stdout.take().expect("its output");
    BufReader::new(said).read_line(&mut endpoint).expect("an endpoint");
    let measuring =
        this_program(&["--measure", endpoint.trim()]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut measuring: Child = measuring.expect("a process");
    let mut found = String::new();
    measuring.stderr.take().expect("its output").read_to_string(&mut found).expect("a table");
    let status = measuring.wait().expect("its end");
    // The end of its input ends the process.
    drop(table.stdin.take());
    table.wait().expect("its end");
    assert!(status.success(), "{found}");
    println!("{found}");
}

fn this_program(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(words);
    command
}

/// Serves a table until the input ends.
async fn serve_table() {
    let embedded = Embedded::start(None, 0).await.expect("a table");
    let facts = TemplateFacts::parse(TEMPLATE).expect("the template").table;
    embedded.ensure_table(TABLE, &facts).await.expect("a table");
    println!("{}", embedded.endpoint);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .expect("a task")
        .expect("an end");
}

/// Lets the function and the bare calls take turns at each operation. Prints the table.
async fn measure(endpoint: &str) {
    rollcall::log::start_function();
    let mut site = Site::new(endpoint).await;
    let mut rows = Vec::new();
    for operation in Operation::ALL {
        rows.push(measure_one(&mut site, operation).await);
    }
    eprintln!("| operation | function | bare calls | ratio | least and most |");
    eprintln!("| --- | --- | --- | --- | --- |");
    for Row { operation, function, bare, ratios } in rows {
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let (name, ratio) = (operation.name(), median(&ratios));
        eprintln!("| {name} | {function:.0} µs | {bare:.0} µs | {ratio:.2} | {least:.2} to {most:.2} |");
    }
}

async fn measure_one(site: &mut Site, operation: Operation) -> Row {
    let (mut functions, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first pair warms up.
    for pair in 0..=PAIRS {
        let events = site.events(operation).await;
        let calls = site.calls(operation).await;
        let count = events.len() as f64;
        let began = processor_time();
        for event in events {
            site.answer(&event).await;
        }
        let function = (processor_time() - began).as_secs_f64() * 1e6 / count;
        let began = processor_time();
        for call in calls {
            call.send().await;
        }
        let bare = (processor_time() - began).as_secs_f64() * 1e6 / count;
        if pair > 0 {
            functions.push(function);
            bares.push(bare);
            ratios.push(function / bare);
        }
    }
    for all in [&mut functions, &mut bares, &mut ratios] {
        all.sort_by(f64::total_cmp);
    }
    Row { operation, function: median(&functions), bare: median(&bares), ratios }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// The processor time of this thread until now, as Linux counts it. Everything that is measured runs on this thread.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanoseconds = told.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("nanoseconds"))
}
