//! `rollcall webhook`: makes, lists, tests, rotates, changes and deletes webhooks, and plays one.

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};
use time::Duration;
use uuid::Uuid;

use super::complete;
use super::options::GlobalOptions;
use super::parse::read_span;
use super::resolve::webhook_id;
use super::runtime::finish;
use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::listen;
use crate::admin::output::{self, object};
use crate::deliver::message::NoResources;
use crate::deliver::registry::{ListedWebhook, Registry, RegistryError, WebhookUpdate};
use crate::deliver::sender::MessageSender;
use crate::deliver::webhook::WebhookDelivery;
use crate::outbound::target::TargetRule;
use crate::store::call::Table;
use crate::store::webhook::Webhook;

/// `rollcall webhook`.
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: WebhookCommand,
}

/// Commands on webhooks.
#[derive(Subcommand, Clone, Debug)]
pub enum WebhookCommand {
    /// Make a webhook; its secret is shown once
    #[command(after_help = "Example:\n  rollcall webhook create https://app.example.com/hooks/rollcall")]
    Create {
        /// Where messages go: an https URL with a public address
        url: String,
        /// Send the state of the changed resource with each change
        #[arg(long)]
        include_resource: bool,
    },
    /// List the webhooks, how far they are, and their last errors
    #[command(after_help = "Example:\n  rollcall webhook list")]
    List,
    /// Send a message without changes, from this machine
    #[command(after_help = "Example:\n  rollcall webhook test wh_0193…")]
    Test {
        /// Which one: the id or the URL that `rollcall webhook list` shows
        #[arg(value_name = "ID|URL", add = complete::webhooks())]
        id: String,
    },
    /// Give a webhook a new secret
    #[command(after_help = "Example:
  rollcall webhook rotate wh_0193… --overlap 24h

Until the overlap ends, each message has the signatures of both secrets.")]
    Rotate {
        /// Which one: the id or the URL that `rollcall webhook list` shows
        #[arg(value_name = "ID|URL", add = complete::webhooks())]
        id: String,
        /// How long the old secret signs too: 30m, 24h, 7d
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = read_span)]
        overlap: Duration,
    },
    /// Change where a webhook leads to, what it sends, or whether it sends
    #[command(
        group = ArgGroup::new("change").required(true).multiple(true),
        after_help = "Examples:
  rollcall webhook update wh_0193… --url https://app.example.com/hooks/new
  rollcall webhook update wh_0193… --include-resource true --enabled false

The secret and the position stay. A webhook that is enabled again goes on where it stopped."
    )]
    Update {
        /// Which one: the id or the URL that `rollcall webhook list` shows
        #[arg(value_name = "ID|URL", add = complete::webhooks())]
        id: String,
        /// Where messages go: an https URL with a public address
        #[arg(long, group = "change")]
        url: Option<String>,
        /// Send the state of the changed resource with each change
        #[arg(long, value_name = "true|false", group = "change")]
        include_resource: Option<bool>,
        /// Send messages
        #[arg(long, value_name = "true|false", group = "change")]
        enabled: Option<bool>,
    },
    /// Enable a webhook that was disabled, and try again at once
    #[command(after_help = "Example:\n  rollcall webhook enable wh_0193…")]
    Enable {
        /// Which one: the id or the URL that `rollcall webhook list` shows
        #[arg(value_name = "ID|URL", add = complete::webhooks())]
        id: String,
    },
    /// Delete a webhook with its secrets
    #[command(after_help = "Example:\n  rollcall webhook delete wh_0193…")]
    Delete {
        /// Which one: the id or the URL that `rollcall webhook list` shows
        #[arg(value_name = "ID|URL", add = complete::webhooks())]
        id: String,
    },
    /// Print the changes from now on, and forward them to a URL as a webhook would, until Ctrl-C
    #[command(after_help = "Example:
  rollcall webhook listen --forward-to http://127.0.0.1:8000/hook

The deployment does not know of it: no webhook is made, and nothing is repeated. Messages are signed with a
secret that is printed at the start.")]
    Listen {
        /// Where to forward messages to: an http URL on this machine, or an https URL
        #[arg(long, value_name = "URL")]
        forward_to: Option<String>,
    },
}

/// `rollcall webhook …`, from the arguments to the exit code.
pub fn run(args: WebhookArgs) -> ExitCode {
    finish(&args.options, run_webhook(&args.options, args.command))
}

/// Runs a command on webhooks; returns what to print.
///
/// # Errors
/// [`AdminError`], one line to print.
pub async fn run_webhook(options: &GlobalOptions, command: WebhookCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let rule = if options.is_local() { TargetRule::PublicOrLoopback } else { TargetRule::Public };
    let registry = Registry { table: &table, actor: ACTOR, request_id: ACTOR, rule };
    let failed = |error| read_error(&table, error);
    let fields = match command {
        WebhookCommand::Create { url, include_resource } => {
            let (webhook, secret) = registry.create(&url, include_resource).await.map_err(failed)?;
            with_secret(&webhook, &secret.reveal())
        }
        WebhookCommand::List => {
            let rows: Vec<_> = registry.list().await.map_err(failed)?.iter().map(listed_fields).collect();
            let columns = ["id", "url", "status", "position", "lastSuccess", "lastError"];
            return Ok(output::show_rows(format, &columns, &rows));
        }
        WebhookCommand::Test { id } => {
            let id = webhook_id(&table, &id).await?;
            let webhook = registry.fetch(&id).await.map_err(failed)?;
            test(&table, &webhook, rule).await?
        }
        WebhookCommand::Rotate { id, overlap } => {
            let id = webhook_id(&table, &id).await?;
            let overlap = overlap.whole_seconds().unsigned_abs();
            let (webhook, secret) = registry.rotate(&id, overlap).await.map_err(failed)?;
            with_secret(&webhook, &secret.reveal())
        }
        WebhookCommand::Update { id, url, include_resource, enabled } => {
            let id = webhook_id(&table, &id).await?;
            let update = WebhookUpdate { url, include_resource, enabled };
            webhook_fields(&registry.update(&id, update).await.map_err(failed)?)
        }
        WebhookCommand::Enable { id } => {
            let id = webhook_id(&table, &id).await?;
            let update = WebhookUpdate { enabled: Some(true), ..WebhookUpdate::default() };
            webhook_fields(&registry.update(&id, update).await.map_err(failed)?)
        }
        WebhookCommand::Delete { id } => {
            let id = webhook_id(&table, &id).await?;
            registry.delete(&id).await.map_err(failed)?;
            object(json!({ "id": id, "status": "deleted" }))
        }
        WebhookCommand::Listen { forward_to } => {
            return listen::listen(&table, forward_to.as_deref(), format).await;
        }
    };
    Ok(output::show_fields(format, &fields))
}

/// An operator's error of an error of the registry.
fn read_error(table: &Table, error: RegistryError) -> AdminError {
    match error {
        RegistryError::Store(failed) => AdminError::table(table.name())(failed),
        other => AdminError::Input(other.to_string()),
    }
}

/// Sends a message without changes.
async fn test(table: &Table, webhook: &Webhook, rule: TargetRule) -> Result<Map<String, Value>, AdminError> {
    let sender = MessageSender::new(rule).map_err(AdminError::Input)?;
    let delivery = WebhookDelivery {
        table,
        sender: &sender,
        resources: &NoResources,
        patience: std::time::Duration::MAX,
    };
    let sent = delivery
        .send_test(webhook, &Uuid::now_v7().simple().to_string())
        .await
        .map_err(AdminError::table(table.name()))?;
    match sent {
        Ok(_) => Ok(object(json!({ "id": webhook.id, "test": "the receiver took the message" }))),
        Err(failed) => Err(AdminError::Input(format!("the receiver did not take it: {}", failed.why))),
    }
}

fn webhook_fields(webhook: &Webhook) -> Map<String, Value> {
    object(json!({
        "id": webhook.id,
        "url": webhook.url,
        "includeResource": webhook.include_resource,
        "status": if webhook.disabled.is_some() { "disabled" } else { "enabled" },
        "disabled": webhook.disabled,
        "created": webhook.created,
    }))
}

fn with_secret(webhook: &Webhook, secret: &str) -> Map<String, Value> {
    let mut fields = webhook_fields(webhook);
    fields.insert("secret".to_owned(), json!(secret));
    fields.insert("note".to_owned(), json!("this is the only time the secret is shown"));
    fields
}

fn listed_fields(listed: &ListedWebhook) -> Map<String, Value> {
    let mut fields = webhook_fields(&listed.webhook);
    if let Some(consumer) = &listed.consumer {
        fields.insert("position".to_owned(), json!(consumer.position.seq));
        fields.insert("lastSuccess".to_owned(), json!(consumer.last_success));
        fields.insert("lastError".to_owned(), json!(consumer.problem()));
        fields.insert("failedAttempts".to_owned(), json!(consumer.attempts));
    }
    fields
}
