//! `rollcall tenant`: makes, shows, changes and deletes tenants.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::complete;
use super::options::GlobalOptions;
use super::parse::{policy, read_address, read_span};
use super::runtime::finish;
use crate::admin::error::AdminError;
use crate::admin::output::{self, object};
use crate::admin::tenant::{self, NewTenant};
use crate::admin::usage_key::{self, Source};
use crate::admin::wipe;
use crate::auth::tenant::{Settings, TenantRecord};
use crate::clock;
use crate::scim::policy::{POLICIES, Policy};
use crate::store::call::Table;
use crate::store::keys::TenantId;

/// `rollcall tenant`.
#[derive(Args, Clone, Debug)]
pub struct TenantArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: TenantCommand,
}

/// What may be set for a tenant.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "settings", multiple = true)]
pub struct SettingsArgs {
    /// Days for which a deactivated account is kept and can come back
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=3650))]
    retention_days: Option<u32>,
    /// Keep identity providers from changing who administers the root team, or the break-glass account
    #[arg(long, value_name = "true|false")]
    protect_root_team: Option<bool>,
}

impl SettingsArgs {
    fn is_empty(&self) -> bool {
        self.retention_days.is_none() && self.protect_root_team.is_none()
    }

    fn apply(&self, settings: &mut Settings) {
        settings.retention_days = self.retention_days.unwrap_or(settings.retention_days);
        settings.root_team_protected = self.protect_root_team.unwrap_or(settings.root_team_protected);
    }
}

/// Commands on tenants.
#[derive(Subcommand, Clone, Debug)]
pub enum TenantCommand {
    /// Make a tenant
    #[command(after_help = "Examples:
  rollcall tenant create acme --usage-plan a1b2c3
  rollcall tenant create acme --policy standard --usage-key-id 4d5e6f
  rollcall tenant create acme --admin-email keyholder@acme.example
  rollcall tenant create acme --endpoint-url http://127.0.0.1:8000 --table rollcall

The tenant has a group Root from the start, and a local administrator in it for the day on which the
identity provider does not answer: break-glass@<tenant>.invalid, unless --admin-email says otherwise.
The policy cannot change.")]
    Create {
        /// 2 to 31 characters: a lower-case letter, then letters, digits or hyphens
        tenant: TenantId,
        /// The rules that the tenant runs under
        #[arg(long, default_value = POLICIES[0].name, value_parser = policy())]
        policy: &'static Policy,
        /// Address and userName of the local break-glass administrator that is made with it
        #[arg(long, value_name = "ADDRESS", value_parser = read_address)]
        admin_email: Option<String>,
        /// Usage plan to put a new API key into, which holds the tenant's request limit
        #[arg(long, value_name = "ID", conflicts_with = "usage_key_id")]
        usage_plan: Option<String>,
        /// API key to use that is in a usage plan already
        #[arg(long, value_name = "ID")]
        usage_key_id: Option<String>,
        /// What is set for it
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Change what is set for a tenant
    #[command(
        visible_alias = "set",
        after_help = "Examples:
  rollcall tenant update acme --retention-days 90
  rollcall tenant update acme --protect-root-team true

It acts once API Gateway's authorizer cache has forgotten the tenant (60 seconds unless the deployment
says otherwise). The retention counts for accounts that are deactivated from then on."
    )]
    Update {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// What is set for it
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List the tenants
    #[command(after_help = "Example:\n  rollcall tenant list --json")]
    List,
    /// Show a tenant
    #[command(after_help = "Example:\n  rollcall tenant show acme")]
    Show {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Limit how many users may be deactivated within an hour, or lift the limit for a time
    #[command(after_help = "Examples:
  rollcall tenant breaker acme --percent 10
  rollcall tenant breaker acme --lift 2h
  rollcall tenant breaker acme --off

With a limit of 10 percent and 200 active users, the twenty-first deactivation or deletion within an
hour answers 400. It acts once API Gateway's authorizer cache has forgotten the tenant (60 seconds
unless the deployment says otherwise).")]
    Breaker {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The limit, in percent of the active users
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100), group = "what")]
        percent: Option<u8>,
        /// Let any number pass for this long from now: 30m, 2h
        #[arg(long, value_name = "SPAN", value_parser = read_span, group = "what")]
        lift: Option<Duration>,
        /// No limit
        #[arg(long, group = "what")]
        off: bool,
    },
    /// Tell mirrors to read the tenant's users and groups again
    #[command(after_help = "Example:
  rollcall tenant resync acme

The change feed gets the change tenant.resync. Send it after a repair by hand: what the table has no
change for, mirrors do not learn otherwise.")]
    Resync {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Delete a tenant with everything that it has, for good
    #[command(after_help = "Examples:
  rollcall tenant delete acme
  rollcall tenant delete acme --yes --wait 5m

The whole table is read once or twice for it. An interrupted deletion is taken up again by the same
command. API Gateway's key of the tenant stays: the command names it.")]
    Delete {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Do not ask for the tenant's name
        #[arg(long)]
        yes: bool,
        /// How long API Gateway remembers a revoked key (the stack's AuthorizerTtl); waited if there are keys
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = read_span)]
        wait: Duration,
    },
}

impl TenantCommand {
    /// Refuses a command that would change nothing.
    fn check(&self) -> Result<(), AdminError> {
        let missing = match self {
            Self::Update { settings, .. } if settings.is_empty() => "--retention-days or --protect-root-team",
            Self::Breaker { percent: None, lift: None, off: false, .. } => {
                "one of --percent, --lift and --off"
            }
            _ => return Ok(()),
        };
        Err(AdminError::Usage(format!("give {missing}")))
    }
}

/// `rollcall tenant …`, from the arguments to the exit code.
pub fn run(args: TenantArgs) -> ExitCode {
    finish(&args.options, run_tenant(&args.options, args.command))
}

/// Runs a command on tenants; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_tenant(options: &GlobalOptions, command: TenantCommand) -> Result<String, AdminError> {
    command.check()?;
    let (table, format) = (options.open().await?, options.format());
    match command {
        TenantCommand::Create { tenant, policy, admin_email, usage_plan, usage_key_id, settings } => {
            let source = match (usage_plan, usage_key_id) {
                (Some(plan), _) => Source::Plan(plan),
                (None, Some(id)) => Source::ApiKey(id),
                (None, None) => Source::Generated,
            };
            let make = |usage_key: &str| {
                let mut new = NewTenant::new(&tenant, policy, usage_key);
                new.admin = admin_email.unwrap_or(new.admin);
                settings.apply(&mut new.settings);
                new
            };
            create_tenant(&table, options, &tenant, &source, make).await
        }
        TenantCommand::List => {
            let rows: Vec<_> = tenant::list(&table).await?.iter().map(tenant_row).collect();
            Ok(output::show_rows(format, &["tenant", "policy", "created"], &rows))
        }
        TenantCommand::Update { tenant, settings } => {
            let change = |own: &mut Settings| settings.apply(own);
            let record = tenant::set(&table, &tenant, clock::now(), change).await?;
            Ok(output::show_fields(format, &tenant_fields(&record)))
        }
        TenantCommand::Breaker { tenant, percent, lift, off } => {
            let record = set_deactivation_limit(&table, &tenant, percent, lift, off).await?;
            Ok(output::show_fields(format, &tenant_fields(&record)))
        }
        TenantCommand::Resync { tenant } => {
            let record = tenant::resync(&table, &tenant, clock::now()).await?;
            let fields =
                json!({ "tenant": tenant.as_str(), "change": "tenant.resync", "version": record.version });
            Ok(output::show_fields(format, &object(fields)))
        }
        TenantCommand::Delete { tenant, yes, wait } => {
            Ok(output::show_fields(format, &delete_tenant(&table, &tenant, yes, wait).await?))
        }
        TenantCommand::Show { tenant } => {
            Ok(output::show_fields(format, &tenant_fields(&tenant::get(&table, &tenant).await?)))
        }
    }
}

/// Makes a tenant, with the usage key from where the operator says; returns what to print.
async fn create_tenant(
    table: &Table,
    options: &GlobalOptions,
    tenant: &TenantId,
    source: &Source,
    make: impl FnOnce(&str) -> NewTenant,
) -> Result<String, AdminError> {
    // Nothing is made in API Gateway for a tenant that there is already.
    match tenant::get(table, tenant).await {
        Ok(_) => return Err(AdminError::Exists(tenant.clone())),
        Err(AdminError::NoTenant(_)) => {}
        Err(error) => return Err(error),
    }
    let usage_key = match source {
        Source::Generated => usage_key::generate()?,
        Source::Plan(plan) => usage_key::attach(&options.gateway().await, plan, tenant).await?,
        Source::ApiKey(id) => usage_key::fetch(&options.gateway().await, id).await?,
    };
    let new = make(&usage_key);
    let record = tenant::create(table, &new, clock::now()).await?;
    let mut fields = tenant_fields(&record);
    fields.insert("breakGlassAdmin".to_owned(), json!(new.admin));
    if *source == Source::Generated {
        let note = "API Gateway answers this tenant 403 until a usage plan holds an API key of this value; locally nothing is needed";
        fields.insert("note".to_owned(), json!(note));
    }
    Ok(output::show_fields(options.format(), &fields))
}

/// Limits how many users may be deactivated within an hour, or lifts the limit for a time.
async fn set_deactivation_limit(
    table: &Table,
    tenant: &TenantId,
    percent: Option<u8>,
    lift: Option<Duration>,
    off: bool,
) -> Result<TenantRecord, AdminError> {
    let now = clock::now();
    let lifted = lift.map(|span| now.saturating_add(span).unix_timestamp().unsigned_abs());
    let change = |settings: &mut Settings| {
        if off {
            settings.breaker_percent = None;
        }
        settings.breaker_percent = percent.or(settings.breaker_percent);
        settings.breaker_lifted_until = lifted.unwrap_or(0);
    };
    tenant::set(table, tenant, now, change).await
}

/// Deletes a tenant with everything that it has; returns the fields to print.
async fn delete_tenant(
    table: &Table,
    tenant: &TenantId,
    yes: bool,
    wait: Duration,
) -> Result<Map<String, Value>, AdminError> {
    tenant::get(table, tenant).await?;
    if !yes {
        wipe::confirm(tenant)?;
    }
    let wiped = wipe::wipe(table, tenant, wait.unsigned_abs(), clock::now()).await?;
    let note = format!(
        "the API key {} is still in API Gateway's usage plan: delete it there",
        usage_key::name(tenant)
    );
    Ok(object(json!({
        "tenant": tenant.as_str(), "status": "deleted", "keysRevoked": wiped.revoked,
        "itemsDeleted": wiped.items, "note": note,
    })))
}

fn tenant_row(record: &TenantRecord) -> Map<String, Value> {
    object(json!({
        "tenant": record.id.as_str(), "policy": record.policy.name, "created": clock::text(record.created),
    }))
}

fn tenant_fields(record: &TenantRecord) -> Map<String, Value> {
    let mut fields = tenant_row(record);
    fields.insert("retentionDays".to_owned(), json!(record.settings.retention_days));
    fields.insert("rootTeamProtected".to_owned(), json!(record.settings.root_team_protected));
    let settings = &record.settings;
    let now = clock::now().unix_timestamp().unsigned_abs();
    let lifted = settings.breaker_lifted_until;
    let lifted = i64::try_from(lifted).ok().filter(|_| lifted > now);
    let lifted = lifted.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()).map(clock::text);
    fields.insert("rootTeam".to_owned(), json!(record.root_team.map(|id| id.to_string())));
    fields.insert("breakerPercent".to_owned(), json!(settings.breaker_percent));
    fields.insert("breakerLiftedUntil".to_owned(), json!(lifted));
    fields.insert("usageKey".to_owned(), json!(record.usage_key));
    fields
}
