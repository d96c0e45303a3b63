//! One structured line a request: who asked for what, how it ended and what it cost. Never key
//! material, bodies or attribute values.

use std::io::Write as _;
use std::sync::OnceLock;

use serde_json::json;

use crate::store::meter::Usage;

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

static FORM: OnceLock<LogFormat> = OnceLock::new();

/// Chooses how lines are written; the first choice holds. Without one none is written.
pub fn init(form: LogFormat) {
    let _ = FORM.set(form);
}

/// The fields of the log line of a request.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// API Gateway's id of the request, which the answer carries as `x-amzn-RequestId`.
    pub request_id: String,
    /// The id that the caller gave in the query parameter `id`.
    pub trace_id: Option<String>,
    /// The address that the request came from, as API Gateway saw it.
    pub source_ip: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The bearer key's id.
    pub key_id: Option<String>,
    /// The operation's name, or `none` where no route was found.
    pub operation: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Of an error.
    pub scim_type: Option<&'static str>,
    /// What the table said, where it failed.
    pub source: Option<String>,
    /// From the event's arrival to the answer.
    pub duration_ms: f64,
    /// The cost.
    pub usage: Usage,
}

impl Line {
    /// The line as JSON.
    pub fn json(&self) -> serde_json::Value {
        let level = if self.status >= 500 { "ERROR" } else { "INFO" };
        let mut line = json!({
            "level": level,
            "message": "request",
            "request_id": self.request_id,
            "source_ip": self.source_ip,
            "tenant": self.tenant,
            "key_id": self.key_id,
            "operation": self.operation,
            "status": self.status,
            "scimType": self.scim_type,
            "duration_ms": (self.duration_ms * 1000.0).round() / 1000.0,
            "dynamodb": {
                "calls": self.usage.calls,
                "rounds": self.usage.rounds,
                "read_units": self.usage.read_units,
                "write_units": self.usage.write_units,
            },
        });
        if let Some(trace_id) = &self.trace_id {
            line["trace_id"] = trace_id.as_str().into();
        }
        if let Some(source) = &self.source {
            line["source"] = source.as_str().into();
        }
        line
    }

    /// Writes the line. A log that cannot be written is no reason to fail.
    pub fn write(&self) {
        let text = match FORM.get() {
            None => return,
            Some(LogFormat::Lambda) => {
                let _ = writeln!(std::io::stdout().lock(), "{}", self.json());
                return;
            }
            Some(LogFormat::Json) => self.json().to_string(),
            Some(LogFormat::Text) => {
                let kind = self.scim_type.map(|t| format!(" {t}")).unwrap_or_default();
                let source = self.source.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
                format!(
                    "{} {} {}{kind} {} {:.1} ms, {} calls in {} rounds, {} read and {} write units {}{source}",
                    self.source_ip.as_deref().unwrap_or("-"),
                    self.tenant.as_deref().unwrap_or("-"),
                    self.status,
                    self.operation,
                    self.duration_ms,
                    self.usage.calls,
                    self.usage.rounds,
                    self.usage.read_units,
                    self.usage.write_units,
                    self.request_id,
                )
            }
        };
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}
