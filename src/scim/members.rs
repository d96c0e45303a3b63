//! Members of a group as clients write them (RFC 7643 §4.2).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::ScimError;
use super::faults::Faults;
use super::note_texts::Rule;
use super::policy::Policy;
use super::resource_type::{Kind, ResourceType};
use super::values::{ValueReader, is_blank};
use super::work::WorkBudget;
use crate::limits::MAX_MEMBER_DISPLAY_CHARS;

/// The name of the attribute that holds them.
pub const MEMBERS: &str = "members";

/// One member. Members are told apart by id alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's identifier, as sent.
    pub id: String,
    /// What the member is, from `type` or else from the URI in `$ref`; the table knows for certain.
    pub kind: Option<Kind>,
    /// The name that the client gave it.
    pub display: Option<String>,
}

impl Member {
    /// A member of which only the id is known.
    pub fn of_id(id: impl Into<String>) -> Self {
        Self { id: id.into(), kind: None, display: None }
    }

    /// What it is taken for until it is found: what the client says it is, or a user.
    pub fn taken_for(&self) -> Kind {
        self.kind.unwrap_or(Kind::User)
    }

    /// The element of `members` without `$ref`, which depends on where the service stands.
    pub fn element(&self) -> Map<String, Value> {
        let mut element = Map::new();
        element.insert("value".to_owned(), self.id.as_str().into());
        if let Some(kind) = self.kind {
            element.insert("type".to_owned(), kind.name().into());
        }
        if let Some(display) = &self.display {
            element.insert("display".to_owned(), display.as_str().into());
        }
        element
    }
}

/// Reads the value of `members`: an array of objects and, under tolerance, one object, a bare id
/// or an array of them. Each id comes once. Of elements with the same `value` and `type`, the later
/// `display` wins. Of elements with the same `value` and another `type`, the first one wins.
///
/// # Errors
/// `invalidValue` for anything else, and for a member without an id. 413 for more work than the budget
/// holds.
pub fn parse(
    value: &Value,
    groups: &ResourceType,
    policy: &Policy,
    work: &WorkBudget,
) -> Result<Vec<Member>, ScimError> {
    let Some(attribute) = groups.core_attribute(MEMBERS) else { return Ok(Vec::new()) };
    match ValueReader::of_body(policy, work).value(attribute, MEMBERS, value)? {
        Some(Value::Array(elements)) => collect(&elements, policy),
        _ => Ok(Vec::new()),
    }
}

/// The members that elements in canonical form are.
fn collect(elements: &[Value], policy: &Policy) -> Result<Vec<Member>, ScimError> {
    let mut seen = HashSet::with_capacity(elements.len());
    let mut members = Vec::with_capacity(elements.len());
    let mut faults = Faults::default();
    for element in elements {
        let member = faults.keep(member(element, policy))?;
        members.extend(member.filter(|member| seen.insert(member.id.clone())));
    }
    faults.finish()?;
    Ok(members)
}

/// Takes the members out of a document that `validate::read` made; none if it has none.
///
/// # Errors
/// `invalidValue` for a member without an id, and under `strict` for one whose parts contradict one another.
pub fn take(document: &mut Map<String, Value>, policy: &Policy) -> Result<Vec<Member>, ScimError> {
    match document.shift_remove(MEMBERS) {
        Some(Value::Array(elements)) => collect(&elements, policy),
        _ => Ok(Vec::new()),
    }
}

fn member(element: &Value, policy: &Policy) -> Result<Member, ScimError> {
    let text = |name: &str| element.get(name).and_then(Value::as_str);
    let reference = text("$ref").and_then(parts);
    let id = match text("value") {
        Some(id) => id,
        None => reference.map_or("", |(_, id)| id),
    };
    if is_blank(id) {
        let detail = "Attribute members.value is missing: the id of the member.";
        return Err(ScimError::invalid_value(detail).by(Rule::Required, "members.value"));
    }
    let display = text("display");
    if display.is_some_and(|display| display.chars().nth(MAX_MEMBER_DISPLAY_CHARS).is_some()) {
        return Err(ScimError::invalid_value(format!(
            "Attribute members.display has more than {MAX_MEMBER_DISPLAY_CHARS} characters. Send a shorter name, or none."
        )));
    }
    let kind = match text("type") {
        Some(name) => Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name)),
        None => reference.and_then(|(kind, _)| kind),
    };
    // Under tolerance `value` counts, and what the table has under it.
    let is_another =
        |(own, reference): (Option<Kind>, &str)| reference != id || (own.is_some() && own != kind);
    if !policy.tolerant && reference.is_some_and(is_another) {
        let detail =
            "Attribute members.$ref names another resource than value and type do. Send value alone.";
        return Err(ScimError::invalid_value(detail).by(Rule::Type, "members.$ref"));
    }
    Ok(Member { id: id.to_owned(), kind, display: display.map(ToOwned::to_owned) })
}

/// The id in the URI of a resource, and the kind that its collection is of.
pub fn parts(uri: &str) -> Option<(Option<Kind>, &str)> {
    let path = uri.split(['?', '#']).next()?.trim_end_matches('/');
    let mut segments = path.rsplit('/');
    let id = segments.next().filter(|id| !is_blank(id))?;
    let collection = segments.next().unwrap_or("");
    let kind = Kind::ALL.into_iter().find(|kind| kind.endpoint().trim_start_matches('/') == collection);
    Some((kind, id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::policy::{STANDARD, STRICT};
    use crate::scim::resource_type::Model;

    #[test]
    fn members_in_every_form() {
        let read = |policy: &'static Policy, value: &Value| {
            let model = Model::new(policy, &[]).expect("a model");
            let members = parse(value, model.of(Kind::Group), policy, &WorkBudget::of_body()).ok()?;
            Some(members.iter().map(|member| Value::Object(member.element())).collect::<Value>())
        };
        for (value, tolerant, strict) in [
            (json!([{ "value": "a" }]), Some(json!([{ "value": "a" }])), true),
            (json!({ "value": "a" }), Some(json!([{ "value": "a" }])), false),
            (json!("a"), Some(json!([{ "value": "a" }])), false),
            (json!(["a", "b", "a"]), Some(json!([{ "value": "a" }, { "value": "b" }])), false),
            (
                json!([{ "VALUE": "a", "display": "A", "type": "group" }, { "value": "a", "display": "B" }]),
                Some(json!([{ "value": "a", "type": "Group", "display": "A" }])),
                true,
            ),
            (
                json!([{ "value": "a", "display": "A" }, { "value": "a", "display": "B" }]),
                Some(json!([{ "value": "a", "display": "B" }])),
                true,
            ),
            (
                json!([{ "$ref": "https://x/v2/Users/a/" }]),
                Some(json!([{ "value": "a", "type": "User" }])),
                true,
            ),
            (json!([{ "$ref": "../Groups/g" }]), Some(json!([{ "value": "g", "type": "Group" }])), true),
            (json!([]), Some(json!([])), true),
            (json!(null), Some(json!([])), true),
            (json!([{ "value": "" }]), None, false),
            (json!([{ "value": " " }]), None, false),
            (json!([{ "display": "A" }]), None, false),
            (json!([{ "$ref": "/" }]), None, false),
            (json!([{ "value": 1 }]), None, false),
            (json!([1]), None, false),
            (json!(""), None, false),
        ] {
            assert_eq!(read(&STANDARD, &value), tolerant, "{value}");
            assert_eq!(read(&STRICT, &value), tolerant.filter(|_| strict), "strict: {value}");
        }
    }
}
