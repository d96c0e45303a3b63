//! Reading a request: the body, the query parameters, the preconditions.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use lambda_http::{Request, RequestExt};
use serde_json::{Map, Number, Value};

use crate::limits::MAX_JSON_VALUES;
use crate::provider::precondition::{EntityTags, Preconditions};
use crate::provider::reading::query::Query;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::faults::Faults;
use crate::scim::json::{self, JsonError};
use crate::scim::policy::Policy;
use crate::scim::projection::Projection;
use crate::scim::refusal::{name_json_type, refuse_member, refuse_repeated_name, shorten_text};
use crate::scim::resource_type::ResourceType;
use crate::scim::urn;
use crate::scim::validate::{check_message, check_schema_urns, schemas_in};

/// The members of the body of a `.search` (RFC 7644 §3.4.3, RFC 9865 §2).
const SEARCH_MEMBERS: [&str; 8] =
    ["attributes", "excludedAttributes", "filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"];

/// The body as a JSON object.
///
/// # Errors
/// - 413 for more than `limit` bytes, and for more than [`MAX_JSON_VALUES`] values
/// - 415 for another media type
/// - `invalidSyntax` for a body that is not an object, and for an object that names a member twice
pub fn object(request: &Request, limit: usize) -> Result<Map<String, Value>, ScimError> {
    let body: &[u8] = request.body();
    if body.len() > limit {
        return Err(ScimError::new(
            ErrorKind::PayloadTooLarge,
            format!("The body has {} bytes; the limit is {limit}. Split the request.", body.len()),
        ));
    }
    media_type(request.headers())?;
    content_encoding(request.headers())?;
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ScimError::invalid_syntax("The body must be a JSON object; it is empty."));
    }
    match json::read(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let sent = name_json_type(&other);
            Err(ScimError::invalid_syntax(format!("The body must be a JSON object; {sent} was sent.")))
        }
        Err(JsonError::Repeated(name)) => Err(ScimError::invalid_syntax(format!(
            "The body names the member {} twice in one object.",
            shorten_text(&name)
        ))),
        Err(JsonError::TooManyValues) => Err(ScimError::new(
            ErrorKind::PayloadTooLarge,
            format!("The body holds more than {MAX_JSON_VALUES} values. Split the request."),
        )),
        Err(JsonError::NumberTooLarge(error)) => Err(ScimError::invalid_value(format!(
            "The number at line {}, column {} is too large: {:e} is the limit.",
            error.line(),
            error.column(),
            f64::MAX
        ))),
        Err(JsonError::Malformed(error)) => Err(ScimError::invalid_syntax(describe_malformed(body, &error))),
    }
}

/// Why a body is not JSON: what is wrong and where, never the text there.
fn describe_malformed(body: &[u8], error: &serde_json::Error) -> String {
    if let Err(encoding) = std::str::from_utf8(body) {
        let at = encoding.valid_up_to() + 1;
        return format!("The body is not UTF-8: byte {at} cannot be read. Send the JSON in UTF-8.");
    }
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        // serde_json has no other sign of it.
        _ if error.to_string().starts_with("recursion limit exceeded") => {
            return "The body is nested more than 127 levels deep.".to_owned();
        }
        _ => "it cannot be read",
    };
    format!("The body is not JSON: {what} at line {}, column {}.", error.line(), error.column())
}

fn media_type(headers: &HeaderMap) -> Result<(), ScimError> {
    let Some(header) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = header.to_str().unwrap_or("?");
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(essence.as_str(), "" | "application/scim+json" | "application/json") {
        return Ok(());
    }
    Err(ScimError::new(
        ErrorKind::UnsupportedMediaType,
        format!(
            "The header Content-Type must be application/scim+json or application/json; {} was sent.",
            shorten_text(&essence)
        ),
    ))
}

/// Refuses a body that is packed: API Gateway hands it on as it is.
fn content_encoding(headers: &HeaderMap) -> Result<(), ScimError> {
    let Some(header) = headers.get(CONTENT_ENCODING) else { return Ok(()) };
    let text = header.to_str().unwrap_or("?").trim();
    if text.is_empty() || text.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    Err(ScimError::new(
        ErrorKind::UnsupportedMediaType,
        format!(
            "Send the body as it is, without the header Content-Encoding; {} was sent.",
            shorten_text(text)
        ),
    ))
}

/// Returns a query parameter, whose name may be in any case. If it is repeated, the first one counts, and the usual
/// spelling before others.
pub fn parameter(request: &Request, name: &str) -> Option<String> {
    values(request, name).next().map(str::to_owned)
}

/// The values of a query parameter, whose name may be in any case: a filter whose name is not known would be ignored.
fn values<'r>(request: &'r Request, name: &str) -> impl Iterator<Item = &'r str> {
    let all = request.query_string_parameters_ref().into_iter().flat_map(|all| all.iter());
    let mut found: Vec<_> = all.filter(|(own, _)| own.eq_ignore_ascii_case(name)).collect();
    // The event has no order of names.
    found.sort_by_key(|(own, _)| (*own != name, *own));
    found.into_iter().map(|(_, value)| value)
}

/// Reads `attributes` and `excludedAttributes` of the query string (RFC 7644 §3.9).
///
/// # Errors
/// The errors of [`Projection::parse`].
pub fn projection(request: &Request, types: &[&ResourceType]) -> Result<Projection, ScimError> {
    let values = |name| values(request, name).collect::<Vec<_>>();
    Projection::parse(&values("attributes"), &values("excludedAttributes"), types)
}

/// Reads the query parameters of a GET (RFC 7644 §3.4.2).
///
/// # Errors
/// - `invalidFilter` for two filters, since one of them would be ignored
/// - `invalidValue` if `startIndex` or `count` is not a number
pub fn query(request: &Request) -> Result<Query, ScimError> {
    let text = |name| parameter(request, name);
    if values(request, "filter").nth(1).is_some() {
        let detail = "The query has several parameters filter. Join the filters by and.";
        return Err(ScimError::invalid_filter(detail));
    }
    let cursor = text("cursor");
    let start = text("startIndex").or_else(|| text("start_index"));
    Ok(Query {
        filter: text("filter"),
        sort_by: text("sortBy").filter(|text| !text.trim().is_empty()),
        descending: is_descending(text("sortOrder").as_deref())?,
        start_index: start.map(|text| integer("startIndex", &text, false)).transpose()?,
        count: text("count").map(|text| integer("count", &text, cursor.is_some())).transpose()?,
        cursor,
    })
}

/// Reads the body of a `.search` (RFC 7644 §3.4.3). Returns the query and its projection.
///
/// # Errors
/// - `invalidSyntax` for a malformed message
/// - `invalidValue` for a value of another type
pub fn search(
    body: &Map<String, Value>,
    policy: &Policy,
    types: &[&ResourceType],
) -> Result<(Query, Projection), ScimError> {
    check_schema_urns(schemas_in(body)?, urn::SEARCH_REQUEST, policy)?;
    let mut faults = Faults::default();
    faults.keep(check_message(body, &[&SEARCH_MEMBERS[..], &["schemas"]].concat(), policy))?;
    for name in SEARCH_MEMBERS {
        if body.keys().filter(|key| key.eq_ignore_ascii_case(name)).count() > 1 {
            return Err(refuse_repeated_name(name));
        }
    }
    let member = |name: &str| {
        let found = body.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    };
    let invalid = |name: &str, what: &str| refuse_member(ErrorKind::InvalidValue, name, what, member(name));
    let text = |name: &str| match member(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(name, "a text")),
    };
    let names = |name: &str| match member(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.as_str()]),
        Some(Value::Array(values)) => match values.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
            Some(names) => Ok(names),
            None => Err(invalid(name, "an array of texts")),
        },
        Some(_) => Err(invalid(name, "an array of texts")),
    };
    let cursor = faults.keep(text("cursor"))?.flatten();
    let number = |name: &str| match member(name) {
        None => Ok(None),
        Some(value) => match value.as_number().and_then(whole) {
            Some(n) => Ok(Some(n)),
            None => Err(not_a_number(name, cursor.is_some(), name_json_type(value))),
        },
    };
    let query = Query {
        filter: faults.keep(text("filter"))?.flatten(),
        sort_by: faults.keep(text("sortBy"))?.flatten().filter(|text| !text.trim().is_empty()),
        descending: faults
            .keep(text("sortOrder").and_then(|order| is_descending(order.as_deref())))?
            .unwrap_or_default(),
        start_index: faults.keep(number("startIndex"))?.flatten(),
        count: faults.keep(number("count"))?.flatten(),
        cursor: cursor.clone(),
    };
    let attributes = faults.keep(names("attributes"))?.unwrap_or_default();
    let excluded = faults.keep(names("excludedAttributes"))?.unwrap_or_default();
    let projection = faults.keep(Projection::parse(&attributes, &excluded, types))?;
    faults.finish()?;
    Ok((query, projection.unwrap_or_default()))
}

fn is_descending(order: Option<&str>) -> Result<bool, ScimError> {
    match order.map(str::trim) {
        None | Some("") => Ok(false),
        Some(order) if order.eq_ignore_ascii_case("ascending") => Ok(false),
        Some(order) if order.eq_ignore_ascii_case("descending") => Ok(true),
        Some(order) => Err(ScimError::invalid_value(format!(
            "sortOrder must be ascending or descending; {} was sent.",
            shorten_text(order)
        ))),
    }
}

/// A whole number of any size; beyond what is counted here it is as large as can be.
fn integer(name: &str, text: &str, cursor: bool) -> Result<i64, ScimError> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let sent = if text.is_empty() { "an empty text".to_owned() } else { shorten_text(text) };
        return Err(not_a_number(name, cursor, &sent));
    }
    Ok(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

/// A JSON number without a fraction; beyond what is counted here it is as large as can be.
fn whole(number: &Number) -> Option<i64> {
    if let Some(number) = number.as_i64() {
        return Some(number);
    }
    let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
    // A cast of a float saturates.
    #[expect(clippy::cast_possible_truncation, reason = "there is no fraction to lose")]
    Some(number as i64)
}

fn not_a_number(name: &str, cursor: bool, sent: &str) -> ScimError {
    let kind = match (name, cursor) {
        ("count", true) => ErrorKind::InvalidCount,
        _ => ErrorKind::InvalidValue,
    };
    ScimError::new(kind, format!("{name} must be a whole number; {sent} was sent."))
}

/// Reads the headers `If-Match` and `If-None-Match` (RFC 9110 §13.1).
pub fn preconditions(request: &Request) -> Preconditions {
    let tags = |name| {
        let values: Vec<&str> =
            request.headers().get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
        (!values.is_empty()).then(|| EntityTags::parse(&values.join(", ")))
    };
    Preconditions { if_match: tags(IF_MATCH), if_none_match: tags(IF_NONE_MATCH) }
}
