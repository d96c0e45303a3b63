//! The body of a Bulk request (RFC 7644 §3.7).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::references::{BulkDataForm, BulkSubject, PREFIX};
use crate::limits::MAX_BULK_OPERATIONS;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::policy::Policy;
use crate::scim::refusal::{refuse_member, refuse_repeated_name, shorten_text};
use crate::scim::resource_type::{Kind, Model};
use crate::scim::urn;
use crate::scim::validate::{check_message, check_schema_urns, schemas_in};
use crate::scim::values::is_blank;

/// The request: what is to be done, and how many failures are borne.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkRequest {
    /// After this many errors no further operation starts. `None` is no limit.
    pub fail_on_errors: Option<u64>,
    /// The operations, in the client's order.
    pub operations: Vec<BulkOperation>,
}

/// One operation. What is wrong with it is its own failure, not the request's.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkOperation {
    /// The method, as far as it is text, for the answer.
    pub method: Option<String>,
    /// The client's name for the operation and for what it creates.
    pub bulk_id: Option<String>,
    /// The resource in the path, where the path names one.
    pub target: Option<BulkTarget>,
    /// The version that the resource must be in.
    pub version: Option<String>,
    /// What to do, or why nothing can be done.
    pub action: Result<BulkAction, ScimError>,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkAction {
    /// `POST /Users`.
    Create(Kind, Map<String, Value>),
    /// `PUT /Users/{id}`.
    Replace(BulkTarget, Map<String, Value>),
    /// `PATCH /Users/{id}`.
    Modify(BulkTarget, Map<String, Value>),
    /// `DELETE /Users/{id}`.
    Delete(BulkTarget),
}

impl BulkAction {
    /// What the data is about that it writes.
    pub fn subject<'m>(&self, model: &'m Model) -> Option<BulkSubject<'m>> {
        let (kind, form) = match self {
            Self::Create(kind, _) => (*kind, BulkDataForm::Resource),
            Self::Replace(target, _) => (target.kind, BulkDataForm::Resource),
            Self::Modify(target, _) => (target.kind, BulkDataForm::Patch),
            Self::Delete(_) => return None,
        };
        Some(BulkSubject { resource_type: model.of(kind), form })
    }

    /// The kind of the resource that it changes or deletes. `None` for a creation.
    pub fn changed_kind(&self) -> Option<Kind> {
        match self {
            Self::Create(..) => None,
            Self::Replace(target, _) | Self::Modify(target, _) | Self::Delete(target) => Some(target.kind),
        }
    }
}

/// The resource that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkTarget {
    /// What it is.
    pub kind: Kind,
    /// Its id, or the `bulkId` of the operation that creates it.
    pub id: TargetId,
}

/// How a path names a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetId {
    /// By its id, as sent.
    Id(String),
    /// By the `bulkId` of the operation that creates it.
    BulkId(String),
}

impl BulkOperation {
    /// The kind of the resource that it is about; `None` if it cannot be done.
    pub fn kind(&self) -> Option<Kind> {
        match self.action.as_ref().ok()? {
            BulkAction::Create(kind, _) => Some(*kind),
            action => action.changed_kind(),
        }
    }

    /// Whether it asks for a new resource, so that others may refer to it.
    pub fn creates(&self) -> bool {
        self.method.as_deref() == Some("POST")
    }

    /// What the data is about that it writes.
    pub fn subject<'m>(&self, model: &'m Model) -> Option<BulkSubject<'m>> {
        self.action.as_ref().ok()?.subject(model)
    }

    /// The data that it writes.
    pub fn data(&self) -> Option<&Map<String, Value>> {
        match self.action.as_ref().ok()? {
            BulkAction::Create(_, data) | BulkAction::Replace(_, data) | BulkAction::Modify(_, data) => {
                Some(data)
            }
            BulkAction::Delete(_) => None,
        }
    }
}

/// Refuses more operations than are taken. This comes before all that is 400, as for a body of too many bytes.
fn check_number(body: &Map<String, Value>) -> Result<(), ScimError> {
    let number = match member(body, "Operations") {
        Ok(Some(Value::Array(elements))) => elements.len(),
        _ => 0,
    };
    if number <= MAX_BULK_OPERATIONS {
        return Ok(());
    }
    Err(ScimError::new(
        ErrorKind::PayloadTooLarge,
        format!(
            "The request holds {number} operations; the limit is {MAX_BULK_OPERATIONS} (maxOperations). Split it."
        ),
    ))
}

/// Reads the body of a Bulk request. Names and methods come in any case.
///
/// # Errors
/// `invalidSyntax` for the message as a whole, 413 for more operations than are taken.
pub fn read(body: &Map<String, Value>, policy: &Policy) -> Result<BulkRequest, ScimError> {
    check_number(body)?;
    check_schema_urns(schemas_in(body)?, urn::BULK_REQUEST, policy)?;
    check_message(body, &["schemas", "failOnErrors", "Operations"], policy)?;
    let fail_on_errors = match member(body, "failOnErrors")? {
        None => None,
        Some(value) => Some(count(value).filter(|limit| *limit > 0).ok_or_else(|| {
            let what = "a whole number of at least 1";
            refuse_member(ErrorKind::InvalidSyntax, "failOnErrors", what, Some(value))
        })?),
    };
    let elements = match member(body, "Operations")? {
        Some(Value::Array(elements)) if !elements.is_empty() => elements,
        sent => {
            let what = "an array of at least one operation";
            return Err(refuse_member(ErrorKind::InvalidSyntax, "Operations", what, sent));
        }
    };
    let mut operations: Vec<BulkOperation> =
        elements.iter().map(|element| operation(element, policy)).collect();
    let mut seen = HashSet::new();
    for operation in &mut operations {
        if let Some(id) = &operation.bulk_id
            && !seen.insert(id.clone())
        {
            operation.action = Err(ScimError::invalid_value(format!(
                "An earlier operation has the bulkId {}; each must be unique in the request.",
                shorten_text(id)
            )));
        }
    }
    Ok(BulkRequest { fail_on_errors, operations })
}

/// Reads a whole number that is not negative. A number that is too large becomes `u64::MAX`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "there is nothing to lose")]
fn count(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    // A cast of a float saturates.
    value.as_u64().or_else(|| float().map(|number| number as u64))
}

/// The members of an operation (RFC 7644 §3.7). The last three are those of an answer.
const OPERATION_MEMBERS: [&str; 8] =
    ["method", "bulkId", "version", "path", "data", "location", "response", "status"];

fn operation(element: &Value, policy: &Policy) -> BulkOperation {
    let Value::Object(object) = element else {
        let refusal = ScimError::invalid_syntax("Every element of Operations must be an object.");
        return BulkOperation {
            method: None,
            bulk_id: None,
            target: None,
            version: None,
            action: Err(refusal),
        };
    };
    let text = |name| match member(object, name) {
        Ok(Some(Value::String(text))) if !is_blank(text) => Some(text.clone()),
        _ => None,
    };
    let method = text("method").map(|method| method.trim().to_ascii_uppercase());
    let place = text("path").map(|path| place(path.trim()));
    let target = match &place {
        Some(BulkPath::Resource(target)) => Some(target.clone()),
        _ => None,
    };
    BulkOperation {
        action: match (
            check_message(object, &OPERATION_MEMBERS, policy),
            action(object, method.as_deref(), place),
        ) {
            (Ok(()), action) => action,
            (Err(unknown), Ok(_)) => Err(unknown),
            (Err(mut unknown), Err(more)) => {
                unknown.join(more);
                Err(unknown)
            }
        },
        method,
        bulk_id: text("bulkId"),
        target,
        version: text("version"),
    }
}

fn action(
    object: &Map<String, Value>,
    method: Option<&str>,
    place: Option<BulkPath>,
) -> Result<BulkAction, ScimError> {
    for name in ["method", "path", "bulkId", "version"] {
        let sent = member(object, name)?;
        if !matches!(sent, None | Some(Value::String(_))) {
            return Err(refuse_member(ErrorKind::InvalidSyntax, name, "a text", sent));
        }
    }
    let method = method.ok_or_else(|| ScimError::invalid_value("An operation needs a method."))?;
    if !matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") {
        return Err(ScimError::invalid_value(format!(
            "The method of an operation must be POST, PUT, PATCH or DELETE; {} was sent.",
            shorten_text(method)
        )));
    }
    let place =
        place.ok_or_else(|| ScimError::invalid_value("An operation needs a path, such as /Users."))?;
    let wrong = |methods: &str| {
        let detail = format!("In a Bulk request this path answers {methods}.");
        Err(ScimError::new(ErrorKind::MethodNotAllowed, detail))
    };
    match (method, place) {
        (_, BulkPath::Query) => Err(ScimError::invalid_value(
            "The path of an operation cannot have a query. Send it without the ? and what follows.",
        )),
        (_, BulkPath::Nowhere) => Err(ScimError::not_found(
            "There is no such endpoint in a Bulk request; there are /Users, /Groups and the resources below them.",
        )),
        ("POST", BulkPath::Endpoint(kind)) => match member(object, "bulkId")? {
            Some(Value::String(id)) if !is_blank(id) => Ok(BulkAction::Create(kind, data(object)?)),
            _ => Err(ScimError::invalid_value("An operation that creates a resource needs a bulkId.")),
        },
        ("PUT" | "PATCH" | "DELETE", BulkPath::Endpoint(kind)) => {
            let path = kind.endpoint();
            Err(ScimError::new(
                ErrorKind::MethodNotAllowed,
                format!(
                    "The id is missing: send {method} {path}/<id>. In a Bulk request this path answers POST."
                ),
            ))
        }
        (_, BulkPath::Endpoint(_)) => wrong("POST"),
        ("PUT", BulkPath::Resource(target)) => Ok(BulkAction::Replace(target, data(object)?)),
        ("PATCH", BulkPath::Resource(target)) => Ok(BulkAction::Modify(target, data(object)?)),
        ("DELETE", BulkPath::Resource(target)) => Ok(BulkAction::Delete(target)),
        (_, BulkPath::Resource(_)) => wrong("PUT, PATCH, DELETE"),
    }
}

fn data(object: &Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
    match member(object, "data")? {
        Some(Value::Object(data)) => Ok(data.clone()),
        None => Err(ScimError::invalid_value("An operation that writes a resource needs data.")),
        sent => Err(refuse_member(ErrorKind::InvalidSyntax, "data", "an object", sent)),
    }
}

/// Where the path of an operation leads.
enum BulkPath {
    Endpoint(Kind),
    Resource(BulkTarget),
    /// One with a query.
    Query,
    Nowhere,
}

fn place(path: &str) -> BulkPath {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let (endpoint, id) = path.split_once('/').unwrap_or((path, ""));
    if path.contains('?') && !id.starts_with(PREFIX) {
        return BulkPath::Query;
    }
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.endpoint()[1..] == *endpoint) else {
        return BulkPath::Nowhere;
    };
    match id.strip_prefix(PREFIX) {
        _ if path == endpoint => BulkPath::Endpoint(kind),
        Some(name) if !name.is_empty() => {
            BulkPath::Resource(BulkTarget { kind, id: TargetId::BulkId(name.to_owned()) })
        }
        _ if id.is_empty() || id == ".search" || id.contains('/') => BulkPath::Nowhere,
        _ => BulkPath::Resource(BulkTarget { kind, id: TargetId::Id(id.to_owned()) }),
    }
}

/// A member of a message, its name in any case; `null` counts as absent.
fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Value>, ScimError> {
    let mut found = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let first = found.next().map(|(_, value)| value);
    if found.next().is_some() {
        return Err(refuse_repeated_name(name));
    }
    Ok(first.filter(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::policy::{STANDARD, STRICT};

    fn read_as(policy: &'static Policy, body: &Value) -> Result<BulkRequest, ErrorKind> {
        read(body.as_object().expect("an object"), policy).map_err(|e| e.kind)
    }

    #[test]
    fn the_message_is_refused_as_a_whole() {
        let delete = json!({ "method": "DELETE", "path": "/Users/1" });
        for (body, expected) in [
            (json!({ "Operations": [delete] }), None),
            (json!({ "OPERATIONS": [delete], "FailOnErrors": 2 }), None),
            (json!({ "Operations": [delete], "failOnErrors": null }), None),
            (json!({ "Operations": [delete], "schemas": [urn::PATCH_OP] }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": [delete], "schemas": [] }), None),
            (json!({ "Operations": [delete], "operations": [] }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": delete }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": [] }), Some(ErrorKind::InvalidSyntax)),
            (json!({}), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": [delete], "failOnErrors": 1e30 }), None),
            (json!({ "Operations": [delete], "failOnErrors": -1e30 }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": [delete], "failOnErrors": 0 }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": [delete], "failOnErrors": "1" }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": [delete], "failOnErrors": 1.5 }), Some(ErrorKind::InvalidSyntax)),
            (json!({ "Operations": vec![1; 1001] }), Some(ErrorKind::PayloadTooLarge)),
        ] {
            assert_eq!(read_as(&STANDARD, &body).err(), expected, "{body}");
        }
        assert_eq!(
            read_as(&STRICT, &json!({ "Operations": [delete] })).err(),
            Some(ErrorKind::InvalidSyntax)
        );
        assert_eq!(
            read_as(&STRICT, &json!({ "schemas": [], "Operations": [delete] })).err(),
            Some(ErrorKind::InvalidSyntax)
        );
        let request = read_as(&STRICT, &json!({ "schemas": [urn::BULK_REQUEST], "Operations": [delete] }));
        assert!(request.is_ok());
    }

    #[test]
    fn an_operation_fails_alone() {
        let post = |path: &str| json!({ "method": "post", "path": path, "bulkId": "a", "data": {} });
        let with = |method: &str, path: &str| json!({ "method": method, "path": path, "data": {} });
        let said = |operation: &Value| {
            let operation = super::operation(operation, &STANDARD);
            match operation.action {
                Ok(BulkAction::Create(kind, _)) => format!("create {}", kind.name()),
                Ok(BulkAction::Replace(target, _)) => format!("replace {target:?}"),
                Ok(BulkAction::Modify(target, _)) => format!("modify {target:?}"),
                Ok(BulkAction::Delete(target)) => format!("delete {target:?}"),
                Err(refusal) => format!("{:?}", refusal.kind),
            }
        };
        let id = |kind, id: &str| format!("{:?}", BulkTarget { kind, id: TargetId::Id(id.to_owned()) });
        let of_a = format!("{:?}", BulkTarget { kind: Kind::Group, id: TargetId::BulkId("a/b".to_owned()) });
        for (operation, expected) in [
            (post("/Users"), "create User".to_owned()),
            (post("Groups/"), "create Group".to_owned()),
            (post("/users"), "NotFound".to_owned()),
            (post("/Users/1"), "MethodNotAllowed".to_owned()),
            (post("/Users/.search"), "NotFound".to_owned()),
            (post("/Users?count=1"), "InvalidValue".to_owned()),
            (with("PATCH", "/Users/1?attributes=title"), "InvalidValue".to_owned()),
            (
                with("DELETE", "/Groups/bulkId:a?b"),
                format!(
                    "delete {:?}",
                    BulkTarget { kind: Kind::Group, id: TargetId::BulkId("a?b".to_owned()) }
                ),
            ),
            (json!({ "method": "POST", "path": "/Users", "data": {} }), "InvalidValue".to_owned()),
            (
                json!({ "method": "POST", "path": "/Users", "bulkId": " ", "data": {} }),
                "InvalidValue".to_owned(),
            ),
            (
                json!({ "method": "POST", "path": "/Users", "bulkId": 1, "data": {} }),
                "InvalidSyntax".to_owned(),
            ),
            (json!({ "method": "POST", "path": "/Users", "bulkId": "a" }), "InvalidValue".to_owned()),
            (
                json!({ "method": "POST", "path": "/Users", "bulkId": "a", "data": [] }),
                "InvalidSyntax".to_owned(),
            ),
            (with("PUT", "/Users/1/"), format!("replace {}", id(Kind::User, "1"))),
            (with("Patch", "/Groups/bulkId:a/b"), format!("modify {of_a}")),
            (with("PATCH", "/Groups/bulkId:"), format!("modify {}", id(Kind::Group, "bulkId:"))),
            (json!({ "METHOD": "delete", "Path": "/Users/1" }), format!("delete {}", id(Kind::User, "1"))),
            (with("DELETE", "/Users"), "MethodNotAllowed".to_owned()),
            (with("DELETE", "/Users//"), "NotFound".to_owned()),
            (with("PUT", "/Users/1/2"), "NotFound".to_owned()),
            (with("PUT", "/Me"), "NotFound".to_owned()),
            (with("GET", "/Users/1"), "InvalidValue".to_owned()),
            (json!({ "path": "/Users" }), "InvalidValue".to_owned()),
            (json!({ "method": "PUT" }), "InvalidValue".to_owned()),
            (json!({ "method": 1, "path": "/Users" }), "InvalidSyntax".to_owned()),
            (json!({ "method": "PUT", "Method": "PUT", "path": "/Users/1" }), "InvalidSyntax".to_owned()),
            (json!(1), "InvalidSyntax".to_owned()),
        ] {
            assert_eq!(said(&operation), expected, "{operation}");
        }
    }

    #[test]
    fn a_bulk_id_names_one_operation() {
        let post = json!({ "method": "POST", "path": "/Users", "bulkId": "a", "data": {} });
        let request = read_as(&STANDARD, &json!({ "Operations": [post, post] })).expect("a request");
        let kinds: Vec<_> =
            request.operations.iter().map(|o| o.action.as_ref().err().map(|e| e.kind)).collect();
        assert_eq!(kinds, [None, Some(ErrorKind::InvalidValue)]);
    }
}
