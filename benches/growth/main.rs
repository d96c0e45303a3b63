//! Prints a Markdown table of what each operation costs on tenants of growing size, and of its time as a ratio to
//! the smallest tenant.
//!
//! Each tenant has a table of its own. The tenants take turns at every operation, so that other work of the machine
//! slows all of them down alike. The median counts.

#[path = "../../tests/support/client.rs"]
mod client;
mod operation;
mod plot;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use client::{Client, TENANT};
use operation::{Operation, Site};
use rollcall::config::EmailLookups;
use rollcall::dev::embedded::Embedded;
use rollcall::dev::seed::target::SeedTarget;
use rollcall::dev::seed::{Size, seed};
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::scim::policy::STANDARD;
use rollcall::store::call::Table;
use rollcall::store::meter::Usage;

const USAGE: &str = "usage: rollcall-growth [--users N] [--rounds N] [--plot FILE]
  --users N    users of the largest tenant, 100000 or more (default 100000; 1000000 takes 2.5 GB and 20 minutes)
  --rounds N   how often each operation is done on each tenant (default 100)
  --plot FILE  write the ratios as an SVG";

/// An operation that grows is done so much more seldom.
const SELDOM: usize = 20;

/// What one operation cost on one tenant.
pub struct Found {
    /// Users, or members.
    pub size: usize,
    /// Rounds and units.
    pub usage: Usage,
    /// The median; infinite where it was answered `tooMany`.
    pub seconds: f64,
}

/// What one operation cost on all of them, by size.
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// What it cost on each tenant.
    pub found: Vec<Found>,
}

struct Options {
    users: usize,
    rounds: usize,
    plot: Option<PathBuf>,
}

fn options() -> Option<Options> {
    let mut options = Options { users: 100_000, rounds: 100, plot: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        // What cargo tells every benchmark.
        if word == "--bench" {
            continue;
        }
        let value = words.next()?;
        match word.as_str() {
            "--users" => options.users = value.parse().ok().filter(|users| *users >= 100_000)?,
            "--rounds" => options.rounds = value.parse().ok().filter(|rounds| *rounds > 0)?,
            "--plot" => options.plot = Some(value.into()),
            _ => return None,
        }
    }
    Some(options)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut sites = Vec::new();
    for (users, members) in [(1_000, 10), (10_000, 1_000), (100_000, 10_000), (options.users, 100_000)] {
        eprintln!("seeding {users} users, a group of {members}");
        sites.push(site(users, members).await);
    }
    let rows = measure(&mut sites, options.rounds).await;
    println!("{}", table::markdown(&rows));
    if let Some(path) = options.plot
        && let Err(error) = std::fs::write(&path, plot::svg(&rows))
    {
        eprintln!("error: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A tenant in a table of its own, which lives as long as the process.
async fn site(users: usize, members: usize) -> Site {
    let embedded = Embedded::start(None, 0).await.expect("a table");
    let facts = TemplateFacts::parse(TEMPLATE).expect("the template").table;
    embedded.ensure_table("rollcall", &facts).await.expect("a table");
    let mut table = Table::new(embedded.client.clone(), "rollcall");
    table.email_lookups = EmailLookups::Unclaimed;
    let loader = embedded.loader("rollcall");
    // Its server ends with its handle.
    std::mem::forget(embedded);
    let tenant = TENANT.parse().expect("a tenant");
    let target = SeedTarget { table: &table, loader: Some(&loader) };
    seed(&target, &tenant, &STANDARD, Size { users, members }, |_| {}).await.expect("a seed");
    Site::new(Client::new(table, STANDARD.name).await, users, members)
}

async fn measure(sites: &mut [Site], rounds: usize) -> Vec<Row> {
    let mut taken: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); sites.len()]; Operation::ALL.len()];
    let mut usage = vec![vec![Usage::default(); sites.len()]; Operation::ALL.len()];
    for round in 0..=rounds {
        for (row, operation) in Operation::ALL.into_iter().enumerate() {
            if operation.grows() && round % SELDOM != 0 {
                continue;
            }
            // Another tenant begins each time, so that none always follows the largest.
            for turn in 0..sites.len() {
                let at = (turn + round) % sites.len();
                let sample = sites[at].run(operation).await;
                // The first round warms up.
                if round > 0 || operation.grows() {
                    taken[row][at].push(if sample.refused { f64::INFINITY } else { sample.seconds });
                }
                // A call beside another one counts as a round of its own where the other was done before it began.
                let least = &mut usage[row][at];
                if least.calls == 0 || sample.usage.rounds <= least.rounds {
                    *least = sample.usage;
                }
            }
        }
    }
    let mut rows = Vec::new();
    for (row, operation) in Operation::ALL.into_iter().enumerate() {
        let mut found: Vec<Found> = Vec::new();
        for (at, site) in sites.iter().enumerate() {
            let size = site.size(operation.axis());
            if found.iter().all(|other| other.size != size) {
                found.push(Found { size, usage: usage[row][at], seconds: median(&mut taken[row][at]) });
            }
        }
        rows.push(Row { operation, found });
    }
    rows
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
