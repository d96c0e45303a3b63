//! Panics. A panic is logged as its place in the code. Its text is not logged, because it may hold a value.
//!
//! The deployed functions abort after that line (`panic = "abort"` in Cargo.toml), and API Gateway answers 502.

use std::panic::PanicHookInfo;
use std::sync::Once;

use serde_json::{Value, json};

use super::ids::RequestIds;
use super::metrics::{LineMetrics, Metric};
use super::output;
use crate::clock;

/// Has panics logged from now on.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(write_line)));
}

fn write_line(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    output::write(&line(&place, output::stack(), output::function()));
}

fn line(place: &str, stack: Option<&str>, function: &str) -> Value {
    let (timestamp, level) = (clock::timestamp(), "ERROR");
    let mut line = json!({ "timestamp": timestamp, "level": level, "message": "panic", "panic": place });
    RequestIds::current().add_to(&mut line);
    if let Some(stack) = stack {
        let metrics = LineMetrics::new(stack);
        metrics.add(&[("Function", function)], &[(Metric::Panics, 1.0)]).add_to(&mut line);
    }
    line
}
