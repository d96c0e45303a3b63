//! One structured line a request: who asked for what, how it ended and what it cost. Never key
//! material, bodies or attribute values. The metrics of the request are in the same line.

use std::io::Write as _;

use lambda_http::{Request, RequestExt as _};
use serde::Serialize;

use super::event::GatewayContext;
use super::request::parameter;
use crate::clock;
use crate::log::ids::RequestIds;
use crate::log::line::LogLine;
use crate::log::metrics::{LineMetrics, Metric};
use crate::log::readable::{describe_detail, describe_request, on_one_line};
use crate::log::{self, LogFormat, RequestMetrics};
use crate::scim::notes::{Note, may_hold_secret};
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
    /// The token endpoint and its metadata.
    Token,
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
            Self::Token => "token",
        }
    }

    /// The API that these operations are of: a dimension of [`Metric::Excused5xx`]. In API Gateway's metrics, the name
    /// of the API is that of the stack, a hyphen and this.
    pub const fn api(self) -> &'static str {
        match self {
            Self::Read | Self::Query | Self::Write | Self::Bulk | Self::Discovery => "scim",
            Self::App => "app",
            Self::Token => "oauth",
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
    /// Whether a status from 500 on is no fault of the service. The alarms on 5xx do not count such an answer.
    pub is_excused: bool,
    /// Of an error.
    pub scim_type: Option<&'static str>,
    /// What the table said, where it failed.
    pub source: Option<String>,
    /// What the core made of the request.
    pub notes: Vec<Note>,
    /// Method, path and query, for the line for people only: a query holds attribute values.
    pub request: String,
    /// The `detail` of an error, for the line for people only.
    pub detail: Option<String>,
    /// From the event's arrival to the answer.
    pub duration_ms: f64,
    /// The cost.
    pub usage: Usage,
    /// What rules of the tenant refused.
    pub refusals: RuleRefusals,
}

/// The fields of the line for machines.
#[derive(Debug, Serialize)]
pub struct RequestFields<'l> {
    source_ip: Option<&'l str>,
    tenant: Option<&'l str>,
    key_id: Option<&'l str>,
    operation: &'static str,
    status: u16,
    #[serde(rename = "scimType")]
    scim_type: Option<&'static str>,
    duration_ms: f64,
    dynamodb: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'l str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(flatten)]
    metrics: Option<LineMetrics<'l>>,
}

impl Line {
    /// The line of a request that begins.
    pub fn of_request(request: &Request) -> Self {
        let mut line = Self { operation: "none", ..Self::default() };
        if let Some(context) = GatewayContext::of(request) {
            let chosen = context.request_id.clone().filter(|id| is_trace_id(id));
            line.ids.request = chosen.unwrap_or_default();
            line.ids.extended = context.extended_request_id.clone().unwrap_or_default();
            line.source_ip = context.identity.as_ref().and_then(|identity| identity.source_ip.clone());
        }
        let invocation = request.lambda_context_ref().map(|context| context.request_id.clone());
        line.ids.lambda = invocation.unwrap_or_default();
        line.trace_id = parameter(request, "id").filter(|id| is_trace_id(id));
        if log::format() == Some(LogFormat::Text) {
            let query = request.query_string_parameters_ref().map(|all| all.to_query_string());
            let path = request.raw_http_path();
            line.request = describe_request(request.method().as_str(), path, query.as_deref());
        }
        line
    }

    /// The line for machines. It carries these metrics if the name of the `stack` is known.
    pub fn for_machines<'l>(
        &'l self,
        stack: Option<&'l str>,
        metrics: RequestMetrics,
    ) -> LogLine<'l, RequestFields<'l>> {
        let level = if self.status >= 500 && !self.is_excused { "ERROR" } else { "INFO" };
        // The probe's requests are not those of a client.
        let is_probe = self.tenant.as_deref() == Some(TenantId::probe().as_str());
        let fields = RequestFields {
            source_ip: self.source_ip.as_deref(),
            tenant: self.tenant.as_deref(),
            key_id: self.key_id.as_deref(),
            operation: self.operation,
            status: self.status,
            scim_type: self.scim_type,
            duration_ms: (self.duration_ms * 1000.0).round() / 1000.0,
            dynamodb: self.usage,
            trace_id: self.trace_id.as_deref(),
            source: self.source.as_deref(),
            notes: self.notes.iter().map(ToString::to_string).collect(),
            metrics: stack.filter(|_| !is_probe).map(|stack| self.metrics(stack, metrics)),
        };
        LogLine::new(level, "request", self.ids.clone(), fields)
    }

    fn metrics<'l>(&self, stack: &'l str, wanted: RequestMetrics) -> LineMetrics<'l> {
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
        if self.is_excused {
            metrics = metrics.add(&[("Api", self.class.api())], &[(Metric::Excused5xx, 1.0)]);
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
                log::write(&self.for_machines(log::stack(), log::request_metrics()))
            }
            None => {}
        }
    }

    /// The line for people: what was asked, how it was answered and why, and what it cost.
    fn text(&self) -> String {
        let time = clock::timestamp();
        let time = time.get(11..19).unwrap_or(&time);
        let mut line = format!("{time} {} {}", self.request, self.status);
        if let Some(scim_type) = self.scim_type {
            line.push_str(&format!(" {scim_type}"));
        }
        if let Some(detail) = &self.detail {
            line.push_str(&format!(": {}", describe_detail(detail)));
        }
        for note in &self.notes {
            line.push_str(&format!(" [{}]", note.words()));
        }
        if let Some(source) = &self.source {
            line.push_str(&format!(" ({})", on_one_line(source)));
        }
        line.push_str(&format!(
            " {} calls in {} rounds, {} read and {} write units, {:.1} ms",
            self.usage.calls,
            self.usage.rounds,
            self.usage.read_units,
            self.usage.write_units,
            self.duration_ms,
        ));
        let tenant = self.tenant.as_deref().unwrap_or("-");
        line.push_str(&format!(", tenant {tenant}, request {}", self.ids.request));
        line
    }
}

/// Whether an id that a caller chose goes to the log.
pub fn is_trace_id(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=64).contains(&text.len()) && text.bytes().all(good) && !may_hold_secret(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::note_texts::{NoteKind, Rule};
    use crate::scim::policy::VEZA;

    #[test]
    fn an_id_that_a_caller_chose_is_logged_unless_it_could_be_a_value_or_a_key() {
        for (text, is_logged) in [
            ("trace-1.a_b:c", true),
            ("", false),
            ("a b", false),
            ("jane@example.com", false),
            ("rc_acme_abc", false),
            ("1:rct_acme_abc", false),
            ("arct_acme_abc", false),
        ] {
            assert_eq!(is_trace_id(text), is_logged, "{text}");
        }
    }

    #[test]
    fn an_excused_answer_is_no_error_and_is_counted_with_its_api() {
        let excused = |class, tenant: &str| Line {
            class,
            status: 501,
            is_excused: true,
            tenant: Some(tenant.to_owned()),
            ..Line::default()
        };
        for (class, api) in [
            (OperationClass::Read, "scim"),
            (OperationClass::Write, "scim"),
            (OperationClass::Token, "oauth"),
        ] {
            for metrics in [RequestMetrics::All, RequestMetrics::ForAlarms] {
                let line = excused(class, "acme");
                let line = json!(line.for_machines(Some("s"), metrics));
                assert_eq!(
                    (&line["level"], &line["Excused5xx"], &line["Api"]),
                    (&json!("INFO"), &json!(1.0), &json!(api))
                );
                let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("metrics");
                let last = directives.last().expect("a metric");
                assert_eq!(last["Dimensions"], json!([["Stack", "Api"]]), "{line}");
                assert_eq!(last["Metrics"], json!([{ "Name": "Excused5xx", "Unit": "Count" }]), "{line}");
            }
        }
        let probe = excused(OperationClass::Read, TenantId::probe().as_str());
        let fault = Line { is_excused: false, ..excused(OperationClass::Read, "acme") };
        for (line, level) in [(probe, "INFO"), (fault, "ERROR")] {
            let line = json!(line.for_machines(Some("s"), RequestMetrics::All));
            assert_eq!((&line["level"], line.get("Excused5xx")), (&json!(level), None), "{line}");
        }
    }

    #[test]
    fn people_read_the_request_and_why_it_was_refused_and_machines_read_codes() {
        let line = Line {
            request: "POST /scim/v2/Users?x=jane@example.com".to_owned(),
            status: 400,
            scim_type: Some("invalidValue"),
            detail: Some("Attribute displayName is missing.\nX".to_owned()),
            notes: vec![
                Note::new(NoteKind::Password, "password"),
                Note::refused(Rule::RequiredOfUser, &VEZA, "displayName"),
            ],
            tenant: Some("demo".to_owned()),
            duration_ms: 3.1,
            ..Line::default()
        };
        let text = line.text();
        let expected = " POST /scim/v2/Users?x=jane@example.com 400 invalidValue: Attribute displayName is missing.\\nX [password was left out: no password is stored] [refused by veza.required: displayName must have a value] 0 calls in 0 rounds, 0 read and 0 write units, 3.1 ms, tenant demo, request ";
        assert_eq!(text.get(8..), Some(expected), "{text}");
        let json = serde_json::to_value(line.for_machines(None, RequestMetrics::All)).expect("JSON");
        assert_eq!(json["notes"], json!(["ignored:password", "refused:veza.required:displayName"]));
        let json = json.to_string();
        assert!(
            !json.contains("/scim/v2") && !json.contains("jane") && !json.contains("is missing"),
            "{json}"
        );
    }
}
