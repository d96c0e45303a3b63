//! CloudWatch metrics in log lines: the embedded metric format (EMF). CloudWatch reads the metrics out of the line,
//! so a metric costs no call.
//!
//! A request has one line, and its metrics have several sets of dimensions. The crates that write the format cannot
//! do that. `metrics_cloudwatch_embedded` 0.10 writes a line for each set of dimensions, from a registry of the
//! whole process. `metrique-writer-format-emf` 0.1 gives every metric of a line the same dimensions, and has 60
//! dependencies. The format is small, so this module writes it.
//!
//! The tenant is never a dimension: each value would be a metric that AWS charges for.

use std::iter;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::ids::RequestIds;
use super::line::LogLine;
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
    /// Answers of 5xx that are no fault of the service, by API.
    Excused5xx,
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
            Self::Excused5xx => ("Excused5xx", "Count"),
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
#[derive(Clone, Debug)]
pub struct LineMetrics<'m> {
    stack: &'m str,
    sets: Vec<MetricSet<'m>>,
}

/// Metrics with the same dimensions.
#[derive(Clone, Debug)]
struct MetricSet<'m> {
    /// The dimensions besides [`STACK`].
    dimensions: Vec<(&'static str, &'m str)>,
    metrics: Vec<(Metric, f64)>,
}

impl<'m> LineMetrics<'m> {
    /// No metrics, of this stack.
    pub const fn new(stack: &'m str) -> Self {
        Self { stack, sets: Vec::new() }
    }

    /// Adds metrics with the dimension [`STACK`] and these further ones.
    #[must_use]
    pub fn add(mut self, dimensions: &[(&'static str, &'m str)], metrics: &[(Metric, f64)]) -> Self {
        self.sets.push(MetricSet { dimensions: dimensions.to_vec(), metrics: metrics.to_vec() });
        self
    }

    /// Adds a metric without further dimensions, if it is not 0: CloudWatch charges for the hours in which a metric
    /// has a value.
    #[must_use]
    pub fn add_unless_zero(self, metric: Metric, value: u32) -> Self {
        if value == 0 { self } else { self.add(&[], &[(metric, f64::from(value))]) }
    }
}

/// The members that the metrics add to their line; none if there are no metrics.
impl Serialize for LineMetrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        if self.sets.is_empty() {
            return members.end();
        }
        members.serialize_entry("_aws", &Metadata::of(&self.sets))?;
        members.serialize_entry(STACK, self.stack)?;
        // Sets may have a dimension in common. A line names it once.
        let mut named: Vec<&str> = Vec::new();
        for (name, value) in self.sets.iter().flat_map(|set| &set.dimensions) {
            if !named.contains(name) {
                named.push(name);
                members.serialize_entry(name, value)?;
            }
        }
        for (metric, value) in self.sets.iter().flat_map(|set| &set.metrics) {
            members.serialize_entry(metric.wire().0, value)?;
        }
        members.end()
    }
}

/// The member by which CloudWatch knows that a line has metrics.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'m> {
    /// In milliseconds since 1970.
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: Vec<Directive<'m>>,
}

/// Says which metrics of a line have which dimensions.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'m> {
    namespace: &'static str,
    dimensions: [Vec<&'m str>; 1],
    metrics: Vec<MetricDefinition>,
}

/// The name and the unit of a metric.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDefinition {
    name: &'static str,
    unit: &'static str,
}

impl<'m> Metadata<'m> {
    fn of(sets: &'m [MetricSet<'m>]) -> Self {
        let directives = sets.iter().map(|set| {
            let names = set.dimensions.iter().map(|(name, _)| *name);
            let definitions = set.metrics.iter().map(|(metric, _)| {
                let (name, unit) = metric.wire();
                MetricDefinition { name, unit }
            });
            Directive {
                namespace: NAMESPACE,
                dimensions: [iter::once(STACK).chain(names).collect()],
                metrics: definitions.collect(),
            }
        });
        let timestamp = i64::try_from(clock::now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Self { timestamp, directives: directives.collect() }
    }
}

/// The line with metrics of the whole stack.
pub fn line<'m>(message: &'m str, stack: &'m str, metrics: &[(Metric, f64)]) -> LogLine<'m, LineMetrics<'m>> {
    LogLine::new("INFO", message, RequestIds::current(), LineMetrics::new(stack).add(&[], metrics))
}

/// Writes a line with metrics of the whole stack. Writes none if there is no stack or no metric.
pub fn write(message: &str, metrics: &[(Metric, f64)]) {
    if let Some(stack) = output::stack().filter(|_| !metrics.is_empty()) {
        output::write(&line(message, stack, metrics));
    }
}
