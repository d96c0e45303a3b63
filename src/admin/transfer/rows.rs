//! What an import reads: SCIM resources, a line each.

use serde_json::{Map, Value};

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

/// What an import reads of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportFile {
    /// Its users and groups.
    pub rows: Vec<Row>,
    /// The id that the root team has in the file, if the file says.
    pub root_team: Option<String>,
}

/// The schema of the last line of an export: the tenant, and how many lines of each kind there are.
pub const TENANT_LINE: &str = "urn:rollcall:export:Tenant";
/// The schema of the line of a deactivated account, which no answer of SCIM shows.
pub const DEACTIVATED_LINE: &str = "urn:rollcall:export:DeactivatedUser";
/// The schema of the line of an erased account.
pub const ERASED_LINE: &str = "urn:rollcall:export:ErasedUser";
/// The schema of the line of a role or an entitlement.
pub const DEFINITION_LINE: &str = "urn:rollcall:export:Definition";
/// The schemas of lines that are neither users, groups nor the tenant.
const OTHER_LINES: [&str; 3] = [DEACTIVATED_LINE, ERASED_LINE, DEFINITION_LINE];

/// Reads lines of JSON: the users and groups, and which of these is the root team. Empty lines and what else an export has
/// are passed over.
pub fn json_lines(text: &str) -> ImportFile {
    let mut file = ImportFile::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match json_line(line) {
            Ok(FileLine::Resource(resource)) => file.rows.push(Row { line: at + 1, resource: Ok(*resource) }),
            Ok(FileLine::Tenant(root_team)) => file.root_team = root_team,
            Ok(FileLine::Other) => {}
            Err(problem) => file.rows.push(Row { line: at + 1, resource: Err(problem) }),
        }
    }
    file
}

enum FileLine {
    Resource(Box<RowResource>),
    /// With the id of the root team.
    Tenant(Option<String>),
    Other,
}

fn json_line(line: &str) -> Result<FileLine, String> {
    let resource = json_object(line)?;
    let has = |urn: &str| has_schema(&resource, urn);
    match (has(urn::USER), has(urn::GROUP)) {
        _ if has(TENANT_LINE) => {
            Ok(FileLine::Tenant(resource.get("rootTeam").and_then(Value::as_str).map(str::to_owned)))
        }
        _ if OTHER_LINES.into_iter().any(has) => Ok(FileLine::Other),
        (true, false) => Ok(FileLine::Resource(Box::new((Kind::User, resource)))),
        (false, true) => Ok(FileLine::Resource(Box::new((Kind::Group, resource)))),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_it_is() {
        let user = json!({ "schemas": [urn::USER], "userName": "a" });
        let rows = json_lines(&format!("{user}\n\n[]\n{{}}\nnothing\n")).rows;
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert!(rows[0].resource.is_ok() && rows[1..].iter().all(|row| row.resource.is_err()));
    }
}
