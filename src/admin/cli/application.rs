//! `rollcall application`: makes, lists, rotates and revokes application keys.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::options::GlobalOptions;
use super::parse::{application_scope, read_expiry, read_span};
use super::runtime::finish;
use super::{complete, resolve};
use crate::admin::error::AdminError;
use crate::admin::output::{self, object};
use crate::auth::application::{ApplicationRecord, ApplicationScope};
use crate::auth::record::Status;
use crate::clock;
use crate::tenants::actor::Actor;
use crate::tenants::application::{self, NewApplication};

/// `rollcall application`.
#[derive(Args, Clone, Debug)]
pub struct ApplicationArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: ApplicationCommand,
}

/// Commands on application keys.
#[derive(Subcommand, Clone, Debug)]
pub enum ApplicationCommand {
    /// Make an application key; it is shown once
    #[command(after_help = "Examples:
  rollcall application create portal --scope manage
  rollcall application create reports --scope read --expires 90d

An application key works for every tenant: read reads everything, manage may also make tenants and
keys and change role assignments. Only the product's own backend may have it.")]
    Create {
        /// What to call it
        name: String,
        /// read or manage
        #[arg(long, value_parser = application_scope())]
        scope: ApplicationScope,
        /// From when on it is refused: a date (00:00 UTC), an RFC 3339 time, or 12h, 30d, 52w from now
        #[arg(long, value_name = "DATE", value_parser = read_expiry)]
        expires: Option<OffsetDateTime>,
    },
    /// List the application keys
    #[command(after_help = "Example:\n  rollcall application list")]
    List,
    /// Make a key's successor and let the old one expire
    #[command(after_help = "Examples:
  rollcall application rotate app_4fK2mQ9sXb1Z
  rollcall application rotate app_4fK2mQ9sXb1Z --overlap 7d

Both keys work until the overlap ends: give the new one to the application within it.")]
    Rotate {
        /// Which one: the id or the name that `rollcall application list` shows
        #[arg(value_name = "ID|NAME", add = complete::applications())]
        id: String,
        /// How long the old key goes on working: 30m, 24h, 7d
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = read_span)]
        overlap: Duration,
    },
    /// Revoke a key for good
    #[command(after_help = "Example:
  rollcall application revoke app_4fK2mQ9sXb1Z

A revoked key is refused as soon as API Gateway's authorizer cache has forgotten it (60 seconds
unless the deployment says otherwise).")]
    Revoke {
        /// Which one: the id or the name that `rollcall application list` shows
        #[arg(value_name = "ID|NAME", add = complete::applications())]
        id: String,
    },
}

/// `rollcall application …`, from the arguments to the exit code.
pub fn run(args: ApplicationArgs) -> ExitCode {
    finish(&args.options, run_application(&args.options, args.command))
}

/// Runs a command on application keys; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_application(
    options: &GlobalOptions,
    command: ApplicationCommand,
) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let (by, now) = (Actor::operator(), clock::now());
    let failed = AdminError::of(&table);
    match command {
        ApplicationCommand::Create { name, scope, expires } => {
            let new = NewApplication { name, scope, expires };
            let (key, record) = application::create(&table, &by, new, now).await.map_err(failed)?;
            let mut fields = application_fields(&record, now);
            fields.insert("key".to_owned(), json!(key.reveal()));
            fields.insert("note".to_owned(), json!("this is the only time the key is shown"));
            Ok(output::show_fields(format, &fields))
        }
        ApplicationCommand::List => {
            let listed = application::list(&table).await.map_err(failed)?;
            let rows = listed.iter().map(|listed| {
                let mut fields = application_fields(&listed.record, now);
                fields.insert("lastUsed".to_owned(), json!(listed.last_used));
                fields
            });
            let rows: Vec<_> = rows.collect();
            let columns = ["applicationId", "name", "scope", "status", "created", "expires", "lastUsed"];
            Ok(output::show_rows(format, &columns, &rows))
        }
        ApplicationCommand::Rotate { id, overlap } => {
            let id = resolve::application_id(&table, &id).await?;
            let rotated = application::rotate(&table, &by, &id, overlap, now).await;
            let (key, record, until) = rotated.map_err(failed)?;
            let mut fields = application_fields(&record, now);
            fields.insert("key".to_owned(), json!(key.reveal()));
            fields.insert("replaces".to_owned(), json!(id));
            fields.insert("oldKeyExpires".to_owned(), json!(clock::text(until)));
            fields.insert("note".to_owned(), json!("this is the only time the key is shown"));
            Ok(output::show_fields(format, &fields))
        }
        ApplicationCommand::Revoke { id } => {
            let id = resolve::application_id(&table, &id).await?;
            let was_active = application::revoke(&table, &by, &id, now).await.map_err(failed)?;
            let fields = object(json!({
                "applicationId": id, "status": Status::Revoked.name(),
                "note": if was_active { "refused once the authorizer's cache has forgotten it" }
                    else { "it was revoked already" },
            }));
            Ok(output::show_fields(format, &fields))
        }
    }
}

fn application_fields(record: &ApplicationRecord, now: OffsetDateTime) -> Map<String, Value> {
    object(json!({
        "applicationId": record.id,
        "name": record.name,
        "scope": record.scope.name(),
        "status": record.status.shown(record.is_expired(now)),
        "created": clock::text(record.created),
        "expires": record.expires.map(clock::text),
    }))
}
