//! The commands `rollcall tenant …` and `rollcall key …`.

use std::io::Write as _;
use std::process::ExitCode;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::{Client, config};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::error::AdminError;
use super::key::{ListedKey, NewKey};
use super::output::{self, Format};
use super::tenant::NewTenant;
use super::usage_key::{self, Source};
use super::{when, wipe};
use crate::auth::record::{KeyRecord, Scope, Status};
use crate::auth::tenant::{Settings, TenantRecord};
use crate::clock;
use crate::scim::policy::{POLICIES, Policy};
use crate::store::call::Table;
use crate::store::keys::{TenantId, parse_id};

/// Options of every command: which deployment, and how to print.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalOptions {
    /// The table of the deployment
    #[arg(long, global = true, env = "ROLLCALL_TABLE", value_name = "NAME")]
    pub table: Option<String>,
    /// Where DynamoDB answers, for a local table
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// AWS region, else as the AWS CLI finds it
    #[arg(long, global = true)]
    pub region: Option<String>,
    /// Profile in the AWS configuration
    #[arg(long, global = true)]
    pub profile: Option<String>,
    /// How to print
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
    /// Short for --output json
    #[arg(long, global = true, conflicts_with = "output")]
    pub json: bool,
}

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

/// `rollcall key`.
#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: KeyCommand,
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
        /// The rules that the tenant runs under: veza, standard or strict
        #[arg(long, default_value = POLICIES[0].name, value_parser = policy)]
        policy: &'static Policy,
        /// Address and userName of the local break-glass administrator that is made with it
        #[arg(long, value_name = "ADDRESS")]
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
    #[command(after_help = "Examples:
  rollcall tenant set acme --retention-days 90
  rollcall tenant set acme --protect-root-team true

It acts once API Gateway's authorizer cache has forgotten the tenant (60 seconds unless the deployment
says otherwise). The retention counts for accounts that are deactivated from then on.")]
    Set {
        /// Which one
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
        tenant: TenantId,
        /// The limit, in percent of the active users
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100), group = "what")]
        percent: Option<u8>,
        /// Let any number pass for this long from now: 30m, 2h
        #[arg(long, value_name = "SPAN", value_parser = overlap, group = "what")]
        lift: Option<Duration>,
        /// No limit
        #[arg(long, group = "what")]
        off: bool,
    },
    /// Delete a tenant with everything that it has, for good
    #[command(after_help = "Examples:
  rollcall tenant delete acme
  rollcall tenant delete acme --yes --wait 5m

The whole table is read once or twice for it. An interrupted deletion is taken up again by the same
command. API Gateway's key of the tenant stays: the command names it.")]
    Delete {
        /// Which one
        tenant: TenantId,
        /// Do not ask for the tenant's name
        #[arg(long)]
        yes: bool,
        /// How long API Gateway remembers a revoked key (the stack's AuthorizerTtl); waited if there are keys
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = overlap)]
        wait: Duration,
    },
}

/// Commands on bearer keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeyCommand {
    /// Make a bearer key; it is shown once
    #[command(after_help = "Examples:
  rollcall key create acme --name Okta
  rollcall key create acme --name audit --scope read --expires 90d
  rollcall key create acme --name contractor --expires 2027-01-01")]
    Create {
        /// Whose data it opens
        tenant: TenantId,
        /// What to call it
        #[arg(long)]
        name: String,
        /// provision (everything) or read
        #[arg(long, default_value = "provision", value_parser = scope)]
        scope: Scope,
        /// From when on it is refused: a date (00:00 UTC), an RFC 3339 time, or 12h, 30d, 52w from now
        #[arg(long, value_name = "DATE", value_parser = expiry)]
        expires: Option<OffsetDateTime>,
        /// The user that /Me stands for, by its id
        #[arg(long, value_name = "ID", value_parser = user_id)]
        user: Option<Uuid>,
    },
    /// List a tenant's keys
    #[command(after_help = "Example:\n  rollcall key list acme")]
    List {
        /// Whose
        tenant: TenantId,
    },
    /// Make a key's successor and let the old one expire
    #[command(after_help = "Examples:
  rollcall key rotate acme key_4fK2mQ9sXb1Z
  rollcall key rotate acme key_4fK2mQ9sXb1Z --overlap 7d

Both keys work until the overlap ends: give the new one to the identity provider within it.")]
    Rotate {
        /// Whose
        tenant: TenantId,
        /// Which one, as `rollcall key list` shows it
        key_id: String,
        /// How long the old key goes on working: 30m, 24h, 7d
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = overlap)]
        overlap: Duration,
    },
    /// Revoke a key for good
    #[command(after_help = "Example:
  rollcall key revoke acme key_4fK2mQ9sXb1Z

A revoked key is refused as soon as API Gateway's authorizer cache has forgotten it (60 seconds
unless the deployment says otherwise).")]
    Revoke {
        /// Whose
        tenant: TenantId,
        /// Which one, as `rollcall key list` shows it
        key_id: String,
    },
}

fn policy(text: &str) -> Result<&'static Policy, String> {
    Policy::named(text).ok_or_else(|| {
        let names: Vec<_> = POLICIES.iter().map(|policy| policy.name).collect();
        format!("the policies are {}", names.join(", "))
    })
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::named(text).ok_or_else(|| "the scopes are provision, read".to_owned())
}

fn user_id(text: &str) -> Result<Uuid, String> {
    parse_id(text).ok_or_else(|| "a user's id is a lower-case UUID with hyphens".to_owned())
}

fn expiry(text: &str) -> Result<OffsetDateTime, String> {
    let now = OffsetDateTime::now_utc();
    let expires = when::ahead(text, now)
        .ok_or("give a date as 2027-01-31, an RFC 3339 time as 2027-01-31T18:00:00Z, or 12h, 30d, 52w")?;
    if expires <= now { Err("that time has passed".to_owned()) } else { Ok(expires) }
}

fn overlap(text: &str) -> Result<Duration, String> {
    when::span(text).ok_or_else(|| "give a span as 30m, 24h or 7d".to_owned())
}

impl GlobalOptions {
    /// How to print.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    async fn aws(&self) -> SdkConfig {
        let mut loader = crate::config::aws();
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if self.is_local() {
            // A table on this machine asks for some credentials and region, whichever.
            loader = loader.credentials_provider(Credentials::new("local", "local", None, None, "rollcall"));
            if self.region.is_none() {
                loader = loader.region(Region::from_static("us-east-1"));
            }
        }
        loader.load().await
    }

    /// Whether the table is on this machine.
    fn is_local(&self) -> bool {
        let host = self.endpoint_url.as_deref().and_then(|url| url.split("://").nth(1)).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.profile.is_none() && ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    }

    /// The deployment's table.
    ///
    /// # Errors
    /// [`AdminError::Input`] when nothing says which.
    pub async fn open(&self) -> Result<Table, AdminError> {
        let missing = "which table? pass --table or set ROLLCALL_TABLE (the stack's output names it)";
        let name = self.table.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| AdminError::Input(missing.to_owned()))?;
        let mut aws = config::Builder::from(&self.aws().await);
        aws.set_endpoint_url(self.endpoint_url.clone());
        Ok(Table::new(Client::from_conf(aws.build()), name))
    }

    async fn gateway(&self) -> aws_sdk_apigateway::Client {
        aws_sdk_apigateway::Client::new(&self.aws().await)
    }
}

/// `rollcall tenant …`, from the arguments to the exit code.
pub fn tenant(args: TenantArgs) -> ExitCode {
    finish(run_tenant(&args.options, args.command))
}

/// `rollcall key …`, from the arguments to the exit code.
pub fn key(args: KeyArgs) -> ExitCode {
    finish(run_key(&args.options, args.command))
}

/// What a command that ran to its end leaves: what to print, and whether it found what somebody
/// should look at.
#[derive(Debug, Default)]
pub(super) struct CommandOutput {
    /// For the standard output.
    pub text: String,
    /// Some lines failed, or something is wrong: exit code 3.
    pub findings: bool,
}

impl From<String> for CommandOutput {
    fn from(text: String) -> Self {
        Self { text, findings: false }
    }
}

/// Exit code of a command that is done, with findings.
const FINDINGS: u8 = 3;

/// Prints what a command says: 0 when it is done, 3 with findings, 1 with one line when it failed.
pub(super) fn finish<T: Into<CommandOutput>>(
    command: impl Future<Output = Result<T, AdminError>>,
) -> ExitCode {
    let done = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command).map(Into::into),
        Err(error) => Err(AdminError::Input(format!("this system gives no runtime: {error}"))),
    };
    // A reader that has gone, `| head` say, is no failure worth a panic.
    let written = match &done {
        Ok(done) => std::io::stdout().write_all(done.text.as_bytes()),
        Err(error) => writeln!(std::io::stderr(), "error: {error}"),
    };
    match done {
        Ok(CommandOutput { findings: true, .. }) if written.is_ok() => ExitCode::from(FINDINGS),
        Ok(_) if written.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Runs a command on tenants; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_tenant(options: &GlobalOptions, command: TenantCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    match command {
        TenantCommand::Create { tenant, policy, admin_email, usage_plan, usage_key_id, settings } => {
            // Nothing is made in API Gateway for a tenant that there is already.
            match super::tenant::get(&table, &tenant).await {
                Ok(_) => return Err(AdminError::Exists(tenant)),
                Err(AdminError::NoTenant(_)) => {}
                Err(error) => return Err(error),
            }
            let source = match (usage_plan, usage_key_id) {
                (Some(plan), _) => Source::Plan(plan),
                (None, Some(id)) => Source::ApiKey(id),
                (None, None) => Source::Generated,
            };
            let usage_key = match &source {
                Source::Generated => usage_key::generate()?,
                Source::Plan(plan) => usage_key::attach(&options.gateway().await, plan, &tenant).await?,
                Source::ApiKey(id) => usage_key::fetch(&options.gateway().await, id).await?,
            };
            let mut new = NewTenant::new(&tenant, policy, &usage_key);
            new.admin = admin_email.unwrap_or(new.admin);
            settings.apply(&mut new.settings);
            let record = super::tenant::create(&table, &new, OffsetDateTime::now_utc()).await?;
            let mut fields = tenant_fields(&record);
            fields.insert("breakGlassAdmin".to_owned(), json!(new.admin));
            if source == Source::Generated {
                let note = "API Gateway answers this tenant 403 until a usage plan holds an API key of this value; locally nothing is needed";
                fields.insert("note".to_owned(), json!(note));
            }
            Ok(output::one(format, &fields))
        }
        TenantCommand::List => {
            let rows: Vec<_> = super::tenant::list(&table).await?.iter().map(tenant_row).collect();
            Ok(output::many(format, &["tenant", "policy", "created"], &rows))
        }
        TenantCommand::Set { tenant, settings } => {
            if settings.is_empty() {
                return Err(AdminError::Input("give --retention-days or --protect-root-team".to_owned()));
            }
            let change = |own: &mut Settings| settings.apply(own);
            let record = super::tenant::set(&table, &tenant, OffsetDateTime::now_utc(), change).await?;
            Ok(output::one(format, &tenant_fields(&record)))
        }
        TenantCommand::Breaker { tenant, percent, lift, off } => {
            let now = OffsetDateTime::now_utc();
            let lifted = lift.map(|span| now.saturating_add(span).unix_timestamp().unsigned_abs());
            if percent.is_none() && lifted.is_none() && !off {
                return Err(AdminError::Input("give one of --percent, --lift and --off".to_owned()));
            }
            let change = |settings: &mut Settings| {
                if off {
                    settings.breaker_percent = None;
                }
                settings.breaker_percent = percent.or(settings.breaker_percent);
                settings.breaker_lifted_until = lifted.unwrap_or(0);
            };
            let record = super::tenant::set(&table, &tenant, now, change).await?;
            Ok(output::one(format, &tenant_fields(&record)))
        }
        TenantCommand::Delete { tenant, yes, wait } => {
            super::tenant::get(&table, &tenant).await?;
            if !yes {
                wipe::confirm(&tenant)?;
            }
            let wiped = wipe::wipe(&table, &tenant, wait.unsigned_abs(), OffsetDateTime::now_utc()).await?;
            let note = format!(
                "the API key {} is still in API Gateway's usage plan: delete it there",
                usage_key::name(&tenant)
            );
            Ok(output::one(
                format,
                &object(json!({
                    "tenant": tenant.as_str(), "status": "deleted", "keysRevoked": wiped.revoked,
                    "itemsDeleted": wiped.items, "note": note,
                })),
            ))
        }
        TenantCommand::Show { tenant } => {
            Ok(output::one(format, &tenant_fields(&super::tenant::get(&table, &tenant).await?)))
        }
    }
}

/// Runs a command on bearer keys; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_key(options: &GlobalOptions, command: KeyCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let now = OffsetDateTime::now_utc();
    match command {
        KeyCommand::Create { tenant, name, scope, expires, user } => {
            let new = NewKey { tenant, name, scope, expires, user };
            let (key, record) = super::key::create(&table, new, now).await?;
            let mut fields = key_fields(&record, now);
            fields.insert("key".to_owned(), json!(key.reveal()));
            fields.insert("note".to_owned(), json!("this is the only time the key is shown"));
            Ok(output::one(format, &fields))
        }
        KeyCommand::List { tenant } => {
            let row = |listed: &ListedKey| {
                let mut fields = key_fields(&listed.record, now);
                fields.insert("lastUsed".to_owned(), json!(listed.last_used));
                fields
            };
            let rows: Vec<_> = super::key::list(&table, &tenant).await?.iter().map(row).collect();
            let columns = ["keyId", "name", "scope", "status", "created", "expires", "user", "lastUsed"];
            Ok(output::many(format, &columns, &rows))
        }
        KeyCommand::Rotate { tenant, key_id, overlap } => {
            let (key, record, until) = super::key::rotate(&table, (&tenant, &key_id), overlap, now).await?;
            let mut fields = key_fields(&record, now);
            fields.insert("key".to_owned(), json!(key.reveal()));
            fields.insert("replaces".to_owned(), json!(key_id));
            fields.insert("oldKeyExpires".to_owned(), json!(clock::text(until)));
            fields.insert("note".to_owned(), json!("this is the only time the key is shown"));
            Ok(output::one(format, &fields))
        }
        KeyCommand::Revoke { tenant, key_id } => {
            let was_active = super::key::revoke(&table, &tenant, &key_id, now).await?;
            let fields = object(json!({
                "tenant": tenant.as_str(), "keyId": key_id, "status": Status::Revoked.name(),
                "note": if was_active { "refused once the authorizer's cache has forgotten it" }
                    else { "it was revoked already" },
            }));
            Ok(output::one(format, &fields))
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
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
    let now = OffsetDateTime::now_utc().unix_timestamp().unsigned_abs();
    let lifted = settings.breaker_lifted_until;
    let lifted = i64::try_from(lifted).ok().filter(|_| lifted > now);
    let lifted = lifted.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()).map(clock::text);
    fields.insert("rootTeam".to_owned(), json!(record.root_team.map(|id| id.to_string())));
    fields.insert("breakerPercent".to_owned(), json!(settings.breaker_percent));
    fields.insert("breakerLiftedUntil".to_owned(), json!(lifted));
    fields.insert("usageKey".to_owned(), json!(record.usage_key));
    fields
}

fn key_fields(record: &KeyRecord, now: OffsetDateTime) -> Map<String, Value> {
    let expired = record.status == Status::Active && record.expires.is_some_and(|expires| expires <= now);
    object(json!({
        "tenant": record.tenant.as_str(),
        "keyId": record.key_id,
        "name": record.name,
        "scope": record.scope.name(),
        "status": if expired { "expired" } else { record.status.name() },
        "created": clock::text(record.created),
        "expires": record.expires.map(clock::text),
        "user": record.user.map(|user| user.to_string()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_endpoint_needs_no_credentials() {
        let at = |url: &str| GlobalOptions { endpoint_url: Some(url.to_owned()), ..GlobalOptions::default() };
        for url in
            ["http://127.0.0.1:8000", "http://localhost:8000/", "http://localhost", "http://[::1]:8000"]
        {
            assert!(at(url).is_local(), "{url}");
        }
        for url in ["", "https://dynamodb.eu-west-1.amazonaws.com", "http://localhost.example.com"] {
            assert!(!at(url).is_local(), "{url}");
        }
        let profile = GlobalOptions { profile: Some("prod".to_owned()), ..at("http://127.0.0.1:8000") };
        assert!(!profile.is_local());
    }
}
