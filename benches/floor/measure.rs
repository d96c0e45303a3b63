//! Measures the processor time of the function and of the bare calls, which take turns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::operation::{Operation, Site};

/// How often the function and the bare calls take turns.
pub const PAIRS: usize = 30;

/// The processor time of one operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Times {
    /// That of the function in microseconds: the median of the pairs.
    pub function: f64,
    /// That of the bare calls.
    pub bare: f64,
    /// The median of the ratios of the pairs.
    pub ratio: f64,
    /// The least ratio and the greatest.
    pub spread: (f64, f64),
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
    let spread = (ratios[0], ratios[ratios.len() - 1]);
    Times { function: median(&functions), bare: median(&bares), ratio: median(&ratios), spread }
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
