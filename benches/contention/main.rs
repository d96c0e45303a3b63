//! Prints a Markdown table of how fast one client, and 16 clients, add members to one group.
//!
//! The 16 clients share one function, or each has a function of its own, as in Lambda. They add members to a table that
//! shows a transaction at once, and to one that shows it within milliseconds and refuses what meets it
//! (`tests/support/torn.rs`), as AWS does. The cases take turns, so that other work of the machine slows all of them
//! down alike. The median of the rounds counts.

#[path = "../../tests/support/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../../tests/support/faults.rs"]
mod faults;
#[allow(dead_code)]
#[path = "../../tests/support/torn.rs"]
mod torn;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use client::Client;
use rollcall::dev::embedded::Embedded;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::scim::policy::STANDARD;
use rollcall::store::call::Table;
use serde_json::json;
use tokio::task::JoinSet;
use torn::{Tearing, Torn};

const USAGE: &str = "usage: contention [--members N] [--rounds N]
  --members N  members that are added in one round of one case, 16 or more (default 320)
  --rounds N   rounds (default 9)";

/// How many clients there are at once.
const CLIENTS: usize = 16;

/// Who adds the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writers {
    One,
    OfOneFunction,
    OfTheirOwnFunctions,
}

impl Writers {
    const ALL: [Self; 3] = [Self::One, Self::OfOneFunction, Self::OfTheirOwnFunctions];

    const fn name(self) -> &'static str {
        match self {
            Self::One => "1 client",
            Self::OfOneFunction => "16 clients of one function",
            Self::OfTheirOwnFunctions => "16 clients, each with a function",
        }
    }
}

/// What one case took in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Members that were added in a second.
    rate: f64,
    /// Calls to the table for each member.
    calls: f64,
    /// The time that 99 of 100 requests did not exceed, in milliseconds.
    p99_ms: f64,
    /// Requests that were answered 409, and sent again.
    refused: usize,
}

/// A table, and users of one tenant to add.
struct Site {
    name: &'static str,
    functions: Vec<Client>,
    users: Vec<String>,
    samples: [Vec<Sample>; Writers::ALL.len()],
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some((members, rounds)) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut sites = [Site::new(false, members).await, Site::new(true, members).await];
    for round in 0..=rounds {
        for site in &mut sites {
            for (at, writers) in Writers::ALL.into_iter().enumerate() {
                let sample = site.add_all(writers).await;
                // The first round warms up.
                if round > 0 {
                    site.samples[at].push(sample);
                }
            }
        }
    }
    println!(
        "| table | members are added by | members a second | of one client's | calls for each | p99 | answered 409 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for site in &sites {
        site.print();
    }
    ExitCode::SUCCESS
}

fn options() -> Option<(usize, usize)> {
    let (mut members, mut rounds) = (320, 9);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let number: usize = words.next()?.parse().ok()?;
        match word.as_str() {
            "--members" if number >= CLIENTS => members = number,
            "--rounds" if number > 0 => rounds = number,
            _ => return None,
        }
    }
    Some((members, rounds))
}

impl Site {
    async fn new(is_torn: bool, members: usize) -> Self {
        let mut embedded = Embedded::start(None, 0).await.expect("a table");
        let layer = Torn::before(&embedded.endpoint).await;
        embedded.client = connect(&layer.endpoint);
        let table = Table::new(embedded.client.clone(), "rollcall");
        let facts = TemplateFacts::parse(TEMPLATE).expect("the template").table;
        embedded.ensure_table("rollcall", &facts).await.expect("a table");
        // Its server ends with its handle.
        std::mem::forget(embedded);
        let mut functions = Vec::new();
        for _ in 0..CLIENTS {
            functions.push(Client::new(table.fresh(), STANDARD.name).await);
        }
        let users = functions[0].users(0..members).await;
        if is_torn {
            layer.tear(Tearing::short(1)).await;
        }
        let name = if is_torn { "refuses what meets a transaction" } else { "shows a transaction at once" };
        Self { name, functions, users, samples: Default::default() }
    }

    /// Adds all users to a new group, one with each request.
    async fn add_all(&self, writers: Writers) -> Sample {
        let first = &self.functions[0];
        let group = first.group("Team", &[]).await;
        let path: Arc<str> = format!("/Groups/{group}?excludedAttributes=members").into();
        let clients = if writers == Writers::One { 1 } else { CLIENTS };
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for (at, some) in self.users.chunks(self.users.len().div_ceil(clients)).enumerate() {
            let function = if writers == Writers::OfTheirOwnFunctions { at } else { 0 };
            let (client, path, some) = (self.functions[function].clone(), path.clone(), some.to_vec());
            tasks.spawn(async move { add_some(&client, &path, &some).await });
        }
        let (mut times, mut calls, mut refused) = (Vec::new(), 0, 0);
        for (some, of_some, lost) in tasks.join_all().await {
            times.extend(some);
            calls += of_some;
            refused += lost;
        }
        let rate = self.users.len() as f64 / began.elapsed().as_secs_f64();
        first.delete(&format!("/Groups/{group}")).await.expect(204);
        times.sort_by(f64::total_cmp);
        let p99_ms = times[times.len() * 99 / 100] * 1_000.0;
        Sample { rate, calls: f64::from(calls) / self.users.len() as f64, p99_ms, refused }
    }

    fn print(&self) {
        let median = |samples: &[Sample], of: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        for (at, writers) in Writers::ALL.into_iter().enumerate() {
            let samples = &self.samples[at];
            let rate = median(samples, |sample| sample.rate);
            let ratios: Vec<Sample> = samples
                .iter()
                .zip(&self.samples[0])
                .map(|(many, one)| Sample { rate: many.rate / one.rate, ..*many })
                .collect();
            println!(
                "| {} | {} | {rate:.0} | {:.2} | {:.2} | {:.0} ms | {} |",
                self.name,
                writers.name(),
                median(&ratios, |sample| sample.rate),
                median(samples, |sample| sample.calls),
                median(samples, |sample| sample.p99_ms),
                samples.iter().map(|sample| sample.refused).sum::<usize>(),
            );
        }
    }
}

/// A client as the function has it.
fn connect(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
        .endpoint_url(endpoint);
    aws_sdk_dynamodb::Client::from_conf(rollcall::sdk::lean(config).build())
}

/// Adds users one by one. Returns how long each request took, the calls to the table, and how often a request was
/// answered 409.
async fn add_some(client: &Client, path: &str, users: &[String]) -> (Vec<f64>, u32, usize) {
    let (mut times, mut calls, mut refused) = (Vec::new(), 0, 0);
    for user in users {
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": user }] }]);
        let began = Instant::now();
        loop {
            let reply = client.patch(path, add.clone()).await;
            calls += reply.line.usage.calls;
            match reply.status {
                409 => refused += 1,
                _ => {
                    reply.expect(200);
                    break;
                }
            }
        }
        times.push(began.elapsed().as_secs_f64());
    }
    (times, calls, refused)
}
