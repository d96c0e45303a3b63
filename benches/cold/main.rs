//! Prints Markdown tables: how long a new process of each function takes until it asks for its first event and until it
//! has answered one, as ratios to a bare function with one client of DynamoDB.
//!
//! - `runtime_api` stands in for Lambda, `table` for DynamoDB behind TLS. Both answer at once: what is measured is the
//!   time of the processor, not that of a network.
//! - `share` gives a process the share of a processor that Lambda gives with its memory.
//! - The functions take turns, so that other work of the machine slows all of them down alike.

#[path = "../../tests/support/client.rs"]
mod client;
mod function;
mod runtime_api;
mod share;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use function::{BuiltFunction, Times};
use share::ProcessorShare;
use table::TlsTable;

const USAGE: &str = "usage: cold FOLDER [--runs N] [--memory MB,MB…]
  FOLDER       has bare_function/bootstrap, NAME/bootstrap of functions, and NAME-VARIANT/bootstrap of others to compare
  --runs N     runs of each function and share (default 30)
  --memory MB  memory whose processor share is imposed (default 256,512,1769)";

struct Options {
    folder: PathBuf,
    runs: usize,
    memory: Vec<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let Some(options) = Options::read(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match measure(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { folder: words.next()?.into(), runs: 30, memory: vec![256, 512, 1769] };
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--runs" => options.runs = value.parse().ok().filter(|runs| *runs > 0)?,
                "--memory" => {
                    options.memory = value.split(',').map(|one| one.parse().ok()).collect::<Option<_>>()?;
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

async fn measure(options: &Options) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("rollcall-cold-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let table = TlsTable::start(&folder).await;
    let functions = BuiltFunction::all(&options.folder, &table)?;
    match ProcessorShare::put_this_process_first() {
        Ok(_first) => {
            for megabytes in &options.memory {
                let share = ProcessorShare::of_memory(*megabytes).map_err(|error| error.to_string())?;
                println!("\nThe processor share of {megabytes} MB:\n");
                print(&functions, &runs(&functions, &table, Some(&share), options.runs).await);
            }
        }
        Err(error) => {
            println!("\nA whole processor, because no share can be imposed here ({error}):\n");
            print(&functions, &runs(&functions, &table, None, options.runs).await);
        }
    }
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// The times of each function.
async fn runs(
    functions: &[BuiltFunction],
    table: &TlsTable,
    share: Option<&ProcessorShare>,
    count: usize,
) -> Vec<Vec<Times>> {
    let mut times: Vec<Vec<Times>> = functions.iter().map(|_| Vec::new()).collect();
    // The first run of each brings its binary into memory.
    for run in 0..=count {
        for (function, times) in functions.iter().zip(&mut times) {
            let found = function.run(table, share).await;
            if run > 0 {
                times.push(found);
            }
        }
    }
    times
}

fn print(functions: &[BuiltFunction], times: &[Vec<Times>]) {
    println!(
        "| function | size | to first poll | worst | ratio | processor | ratio | to first answer | worst | ratio | processor | ratio | warm |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let bare = PARTS.map(|part| median_and_worst(&times[0], part).0);
    for (function, times) in functions.iter().zip(times) {
        let size = function.size() as f64 / 1e6;
        let mut row = format!("| `{}` | {size:.1} MB |", function.name);
        for (at, (part, bare)) in PARTS.into_iter().zip(bare).enumerate() {
            let (median, worst) = median_and_worst(times, part);
            row.push_str(&match at {
                0 | 2 => format!(" {median:.1} ms | {worst:.1} ms | {:.2} |", median / bare),
                1 | 3 => format!(" {median:.1} ms | {:.2} |", median / bare),
                _ => format!(" {median:.2} ms |"),
            });
        }
        println!("{row}");
    }
}

/// The columns: times, and the processor time of each.
const PARTS: [fn(&Times) -> Duration; 5] = [
    |one| one.first_poll,
    |one| one.first_poll_processor,
    |one| one.first_answer,
    |one| one.first_answer_processor,
    |one| one.warm,
];

/// The median and the most of one part, in milliseconds.
fn median_and_worst(times: &[Times], part: fn(&Times) -> Duration) -> (f64, f64) {
    let mut all: Vec<f64> = times.iter().map(|one| part(one).as_secs_f64() * 1e3).collect();
    all.sort_by(f64::total_cmp);
    (all[all.len() / 2], all[all.len() - 1])
}
