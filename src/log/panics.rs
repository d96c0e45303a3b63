//! Panics. A panic is logged as its place in the code. Its text is not logged, because it may hold a value.
//!
//! The deployed functions abort after that line (`panic = "abort"` in Cargo.toml), and API Gateway answers 500
//! (`DEFAULT_5XX`).

use std::panic::PanicHookInfo;
use std::sync::Once;

use serde::Serialize;

use super::ids::RequestIds;
use super::line::LogLine;
use super::metrics::{LineMetrics, Metric};
use super::output;

/// Has panics logged from now on.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(write_line)));
}

fn write_line(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    output::write(&line(&place, output::stack(), output::function()));
}

/// The fields of the line.
#[derive(Serialize)]
struct PanicFields<'p> {
    panic: &'p str,
    #[serde(flatten)]
    metrics: Option<LineMetrics<'p>>,
}

fn line<'p>(place: &'p str, stack: Option<&'p str>, function: &'p str) -> LogLine<'p, PanicFields<'p>> {
    let of_panic = [(Metric::Panics, 1.0)];
    let metrics = stack.map(|stack| LineMetrics::new(stack).add(&[("Function", function)], &of_panic));
    LogLine::new("ERROR", "panic", RequestIds::current(), PanicFields { panic: place, metrics })
}
