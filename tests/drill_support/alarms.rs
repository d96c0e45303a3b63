//! The alarms of the template, evaluated as CloudWatch does, on metrics from log lines and on those that AWS counts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use yaml_serde::Value as Yaml;

const TEMPLATE: &str = include_str!("../../template.yaml");

/// The name of the stack.
pub const STACK: &str = "rollcall";

/// A metric: its namespace, its name, and its dimensions.
pub type Series = (String, String, BTreeMap<String, String>);

/// The values of metrics, with the second of each.
#[derive(Debug, Default)]
pub struct Datapoints(BTreeMap<Series, Vec<(u64, f64)>>);

/// A line in which a test tells what AWS counts itself, such as failed calls of a function.
pub fn counted_by_aws(second: u64, namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Value {
    let dimensions: BTreeMap<&str, &str> = dimensions.iter().copied().collect();
    json!({ "aws": { "namespace": namespace, "name": name, "dimensions": dimensions, "second": second } })
}

impl Datapoints {
    /// Reads lines of the log: those in the embedded metric format, and those of [`counted_by_aws`].
    pub fn of_lines<'l>(lines: impl IntoIterator<Item = &'l Value>) -> Self {
        let mut found = Self::default();
        for line in lines {
            if let Some(counted) = line.get("aws") {
                let text = |name: &str| counted[name].as_str().expect("a text").to_owned();
                let dimensions = serde_json::from_value(counted["dimensions"].clone()).expect("texts");
                let second = counted["second"].as_u64().expect("a second");
                found.add((text("namespace"), text("name"), dimensions), second, 1.0);
            }
            let second = line["_aws"]["Timestamp"].as_u64().unwrap_or(0) / 1_000;
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
                let namespace = directive["Namespace"].as_str().expect("a namespace");
                let names = directive["Dimensions"][0].as_array().expect("dimensions").iter();
                let dimensions: BTreeMap<String, String> = names
                    .map(|name| name.as_str().expect("a text"))
                    .map(|name| (name.to_owned(), line[name].as_str().expect("a text").to_owned()))
                    .collect();
                for metric in directive["Metrics"].as_array().expect("metrics") {
                    let name = metric["Name"].as_str().expect("a name");
                    let value = line[name].as_f64().expect("a value");
                    found.add((namespace.to_owned(), name.to_owned(), dimensions.clone()), second, value);
                }
            }
        }
        found
    }

    fn add(&mut self, series: Series, second: u64, value: f64) {
        self.0.entry(series).or_default().push((second, value));
    }

    /// The value of a metric in each period that has one.
    fn by_period(&self, series: &Series, period: u64, statistic: &str) -> BTreeMap<u64, f64> {
        let mut periods = BTreeMap::new();
        for (second, value) in self.0.get(series).into_iter().flatten() {
            let of_period: &mut f64 = periods.entry(second / period).or_insert(0.0);
            *of_period = match statistic {
                "Sum" => *of_period + value,
                "Maximum" => of_period.max(*value),
                other => panic!("the statistic {other}"),
            };
        }
        periods
    }
}

/// What a text of the template is in a deployment. Resources keep their logical names.
fn resolve(value: &Yaml) -> String {
    match value {
        Yaml::String(text) => text.clone(),
        Yaml::Tagged(tagged) => match tagged.tag.to_string().trim_start_matches('!') {
            "Ref" if tagged.value.as_str() == Some("AWS::StackName") => STACK.to_owned(),
            "Ref" => tagged.value.as_str().expect("a name").to_owned(),
            "Sub" => tagged.value.as_str().expect("a text").replace("${AWS::StackName}", STACK),
            "If" => resolve(&tagged.value[1]),
            other => panic!("!{other} in an alarm"),
        },
        other => panic!("{other:?} in an alarm"),
    }
}

fn number(value: &Yaml) -> Option<u64> {
    value.as_u64()
}

fn series(metric: &Yaml) -> Series {
    let dimensions = metric["Dimensions"].as_sequence().into_iter().flatten();
    let dimensions = dimensions.map(|one| (resolve(&one["Name"]), resolve(&one["Value"])));
    (resolve(&metric["Namespace"]), resolve(&metric["MetricName"]), dimensions.collect())
}

/// The sum of all metrics of an alarm. To fill them changes when an alarm ends, not when it fires.
const SUMS: [&str; 2] = ["SUM(METRICS())", "SUM(FILL(METRICS(), 0))"];

/// The ids of the two metrics in `SUM([a, -b])`. A missing value of either counts as 0.
fn difference(expression: &str) -> Option<(&str, &str)> {
    expression.strip_prefix("SUM([")?.strip_suffix("])")?.split_once(", -")
}

/// The values that an alarm watches, by period, and the seconds of a period.
fn watched(alarm: &Yaml, data: &Datapoints) -> (BTreeMap<u64, f64>, u64) {
    if !alarm["MetricName"].is_null() {
        let period = number(&alarm["Period"]).expect("a period");
        let statistic = alarm["Statistic"].as_str().expect("a statistic");
        return (data.by_period(&series(alarm), period, statistic), period);
    }
    let queries = alarm["Metrics"].as_sequence().expect("metrics");
    let returned: Vec<&Yaml> =
        queries.iter().filter(|query| query["ReturnData"].as_bool() == Some(true)).collect();
    let [returned] = returned[..] else { panic!("an alarm watches one value: {alarm:?}") };
    let expression = resolve(&returned["Expression"]);
    let difference = difference(&expression);
    let (mut total, mut seconds) = (BTreeMap::new(), 0);
    let mut add = |values: BTreeMap<u64, f64>, sign: f64| {
        for (period, value) in values {
            *total.entry(period).or_insert(0.0) += sign * value;
        }
    };
    for query in queries {
        let stat = &query["MetricStat"];
        if !stat.is_null() {
            seconds = number(&stat["Period"]).expect("a period");
            let sign = match difference {
                None => 1.0,
                Some((whole, _)) if query["Id"].as_str() == Some(whole) => 1.0,
                Some((_, part)) if query["Id"].as_str() == Some(part) => -1.0,
                Some(_) => panic!("{expression} does not use {query:?}"),
            };
            let statistic = stat["Stat"].as_str().expect("a statistic");
            add(data.by_period(&series(&stat["Metric"]), seconds, statistic), sign);
        } else if difference.is_none() && !SUMS.contains(&resolve(&query["Expression"]).as_str()) {
            // SELECT SUM(name) FROM SCHEMA(namespace, dimensions): all series with these dimensions.
            let select = resolve(&query["Expression"]);
            let (name, rest) =
                select.strip_prefix("SELECT SUM(").expect("a sum").split_once(')').expect("SQL");
            let schema = rest.split_once("SCHEMA(").expect("a schema").1.split_once(')').expect("SQL").0;
            let mut schema = schema.split(", ").map(|name| name.trim_matches('"').to_owned());
            let namespace = schema.next().expect("a namespace");
            let dimensions: BTreeSet<String> = schema.collect();
            seconds = number(&query["Period"]).expect("a period");
            for found in data.0.keys() {
                if found.0 == namespace
                    && found.1 == name
                    && found.2.keys().cloned().collect::<BTreeSet<_>>() == dimensions
                {
                    add(data.by_period(found, seconds, "Sum"), 1.0);
                }
            }
        }
    }
    (total, seconds)
}

/// When an alarm fires first: the end of the period, in seconds. A period without a value between others is good, unless
/// the alarm says that it is not.
fn first_alarm(alarm: &Yaml, data: &Datapoints) -> Option<u64> {
    assert_eq!(alarm["ComparisonOperator"].as_str(), Some("GreaterThanThreshold"));
    let needs_data = alarm["TreatMissingData"].as_str() == Some("breaching");
    let threshold = number(&alarm["Threshold"]).expect("a threshold") as f64;
    let periods = number(&alarm["EvaluationPeriods"]).expect("periods");
    let needed = number(&alarm["DatapointsToAlarm"]).unwrap_or(periods);
    let (values, seconds) = watched(alarm, data);
    let first = values.keys().next().copied().unwrap_or(0);
    let last = values.keys().next_back().copied().unwrap_or(0);
    let is_breaching = |period: &u64| values.get(period).map_or(needs_data, |value| *value > threshold);
    let breaching: BTreeSet<u64> = (first..=last).filter(is_breaching).collect();
    let is_alarm = |last: &&u64| {
        let window = (**last + 1).saturating_sub(periods)..=**last;
        breaching.range(window).count() as u64 >= needed
    };
    breaching.iter().find(is_alarm).map(|last| (last + 1) * seconds)
}

fn resources() -> Yaml {
    let template: Yaml = yaml_serde::from_str(TEMPLATE).expect("YAML");
    template["Resources"].clone()
}

/// The alarms that fire, and when each fires first, in seconds.
pub fn fired(data: &Datapoints) -> BTreeMap<String, u64> {
    let resources = resources();
    let all = resources.as_mapping().expect("resources").iter();
    let alarms = all.filter(|(_, one)| one["Type"].as_str() == Some("AWS::CloudWatch::Alarm"));
    let fired = alarms.filter_map(|(name, one)| {
        let at = first_alarm(&one["Properties"], data)?;
        Some((name.as_str().expect("a name").to_owned(), at))
    });
    fired.collect()
}

/// The alarms that move a deployment of a function back.
pub fn rollback_alarms(function: &str) -> BTreeSet<String> {
    let resources = resources();
    let preference = &resources[function]["Properties"]["DeploymentPreference"]["Alarms"];
    let Yaml::Tagged(tagged) = preference else { panic!("{function} has no alarms") };
    tagged.value[1].as_sequence().expect("alarms").iter().map(resolve).collect()
}
