//! The sentences that refuse a value or a name. They name the attribute by its path, what must be there, and what was
//! sent: its JSON type, never the value.

use serde_json::Value;

use super::error::{ErrorKind, ScimError};
use super::note_texts::Rule;
use super::schema::{Attribute, Type};
use crate::limits::{MAX_ELEMENTS, MAX_NAME_CHARS, MAX_TEXT_BYTES};

/// The attributes that [`MAX_NAME_CHARS`] holds for.
const NAMES: &[&str] = &["userName", "displayName", "externalId"];

/// A client's text, short enough for a sentence.
pub fn shorten_text(text: &str) -> String {
    const LIMIT: usize = 200;
    match text.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The refusal of an attribute that stands twice in one object: names differ in more than case
/// (RFC 7643 §2.1).
pub fn refuse_repeated_name(path: &str) -> ScimError {
    ScimError::invalid_syntax(format!("Attribute {path} is given more than once."))
}

/// A key that a client sent, for a sentence. An empty one, also at the end of a path, is shown as `""`.
pub fn name_key(key: &str) -> String {
    match key.ends_with(['.', ':']) || key.is_empty() {
        true => format!("{}\"\"", shorten_text(key)),
        false => shorten_text(key),
    }
}

/// The refusal of a key that no schema defines.
pub fn unknown_attribute(key: &str) -> ScimError {
    let key = name_key(key);
    ScimError::invalid_syntax(format!("No schema defines the attribute {key}."))
        .by(Rule::KnownAttribute, &key)
}

/// The refusal of a value for an attribute that only the server writes.
pub fn refuse_read_only(path: &str) -> ScimError {
    ScimError::mutability(format!("Attribute {path} is read-only.")).by(Rule::ReadOnly, path)
}

/// A text was sent, as was expected, but it does not say what it must.
pub(super) const ANOTHER_TEXT: &str = "another text was sent";

/// The refusal of a value of another JSON type: what must be there, and what was sent.
pub fn expected(path: &str, what: &str, sent: &Value) -> ScimError {
    refuse_value(path, what, &format!("{} was sent", name_json_type(sent)))
}

/// The refusal of a member of a message: what it must be, and what was sent.
pub fn refuse_member(kind: ErrorKind, name: &str, what: &str, sent: Option<&Value>) -> ScimError {
    let sent = match sent {
        None => "nothing",
        Some(Value::Array(elements)) if !elements.is_empty() && what.starts_with("an array") => {
            "an array with other values"
        }
        Some(value) => name_json_type(value),
    };
    ScimError::new(kind, format!("{name} must be {what}; {sent} was sent."))
}

/// What a value is, in a sentence.
pub fn name_json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(text) if text.trim().is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Array(elements) if elements.is_empty() => "an empty array",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub(super) fn refuse_value(path: &str, what: &str, sent: &str) -> ScimError {
    ScimError::invalid_value(format!("Attribute {path} must be {what}; {sent}.")).by(Rule::Type, path)
}

/// What stands in a multi-valued attribute.
pub(super) const fn describe_array(attribute: &Attribute) -> &'static str {
    match attribute.kind {
        Type::Complex => "an array of objects",
        Type::Boolean => "an array of booleans",
        Type::Decimal | Type::Integer => "an array of numbers",
        Type::String | Type::DateTime | Type::Reference | Type::Binary => "an array of texts",
    }
}

pub(super) const fn description(kind: Type) -> &'static str {
    match kind {
        Type::String => "a text",
        Type::Boolean => "true or false",
        Type::Decimal => "a number",
        Type::Integer => "a whole number",
        Type::DateTime => "a date and time such as 2011-05-13T04:42:34Z",
        Type::Reference => "a text that holds a URI",
        Type::Binary => "a text in base64",
        Type::Complex => "an object",
    }
}

/// Refuses more elements than a document may hold. A group's members are not in its document.
///
/// # Errors
/// `invalidValue` for more than [`MAX_ELEMENTS`] values.
pub fn check_count(path: &str, count: usize) -> Result<(), ScimError> {
    if count > MAX_ELEMENTS && path != "members" {
        let what = format!("an array of at most {MAX_ELEMENTS} values");
        return Err(refuse_value(path, &what, &format!("{count} were sent")));
    }
    Ok(())
}

pub(super) fn text_within_limit(attribute: &Attribute, path: &str, text: &str) -> Result<(), ScimError> {
    if NAMES.contains(&attribute.name.as_str()) && text.chars().count() > MAX_NAME_CHARS {
        let what = format!("at most {MAX_NAME_CHARS} characters long");
        return Err(refuse_value(path, &what, "a longer text was sent"));
    }
    if text.len() > MAX_TEXT_BYTES {
        let what = format!("at most {MAX_TEXT_BYTES} bytes long");
        return Err(refuse_value(path, &what, "a longer text was sent"));
    }
    Ok(())
}
