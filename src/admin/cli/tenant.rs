//! `rollcall tenant`: makes, shows, changes and deletes tenants.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::complete;
use super::options::GlobalOptions;
use super::parse::{plan, policy, read_address, read_span, whole_number};
use super::runtime::finish;
use crate::admin::error::AdminError;
use crate::admin::output::{self, object};
use crate::admin::tenant::{self, NewTenant};
use crate::admin::usage_key::{self, GeneratedUsageKeys, PlanUsageKeys, Source, UsageKeys};
use crate::admin::wipe;
use crate::auth::plan::RatePlan;
use crate::auth::tenant::{Settings, TenantRecord};
use crate::clock;
use crate::limits::MAX_RETENTION_DAYS;
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
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true, value_parser = whole_number::<u32>(0..=u64::from(MAX_RETENTION_DAYS)))]
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
        /// The rate of the tenant: default (200 a minute) or high (30 a second), as the stack's parameters say
        #[arg(long, default_value = "default", value_parser = plan())]
        plan: RatePlan,
        /// Address and userName of the local break-glass administrator that is made with it
        #[arg(long, value_name = "ADDRESS", value_parser = read_address)]
        admin_email: Option<String>,
        /// Usage plan to put a new API key into: the stack's output UsagePlanId, or HighUsagePlanId for the plan high
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
  rollcall tenant update acme --plan high --usage-plan d4e5f6

It acts once API Gateway's authorizer cache has forgotten the tenant (60 seconds unless the deployment
says otherwise). The retention counts for accounts that are deactivated from then on."
    )]
    Update {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The rate of the tenant: default or high. No request is refused while it changes
        #[arg(long, value_parser = plan())]
        plan: Option<RatePlan>,
        /// Usage plan of that rate, if the tenant never had it: the stack's output UsagePlanId or HighUsagePlanId
        #[arg(long, value_name = "ID", requires = "plan")]
        usage_plan: Option<String>,
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
hour answers 400. A tenant may always deactivate one, unless the limit is 0 percent. It acts once API Gateway's authorizer cache has forgotten the tenant (60 seconds
unless the deployment says otherwise).")]
    Breaker {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The limit, in percent of the active users
        #[arg(long, allow_negative_numbers = true, value_parser = whole_number::<u8>(0..=100), group = "what")]
        percent: Option<u8>,
        /// Let any number pass for this long from now: 30m, 2h
        #[arg(long, value_name = "SPAN", value_parser = read_span, group = "what")]
        lift: Option<Duration>,
        /// No limit
        #[arg(long, group = "what")]
        off: bool,
    },
    /// Put tenants into the usage plan of a stack that was made again on their table
    #[command(after_help = "Examples:
  rollcall tenant usage-key --usage-plan a1b2c3
  rollcall tenant usage-key --plan high --usage-plan d4e5f6
  rollcall tenant usage-key acme --usage-plan a1b2c3

API Gateway answers a tenant 403 unless its usage key is in the plan of the stack. The key keeps the value
that the table has, and the table notes the usage plan. Run it once for each plan. It can be run again.")]
    UsageKey {
        /// Which one; all if none is given
        #[arg(add = complete::tenants())]
        tenant: Option<TenantId>,
        /// Only the keys of this rate; tenants that never had it are left out
        #[arg(long, default_value = "default", value_parser = plan())]
        plan: RatePlan,
        /// The usage plan of that rate: the stack's output UsagePlanId, or HighUsagePlanId for the plan high
        #[arg(long, value_name = "ID")]
        usage_plan: String,
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
command. The tenant's API key in the usage plan is deleted too, if `rollcall tenant create --usage-plan`
or an application made it. For a tenant of version 0.1.0, or on a restored table, name the plan with
--usage-plan.")]
    Delete {
        /// Which one
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Do not ask for the tenant's name
        #[arg(long)]
        yes: bool,
        /// Usage plan that holds the tenant's API key, if it is not the one that the key was made in
        #[arg(long, value_name = "ID", conflicts_with = "keep_usage_key")]
        usage_plan: Option<String>,
        /// Leave the tenant's API key in API Gateway
        #[arg(long)]
        keep_usage_key: bool,
        /// How long API Gateway remembers a revoked key (the stack's AuthorizerTtl); waited if there are keys
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = read_span)]
        wait: Duration,
    },
}

impl TenantCommand {
    /// Refuses a command that would change nothing.
    fn check(&self) -> Result<(), AdminError> {
        let missing = match self {
            Self::Update { settings, plan: None, .. } if settings.is_empty() => {
                "--plan, --retention-days or --protect-root-team"
            }
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
        TenantCommand::Create { tenant, policy, plan, admin_email, usage_plan, usage_key_id, settings } => {
            let source = match (usage_plan, usage_key_id) {
                (Some(plan), _) => Source::Plan(plan),
                (None, Some(id)) => Source::ApiKey(id),
                (None, None) => Source::Generated,
            };
            let make = |usage_key: &str| {
                let mut new = NewTenant::new(&tenant, policy, usage_key);
                new.admin = admin_email.unwrap_or(new.admin);
                new.plan = plan;
                settings.apply(&mut new.settings);
                new
            };
            create_tenant(&table, options, (&tenant, plan), &source, make).await
        }
        TenantCommand::List => {
            let rows: Vec<_> = tenant::list(&table).await?.iter().map(tenant_row).collect();
            Ok(output::show_rows(format, &["tenant", "policy", "plan", "created", "status"], &rows))
        }
        TenantCommand::Update { tenant, plan, usage_plan, settings } => {
            let change = |own: &mut Settings| settings.apply(own);
            let mut record = tenant::set(&table, &tenant, clock::now(), change).await?;
            if let Some(plan) = plan {
                record = set_plan(&table, options, &record, plan, usage_plan).await?;
            }
            Ok(output::show_fields(format, &tenant_fields(&record)))
        }
        TenantCommand::Breaker { tenant, percent, lift, off } => {
            let record = set_deactivation_limit(&table, &tenant, percent, lift, off).await?;
            Ok(output::show_fields(format, &tenant_fields(&record)))
        }
        TenantCommand::UsageKey { tenant, plan, usage_plan } => {
            let tenants = with_plan(&table, tenant, plan).await?;
            let count = attach_again(&table, options, &tenants, (plan, &usage_plan)).await?;
            let fields = json!({ "plan": plan.name(), "usagePlan": usage_plan, "tenants": count });
            Ok(output::show_fields(format, &object(fields)))
        }
        TenantCommand::Resync { tenant } => {
            let version = tenant::resync(&table, &tenant, clock::now()).await?.version;
            let fields = json!({ "tenant": tenant.as_str(), "change": "tenant.resync", "version": version });
            Ok(output::show_fields(format, &object(fields)))
        }
        TenantCommand::Delete { tenant, yes, usage_plan, keep_usage_key, wait } => {
            let record = tenant::get(&table, &tenant).await?;
            if !yes {
                wipe::confirm(&tenant)?;
            }
            let plans = usage_plan.into_iter().chain(own_plans(&table, &record));
            let usage_keys = in_plans(options, plans.filter(|_| !keep_usage_key)).await;
            Ok(output::show_fields(format, &delete_tenant(&table, &record, usage_keys, wait).await?))
        }
        TenantCommand::Show { tenant } => {
            Ok(output::show_fields(format, &tenant_fields(&tenant::get(&table, &tenant).await?)))
        }
    }
}

/// The keys of these usage plans.
async fn in_plans(options: &GlobalOptions, plans: impl Iterator<Item = String>) -> Vec<PlanUsageKeys> {
    let mut all = Vec::new();
    for plan in plans {
        all.push(PlanUsageKeys { client: options.gateway().await, plan });
    }
    all
}

/// Puts the usage keys that these tenants have in a plan into a usage plan, and notes that in the table. Returns how many
/// there are.
async fn attach_again(
    table: &Table,
    options: &GlobalOptions,
    tenants: &[TenantRecord],
    (plan, usage_plan): (RatePlan, &str),
) -> Result<usize, AdminError> {
    let key = |tenant: &TenantRecord| Some((tenant.id.clone(), tenant.key_in(plan)?.value));
    let keys: Vec<_> = tenants.iter().filter_map(key).collect();
    usage_key::attach_again(&options.gateway().await, usage_plan, &keys).await?;
    for (tenant, value) in &keys {
        tenant::note_usage_plan(table, tenant, (plan, value), usage_plan).await?;
    }
    Ok(keys.len())
}

/// The tenant of this name, which must have a usage key in a plan; all tenants if none is named.
async fn with_plan(
    table: &Table,
    tenant: Option<TenantId>,
    plan: RatePlan,
) -> Result<Vec<TenantRecord>, AdminError> {
    let Some(tenant) = tenant else { return tenant::list(table).await };
    let tenant = tenant::get(table, &tenant).await?;
    if tenant.key_in(plan).is_some() {
        return Ok(vec![tenant]);
    }
    let (id, plan, own) = (&tenant.id, plan.name(), tenant.plan.name());
    Err(AdminError::Input(format!(
        "tenant {id} never had the plan {plan}, so it has no usage key there: give --plan {own} with the usage plan of that rate"
    )))
}

/// Moves a tenant to another plan. Its usage key in that plan is made if it never had one.
async fn set_plan(
    table: &Table,
    options: &GlobalOptions,
    record: &TenantRecord,
    plan: RatePlan,
    usage_plan: Option<String>,
) -> Result<TenantRecord, AdminError> {
    let keys: Box<dyn UsageKeys> = match usage_plan {
        // The rate stays, but its usage plan may be another one.
        Some(id) if record.plan == plan => {
            attach_again(table, options, std::slice::from_ref(record), (plan, &id)).await?;
            return tenant::get(table, &record.id).await;
        }
        Some(id) => Box::new(PlanUsageKeys { client: options.gateway().await, plan: id }),
        None if record.plan == plan || record.other_key.is_some() || options.is_local() => {
            Box::new(GeneratedUsageKeys)
        }
        None => {
            return Err(AdminError::Input(format!(
                "tenant {} never had the plan {}: name its usage plan with --usage-plan (the stack's outputs UsagePlanId and HighUsagePlanId)",
                record.id,
                plan.name()
            )));
        }
    };
    tenant::set_plan(table, &record.id, plan, keys.as_ref()).await
}

/// Makes a tenant, with the usage key from where the operator says; returns what to print.
async fn create_tenant(
    table: &Table,
    options: &GlobalOptions,
    (tenant, plan): (&TenantId, RatePlan),
    source: &Source,
    make: impl FnOnce(&str) -> NewTenant,
) -> Result<String, AdminError> {
    // Nothing is made in API Gateway for a tenant that there is already.
    match tenant::get(table, tenant).await {
        Ok(_) => return Err(tenant::explain_taken(table, tenant, clock::now()).await),
        Err(AdminError::NoTenant(_)) => {}
        Err(error) => return Err(error),
    }
    let usage_key = match source {
        Source::Generated => usage_key::generate(plan)?,
        Source::Plan(id) => usage_key::attach(&options.gateway().await, id, tenant).await?,
        Source::ApiKey(id) => usage_key::fetch(&options.gateway().await, id).await?,
    };
    let mut new = make(&usage_key);
    if let Source::Plan(plan) = source {
        new.usage_plan = Some(plan.clone());
    }
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

/// The usage plans in which the tenant's API keys were made. None if this table is not the one from which they were made:
/// it may be a copy, while the other table serves requests.
fn own_plans(table: &Table, record: &TenantRecord) -> Vec<String> {
    let other = record.other_key.as_ref().and_then(|key| key.usage_plan.as_ref());
    let plans = record.usage_plan.iter().chain(other);
    plans.filter(|plan| plan.table == table.name()).map(|plan| plan.id.clone()).collect()
}

/// Deletes a tenant with everything that it has; returns the fields to print.
async fn delete_tenant(
    table: &Table,
    record: &TenantRecord,
    usage_keys: Vec<PlanUsageKeys>,
    wait: Duration,
) -> Result<Map<String, Value>, AdminError> {
    let tenant = &record.id;
    let wiped = wipe::wipe(table, tenant, &usage_keys, wait.unsigned_abs(), clock::now()).await?;
    let mut fields = object(json!({
        "tenant": tenant.as_str(), "status": "deleted", "keysRevoked": wiped.revoked,
        "itemsDeleted": wiped.items, "usageKeysDeleted": wiped.usage_keys,
    }));
    let note = match (usage_keys.as_slice(), &record.usage_plan) {
        ([_, ..], _) => None,
        ([], Some(plan)) => Some(format!(
            "the API key {} stays in API Gateway: delete it there, unless table {} still serves requests",
            usage_key::name(&plan.id, tenant),
            plan.table
        )),
        ([], None) => Some(
            "no API key was made for this tenant, as far as the table says: if one is in API Gateway, delete it there"
                .to_owned(),
        ),
    };
    fields.extend(note.map(|note| ("note".to_owned(), json!(note))));
    Ok(fields)
}

fn tenant_row(record: &TenantRecord) -> Map<String, Value> {
    object(json!({
        "tenant": record.id.as_str(), "policy": record.policy.name, "plan": record.plan.name(), "created": clock::text(record.created),
        "status": if record.is_being_deleted { "being deleted" } else { "active" },
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
