//! Measures the processor time of the function and of the bare calls, which take turns.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::operation::{Operation, REPEATS, Site};

/// How often the function and the bare calls take turns.
pub const TURNS: usize = 200;

/// The processor time of one operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Times {
    /// That of the function in microseconds: the median of the turns.
    pub function: f64,
    /// That of the bare calls.
    pub bare: Floor,
    /// That of the bare calls whose values are ready.
    pub ready: Floor,
}

/// What the function is compared with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Floor {
    /// Its processor time in microseconds: the median of the turns.
    pub time: f64,
    /// How many times as long the function takes: the median of the turns.
    pub ratio: f64,
    /// The least ratio and the greatest.
    pub spread: (f64, f64),
}

impl Floor {
    /// `functions` has the times of the function, in the same turns.
    fn of(times: &[f64], functions: &[f64]) -> Self {
        let ratios = sorted(functions.iter().zip(times).map(|(function, time)| function / time));
        let spread = (ratios[0], ratios[ratios.len() - 1]);
        Self { time: median(times), ratio: median(&ratios), spread }
    }
}

/// Lets the function and the bare calls take turns at each operation. The result has the order of [`Operation::ALL`].
pub async fn measure(endpoint: &str) -> Vec<Times> {
    let mut site = Site::new(endpoint).await;
    let mut times = Vec::new();
    for operation in Operation::ALL {
        times.push(measure_one(&mut site, operation).await);
    }
    times
}

async fn measure_one(site: &mut Site, operation: Operation) -> Times {
    let (mut functions, mut bares, mut readies) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn warms up.
    for turn in 0..=TURNS {
        let events = site.events(operation).await;
        let function = timed(async || {
            for event in &events {
                site.answer(event).await;
            }
        })
        .await;
        let calls = site.calls(operation).await;
        let bare = timed(async || {
            for call in &calls {
                call.make_and_send().await;
            }
        })
        .await;
        let calls = site.calls(operation).await;
        let ready = timed(async || {
            for call in calls {
                call.send().await;
            }
        })
        .await;
        if turn > 0 {
            functions.push(function);
            bares.push(bare);
            readies.push(ready);
        }
    }
    let (bare, ready) = (Floor::of(&bares, &functions), Floor::of(&readies, &functions));
    Times { function: median(&functions), bare, ready }
}

/// The processor time of one operation in microseconds, if all of a turn are done.
async fn timed(operations: impl AsyncFnOnce()) -> f64 {
    let began = processor_time();
    operations().await;
    (processor_time() - began).as_secs_f64() * 1e6 / REPEATS as f64
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    sorted(values.iter().copied())[values.len() / 2]
}

/// The processor time of this thread until now. Everything that is measured runs on this thread. `/proc/self/schedstat`
/// would be up to 4 ms late: Linux brings it up to date when the thread waits, or at a tick of its clock.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time")
}
