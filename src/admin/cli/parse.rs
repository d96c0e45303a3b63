//! How arguments are read that several commands have.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::admin::when;
use crate::auth::application::ApplicationScope;
use crate::auth::plan::RatePlan;
use crate::auth::record::Scope;
use crate::clock;
use crate::scim::policy::{POLICIES, Policy};
use crate::tenants::record::is_address;

/// The types of changes, as the description of the feed lists them.
static EVENT_TYPES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/events.schema.json")).unwrap_or_default();
    let types = schema["properties"]["type"]["enum"].as_array().cloned().unwrap_or_default();
    types.iter().filter_map(Value::as_str).map(str::to_owned).collect()
});

/// Reads one of these names, and offers them when a command line is completed.
fn named<T: Clone + Send + Sync + 'static>(
    names: impl IntoIterator<Item = &'static str>,
    find: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    let names: Vec<&'static str> = names.into_iter().collect();
    PossibleValuesParser::new(names).try_map(move |name| find(&name).ok_or("is not known"))
}

/// Reads the name of a policy.
pub(crate) fn policy() -> impl TypedValueParser<Value = &'static Policy> {
    named(POLICIES.iter().map(|policy| policy.name), Policy::named)
}

/// Reads the name of a plan.
pub(super) fn plan() -> impl TypedValueParser<Value = RatePlan> {
    named(RatePlan::ALL.map(RatePlan::name), RatePlan::named)
}

/// Reads the scope of a bearer key or a client.
pub(super) fn scope() -> impl TypedValueParser<Value = Scope> {
    named([Scope::Provision, Scope::Read].map(Scope::name), Scope::named)
}

/// Reads the scope of an application key.
pub(super) fn application_scope() -> impl TypedValueParser<Value = ApplicationScope> {
    named(
        [ApplicationScope::Read, ApplicationScope::Manage].map(ApplicationScope::name),
        ApplicationScope::named,
    )
}

/// Reads the type of a change: `user.created`, …
pub(in crate::admin) fn event_type() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(EVENT_TYPES.iter().map(String::as_str))
}

/// Reads a whole number of a range.
pub(crate) fn whole_number<T: TryFrom<u64> + Clone + Send + Sync + 'static>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match *range.end() {
            u64::MAX => format!("give a whole number from {} on", range.start()),
            most => format!("give a whole number from {} to {most}", range.start()),
        })
    }
}

/// Reads a URL of DynamoDB.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn read_endpoint(text: &str) -> Result<String, String> {
    let problem = || "give a URL with its scheme, such as http://127.0.0.1:8000".to_owned();
    // A variable that is set to no text counts as not set.
    if text.is_empty() {
        return Ok(String::new());
    }
    let url: http::Uri = text.parse().map_err(|_| problem())?;
    let is_url = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    if is_url { Ok(text.to_owned()) } else { Err(problem()) }
}

/// Reads an email address.
///
/// # Errors
/// A sentence that says how to write one.
pub(in crate::admin) fn read_address(text: &str) -> Result<String, String> {
    let problem = "is not an email address: give one as name@example.com";
    if is_address(text) { Ok(text.to_owned()) } else { Err(problem.to_owned()) }
}

/// Reads a span of time: `30m`, `24h`, `7d`.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn read_span(text: &str) -> Result<Duration, String> {
    when::span(text).ok_or_else(|| "give a span as 30m, 24h or 7d".to_owned())
}

/// Reads the time from which on a key is refused. It must be in the future.
///
/// # Errors
/// A sentence that says how to write one.
pub(super) fn read_expiry(text: &str) -> Result<OffsetDateTime, String> {
    let now = clock::now();
    let expires = when::parse_future(text, now)
        .ok_or("give a date as 2027-01-31, an RFC 3339 time as 2027-01-31T18:00:00Z, or 12h, 30d, 52w, before the year 10000")?;
    if expires <= now { Err("that time has passed".to_owned()) } else { Ok(expires) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_changes_are_read() {
        assert!(EVENT_TYPES.len() > 20 && EVENT_TYPES.iter().any(|name| name == "user.created"));
    }

    #[test]
    fn an_endpoint_has_a_scheme() {
        for good in
            ["http://127.0.0.1:8000", "https://dynamodb.eu-west-1.amazonaws.com/", "http://[::1]:1", ""]
        {
            assert!(read_endpoint(good).is_ok(), "{good}");
        }
        for bad in
            ["127.0.0.1:8000", "localhost:8000", "localhost", "ftp://x", "http://", "file:///x", "http"]
        {
            assert!(read_endpoint(bad).is_err(), "{bad}");
        }
    }
}
