//! `rollcall group`: teams and the roles that they grant.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::cli::resolve::Resolver;
use super::cli::{GlobalOptions, complete, finish};
use super::error::AdminError;
pub use super::group_list::list;
use super::group_list::store;
use super::output;
use crate::auth::tenant::TenantRecord;
use crate::limits::APPLY_TIMEOUT;
use crate::provider::changing::assignments::{AssignmentTarget, change_assignments, is_role};
use crate::provider::precondition::Preconditions;
use crate::scim::error::ErrorKind;
use crate::scim::resource_type::Kind;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::keys::{TenantId, parse_id};
use crate::store::record::{Record, Role};

/// `rollcall group`.
#[derive(Args, Clone, Debug)]
pub struct GroupArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: GroupCommand,
}

/// Commands on groups.
#[derive(Subcommand, Clone, Debug)]
pub enum GroupCommand {
    /// List the groups with their ids and the roles that they grant
    #[command(after_help = "Example:\n  rollcall group list acme")]
    List {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Let the members of a group have a role in a team
    #[command(after_help = "Examples:
  rollcall group assign acme Reviewers --role reviewer
  rollcall group assign acme 01890a5d-ac96-774b-bcce-b302099a8057 --team 01890a5e-0c1f-7d10-9f30-5b4f2f6f2c11 --role member
  rollcall group assign acme Managers --team root --role admin

A team is a group; without --team it is the group itself. A new group grants the role member in itself.
Who has the role admin in the root team administers the tenant.")]
    Assign(AssignmentArgs),
    /// Take a role from the members of a group
    #[command(after_help = "Example:
  rollcall group unassign acme Reviewers --role reviewer

Who is in another group that grants the role keeps it. The last active administrator of the root team
cannot be taken away.")]
    Unassign(AssignmentArgs),
}

/// A role and who has it, as the command line names them.
#[derive(Args, Clone, Debug)]
pub struct AssignmentArgs {
    /// Whose
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// The group whose members have the role: its id or displayName
    #[arg(value_name = "ID|NAME", add = complete::groups())]
    group: String,
    /// The team that the role is in: a group's id or displayName, or root
    #[arg(long, value_name = "TEAM", add = complete::groups())]
    team: Option<String>,
    /// The role: lower-case letters, digits, - and _
    #[arg(long, value_parser = role)]
    role: String,
}

impl AssignmentArgs {
    /// Finds the groups by their names.
    async fn resolve(self, table: &Table) -> Result<Assignment, AdminError> {
        let resolver = Resolver::of(table, &self.tenant).await?;
        let team = match self.team.as_deref() {
            None | Some(ROOT) => self.team,
            Some(name) => Some(resolver.group(name).await?.to_string()),
        };
        let group = resolver.group(&self.group).await?;
        Ok(Assignment { tenant: self.tenant, group, team, role: self.role })
    }
}

/// What the root team is called on the command line, whatever its `displayName` is.
const ROOT: &str = "root";

/// A role and who has it.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Whose.
    pub tenant: TenantId,
    /// The group whose members have the role.
    pub group: Uuid,
    /// The team that the role is in: the id of a group, or `root`. `None`: the group itself.
    pub team: Option<String>,
    /// The role.
    pub role: String,
}

fn role(text: &str) -> Result<String, String> {
    let problem = || "a role has 1 to 64 lower-case letters, digits, - or _".to_owned();
    is_role(text).then(|| text.to_owned()).ok_or_else(problem)
}

/// From the arguments to the exit code.
pub fn run(args: GroupArgs) -> ExitCode {
    finish(&args.options, command(&args.options, args.command))
}

async fn command(options: &GlobalOptions, command: GroupCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    match command {
        GroupCommand::List { tenant } => {
            let rows: Vec<_> = list(&table, &tenant).await?.iter().map(row).collect();
            Ok(output::show_rows(format, &["id", "displayName", "members", "grants"], &rows))
        }
        GroupCommand::Assign(assignment) => {
            let assignment = assignment.resolve(&table).await?;
            Ok(output::show_fields(format, &row(&assign(&table, &assignment, true).await?)))
        }
        GroupCommand::Unassign(assignment) => {
            let assignment = assignment.resolve(&table).await?;
            Ok(output::show_fields(format, &row(&assign(&table, &assignment, false).await?)))
        }
    }
}

/// The roles that a group grants: those in itself, and those in other teams.
fn describe_grants(group: &Record) -> String {
    let grants: Vec<String> = group
        .assignments()
        .iter()
        .map(|role| {
            if role.team == group.id { role.role.clone() } else { format!("{} in {}", role.role, role.team) }
        })
        .collect();
    grants.join(", ")
}

fn row(group: &Record) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(group.id.to_string()));
    fields.insert("displayName".to_owned(), group.doc.get("displayName").cloned().unwrap_or_default());
    fields.insert("members".to_owned(), json!(group.digest.count));
    fields.insert("grants".to_owned(), json!(describe_grants(group)));
    fields
}

/// Assigns a role to a group's members, or takes it away; the group as it is afterwards.
///
/// # Errors
/// [`AdminError::NoTenant`], and [`AdminError::BeingDeleted`] for a role to give; [`AdminError::Input`] for a group or
/// team that does not exist, for a role to take away that the group does not grant, and where the root team would lose
/// its last active administrator.
pub async fn assign(table: &Table, wanted: &Assignment, given: bool) -> Result<Record, AdminError> {
    let tenant = match given {
        true => super::tenant::get_lasting(table, &wanted.tenant).await?,
        false => super::tenant::get(table, &wanted.tenant).await?,
    };
    let (store, model) = (store(table, &tenant.id), super::tenant::model(tenant.policy)?);
    let team = team(&store, &tenant, wanted).await?;
    let role = Role { team, role: wanted.role.clone() };
    let target = AssignmentTarget {
        group: wanted.group,
        ty: model.of(Kind::Group),
        root_team: tenant.root_team,
        preconditions: &Preconditions::default(),
        wait: APPLY_TIMEOUT,
    };
    let was_granted = AtomicBool::new(false);
    let change = |roles: &BTreeSet<Role>| {
        was_granted.store(roles.contains(&role), Ordering::Relaxed);
        let mut roles = roles.clone();
        if given {
            roles.insert(role.clone())
        } else {
            roles.remove(&role)
        };
        roles
    };
    let changed = change_assignments(&store, &target, change).await;
    let group = changed.map_err(|failure| match failure.error.kind {
        ErrorKind::NotFound => {
            AdminError::Input(format!("tenant {} has no group {}", tenant.id, wanted.group))
        }
        _ => AdminError::Input(failure.error.detail),
    })?;
    if !given && !was_granted.load(Ordering::Relaxed) {
        let granted = match describe_grants(&group) {
            grants if grants.is_empty() => "nothing".to_owned(),
            grants => grants,
        };
        return Err(AdminError::Input(format!(
            "the group does not grant {} in that team, so nothing was changed; it grants {granted}",
            wanted.role
        )));
    }
    Ok(group)
}

async fn team(store: &Store, tenant: &TenantRecord, wanted: &Assignment) -> Result<Uuid, AdminError> {
    let no_team = |team: &str| AdminError::Input(format!("tenant {} has no team {team}", tenant.id));
    let team = match wanted.team.as_deref() {
        None => return Ok(wanted.group),
        Some(ROOT) => return tenant.root_team.ok_or_else(|| no_team("root")),
        Some(id) => parse_id(id).ok_or_else(|| no_team(id))?,
    };
    let found = store.fetch(Kind::Group, team).await.map_err(AdminError::table(store.table.name()))?;
    found.map(|group| group.id).ok_or_else(|| no_team(&team.to_string()))
}
