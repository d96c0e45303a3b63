//! One structured line a request: who asked for what, how it ended and what it cost. Never key
//! material, bodies or attribute values. The metrics of the request are in the same line.

use std::io::Write as _;

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use serde_json::{Value, json};

use super::request::parameter;
use crate::clock;
use crate::log::ids::RequestIds;
use crate::log::metrics::{LineMetrics, Metric};
use crate::log::{self, LogFormat, RequestMetrics};
use crate::store::keys::TenantId;
use crate::store::meter::{RuleRefusals, Usage};

/// What kind of work an operation is: a dimension of the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperationClass {
    /// One resource is read.
    Read,
    /// Resources are searched or listed.
    Query,
    /// One resource is changed.
    Write,
    /// `/Bulk`.
    Bulk,
    /// The service describes itself, or answers a path that it does not have.
    #[default]
    Discovery,
    /// The application's side.
    App,
}

impl OperationClass {
    /// The name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Query => "query",
            Self::Write => "write",
            Self::Bulk => "bulk",
            Self::Discovery => "discovery",
            Self::App => "app",
        }
    }
}

/// The fields of the log line of a request.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The ids of the request.
    pub ids: RequestIds,
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
    /// What kind of work the operation is.
    pub class: OperationClass,
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
    /// What rules of the tenant refused.
    pub refusals: RuleRefusals,
}

impl Line {
    /// The line of a request that begins.
    pub fn of_request(request: &Request) -> Self {
        let mut line = Self { operation: "none", ..Self::default() };
        if let Some(RequestContext::ApiGatewayV1(context)) = request.request_context_ref() {
            let chosen = context.request_id.clone().filter(|id| is_trace_id(id));
            line.ids.request = chosen.unwrap_or_default();
            let extended = context.other.get("extendedRequestId").and_then(Value::as_str);
            line.ids.extended = extended.unwrap_or_default().to_owned();
            line.source_ip = context.identity.source_ip.clone();
        }
        let invocation = request.lambda_context_ref().map(|context| context.request_id.clone());
        line.ids.lambda = invocation.unwrap_or_default();
        line.trace_id = parameter(request, "id").filter(|id| is_trace_id(id));
        line
    }

    /// The line as JSON. It carries these metrics if the name of the `stack` is known.
    pub fn json(&self, stack: Option<&str>, metrics: RequestMetrics) -> Value {
        let level = if self.status >= 500 { "ERROR" } else { "INFO" };
        let mut line = json!({ "timestamp": clock::timestamp(), "level": level, "message": "request" });
        self.ids.add_to(&mut line);
        let duration_ms = (self.duration_ms * 1000.0).round() / 1000.0;
        for (name, value) in [
            ("source_ip", json!(self.source_ip)),
            ("tenant", json!(self.tenant)),
            ("key_id", json!(self.key_id)),
            ("operation", json!(self.operation)),
            ("status", json!(self.status)),
            ("scimType", json!(self.scim_type)),
            ("duration_ms", json!(duration_ms)),
        ] {
            line[name] = value;
        }
        line["dynamodb"] = json!({
            "calls": self.usage.calls,
            "rounds": self.usage.rounds,
            "read_units": self.usage.read_units,
            "write_units": self.usage.write_units,
        });
        for (name, text) in [("trace_id", &self.trace_id), ("source", &self.source)] {
            if let Some(text) = text {
                line[name] = text.as_str().into();
            }
        }
        // The probe's requests are not those of a client.
        let is_probe = self.tenant.as_deref() == Some(TenantId::probe().as_str());
        if let Some(stack) = stack.filter(|_| !is_probe) {
            self.metrics(stack, metrics).add_to(&mut line);
        }
        line
    }

    fn metrics(&self, stack: &str, wanted: RequestMetrics) -> LineMetrics {
        let class = ("Class", self.class.name());
        let status = match self.status {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        let work = [
            (Metric::Latency, self.duration_ms),
            (Metric::ReadUnits, self.usage.read_units),
            (Metric::WriteUnits, self.usage.write_units),
        ];
        let mut metrics = LineMetrics::new(stack);
        if wanted == RequestMetrics::All {
            metrics =
                metrics.add(&[class, ("Status", status)], &[(Metric::Requests, 1.0)]).add(&[class], &work);
        }
        metrics
            .add_unless_zero(Metric::AdminRuleRefusals, self.refusals.admin_rule)
            .add_unless_zero(Metric::DeactivationLimitRefusals, self.refusals.deactivation_limit)
    }

    /// Writes the line.
    pub fn write(&self) {
        match log::format() {
            Some(LogFormat::Text) => drop(writeln!(std::io::stderr().lock(), "{}", self.text())),
            Some(LogFormat::Lambda | LogFormat::Json) => {
                log::write(&self.json(log::stack(), log::request_metrics()))
            }
            None => {}
        }
    }

    /// The line for people.
    fn text(&self) -> String {
        let kind = self.scim_type.map(|t| format!(" {t}")).unwrap_or_default();
        let source = self.source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
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
            self.ids.request,
        )
    }
}

/// Whether an id that a caller chose goes to the log.
fn is_trace_id(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}
