//! Roles and entitlements as the application reads them, in answers and as the resource of a change.

use serde_json::{Value, json};

use crate::scim::resource_type::DefinedKind;
use crate::store::definition::Definition;

/// A role or an entitlement as it is answered.
pub fn definition_json(definition: &Definition) -> Value {
    let text = &definition.text;
    let mut json = json!({
        "id": definition.id,
        "displayName": text.name,
        "description": text.description,
        "version": definition.version,
        "created": definition.created,
        "lastModified": definition.modified,
    });
    match definition.kind {
        DefinedKind::Role => {
            let grants = definition.grants.iter();
            json["grants"] =
                grants.map(|role| json!({ "team": role.team.to_string(), "role": role.role })).collect();
        }
        DefinedKind::Entitlement => json["type"] = json!(text.label),
    }
    json
}
