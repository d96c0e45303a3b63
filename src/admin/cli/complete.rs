//! What a shell offers for an argument: names and ids that the table holds. Nothing is offered if the table does not
//! answer soon.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap_complete::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};

use super::options::GlobalOptions;
use crate::admin::{definition, group_list, key, tenant};
use crate::scim::resource_type::DefinedKind;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::store::webhook::Webhook;
use crate::tenants::{application, client};

/// How long a shell waits for what it offers.
const PATIENCE: Duration = Duration::from_secs(2);
/// The options that have no value.
const FLAGS: [&str; 4] = ["--json", "--verbose", "-v", "--yes"];
/// The words before the arguments of a command: the program, the command and its subcommand.
const COMMAND_WORDS: usize = 3;

/// What an argument names.
#[derive(Clone, Copy, Debug)]
enum Named {
    Tenant,
    Key,
    Client,
    Defined(DefinedKind),
    Application,
    Webhook,
    Group,
}

/// A value that a shell offers, with what explains it.
type Offer = (String, String);

/// Offers the tenants.
pub(in crate::admin) fn tenants() -> ArgValueCompleter {
    completer(Named::Tenant)
}

/// Offers the bearer keys of the tenant on the command line.
pub(super) fn keys() -> ArgValueCompleter {
    completer(Named::Key)
}

/// Offers the OAuth clients of the tenant on the command line.
pub(super) fn clients() -> ArgValueCompleter {
    completer(Named::Client)
}

/// Offers the roles or the entitlements of the tenant on the command line.
pub(in crate::admin) fn definitions(kind: DefinedKind) -> ArgValueCompleter {
    completer(Named::Defined(kind))
}

/// Offers these words.
pub(crate) fn words(words: &'static [&'static str]) -> ArgValueCandidates {
    ArgValueCandidates::new(move || words.iter().map(CompletionCandidate::new).collect())
}

/// Offers the application keys.
pub(super) fn applications() -> ArgValueCompleter {
    completer(Named::Application)
}

/// Offers the webhooks.
pub(super) fn webhooks() -> ArgValueCompleter {
    completer(Named::Webhook)
}

/// Offers the groups of the tenant on the command line.
pub(in crate::admin) fn groups() -> ArgValueCompleter {
    completer(Named::Group)
}

fn completer(named: Named) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let begun = current.to_string_lossy();
        let offers = offers(named).unwrap_or_default().into_iter();
        let offers = offers.filter_map(|offer| complete(named, &begun, offer));
        offers.map(|(value, help)| CompletionCandidate::new(value).help(Some(help.into()))).collect()
    })
}

/// What completes a text that was begun: the id, or the name if the command takes one and no shell must quote it.
fn complete(named: Named, begun: &str, (id, name): Offer) -> Option<Offer> {
    let is_plain = |c: char| c.is_alphanumeric() || "._-@:/".contains(c);
    if id.starts_with(begun) {
        Some((id, name))
    } else if !matches!(named, Named::Tenant) && name.starts_with(begun) && name.chars().all(is_plain) {
        Some((name, id))
    } else {
        None
    }
}

/// Reads what there is. `None` if the table is not known or does not answer.
fn offers(named: Named) -> Option<Vec<Offer>> {
    let words: Vec<String> = std::env::args_os().skip_while(|word| word != "--").skip(1).map(lossy).collect();
    let (options, arguments) = read_words(&words);
    let tenant: Option<TenantId> = arguments.get(COMMAND_WORDS).and_then(|word| word.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let table = options.connect().await.ok()?;
            list(named, &table, tenant).await
        })
        .await
        .ok()?
    })
}

fn lossy(word: OsString) -> String {
    word.to_string_lossy().into_owned()
}

/// The options that lead to the table, and the words that are not options.
fn read_words(words: &[String]) -> (GlobalOptions, Vec<String>) {
    let mut options = GlobalOptions::from_environment();
    let mut arguments = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            arguments.push(word.clone());
            continue;
        }
        if FLAGS.contains(&word.as_str()) {
            continue;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), words.next().cloned()),
        };
        match name {
            "--table" => options.table = value,
            "--endpoint-url" => options.endpoint_url = value,
            "--region" => options.region = value,
            "--profile" => options.profile = value,
            _ => {}
        }
    }
    (options, arguments)
}

async fn list(named: Named, table: &Table, tenant: Option<TenantId>) -> Option<Vec<Offer>> {
    match named {
        Named::Tenant => {
            let tenants = tenant::list(table).await.ok()?;
            let offer = |tenant: crate::auth::tenant::TenantRecord| {
                (tenant.id.to_string(), format!("policy {}", tenant.policy.name))
            };
            Some(tenants.into_iter().map(offer).collect())
        }
        Named::Key => {
            let listed = key::list(table, &tenant?).await.ok()?.into_iter();
            Some(listed.map(|listed| (listed.record.key_id, listed.record.name)).collect())
        }
        Named::Client => {
            let listed = client::list(table, &tenant?).await.ok()?.into_iter();
            Some(listed.map(|listed| (listed.record.id, listed.record.name)).collect())
        }
        Named::Defined(kind) => {
            let listed = definition::list(table, &tenant?, kind).await.ok()?.into_iter();
            Some(listed.map(|definition| (definition.id, definition.text.name)).collect())
        }
        Named::Application => {
            let listed = application::list(table).await.ok()?.into_iter();
            Some(listed.map(|listed| (listed.record.id, listed.record.name)).collect())
        }
        Named::Webhook => {
            let webhooks = Webhook::list(table).await.ok()?.into_iter();
            Some(webhooks.map(|webhook| (webhook.id, webhook.url)).collect())
        }
        Named::Group => {
            let groups = group_list::list(table, &tenant?).await.ok()?.into_iter();
            let name = |doc: &serde_json::Map<String, serde_json::Value>| {
                doc.get("displayName").and_then(|name| name.as_str()).unwrap_or_default().to_owned()
            };
            Some(groups.map(|group| (group.id.to_string(), name(&group.doc))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_arguments() {
        let words =
            "rollcall key --json --table=t --name x revoke --endpoint-url http://127.0.0.1:1 acme key_";
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let (options, arguments) = read_words(&words);
        assert_eq!(options.table.as_deref(), Some("t"));
        assert_eq!(options.endpoint_url.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(arguments, ["rollcall", "key", "revoke", "acme", "key_"]);
    }
}
