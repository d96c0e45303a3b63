//! The roles and entitlements in a file: a line each, as an export writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::import::{Fate, ImportedLine};
use super::rows::{DEFINITION_LINE, has_schema, json_object};
use crate::admin::definition::{create, update};
use crate::admin::error::AdminError;
use crate::admin::tenant;
use crate::admin::when;
use crate::provider::changing::definitions::{NewDefinition, check_values, is_definition_id};
use crate::scim::resource::etag;
use crate::scim::resource_type::DefinedKind;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::definition::{Definition, DefinitionText};
use crate::store::error::StoreError;
use crate::store::keys::{TenantId, parse_id};
use crate::store::record::Role;

/// A line of the file: its number, and what it holds or why it cannot be read.
#[derive(Clone, Debug)]
pub struct DefinitionLine {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What it holds.
    pub definition: Result<Definition, String>,
}

/// Writes a role or an entitlement as a line.
pub fn definition_line(definition: &Definition) -> Value {
    let grants: Vec<Value> = definition
        .grants
        .iter()
        .map(|role| json!({ "team": role.team.to_string(), "role": role.role }))
        .collect();
    json!({
        "schemas": [DEFINITION_LINE],
        "id": definition.id,
        "displayName": definition.text.name,
        "description": definition.text.description,
        "type": definition.text.label,
        "grants": grants,
        "meta": {
            "resourceType": definition.kind.name(), "created": definition.created,
            "lastModified": definition.modified, "version": etag(definition.version),
        },
    })
}

/// Reads the lines of roles and entitlements in a file. All other lines are passed over.
pub fn definition_lines(text: &str) -> Vec<DefinitionLine> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(DEFINITION_LINE));
    let read = lines.filter_map(|(at, line)| {
        let object = json_object(line).ok().filter(|object| has_schema(object, DEFINITION_LINE))?;
        Some(DefinitionLine { line: at + 1, definition: read_definition(&object) })
    });
    read.collect()
}

fn read_definition(line: &Map<String, Value>) -> Result<Definition, String> {
    let text_of = |of: &Map<String, Value>, name: &str| {
        of.get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| format!("the line lacks {name}"))
    };
    let meta = line.get("meta").and_then(Value::as_object).ok_or("the line lacks meta")?;
    let time_of = |name: &str| {
        let text = text_of(meta, name)?;
        when::moment(&text).map(|_| text).ok_or_else(|| format!("{name} is not a time"))
    };
    let kind = DefinedKind::named(&text_of(meta, "resourceType")?);
    let version = text_of(meta, "version")?;
    let version = version.strip_prefix("W/\"").and_then(|rest| rest.strip_suffix('"'));
    let version: Option<u64> = version.and_then(|version| version.parse().ok());
    let id = text_of(line, "id")?;
    if !is_definition_id(&id) {
        return Err(format!("{id} is no id of a role or an entitlement"));
    }
    let grants = line.get("grants").cloned().unwrap_or_else(|| json!([]));
    let grants: BTreeSet<Role> =
        serde_json::from_value(grants).map_err(|error| format!("the grants cannot be read: {error}"))?;
    Ok(Definition {
        kind: kind.ok_or("meta.resourceType must be Role or Entitlement")?,
        id,
        text: DefinitionText {
            name: text_of(line, "displayName")?,
            description: text_of(line, "description").ok(),
            label: text_of(line, "type").ok(),
        },
        grants,
        version: version.filter(|version| *version > 0).ok_or("meta.version must be as W/\"3\"")?,
        created: time_of("created")?,
        modified: time_of("lastModified")?,
        is_deleted: false,
    })
}

/// Imports roles and entitlements: makes those that the tenant does not have, and changes the others. `ids` are the ids
/// in the tenant of the groups in the file. With `dry_run` nothing is written.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::BeingDeleted`]; [`AdminError::Table`] if a call fails. What is refused is in the outcome instead.
pub async fn import_definitions(
    table: &Table,
    id: &TenantId,
    lines: &[DefinitionLine],
    ids: &BTreeMap<String, String>,
    dry_run: bool,
) -> Result<Vec<ImportedLine>, AdminError> {
    let tenant = tenant::get_lasting(table, id).await?;
    let store =
        Store { table: table.clone(), tenant: id.clone(), actor: String::new(), request_id: String::new() };
    let mut outcomes = Vec::with_capacity(lines.len());
    for DefinitionLine { line, definition } in lines {
        let definition = match definition {
            Ok(definition) => definition,
            Err(problem) => {
                outcomes.push(outcome(*line, None, Err(problem.clone())));
                continue;
            }
        };
        let which = (definition.kind, definition.id.as_str());
        let found = store.definitions().fetch(which.0, which.1).await;
        let found = found.map_err(AdminError::table(table.name()))?;
        let new = NewDefinition {
            name: Some(definition.text.name.clone()),
            description: Some(definition.text.description.clone()),
            label: Some(definition.text.label.clone()),
            grants: Some(definition.grants.iter().map(|role| renamed(role, ids)).collect()),
        };
        let is_same = found
            .as_ref()
            .is_some_and(|found| found.text == definition.text && Some(&found.grants) == new.grants.as_ref());
        let fate = match (&found, is_same) {
            (_, true) => Ok(Fate::Unchanged),
            (found, _) if dry_run => match check_values(definition.kind, tenant.root_team, &new) {
                Err(refused) => Err(AdminError::Input(refused.detail)),
                Ok(()) if found.is_some() => Ok(Fate::Updated),
                Ok(()) => Ok(Fate::Created),
            },
            (None, _) => create(table, &tenant, which, &new).await.map(|_| Fate::Created),
            (Some(_), _) => update(table, &tenant, which, &new).await.map(|_| Fate::Updated),
        };
        let fate = match fate {
            Ok(fate) => Ok(fate),
            Err(AdminError::Input(problem)) => Err(problem),
            Err(error) => return Err(error),
        };
        outcomes.push(outcome(*line, Some(&definition.id), fate));
    }
    Ok(outcomes)
}

/// The role in the team that the tenant has for that of the file.
fn renamed(role: &Role, ids: &BTreeMap<String, String>) -> Role {
    let team: Option<Uuid> = ids.get(&role.team.to_string()).and_then(|id| parse_id(id));
    Role { team: team.unwrap_or(role.team), role: role.role.clone() }
}

/// Writes a role or an entitlement as it is in the file, without a change in the feed.
///
/// # Errors
/// [`StoreError::Refused`] if another change came between; [`StoreError::Conflict`], [`StoreError::Throttled`],
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn move_definition_in(store: &Store, definition: &Definition) -> Result<Fate, StoreError> {
    let definitions = store.definitions();
    match definitions.fetch_any(definition.kind, &definition.id).await? {
        Some(found) if found == *definition => return Ok(Fate::Unchanged),
        Some(_) => return Ok(Fate::Refused),
        None => {}
    }
    let mut index = definitions.index().await?;
    index.note(None, definition);
    definitions.move_in(definition, &index).await.map(|()| Fate::Created)
}

/// The report on a line.
pub fn outcome(line: usize, id: Option<&str>, fate: Result<Fate, String>) -> ImportedLine {
    let id = id.map(str::to_owned);
    match fate {
        Ok(fate) => ImportedLine { line, fate, id, error: None },
        Err(problem) => ImportedLine { line, fate: Fate::Refused, id, error: Some(problem) },
    }
}
