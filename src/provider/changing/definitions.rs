//! Roles and entitlements: make, change, delete. Only the operator and the application do it.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::assignments::{is_role, missing_team};
use crate::clock;
use crate::limits::{
    DEFINITION_RETRIES, MAX_ASSIGNMENTS, MAX_DEFINITION_DESCRIPTION_CHARS, MAX_DEFINITION_ID_CHARS,
    MAX_DEFINITION_NAME_CHARS, MAX_DEFINITIONS, MAX_ROLE_GRANTS_BYTES,
};
use crate::provider::answer::{not_found_of, this_kind};
use crate::provider::failure::{Failure, too_many_conflicts};
use crate::provider::precondition::Preconditions;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::DefinedKind;
use crate::store::Store;
use crate::store::admin_guard::ADMIN;
use crate::store::definition::{Definition, DefinitionChange, DefinitionIndex, DefinitionText};
use crate::store::error::{Refusal, StoreError};
use crate::store::record::Role;
use crate::store::retry::Attempts;

/// Which role or entitlement is changed, and under which rules.
#[derive(Clone, Copy, Debug)]
pub struct DefinitionTarget<'a> {
    /// The table as the tenant sees it.
    pub store: &'a Store,
    /// Role or entitlement.
    pub kind: DefinedKind,
    /// Its id.
    pub id: &'a str,
    /// The tenant's root team.
    pub root_team: Option<Uuid>,
    /// `If-Match`.
    pub preconditions: &'a Preconditions,
}

/// What a change sets. `None` leaves a member as it is; `Some(None)` removes it.
#[derive(Clone, Debug, Default)]
pub struct NewDefinition {
    /// The name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<Option<String>>,
    /// The function of an entitlement, in a word.
    pub label: Option<Option<String>>,
    /// What a role grants.
    pub grants: Option<BTreeSet<Role>>,
}

/// Whether a text can be the id of a role or an entitlement: 1 to 64 letters, digits, `.`, `_`, `:` and `-`. The first
/// one is a letter or a digit.
pub fn is_definition_id(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    (1..=MAX_DEFINITION_ID_CHARS).contains(&text.len())
        && text.bytes().all(good)
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Makes a role or an entitlement.
///
/// # Errors
/// 409 `uniqueness` if there is one with this id, or with one that differs only in case; 400 `invalidValue` for what it cannot have; 404 if there is no
/// tenant.
pub async fn create(target: &DefinitionTarget<'_>, new: &NewDefinition) -> Result<Definition, Failure> {
    let what = this_kind(target.kind);
    if !is_definition_id(target.id) {
        return Err(ScimError::invalid_value(format!(
            "The id of {what} has 1 to {MAX_DEFINITION_ID_CHARS} letters, digits, dots, hyphens, underscores and colons. It begins with a letter or a digit."
        ))
        .into());
    }
    if new.name.is_none() {
        return Err(ScimError::invalid_value("The name is required.").into());
    }
    change(
        target,
        |before, index| {
            if before.is_some_and(|before| !before.is_deleted) {
                let taken = format!(
                    "The tenant has {what} with the id {}. Change it, or choose another id.",
                    target.id
                );
                return Err(ScimError::uniqueness(taken));
            }
            if index.count(target.kind) >= MAX_DEFINITIONS {
                let full = format!(
                    "A tenant has at most {MAX_DEFINITIONS} resources of the type {}.",
                    target.kind.name()
                );
                return Err(ScimError::invalid_value(full));
            }
            let now = clock::timestamp();
            let mut made = Definition {
                kind: target.kind,
                id: target.id.to_owned(),
                text: DefinitionText::default(),
                grants: BTreeSet::new(),
                version: before.map_or(1, |before| before.version + 1),
                created: now.clone(),
                modified: now,
                is_deleted: false,
            };
            apply(new, &mut made);
            Ok(Some(made))
        },
        new,
    )
    .await
}

/// Changes a role or an entitlement. Returns it as it is afterwards.
///
/// # Errors
/// 404; 412; 400 `invalidValue` for what it cannot have.
pub async fn update(target: &DefinitionTarget<'_>, new: &NewDefinition) -> Result<Definition, Failure> {
    change(
        target,
        |before, _| {
            let before = existing(target, before)?;
            let mut after = before.clone();
            apply(new, &mut after);
            if after == *before {
                return Ok(None);
            }
            after.version += 1;
            after.modified = clock::timestamp();
            Ok(Some(after))
        },
        new,
    )
    .await
}

/// Deletes a role or an entitlement. Users keep its value, which names nothing then. Returns what it was.
///
/// # Errors
/// 404; 412.
pub async fn delete(target: &DefinitionTarget<'_>) -> Result<Definition, Failure> {
    let nothing = NewDefinition::default();
    change(
        target,
        |before, _| {
            let before = existing(target, before)?;
            Ok(Some(Definition {
                version: before.version + 1,
                modified: clock::timestamp(),
                grants: BTreeSet::new(),
                is_deleted: true,
                ..before.clone()
            }))
        },
        &nothing,
    )
    .await
}

/// Reads, computes and writes until no other change comes between. `compute` answers `None` if nothing changes.
async fn change(
    target: &DefinitionTarget<'_>,
    compute: impl Fn(Option<&Definition>, &DefinitionIndex) -> Result<Option<Definition>, ScimError>,
    new: &NewDefinition,
) -> Result<Definition, Failure> {
    check(target, new).await?;
    let definitions = target.store.definitions();
    let mut attempts = Attempts::new(DEFINITION_RETRIES);
    while attempts.start_next().await {
        let (index, before) =
            futures_util::try_join!(definitions.index(), definitions.fetch_any(target.kind, target.id))?;
        let Some(after) = compute(before.as_ref(), &index)? else {
            return before.ok_or_else(|| not_found_of(target.kind.name()).into());
        };
        let mut index = index;
        let live = before.as_ref().filter(|before| !before.is_deleted);
        if live.is_none() {
            // What comes between this list and the write changes the index, and refuses the write.
            refuse_namesake(target, &definitions.list(target.kind).await?)?;
        }
        index.note(live, &after);
        if index.grants.pack()?.len() > MAX_ROLE_GRANTS_BYTES {
            return Err(too_many_grants().into());
        }
        let event = definitions.event(event_type(live, &after), &after);
        let event = event.attributes(changed_attributes(live, &after));
        let change =
            DefinitionChange { before: before.as_ref(), after: &after, index: &index, event: &event };
        match definitions.write(&change).await {
            Ok(()) => return Ok(after),
            Err(StoreError::Refused(why)) if why.contains(&Refusal::Gone) => {
                return Err(ScimError::not_found("There is no such tenant.").into());
            }
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(too_many_conflicts().into())
}

/// Users name roles and entitlements without regard to case. So two ids that differ only in case would be one.
fn refuse_namesake(target: &DefinitionTarget<'_>, all: &[Definition]) -> Result<(), ScimError> {
    match all.iter().find(|other| other.id.eq_ignore_ascii_case(target.id)) {
        None => Ok(()),
        Some(Definition { id, .. }) => Err(ScimError::uniqueness(format!(
            "The tenant has {} with the id {id}, which differs from {} only in case. Choose another id.",
            this_kind(target.kind),
            target.id
        ))),
    }
}

fn existing<'b>(
    target: &DefinitionTarget<'_>,
    before: Option<&'b Definition>,
) -> Result<&'b Definition, ScimError> {
    let before =
        before.filter(|before| !before.is_deleted).ok_or_else(|| not_found_of(target.kind.name()))?;
    target.preconditions.check(before.version)?;
    Ok(before)
}

fn apply(new: &NewDefinition, to: &mut Definition) {
    let text = &mut to.text;
    text.name = new.name.clone().unwrap_or_else(|| text.name.clone());
    text.description = new.description.clone().unwrap_or_else(|| text.description.clone());
    text.label = new.label.clone().unwrap_or_else(|| text.label.clone());
    to.grants = new.grants.clone().unwrap_or_else(|| to.grants.clone());
}

/// Checks what a definition is to have, and that the tenant has the groups that it names.
async fn check(target: &DefinitionTarget<'_>, new: &NewDefinition) -> Result<(), Failure> {
    check_values(target.kind, target.root_team, new)?;
    let Some(grants) = &new.grants else { return Ok(()) };
    match missing_team(target.store, grants, None).await? {
        None => Ok(()),
        Some(missing) => Err(invalid(format!("The tenant has no group {missing}.")).into()),
    }
}

/// Checks what a definition is to have without looking at the table.
///
/// # Errors
/// 400 `invalidValue`.
pub fn check_values(
    kind: DefinedKind,
    root_team: Option<Uuid>,
    new: &NewDefinition,
) -> Result<(), ScimError> {
    let is_line = |text: &str, most: usize| {
        !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
    };
    if new.name.as_ref().is_some_and(|name| !is_line(name, MAX_DEFINITION_NAME_CHARS)) {
        return Err(invalid(format!(
            "The name must have 1 to {MAX_DEFINITION_NAME_CHARS} visible characters."
        )));
    }
    let description = new.description.iter().flatten().next();
    if description.is_some_and(|text| text.chars().count() > MAX_DEFINITION_DESCRIPTION_CHARS) {
        let most = MAX_DEFINITION_DESCRIPTION_CHARS;
        return Err(invalid(format!("The description must have at most {most} characters.")));
    }
    let label = new.label.iter().flatten().next();
    if label.is_some_and(|label| !is_line(label, MAX_DEFINITION_NAME_CHARS)) {
        return Err(invalid(format!(
            "The type must have 1 to {MAX_DEFINITION_NAME_CHARS} visible characters."
        )));
    }
    let Some(grants) = &new.grants else { return Ok(()) };
    if kind != DefinedKind::Role && !grants.is_empty() {
        return Err(invalid("Only a role grants roles in teams.".to_owned()));
    }
    if grants.len() > MAX_ASSIGNMENTS {
        return Err(invalid(format!("A role grants at most {MAX_ASSIGNMENTS} roles in teams.")));
    }
    if let Some(wrong) = grants.iter().find(|role| !is_role(&role.role)) {
        let role = shorten_text(&wrong.role);
        return Err(invalid(format!(
            "The role {role} must have 1 to 64 lower-case letters, digits, - or _."
        )));
    }
    if grants.iter().any(|role| Some(role.team) == root_team && role.role == ADMIN) {
        return Err(invalid(
            "No role can grant the administration of the root team. Put the user into a group that grants it."
                .to_owned(),
        ));
    }
    Ok(())
}

fn invalid(detail: String) -> ScimError {
    ScimError::invalid_value(detail)
}

fn too_many_grants() -> ScimError {
    ScimError::new(
        ErrorKind::InvalidValue,
        format!(
            "All roles of the tenant together grant more than {MAX_ROLE_GRANTS_BYTES} packed bytes hold. Let groups grant some of it."
        ),
    )
}

const fn event_type(before: Option<&Definition>, after: &Definition) -> &'static str {
    match (after.kind, before.is_some(), after.is_deleted) {
        (DefinedKind::Role, false, _) => "role.created",
        (DefinedKind::Role, true, false) => "role.updated",
        (DefinedKind::Role, true, true) => "role.deleted",
        (DefinedKind::Entitlement, false, _) => "entitlement.created",
        (DefinedKind::Entitlement, true, false) => "entitlement.updated",
        (DefinedKind::Entitlement, true, true) => "entitlement.deleted",
    }
}

/// The names of the attributes that differ. A deletion names none.
fn changed_attributes(before: Option<&Definition>, after: &Definition) -> Vec<&'static str> {
    if after.is_deleted {
        return Vec::new();
    }
    let nothing = DefinitionText::default();
    let text = before.map_or(&nothing, |before| &before.text);
    let differs = [
        ("displayName", text.name != after.text.name),
        ("description", text.description != after.text.description),
        ("type", text.label != after.text.label),
        ("grants", before.map_or(!after.grants.is_empty(), |before| before.grants != after.grants)),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_in_paths_and_keys() {
        for (id, is_good) in [
            ("billing", true),
            ("Billing.Read", true),
            ("team:admin_2-x", true),
            ("7", true),
            ("", false),
            (".search", false),
            ("-x", false),
            ("a b", false),
            ("a/b", false),
            ("a#b", false),
            ("ä", false),
        ] {
            assert_eq!(is_definition_id(id), is_good, "{id}");
        }
        assert!(is_definition_id(&"x".repeat(64)) && !is_definition_id(&"x".repeat(65)));
    }
}
