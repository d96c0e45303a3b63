//! `rollcall client`: makes, lists, rotates and revokes OAuth clients.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::complete;
use super::options::GlobalOptions;
use super::parse::{read_span, scope, whole_number};
use super::resolve;
use super::runtime::finish;
use crate::admin::error::AdminError;
use crate::admin::output::{self, object};
use crate::auth::client::{ClientProof, ClientRecord, Federation};
use crate::auth::record::{Scope, Status};
use crate::clock;
use crate::limits::{SECRET_YEARS, TOKEN_HOURS};
use crate::outbound::target::TargetRule;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::tenants::actor::Actor;
use crate::tenants::client::{self, NewClient, NewProof};
use crate::tenants::error::TenantError;

/// `rollcall client`.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: ClientCommand,
}

impl ClientArgs {
    /// The options and the command.
    pub fn into_parts(self) -> (GlobalOptions, ClientCommand) {
        (self.options, self.command)
    }
}

/// Commands on OAuth clients.
#[derive(Subcommand, Clone, Debug)]
pub enum ClientCommand {
    /// Make a client; its secret is shown once
    #[command(after_help = "Examples:
  rollcall client create acme --name entra
  rollcall client create acme --name entra --secret-years 2 --token-hours 6
  rollcall client create acme --name entra --federated --entra-directory 3b2c… \\
      --subject 9f1e… --audience api://rollcall

A client gets access tokens at the token endpoint, POST …/oauth2/token. A federated client has no secret: it
sends an assertion that its issuer has signed.")]
    Create(Box<NewClientArgs>),
    /// List a tenant's clients
    #[command(after_help = "Example:\n  rollcall client list acme")]
    List {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Show a client with its secrets (never their texts), or with what its assertions must hold
    #[command(after_help = "Example:\n  rollcall client show acme client_4fK2mQ9sXb1Z")]
    Show {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Which one: the id or the name that `rollcall client list` shows
        #[arg(value_name = "ID|NAME", add = complete::clients())]
        client: String,
    },
    /// Make a new secret and let the others expire
    #[command(after_help = "Examples:
  rollcall client rotate acme client_4fK2mQ9sXb1Z
  rollcall client rotate acme entra --overlap 0s

All secrets work until the overlap ends: give the new one to the identity provider within it. Without an
overlap (0s) the others are revoked, and their access tokens with them.")]
    Rotate {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Which one: the id or the name that `rollcall client list` shows
        #[arg(value_name = "ID|NAME", add = complete::clients())]
        client: String,
        /// How long the other secrets go on working: 30m, 24h, 7d
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = read_span)]
        overlap: Duration,
    },
    /// Revoke a client, or one of its secrets, for good, with the access tokens
    #[command(after_help = "Examples:
  rollcall client revoke acme client_4fK2mQ9sXb1Z
  rollcall client revoke acme client_4fK2mQ9sXb1Z --secret secret_8dT3kW1pYc6N

Its access tokens are refused as soon as API Gateway's authorizer cache has forgotten them (60 seconds
unless the deployment says otherwise).")]
    Revoke {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Which one: the id or the name that `rollcall client list` shows
        #[arg(value_name = "ID|NAME", add = complete::clients())]
        client: String,
        /// Only this secret, as `rollcall client show` shows it
        #[arg(long, value_name = "ID")]
        secret: Option<String>,
    },
}

/// The arguments of `rollcall client create`.
#[derive(Args, Clone, Debug)]
pub struct NewClientArgs {
    /// Whose data its access tokens open
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// What to call it
    #[arg(long)]
    name: String,
    /// What its access tokens may do: provision is everything
    #[arg(long, default_value = "provision", value_parser = scope())]
    scope: Scope,
    /// How many hours an access token lives, 1 to 6
    #[arg(long, value_name = "HOURS", default_value_t = 1, value_parser = whole_number::<u64>(TOKEN_HOURS))]
    token_hours: u64,
    /// How many years a secret lives, 1 to 3
    #[arg(long, value_name = "YEARS", default_value_t = 1, value_parser = whole_number::<u64>(SECRET_YEARS), conflicts_with = "federated")]
    secret_years: u64,
    /// Without a secret: another issuer's assertions say who it is (RFC 7523)
    #[arg(long, requires_all = ["subject", "audience"])]
    federated: bool,
    /// The directory (tenant) id at Entra ID: gives the issuer and the JWKS URL
    #[arg(long, value_name = "ID", requires = "federated")]
    entra_directory: Option<String>,
    /// The claim iss of its assertions
    #[arg(long, value_name = "TEXT", requires = "federated")]
    issuer: Option<String>,
    /// The claim sub of its assertions: at Entra ID the object id of Microsoft's provisioning principal
    #[arg(long, value_name = "TEXT", requires = "federated")]
    subject: Option<String>,
    /// The claim aud of its assertions
    #[arg(long, value_name = "TEXT", requires = "federated")]
    audience: Option<String>,
    /// Where the issuer's keys are
    #[arg(long, value_name = "URL", requires = "federated")]
    jwks_url: Option<String>,
}

impl NewClientArgs {
    fn proof(&self, rule: TargetRule) -> Result<NewProof, AdminError> {
        if !self.federated {
            return Ok(NewProof::Secret(self.secret_years));
        }
        let missing = |option: &str| {
            AdminError::Input(format!(
                "a federated client needs {option}, or --entra-directory for those of Entra ID"
            ))
        };
        let entra = self.entra_directory.as_deref().map(Federation::entra_urls);
        let (issuer, jwks_url) = entra.unzip();
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        let federation = Federation {
            issuer: self.issuer.clone().or(issuer).ok_or_else(|| missing("--issuer"))?,
            subject: text(&self.subject),
            audience: text(&self.audience),
            jwks_url: self.jwks_url.clone().or(jwks_url).ok_or_else(|| missing("--jwks-url"))?,
            directory: self.entra_directory.clone(),
        };
        Ok(NewProof::Federated(federation, rule))
    }
}

/// `rollcall client …`, from the arguments to the exit code.
pub fn run(args: ClientArgs) -> ExitCode {
    let (options, command) = args.into_parts();
    finish(&options, run_client(&options, command))
}

/// Runs a command on OAuth clients; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_client(options: &GlobalOptions, command: ClientCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let (by, now) = (Actor::operator(), clock::now());
    let failed = AdminError::of(&table);
    let fields = match command {
        ClientCommand::Create(args) => {
            let rule = if options.is_local() { TargetRule::PublicOrLoopback } else { TargetRule::Public };
            let proof = args.proof(rule)?;
            let NewClientArgs { tenant, name, scope, token_hours, .. } = *args;
            let new = NewClient { tenant, name, scope, token_hours, proof };
            let (secret, record) = client::create(&table, &by, new, now).await.map_err(failed)?;
            let mut fields = shown_fields(&record, now);
            if let Some(secret) = secret {
                fields.insert("clientSecret".to_owned(), json!(secret.reveal()));
                fields.insert("note".to_owned(), json!("this is the only time the secret is shown"));
            }
            fields
        }
        ClientCommand::List { tenant } => {
            let listed = client::list(&table, &tenant).await.map_err(failed)?;
            let rows = listed.iter().map(|listed| {
                let mut fields = client_fields(&listed.record, now);
                fields.insert("lastUsed".to_owned(), json!(listed.last_used));
                fields
            });
            let columns =
                ["clientId", "name", "scope", "proof", "status", "created", "secretExpires", "lastUsed"];
            return Ok(output::show_rows(format, &columns, &rows.collect::<Vec<_>>()));
        }
        ClientCommand::Show { tenant, client } => {
            let client = resolve::client_id(&table, &tenant, &client).await?;
            shown_fields(&client::get(&table, &tenant, &client).await.map_err(failed)?, now)
        }
        ClientCommand::Rotate { tenant, client, overlap } => {
            let client = resolve::client_id(&table, &tenant, &client).await?;
            let rotated = client::rotate(&table, &by, (&tenant, &client), overlap, now).await;
            let rotated = rotated.map_err(failed)?;
            let mut fields = client_fields(&rotated.record, now);
            fields.insert("secretId".to_owned(), json!(rotated.id));
            fields.insert("clientSecret".to_owned(), json!(rotated.text.reveal()));
            fields.insert("otherSecretsExpire".to_owned(), json!(clock::text(rotated.others_until)));
            fields.insert("note".to_owned(), json!("this is the only time the secret is shown"));
            fields
        }
        ClientCommand::Revoke { tenant, client, secret } => {
            let client = resolve::client_id(&table, &tenant, &client).await?;
            if let Some(secret) = &secret {
                check_secret(&client::get(&table, &tenant, &client).await.map_err(&failed)?, secret)?;
            }
            revoke(&table, (&tenant, &client), secret.as_deref(), now).await.map_err(failed)?
        }
    };
    Ok(output::show_fields(format, &fields))
}

/// Refuses a secret that the client does not have: a mistyped id must not look like a secret that is revoked.
fn check_secret(record: &ClientRecord, secret: &str) -> Result<(), AdminError> {
    let ids: Vec<&str> = record.proof.secrets().iter().map(|own| own.id.as_str()).collect();
    if ids.contains(&secret) {
        return Ok(());
    }
    let has = if ids.is_empty() { "it has none".to_owned() } else { format!("it has {}", ids.join(", ")) };
    Err(AdminError::Input(format!(
        "the client has no secret of the id {secret}: it was revoked before, has ended, or is mistyped; {has}"
    )))
}

/// Revokes a client or one of its secrets; returns the fields to print.
async fn revoke(
    table: &Table,
    (tenant, id): (&TenantId, &str),
    secret: Option<&str>,
    now: OffsetDateTime,
) -> Result<Map<String, Value>, TenantError> {
    let by = Actor::operator();
    let was_active = match secret {
        Some(secret) => client::revoke_secret(table, &by, (tenant, id), secret, now).await?,
        None => client::revoke(table, &by, (tenant, id), now).await?,
    };
    Ok(object(json!({
        "tenant": tenant.as_str(), "clientId": id, "secretId": secret, "status": Status::Revoked.name(),
        "note": match was_active {
            true => "its tokens are refused once the authorizer's cache has forgotten them",
            false => "it was revoked already",
        },
    })))
}

fn client_fields(record: &ClientRecord, now: OffsetDateTime) -> Map<String, Value> {
    let ends = record.proof.secrets().iter().map(|secret| secret.expires).filter(|end| *end > now).max();
    object(json!({
        "tenant": record.tenant.as_str(),
        "clientId": record.id,
        "name": record.name,
        "scope": record.scope.name(),
        "proof": record.proof.name(),
        "status": record.status.shown(record.is_expired(now)),
        "created": clock::text(record.created),
        "tokenHours": record.token_hours,
        "secretExpires": ends.map(clock::text),
    }))
}

fn shown_fields(record: &ClientRecord, now: OffsetDateTime) -> Map<String, Value> {
    let mut fields = client_fields(record, now);
    match &record.proof {
        ClientProof::Secrets { secrets, .. } => {
            let secrets = secrets.iter().filter(|secret| secret.expires > now);
            let shown: Vec<String> = secrets
                .map(|secret| format!("{} until {}", secret.id, clock::text(secret.expires)))
                .collect();
            fields.insert("secrets".to_owned(), json!(shown.join(", ")));
        }
        ClientProof::Federated(federation) => {
            for (name, text) in [
                ("issuer", &federation.issuer),
                ("subject", &federation.subject),
                ("audience", &federation.audience),
                ("jwksUrl", &federation.jwks_url),
            ] {
                fields.insert(name.to_owned(), json!(text));
            }
            fields.extend(federation.directory.as_ref().map(|id| ("entraDirectory".to_owned(), json!(id))));
        }
    }
    fields
}
