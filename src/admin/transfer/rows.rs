//! What an import reads: SCIM resources, a line each, or a table of users with SCIM names as headings.

use serde_json::{Map, Value, json};

use crate::admin::error::AdminError;
use crate::scim::json::{JsonError, read};
use crate::scim::refusal::name_json_type;
use crate::scim::resource_type::Kind;
use crate::scim::urn;

/// A user or a group as a line of the file has it.
pub type RowResource = (Kind, Map<String, Value>);

/// One resource to import.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// User or group, or what is wrong with the line.
    pub resource: Result<RowResource, String>,
}

/// The schema of the last line of an export: the tenant, and how many lines of each kind there are.
pub const TENANT_LINE: &str = "urn:rollcall:export:Tenant";
/// The schema of the line of a deactivated account, which no answer of SCIM shows.
pub const DEACTIVATED_LINE: &str = "urn:rollcall:export:DeactivatedUser";
/// The schema of the line of an erased account.
pub const ERASED_LINE: &str = "urn:rollcall:export:ErasedUser";
/// The schema of the line of a role or an entitlement.
pub const DEFINITION_LINE: &str = "urn:rollcall:export:Definition";
/// The schemas of lines that are neither users nor groups.
const OTHER_LINES: [&str; 4] = [TENANT_LINE, DEACTIVATED_LINE, ERASED_LINE, DEFINITION_LINE];

/// Reads the users and groups in lines of JSON. Empty lines and the other lines of an export are passed over.
pub fn json_lines(text: &str) -> Vec<Row> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .filter_map(|(at, line)| Some(Row { line: at + 1, resource: json_line(line).transpose()? }))
        .collect()
}

/// Reads a line. `None` for a line that is neither a user nor a group.
fn json_line(line: &str) -> Result<Option<RowResource>, String> {
    let resource = json_object(line)?;
    let has = |urn: &str| has_schema(&resource, urn);
    match (has(urn::USER), has(urn::GROUP)) {
        _ if OTHER_LINES.into_iter().any(has) => Ok(None),
        (true, false) => Ok(Some((Kind::User, resource))),
        (false, true) => Ok(Some((Kind::Group, resource))),
        _ => Err(format!("schemas must name {} or {}", urn::USER, urn::GROUP)),
    }
}

/// Reads a line as a JSON object.
///
/// # Errors
/// What is wrong with it.
pub fn json_object(line: &str) -> Result<Map<String, Value>, String> {
    let value = read(line.as_bytes()).map_err(|error| match error {
        JsonError::Malformed(error) => {
            format!("the line is not JSON: column {} cannot be read", error.column())
        }
        other => format!("the line cannot be used: {other}"),
    })?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(format!("the line must be a JSON object; it is {}", name_json_type(&other))),
    }
}

/// Whether a line names a schema.
pub fn has_schema(resource: &Map<String, Value>, urn: &str) -> bool {
    resource.get("schemas").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == urn))
}

/// Reads a table of users. A heading is an attribute (`userName`), a part of one
/// (`name.givenName`), or `emails`, which is the primary address. Empty cells are left out.
///
/// # Errors
/// [`AdminError::Input`] for a heading line that cannot be read.
pub fn csv(text: &str) -> Result<Vec<Row>, AdminError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headings = reader.headers().cloned();
    let headings =
        headings.map_err(|error| AdminError::Input(format!("the headings cannot be read: {error}")))?;
    if !headings.iter().any(|heading| heading.eq_ignore_ascii_case("userName")) {
        let problem = "the first line must name the columns, userName among them";
        return Err(AdminError::Input(problem.to_owned()));
    }
    let rows = reader.records().enumerate().map(|(at, record)| {
        let line = record.as_ref().ok().and_then(csv::StringRecord::position).map(csv::Position::line);
        let line = line.and_then(|line| usize::try_from(line).ok()).unwrap_or(at + 2);
        let resource = record.map_err(|error| format!("this line cannot be read: {error}"));
        Row { line, resource: resource.map(|record| (Kind::User, user(&headings, &record))) }
    });
    Ok(rows.collect())
}

fn user(headings: &csv::StringRecord, record: &csv::StringRecord) -> Map<String, Value> {
    let mut user = Map::new();
    user.insert("schemas".to_owned(), json!([urn::USER]));
    for (heading, cell) in headings.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let value = match cell.to_ascii_lowercase().as_str() {
            "true" if heading.eq_ignore_ascii_case("active") => json!(true),
            "false" if heading.eq_ignore_ascii_case("active") => json!(false),
            _ => json!(cell),
        };
        match heading.split_once('.') {
            Some((attribute, sub)) => {
                let object = user.entry(attribute).or_insert_with(|| json!({}));
                object[sub] = value;
            }
            None if heading.eq_ignore_ascii_case("emails") => {
                let email = json!([{ "value": value, "type": "work", "primary": true }]);
                user.insert("emails".to_owned(), email);
            }
            None => {
                user.insert(heading.to_owned(), value);
            }
        }
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_becomes_users() {
        let rows = csv("userName, name.givenName, emails, active\na@x.y,Ada,a@x.y,FALSE\nb@x.y,,,\n\"c\n");
        let rows = rows.expect("rows");
        let (kind, user) = rows[0].resource.clone().expect("a user");
        assert_eq!((rows[0].line, kind), (2, Kind::User));
        let expected = json!({
            "schemas": [urn::USER], "userName": "a@x.y", "name": { "givenName": "Ada" },
            "emails": [{ "value": "a@x.y", "type": "work", "primary": true }], "active": false
        });
        assert_eq!(Value::Object(user), expected);
        assert_eq!(rows[1].resource.clone().expect("a user").1["userName"], "b@x.y");
        assert!(rows[2].resource.is_err(), "too few cells");
        assert!(csv("name\nx").is_err());
    }

    #[test]
    fn a_line_says_what_it_is() {
        let user = json!({ "schemas": [urn::USER], "userName": "a" });
        let rows = json_lines(&format!("{user}\n\n[]\n{{}}\nnothing\n"));
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert!(rows[0].resource.is_ok() && rows[1..].iter().all(|row| row.resource.is_err()));
    }
}
