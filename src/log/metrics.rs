//! CloudWatch metrics in log lines: the embedded metric format (EMF). CloudWatch reads the metrics out of the line,
//! so a metric costs no call.
//!
//! A request has one line, and its metrics have several sets of dimensions. The crates that write the format cannot
//! do that. `metrics_cloudwatch_embedded` 0.10 writes a line for each set of dimensions, from a registry of the
//! whole process. `metrique-writer-format-emf` 0.1 gives every metric of a line the same dimensions, and has 60
//! dependencies. The format is small, so this module writes it.
//!
//! The tenant is never a dimension: each value would be a metric that AWS charges for.

use serde_json::{Map, Value, json};

use super::ids::RequestIds;
use super::output;
use crate::clock;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Rollcall";

/// The dimension with the name of the stack, which every metric has.
pub const STACK: &str = "Stack";

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests, by class of operation and class of status.
    Requests,
    /// How long a request took.
    Latency,
    /// Read units of a request.
    ReadUnits,
    /// Write units of a request.
    WriteUnits,
    /// Changes that the rule of the last administrator refused.
    AdminRuleRefusals,
    /// Changes that the deactivation limit refused.
    DeactivationLimitRefusals,
    /// The age of the oldest large change that is not finished.
    OldestPendingChangeSeconds,
    /// The age of the oldest change that is not in the feed.
    FeedLagSeconds,
    /// The age of the oldest change that the event bus has not taken.
    BusLagSeconds,
    /// The age of the oldest change that an enabled webhook has not taken.
    WebhookLagSeconds,
    /// Webhooks that are disabled.
    DisabledWebhooks,
    /// Keys that end soon and have no successor.
    ExpiringKeys,
    /// Panics of a function.
    Panics,
}

impl Metric {
    /// The name and the unit in CloudWatch.
    pub const fn wire(self) -> (&'static str, &'static str) {
        match self {
            Self::Requests => ("Requests", "Count"),
            Self::Latency => ("Latency", "Milliseconds"),
            Self::ReadUnits => ("ReadUnits", "Count"),
            Self::WriteUnits => ("WriteUnits", "Count"),
            Self::AdminRuleRefusals => ("AdminRuleRefusals", "Count"),
            Self::DeactivationLimitRefusals => ("DeactivationLimitRefusals", "Count"),
            Self::OldestPendingChangeSeconds => ("OldestPendingChangeSeconds", "Seconds"),
            Self::FeedLagSeconds => ("FeedLagSeconds", "Seconds"),
            Self::BusLagSeconds => ("BusLagSeconds", "Seconds"),
            Self::WebhookLagSeconds => ("WebhookLagSeconds", "Seconds"),
            Self::DisabledWebhooks => ("DisabledWebhooks", "Count"),
            Self::ExpiringKeys => ("ExpiringKeys", "Count"),
            Self::Panics => ("Panics", "Count"),
        }
    }
}

/// The metrics of one line.
#[derive(Debug)]
pub struct LineMetrics {
    directives: Vec<Value>,
    members: Map<String, Value>,
}

impl LineMetrics {
    /// No metrics, of this stack.
    pub fn new(stack: &str) -> Self {
        let members = Map::from_iter([(STACK.to_owned(), stack.into())]);
        Self { directives: Vec::new(), members }
    }

    /// Adds metrics with the dimension [`STACK`] and these further ones.
    #[must_use]
    pub fn add(mut self, dimensions: &[(&'static str, &str)], metrics: &[(Metric, f64)]) -> Self {
        let names: Vec<&str> = [STACK].into_iter().chain(dimensions.iter().map(|(name, _)| *name)).collect();
        let definitions: Vec<Value> = metrics
            .iter()
            .map(|(metric, _)| {
                let (name, unit) = metric.wire();
                json!({ "Name": name, "Unit": unit })
            })
            .collect();
        let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": definitions });
        self.directives.push(directive);
        self.members.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        self.members
            .extend(metrics.iter().map(|(metric, value)| (metric.wire().0.to_owned(), (*value).into())));
        self
    }

    /// Adds a metric without further dimensions, if it is not 0: CloudWatch charges for the hours in which a metric
    /// has a value.
    #[must_use]
    pub fn add_unless_zero(self, metric: Metric, value: u32) -> Self {
        if value == 0 { self } else { self.add(&[], &[(metric, f64::from(value))]) }
    }

    /// Adds the metrics to a line, if there are any.
    pub fn add_to(self, line: &mut Value) {
        if self.directives.is_empty() {
            return;
        }
        let milliseconds = i64::try_from(clock::now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        line["_aws"] = json!({ "Timestamp": milliseconds, "CloudWatchMetrics": self.directives });
        for (name, value) in self.members {
            line[name] = value;
        }
    }
}

/// The line with metrics of the whole stack, as JSON.
pub fn line(message: &str, stack: &str, metrics: &[(Metric, f64)]) -> Value {
    let mut line = json!({ "timestamp": clock::timestamp(), "level": "INFO", "message": message });
    RequestIds::current().add_to(&mut line);
    LineMetrics::new(stack).add(&[], metrics).add_to(&mut line);
    line
}

/// Writes a line with metrics of the whole stack. Writes none if there is no stack or no metric.
pub fn write(message: &str, metrics: &[(Metric, f64)]) {
    if let Some(stack) = output::stack().filter(|_| !metrics.is_empty()) {
        output::write(&line(message, stack, metrics));
    }
}
