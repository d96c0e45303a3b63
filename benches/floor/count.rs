//! Counts the instructions of an operation by callgrind. The load of the machine hardly changes them.
//!
//! A process prepares three turns, plays one to warm up, and then plays one or two more. Two such processes differ by the
//! instructions of one turn.

use std::process::{Command, Stdio};
use std::str::FromStr;

use tokio::runtime::Runtime;

use crate::operation::{Operation, REPEATS, Site};
use crate::{TableProcess, own_command};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The function.
    Function,
    /// The bare calls.
    Bare,
    /// The bare calls whose values are ready.
    Ready,
}

impl Side {
    /// What the command line calls it.
    const fn word(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Bare => "bare",
            Self::Ready => "ready",
        }
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = [Self::Function, Self::Bare, Self::Ready].into_iter().find(|side| side.word() == word);
        found.ok_or_else(|| format!("no side is called {word}"))
    }
}

/// The instructions of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Instructions {
    /// Those of the function.
    pub function: u64,
    /// Those of the bare calls.
    pub bare: u64,
    /// Those of the bare calls whose values are ready.
    pub ready: u64,
}

impl Instructions {
    /// Counts them. `None` if valgrind is not installed.
    pub fn of(operation: Operation) -> Option<Self> {
        let is_installed = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        is_installed.ok().filter(|status| status.success())?;
        let of_side = |side| (count(operation, side, 2) - count(operation, side, 1)) / REPEATS as u64;
        let (function, bare) = (of_side(Side::Function), of_side(Side::Bare));
        Some(Self { function, bare, ready: of_side(Side::Ready) })
    }
}

/// All instructions of a process that plays so many turns after the first one.
fn count(operation: Operation, side: Side, turns: usize) -> u64 {
    let table = TableProcess::start();
    let own = own_command(&["--count", &table.endpoint, operation.name(), side.word(), &turns.to_string()]);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(own.get_program()).args(own.get_args());
    valgrind.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let counted = valgrind.stdout(Stdio::null()).output().expect("valgrind");
    let said = String::from_utf8_lossy(&counted.stderr);
    assert!(counted.status.success(), "{said}");
    let total = said.split("Collected : ").nth(1).and_then(|rest| rest.split_whitespace().next());
    total.and_then(|total| total.parse().ok()).expect("the total of callgrind")
}

/// Plays so many turns after the first one: the work of the process that callgrind looks at.
pub fn play(runtime: &Runtime, endpoint: &str, (operation, side): (Operation, Side), turns: usize) {
    let mut site = runtime.block_on(Site::new(endpoint));
    match side {
        Side::Function => {
            let prepared: Vec<_> = (0..3).map(|_| runtime.block_on(site.events(operation))).collect();
            for event in prepared.iter().take(1 + turns).flatten() {
                runtime.block_on(site.answer(event));
            }
        }
        Side::Bare => {
            let prepared: Vec<_> = (0..3).map(|_| runtime.block_on(site.calls(operation))).collect();
            for call in prepared.iter().take(1 + turns).flatten() {
                runtime.block_on(call.make_and_send());
            }
        }
        Side::Ready => {
            let prepared: Vec<_> = (0..3).map(|_| runtime.block_on(site.calls(operation))).collect();
            for call in prepared.into_iter().take(1 + turns).flatten() {
                runtime.block_on(call.send());
            }
        }
    }
}
