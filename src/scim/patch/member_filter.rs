//! What the brackets of a path on `members` say of ids.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scim::attr_path::AttrPath;
use crate::scim::error::ScimError;
use crate::scim::filter::ast::{CompareOp, Filter};
use crate::scim::members::{Member, parts};
use crate::scim::values::is_unassigned;

/// Whether a client's element, `read` as the members that it describes, says nothing about a member that is not so.
/// Another `display` says nothing: a member keeps the one that it came with.
pub(super) fn is_same(member: &Member, wanted: &Value, read: &[Member]) -> bool {
    let [read] = read else { return false };
    let Value::Object(wanted) = wanted else { return read.id == member.id };
    let said = |name: &str| {
        let found = wanted.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|value| !is_unassigned(value))
    };
    let names_it = |uri: &Value| uri.as_str().and_then(parts).is_some_and(|(_, id)| id == member.id);
    (said("value").is_none() || read.id == member.id)
        && (said("type").is_none() || member.kind.is_none() || read.kind == member.kind)
        && said("$ref").is_none_or(names_it)
}

/// The filter with what it says of `$ref` said of the id: where the service stands is not known
/// here.
pub(super) fn by_id(filter: &Filter) -> Result<Filter, ScimError> {
    let all = |filters: &[Filter]| filters.iter().map(by_id).collect::<Result<Vec<_>, _>>();
    let value = || AttrPath { urn: None, attribute: "value".to_owned(), sub: None };
    let is_reference = |path: &AttrPath| path.attribute.eq_ignore_ascii_case("$ref");
    Ok(match filter {
        Filter::And(filters) => Filter::And(all(filters)?),
        Filter::Or(filters) => Filter::Or(all(filters)?),
        Filter::Not(filter) => Filter::Not(Box::new(by_id(filter)?)),
        Filter::Present(path) if is_reference(path) => Filter::Present(value()),
        Filter::Compare(path, op, operand) if is_reference(path) => {
            match (op, operand.as_str().and_then(parts)) {
                (CompareOp::Eq, Some((_, id))) => Filter::Compare(value(), CompareOp::Eq, id.into()),
                _ => return Err(ScimError::invalid_filter("members.$ref can only be compared by eq.")),
            }
        }
        other => other.clone(),
    })
}

/// Whether the filter asks what a member is.
pub(super) fn names_type(filter: &Filter) -> bool {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => filters.iter().any(names_type),
        Filter::Not(filter) => names_type(filter),
        Filter::Present(path) | Filter::Compare(path, ..) | Filter::ValuePath(path, _) => {
            path.attribute.eq_ignore_ascii_case("type")
        }
    }
}

fn equal_id(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Compare(path, CompareOp::Eq, Value::String(id))
            if path.attribute.eq_ignore_ascii_case("value") =>
        {
            Some(id)
        }
        _ => None,
    }
}

/// Returns ids that hold all members which the filter selects. `None` if the filter does not name ids.
pub(super) fn ids(filter: &Filter) -> Option<BTreeSet<String>> {
    match filter {
        Filter::Or(filters) => {
            let sets: Option<Vec<_>> = filters.iter().map(ids).collect();
            sets.map(|sets| sets.into_iter().flatten().collect())
        }
        Filter::And(filters) => filters.iter().filter_map(ids).min_by_key(BTreeSet::len),
        other => equal_id(other).map(|id| BTreeSet::from([id.to_owned()])),
    }
}

/// Whether the filter selects every member of [`ids`].
pub(super) fn is_list_of_ids(filter: &Filter) -> bool {
    match filter {
        Filter::Or(filters) => filters.iter().all(is_list_of_ids),
        other => equal_id(other).is_some(),
    }
}
