//! `rollcall webhook listen`: prints the changes of the feed as they come, and forwards them as a webhook would.

use std::io::Write as _;
use std::time::Duration;

use super::error::AdminError;
use super::output::{self, Format};
use crate::deliver::message;
use crate::deliver::sender::{MessageSender, SignedMessage};
use crate::deliver::signature::WebhookSecret;
use crate::limits::MAX_WEBHOOK_CHANGES;
use crate::outbound::target::{TargetRule, TargetUrl};
use crate::store::call::Table;
use crate::store::feed::change::FeedChange;
use crate::store::feed::reader::{ChangeQuery, FeedPosition, FeedReader};

/// How often it looks for new changes.
const INTERVAL: Duration = Duration::from_millis(500);
/// The name in the ids of messages, in the place of the id of a webhook.
const NAME: &str = "listen";

/// Prints and forwards changes until Ctrl-C. Returns what to print at the end. As JSON, each change is one line. All other
/// lines go to the standard error.
///
/// # Errors
/// [`AdminError`], one line to print. A URL that does not take a message is only reported.
pub async fn listen(table: &Table, forward_to: Option<&str>, format: Format) -> Result<String, AdminError> {
    let failed = AdminError::table(table.name());
    if let Some(url) = forward_to {
        let problem = |problem| AdminError::Usage(format!("--forward-to: {problem}"));
        TargetUrl::parse(url, TargetRule::PublicOrLoopback).map_err(problem)?;
    }
    let sender = MessageSender::new(TargetRule::PublicOrLoopback).map_err(AdminError::Input)?;
    let secret = WebhookSecret::generate()?;
    let reader = FeedReader::open(table).await.map_err(&failed)?;
    let mut position = reader.at(reader.end().await.map_err(&failed)?.next - 1);
    if let Some(url) = forward_to {
        say(format, &format!("Forwarding to {url}, signed with {}", secret.reveal()))?;
    }
    say(format, "Waiting for changes. Ctrl-C ends.")?;
    let mut end = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let query = ChangeQuery { limit: MAX_WEBHOOK_CHANGES, tenant: None };
        let list = reader.read(&position, query).await.map_err(&failed)?;
        let mut changes =
            list.map_err(|_| AdminError::Input("the feed has no such position any more".to_owned()))?.changes;
        if changes.is_empty() {
            tokio::select! {
                _ = &mut end => return Ok(String::new()),
                () = tokio::time::sleep(INTERVAL) => continue,
            }
        }
        changes.truncate(message::count_fitting(&changes));
        position = reader.at(changes.last().map_or(position.seq, |change| change.seq));
        changes.iter().try_for_each(|change| print(&line(format, change)))?;
        if let Some(url) = forward_to {
            tokio::select! {
                _ = &mut end => return Ok(String::new()),
                outcome = forward(&sender, url, &secret, (&changes, &position)) => say(format, &outcome.map_err(&failed)?)?,
            }
        }
    }
}

/// Sends one message. Returns the line to print.
async fn forward(
    sender: &MessageSender,
    url: &str,
    secret: &WebhookSecret,
    (changes, next): (&[FeedChange], &FeedPosition),
) -> Result<String, crate::store::error::StoreError> {
    let id = message::message_id(NAME, &next.feed, changes);
    let body = message::body(changes, Vec::new(), next)?;
    let signed = SignedMessage { id: &id, body, secrets: std::slice::from_ref(secret) };
    Ok(match sender.send(url, &signed).await {
        Ok(_) => format!("  --> {id}: taken"),
        Err(failed) => format!("  --> {id}: not taken: {}", failed.why),
    })
}

fn line(format: Format, change: &FeedChange) -> String {
    if format == Format::Json {
        return serde_json::to_string(change).unwrap_or_default();
    }
    let FeedChange { seq, time, event_type, tenant, resource_id, version, .. } = change;
    format!("{seq}  {time}  {tenant}  {event_type}  {resource_id}  version {version}")
}

/// Says something that is not a change.
fn say(format: Format, text: &str) -> Result<(), AdminError> {
    match format {
        Format::Json => {
            output::note(text);
            Ok(())
        }
        Format::Table => print(text),
    }
}

/// Prints a line at once.
fn print(line: &str) -> Result<(), AdminError> {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(AdminError::output("the changes"))
}
