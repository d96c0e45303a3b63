//! The log: every line is one JSON object, with a timestamp, a level and the ids of the request.
//!
//! - `line` has what every line has.
//! - `lines` writes what the code logs with `tracing`.
//! - `http/log.rs` writes the line of a request.
//! - `panics` writes the line of a panic.
//! - `metrics` adds CloudWatch metrics to a line.
//! - `readable` writes what a client sent on the one line for people, in `rollcall dev`.
//!
//! No line holds a key, a body, an attribute value or a filter. The lines for people are an exception: they hold the
//! query and the `detail` of a request. Deployed functions do not write them.

pub mod ids;
pub mod line;
pub mod lines;
pub mod metrics;
mod output;
pub mod panics;
pub mod readable;

pub use self::output::{LogFormat, RequestMetrics, format, function, request_metrics, stack, write};
use crate::config;

/// Starts the log of a deployed function.
pub fn start_function() {
    init(LogFormat::Lambda);
    lines::start(std::io::stdout, config::log_filter());
}

/// Chooses how lines are written, and has panics logged. The first choice holds. Without one no line is written.
pub fn init(format: LogFormat) {
    output::init(format);
    panics::install();
}
