//! `rollcall role` and `rollcall entitlement`: what identity providers can give to users.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::cli::resolve::{Resolver, definition_id};
use super::cli::{GlobalOptions, complete, finish};
use super::definition_list::list;
use super::error::AdminError;
use super::group_list::store;
use super::output;
use crate::auth::tenant::TenantRecord;
use crate::provider::changing::assignments::is_role;
use crate::provider::changing::definitions::{self, DefinitionTarget, NewDefinition};
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::scim::error::ErrorKind;
use crate::scim::resource_type::DefinedKind;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::definition::Definition;
use crate::store::keys::TenantId;
use crate::store::record::Role;

/// `rollcall role`.
#[derive(Args, Clone, Debug)]
pub struct RoleArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: RoleCommand,
}

/// Commands on roles.
#[derive(Subcommand, Clone, Debug)]
pub enum RoleCommand {
    /// Make a role that identity providers can give to users
    #[command(after_help = "Examples:
  rollcall role create acme billing --name Billing
  rollcall role create acme reviewer --name Reviewer --grants Reviewers:reviewer,root:member

A user has the role if a value of roles in the user is its id. The identity provider reads the roles at /Roles.")]
    Create {
        /// Which one
        #[command(flatten)]
        which: NewDefinitionId,
        /// The name that people read
        #[arg(long)]
        name: String,
        /// What else it has
        #[command(flatten)]
        more: MoreOfRole,
    },
    /// Change a role; what is not given stays as it is
    #[command(after_help = "Examples:
  rollcall role update acme billing --name 'Billing and invoices'
  rollcall role update acme billing --grants ''")]
    Update {
        /// Which one
        #[command(flatten)]
        which: WhichRole,
        /// The name that people read
        #[arg(long)]
        name: Option<String>,
        /// What else it has
        #[command(flatten)]
        more: MoreOfRole,
    },
    /// List the roles and what they grant
    #[command(after_help = "Example:\n  rollcall role list acme")]
    List {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Show a role
    #[command(after_help = "Example:\n  rollcall role show acme billing")]
    Show(WhichRole),
    /// Delete a role; users keep its value, which grants nothing then
    #[command(after_help = "Example:\n  rollcall role delete acme billing")]
    Delete(WhichRole),
}

/// `rollcall entitlement`.
#[derive(Args, Clone, Debug)]
pub struct EntitlementArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: EntitlementCommand,
}

/// Commands on entitlements.
#[derive(Subcommand, Clone, Debug)]
pub enum EntitlementCommand {
    /// Make an entitlement that identity providers can give to users
    #[command(after_help = "Example:
  rollcall entitlement create acme seat-pro --name 'Pro seat' --type license

The identity provider reads the entitlements at /Entitlements. They grant nothing in Rollcall: the product
reads them in the user.")]
    Create {
        /// Which one
        #[command(flatten)]
        which: NewDefinitionId,
        /// The name that people read
        #[arg(long)]
        name: String,
        /// What else it has
        #[command(flatten)]
        more: MoreOfEntitlement,
    },
    /// Change an entitlement; what is not given stays as it is
    #[command(
        after_help = "Example:\n  rollcall entitlement update acme seat-pro --description 'Up to 100 projects'"
    )]
    Update {
        /// Which one
        #[command(flatten)]
        which: WhichEntitlement,
        /// The name that people read
        #[arg(long)]
        name: Option<String>,
        /// What else it has
        #[command(flatten)]
        more: MoreOfEntitlement,
    },
    /// List the entitlements
    #[command(after_help = "Example:\n  rollcall entitlement list acme")]
    List {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Show an entitlement
    #[command(after_help = "Example:\n  rollcall entitlement show acme seat-pro")]
    Show(WhichEntitlement),
    /// Delete an entitlement; users keep its value
    #[command(after_help = "Example:\n  rollcall entitlement delete acme seat-pro")]
    Delete(WhichEntitlement),
}

/// A role or an entitlement that is to be made for a tenant.
#[derive(Args, Clone, Debug)]
pub struct NewDefinitionId {
    /// Whose
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// Its id, which is also its value in users: 1 to 64 letters, digits, dots, hyphens, underscores and colons
    id: String,
}

/// A role of a tenant.
#[derive(Args, Clone, Debug)]
pub struct WhichRole {
    /// Whose
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// Which one: the id or the name that `rollcall role list` shows
    #[arg(value_name = "ID|NAME", add = complete::definitions(DefinedKind::Role))]
    role: String,
}

/// An entitlement of a tenant.
#[derive(Args, Clone, Debug)]
pub struct WhichEntitlement {
    /// Whose
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// Which one: the id or the name that `rollcall entitlement list` shows
    #[arg(value_name = "ID|NAME", add = complete::definitions(DefinedKind::Entitlement))]
    entitlement: String,
}

/// A role or an entitlement of a tenant, by its id or name.
struct WhichDefinition {
    tenant: TenantId,
    text: String,
}

impl From<NewDefinitionId> for WhichDefinition {
    fn from(new: NewDefinitionId) -> Self {
        Self { tenant: new.tenant, text: new.id }
    }
}

impl From<WhichRole> for WhichDefinition {
    fn from(which: WhichRole) -> Self {
        Self { tenant: which.tenant, text: which.role }
    }
}

impl From<WhichEntitlement> for WhichDefinition {
    fn from(which: WhichEntitlement) -> Self {
        Self { tenant: which.tenant, text: which.entitlement }
    }
}

/// What a role can have besides its name.
#[derive(Args, Clone, Debug)]
pub struct MoreOfRole {
    /// What it is for; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What its users have: a team, a colon and a role in it, with commas between. A team is a group's id or
    /// displayName, or root
    #[arg(long, value_name = "TEAM:ROLE,…")]
    grants: Option<String>,
}

/// What an entitlement can have besides its name.
#[derive(Args, Clone, Debug)]
pub struct MoreOfEntitlement {
    /// What it is for; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Its function in a word; an empty text removes it
    #[arg(long = "type", value_name = "WORD")]
    label: Option<String>,
}

/// What is done with a definition, whichever its kind.
enum DefinitionCommand {
    Create(WhichDefinition, NewDefinition, Option<String>),
    Update(WhichDefinition, NewDefinition, Option<String>),
    List(TenantId),
    Show(WhichDefinition),
    Delete(WhichDefinition),
}

/// `rollcall role …`, from the arguments to the exit code.
pub fn run_role(args: RoleArgs) -> ExitCode {
    let new = |name, more: &MoreOfRole| NewDefinition {
        name,
        description: removable(more.description.clone()),
        ..NewDefinition::default()
    };
    let command = match args.command {
        RoleCommand::Create { which, name, more } => {
            DefinitionCommand::Create(which.into(), new(Some(name), &more), more.grants)
        }
        RoleCommand::Update { which, name, more } => {
            DefinitionCommand::Update(which.into(), new(name, &more), more.grants)
        }
        RoleCommand::List { tenant } => DefinitionCommand::List(tenant),
        RoleCommand::Show(which) => DefinitionCommand::Show(which.into()),
        RoleCommand::Delete(which) => DefinitionCommand::Delete(which.into()),
    };
    finish(&args.options, run(&args.options, DefinedKind::Role, command))
}

/// `rollcall entitlement …`, from the arguments to the exit code.
pub fn run_entitlement(args: EntitlementArgs) -> ExitCode {
    let new = |name, more: MoreOfEntitlement| NewDefinition {
        name,
        description: removable(more.description),
        label: removable(more.label),
        grants: None,
    };
    let command = match args.command {
        EntitlementCommand::Create { which, name, more } => {
            DefinitionCommand::Create(which.into(), new(Some(name), more), None)
        }
        EntitlementCommand::Update { which, name, more } => {
            DefinitionCommand::Update(which.into(), new(name, more), None)
        }
        EntitlementCommand::List { tenant } => DefinitionCommand::List(tenant),
        EntitlementCommand::Show(which) => DefinitionCommand::Show(which.into()),
        EntitlementCommand::Delete(which) => DefinitionCommand::Delete(which.into()),
    };
    finish(&args.options, run(&args.options, DefinedKind::Entitlement, command))
}

/// An empty text removes what is there.
fn removable(text: Option<String>) -> Option<Option<String>> {
    text.map(|text| Some(text).filter(|text| !text.is_empty()))
}

async fn run(
    options: &GlobalOptions,
    kind: DefinedKind,
    command: DefinitionCommand,
) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let done = match command {
        DefinitionCommand::List(tenant) => {
            let rows: Vec<_> = list(&table, &tenant, kind).await?.iter().map(fields).collect();
            let own = if kind == DefinedKind::Role { "grants" } else { "type" };
            return Ok(output::show_rows(format, &["id", "name", own, "description"], &rows));
        }
        DefinitionCommand::Show(which) => show(&table, &which, kind).await?,
        DefinitionCommand::Create(which, new, grants) => {
            let tenant = super::tenant::get_lasting(&table, &which.tenant).await?;
            let new = with_grants(new, grants, &table, &tenant).await?;
            create(&table, &tenant, (kind, &which.text), &new).await?
        }
        DefinitionCommand::Update(which, new, grants) => {
            let tenant = super::tenant::get(&table, &which.tenant).await?;
            let new = with_grants(new, grants, &table, &tenant).await?;
            let id = find_id(&table, &which, kind).await?;
            update(&table, &tenant, (kind, &id), &new).await?
        }
        DefinitionCommand::Delete(which) => {
            let tenant = super::tenant::get(&table, &which.tenant).await?;
            let id = find_id(&table, &which, kind).await?;
            delete(&table, &tenant, (kind, &id)).await?
        }
    };
    let mut fields = fields(&done);
    if done.is_deleted {
        fields.insert("status".to_owned(), json!("deleted"));
    }
    Ok(output::show_fields(format, &fields))
}

async fn with_grants(
    new: NewDefinition,
    grants: Option<String>,
    table: &Table,
    tenant: &TenantRecord,
) -> Result<NewDefinition, AdminError> {
    let grants = match grants {
        Some(text) => Some(read_grants(&text, table, tenant).await?),
        None => None,
    };
    Ok(NewDefinition { grants, ..new })
}

/// Reads `team:role,…`. The team `root` is the root team, whose administration no role can grant. Another team is the id
/// or the `displayName` of a group.
async fn read_grants(text: &str, table: &Table, tenant: &TenantRecord) -> Result<BTreeSet<Role>, AdminError> {
    let (mut roles, mut resolver) = (BTreeSet::new(), None);
    for grant in text.split(',').map(str::trim).filter(|grant| !grant.is_empty()) {
        let form = || {
            AdminError::Usage(format!(
                "--grants: {grant} is no grant: give the id or the name of a group, a colon and a role of lower-case letters, digits, - or _"
            ))
        };
        let (team, role) = grant.rsplit_once(':').ok_or_else(form)?;
        if team.is_empty() || !is_role(role) {
            return Err(form());
        }
        let team = match (team, tenant.root_team) {
            ("root", Some(root)) => root,
            _ => {
                if resolver.is_none() {
                    resolver = Some(Resolver::of(table, &tenant.id).await?);
                }
                resolver.as_ref().ok_or_else(form)?.group(team).await?
            }
        };
        roles.insert(Role { team, role: role.to_owned() });
    }
    Ok(roles)
}

/// The id that is meant by an id or a name.
async fn find_id(table: &Table, which: &WhichDefinition, kind: DefinedKind) -> Result<String, AdminError> {
    definition_id(&list(table, &which.tenant, kind).await?, &which.text)
}

async fn show(table: &Table, which: &WhichDefinition, kind: DefinedKind) -> Result<Definition, AdminError> {
    let all = list(table, &which.tenant, kind).await?;
    let id = definition_id(&all, &which.text)?;
    let found = all.into_iter().find(|definition| definition.id == id);
    found.ok_or_else(|| unknown(kind, &which.tenant, &which.text))
}

/// Makes a role or an entitlement.
///
/// # Errors
/// [`AdminError::Input`] for what it cannot have, and if there is one with this id; [`AdminError::Table`].
pub async fn create(
    table: &Table,
    tenant: &TenantRecord,
    which: (DefinedKind, &str),
    new: &NewDefinition,
) -> Result<Definition, AdminError> {
    let (store, any) = (store(table, &tenant.id), Preconditions::default());
    let made = definitions::create(&target(&store, tenant, which, &any), new).await;
    made.map_err(|failure| explain(failure, &tenant.id, which))
}

/// Changes a role or an entitlement.
///
/// # Errors
/// [`AdminError::Input`] for what it cannot have, and if there is none with this id; [`AdminError::Table`].
pub async fn update(
    table: &Table,
    tenant: &TenantRecord,
    which: (DefinedKind, &str),
    new: &NewDefinition,
) -> Result<Definition, AdminError> {
    let (store, any) = (store(table, &tenant.id), Preconditions::default());
    let changed = definitions::update(&target(&store, tenant, which, &any), new).await;
    changed.map_err(|failure| explain(failure, &tenant.id, which))
}

/// Deletes a role or an entitlement.
///
/// # Errors
/// [`AdminError::Input`] if there is none with this id; [`AdminError::Table`].
pub async fn delete(
    table: &Table,
    tenant: &TenantRecord,
    which: (DefinedKind, &str),
) -> Result<Definition, AdminError> {
    let (store, any) = (store(table, &tenant.id), Preconditions::default());
    let deleted = definitions::delete(&target(&store, tenant, which, &any)).await;
    deleted.map_err(|failure| explain(failure, &tenant.id, which))
}

fn target<'a>(
    store: &'a Store,
    tenant: &TenantRecord,
    (kind, id): (DefinedKind, &'a str),
    preconditions: &'a Preconditions,
) -> DefinitionTarget<'a> {
    DefinitionTarget { store, kind, id, root_team: tenant.root_team, preconditions }
}

fn explain(failure: Failure, tenant: &TenantId, (kind, id): (DefinedKind, &str)) -> AdminError {
    match failure.error.kind {
        ErrorKind::NotFound => unknown(kind, tenant, id),
        _ => AdminError::Input(failure.error.detail),
    }
}

fn unknown(kind: DefinedKind, tenant: &TenantId, id: &str) -> AdminError {
    let name = kind.name().to_lowercase();
    AdminError::Input(format!("tenant {tenant} has no {name} {id}: see `rollcall {name} list {tenant}`"))
}

fn fields(definition: &Definition) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(definition.id));
    fields.insert("name".to_owned(), json!(definition.text.name));
    match definition.kind {
        DefinedKind::Role => {
            let grants: Vec<String> =
                definition.grants.iter().map(|role| format!("{}:{}", role.team, role.role)).collect();
            fields.insert("grants".to_owned(), json!(grants.join(", ")));
        }
        DefinedKind::Entitlement => {
            fields.insert("type".to_owned(), json!(definition.text.label));
        }
    }
    fields.insert("description".to_owned(), json!(definition.text.description));
    fields.insert("version".to_owned(), json!(definition.version));
    fields.insert("created".to_owned(), json!(definition.created));
    fields
}
