//! `rollcall key`: makes, lists, rotates and revokes bearer keys.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::complete;
use super::options::GlobalOptions;
use super::parse::{read_expiry, read_span, scope};
use super::resolve::{self, Resolver};
use super::runtime::finish;
use crate::admin::error::AdminError;
use crate::admin::key::{self, ListedKey, NewKey};
use crate::admin::output::{self, object};
use crate::auth::record::{KeyRecord, Scope, Status};
use crate::clock;
use crate::store::keys::TenantId;

/// `rollcall key`.
#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: KeyCommand,
}

/// Commands on bearer keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeyCommand {
    /// Make a bearer key; it is shown once
    #[command(after_help = "Examples:
  rollcall key create acme --name Okta
  rollcall key create acme --name audit --scope read --expires 90d
  rollcall key create acme --name contractor --expires 2027-01-01
  rollcall key create acme --name portal --user ada@acme.example")]
    Create {
        /// Whose data it opens
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// What to call it
        #[arg(long)]
        name: String,
        /// provision (everything) or read
        #[arg(long, default_value = "provision", value_parser = scope())]
        scope: Scope,
        /// From when on it is refused: a date (00:00 UTC), an RFC 3339 time, or 12h, 30d, 52w from now
        #[arg(long, value_name = "DATE", value_parser = read_expiry)]
        expires: Option<OffsetDateTime>,
        /// The user that /Me stands for: its id or userName
        #[arg(long, value_name = "ID|NAME")]
        user: Option<String>,
    },
    /// List a tenant's keys
    #[command(after_help = "Example:\n  rollcall key list acme")]
    List {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Make a key's successor and let the old one expire
    #[command(after_help = "Examples:
  rollcall key rotate acme key_4fK2mQ9sXb1Z
  rollcall key rotate acme Okta --overlap 7d

Both keys work until the overlap ends: give the new one to the identity provider within it.")]
    Rotate {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Which one: the id or the name that `rollcall key list` shows
        #[arg(value_name = "ID|NAME", add = complete::keys())]
        key: String,
        /// How long the old key goes on working: 30m, 24h, 7d
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = read_span)]
        overlap: Duration,
    },
    /// Revoke a key for good
    #[command(after_help = "Example:
  rollcall key revoke acme key_4fK2mQ9sXb1Z

A revoked key is refused as soon as API Gateway's authorizer cache has forgotten it (60 seconds
unless the deployment says otherwise).")]
    Revoke {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Which one: the id or the name that `rollcall key list` shows
        #[arg(value_name = "ID|NAME", add = complete::keys())]
        key: String,
    },
}

/// `rollcall key …`, from the arguments to the exit code.
pub fn run(args: KeyArgs) -> ExitCode {
    finish(&args.options, run_key(&args.options, args.command))
}

/// Runs a command on bearer keys; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_key(options: &GlobalOptions, command: KeyCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let now = clock::now();
    match command {
        KeyCommand::Create { tenant, name, scope, expires, user } => {
            let user = match user {
                Some(user) => Some(Resolver::of(&table, &tenant).await?.user(&user).await?),
                None => None,
            };
            let new = NewKey { tenant, name, scope, expires, user };
            let (key, record) = key::create(&table, new, now).await?;
            let mut fields = key_fields(&record, now);
            fields.insert("key".to_owned(), json!(key.reveal()));
            fields.insert("note".to_owned(), json!("this is the only time the key is shown"));
            Ok(output::show_fields(format, &fields))
        }
        KeyCommand::List { tenant } => {
            let row = |listed: &ListedKey| {
                let mut fields = key_fields(&listed.record, now);
                fields.insert("lastUsed".to_owned(), json!(listed.last_used));
                fields
            };
            let rows: Vec<_> = key::list(&table, &tenant).await?.iter().map(row).collect();
            let columns = ["keyId", "name", "scope", "status", "created", "expires", "user", "lastUsed"];
            Ok(output::show_rows(format, &columns, &rows))
        }
        KeyCommand::Rotate { tenant, key, overlap } => {
            let key_id = resolve::key_id(&table, &tenant, &key).await?;
            let (key, record, until) = key::rotate(&table, (&tenant, &key_id), overlap, now).await?;
            let mut fields = key_fields(&record, now);
            fields.insert("key".to_owned(), json!(key.reveal()));
            fields.insert("replaces".to_owned(), json!(key_id));
            fields.insert("oldKeyExpires".to_owned(), json!(clock::text(until)));
            fields.insert("note".to_owned(), json!("this is the only time the key is shown"));
            Ok(output::show_fields(format, &fields))
        }
        KeyCommand::Revoke { tenant, key } => {
            let key_id = resolve::key_id(&table, &tenant, &key).await?;
            let was_active = key::revoke(&table, &tenant, &key_id, now).await?;
            let fields = object(json!({
                "tenant": tenant.as_str(), "keyId": key_id, "status": Status::Revoked.name(),
                "note": if was_active { "refused once the authorizer's cache has forgotten it" }
                    else { "it was revoked already" },
            }));
            Ok(output::show_fields(format, &fields))
        }
    }
}

fn key_fields(record: &KeyRecord, now: OffsetDateTime) -> Map<String, Value> {
    object(json!({
        "tenant": record.tenant.as_str(),
        "keyId": record.key_id,
        "name": record.name,
        "scope": record.scope.name(),
        "status": record.status.shown(record.is_expired(now)),
        "created": clock::text(record.created),
        "expires": record.expires.map(clock::text),
        "user": record.user.map(|user| user.to_string()),
    }))
}
