//! Prints a Markdown table: what an operation of the function costs, as a ratio to the same calls of DynamoDB made with
//! the SDK alone. The cost is processor time and, where valgrind is installed, instructions. With `--page FILE` the table
//! also replaces the part `floor` of that page.
//!
//! Several processes take part, so that only the function or the bare calls are measured:
//!
//! - this one, which starts the others and prints what they found,
//! - `--table`, which serves the embedded table,
//! - `--measure ENDPOINT`, which is the function, and makes the bare calls in turn with it,
//! - `--count ENDPOINT OPERATION SIDE TURNS`, which is the function or makes the bare calls, under callgrind.
//!
//! What the function logs goes nowhere, but it is written as in Lambda, with metrics.

mod bare;
#[path = "../../tests/support/client.rs"]
mod client;
mod count;
#[allow(dead_code)]
#[path = "../../tests/support/faults.rs"]
mod faults;
mod measure;
mod operation;
mod page;
mod record;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use count::Instructions;
use measure::{Floor, Times, measure};
use operation::Operation;
use page::{Machine, write_part};
use rollcall::config::STACK;
use rollcall::dev::embedded::Embedded;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};

/// The allocator of the function. The bare calls have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the table is called.
const TABLE: &str = "rollcall";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => println!("{}", report()),
        ["--page", file] => {
            let report = report();
            println!("{report}");
            if let Err(failed) = write_part(Path::new(file), "floor", &report) {
                eprintln!("{failed}");
                return ExitCode::FAILURE;
            }
        }
        ["--table"] => runtime.block_on(serve_table()),
        ["--measure", endpoint] => {
            rollcall::log::start_function();
            let times = runtime.block_on(measure(endpoint));
            eprintln!("{}", serde_json::to_string(&times).expect("JSON"));
        }
        ["--count", endpoint, operation, side, turns] => {
            rollcall::log::start_function();
            let operation = Operation::ALL.into_iter().find(|one| one.name() == operation);
            let what = (operation.expect("an operation"), side.parse().expect("a side"));
            count::play(&runtime, endpoint, what, turns.parse().expect("a number"));
        }
        _ => {
            eprintln!("usage: floor [--page FILE]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Runs the other processes. Returns what they found, as Markdown.
fn report() -> String {
    let machine = Machine::before_measuring();
    let times = measured();
    let counted: Vec<Option<Instructions>> = Operation::ALL.into_iter().map(Instructions::of).collect();
    let mut text = format!("{}\n\n", machine.description());
    text.push_str("| operation | function | bare calls | ratio | least and most | values ready | ratio | least and most |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (operation, Times { function, bare, ready }) in Operation::ALL.iter().zip(times) {
        let _ = write!(text, "| {} | {function:.0} µs |", operation.name());
        for Floor { time, ratio, spread: (least, most) } in [bare, ready] {
            let _ = write!(text, " {time:.0} µs | {ratio:.2} | {least:.2} to {most:.2} |");
        }
        text.push('\n');
    }
    if counted.iter().any(Option::is_none) {
        text.push_str("\nInstructions were not counted: valgrind is not installed.\n");
        return text;
    }
    text.push_str(
        "\n| instructions of an operation | function | bare calls | ratio | values ready | ratio |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for (operation, Instructions { function, bare, ready }) in
        Operation::ALL.iter().zip(counted.into_iter().flatten())
    {
        let _ = write!(text, "| {} | {} |", operation.name(), thousands(function));
        for floor in [bare, ready] {
            let ratio = function as f64 / floor as f64;
            let _ = write!(text, " {} | {ratio:.2} |", thousands(floor));
        }
        text.push('\n');
    }
    text
}

/// A number of thousands: `1,434,000`.
fn thousands(number: u64) -> String {
    let thousands = (number + 500) / 1_000;
    match thousands {
        ..1_000 => format!("{thousands},000"),
        _ => format!("{},{:03},000", thousands / 1_000, thousands % 1_000),
    }
}

/// Lets the function and the bare calls take turns in a process of their own.
fn measured() -> Vec<Times> {
    let table = TableProcess::start();
    let mut own = own_command(&["--measure", &table.endpoint]);
    let found = own.stdout(Stdio::null()).output().expect("a process");
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{said}");
    serde_json::from_str(&said).expect("times")
}

/// A process that serves an empty table as long as this value lives.
struct TableProcess {
    process: Child,
    endpoint: String,
}

impl TableProcess {
    fn start() -> Self {
        let mut own = own_command(&["--table"]);
        let mut process = own.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let mut endpoint = String::new();
        let said = process.stdout.take().expect("its output");
        BufReader::new(said).read_line(&mut endpoint).expect("an endpoint");
        Self { process, endpoint: endpoint.trim().to_owned() }
    }
}

impl Drop for TableProcess {
    fn drop(&mut self) {
        // The end of its input ends the process.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// This program with other words. Its log lines carry metrics, as in Lambda.
fn own_command(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(words).env(STACK, "rollcall");
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
