//! Where lines go, and what the environment says about them.

use std::io::Write as _;
use std::sync::OnceLock;

use serde::Serialize;

use crate::config;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON on standard output: Lambda's log.
    Lambda,
    /// JSON on standard error.
    Json,
    /// For people, on standard error.
    Text,
}

/// Which metrics the lines of requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMetrics {
    /// Those of each request, and those that alarms need.
    All,
    /// Those that alarms need: changes that a rule of the tenant refused, and excused answers of 5xx.
    ForAlarms,
}

/// What the environment says about the log.
struct LogSettings {
    format: LogFormat,
    stack: Option<String>,
    request_metrics: RequestMetrics,
    function: String,
}

static SETTINGS: OnceLock<LogSettings> = OnceLock::new();

/// Chooses how lines are written. The first choice holds.
pub(super) fn init(format: LogFormat) {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
    let function = variable(config::FUNCTION_NAME).unwrap_or_else(|| "rollcall".to_owned());
    let request_metrics = match variable(config::REQUEST_METRICS).as_deref().map(str::trim) {
        Some("false") => RequestMetrics::ForAlarms,
        _ => RequestMetrics::All,
    };
    let _ = SETTINGS.set(LogSettings { format, stack: variable(config::STACK), request_metrics, function });
}

/// How lines are written, if they are.
pub fn format() -> Option<LogFormat> {
    SETTINGS.get().map(|settings| settings.format)
}

/// The name of the stack, if the lines carry metrics.
pub fn stack() -> Option<&'static str> {
    SETTINGS.get()?.stack.as_deref()
}

/// Which metrics the lines of requests carry, if they carry metrics.
pub fn request_metrics() -> RequestMetrics {
    SETTINGS.get().map_or(RequestMetrics::All, |settings| settings.request_metrics)
}

/// The name of the function, as Lambda knows it.
pub fn function() -> &'static str {
    SETTINGS.get().map_or("rollcall", |settings| &settings.function)
}

/// How many bytes the line of a request with its metrics has, and some more.
const USUAL_LENGTH: usize = 1024;

/// Writes a line as JSON, in one call of the system. A log that cannot be written is no reason to fail.
pub fn write(line: &impl Serialize) {
    let Some(format) = format() else { return };
    let mut text = Vec::with_capacity(USUAL_LENGTH);
    if serde_json::to_writer(&mut text, line).is_err() {
        return;
    }
    text.push(b'\n');
    match format {
        LogFormat::Lambda => drop(std::io::stdout().lock().write_all(&text)),
        LogFormat::Json | LogFormat::Text => drop(std::io::stderr().lock().write_all(&text)),
    }
}
