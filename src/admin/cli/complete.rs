//! What a shell offers for an argument: names and ids that the table holds. Nothing is offered if the table does not
//! answer soon.

use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};

use super::options::GlobalOptions;
use crate::admin::{definition_list, group_list, key, tenant};
use crate::scim::resource_type::DefinedKind;
use crate::store::call::Table;
use crate::store::keys::TenantId;
use crate::store::webhook::Webhook;
use crate::tenants::{application, client};

/// How long a shell waits for what it offers.
const PATIENCE: Duration = Duration::from_secs(2);
/// The command line of the tool: its commands with their options.
static COMMAND: OnceLock<Command> = OnceLock::new();

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
    /// A key, client or application key.
    Actor,
    /// What a change is about.
    Subject,
}

impl Named {
    /// What is read for it. The tenant is the one on the command line.
    fn parts(self, tenant: Option<&TenantId>) -> Vec<Self> {
        let is_deployment = tenant == Some(&TenantId::deployment());
        match self {
            Self::Actor if is_deployment => vec![Self::Application],
            Self::Actor => vec![Self::Key, Self::Client, Self::Application],
            Self::Subject if is_deployment => vec![Self::Application, Self::Webhook],
            Self::Subject => {
                let definitions = DefinedKind::ALL.into_iter().map(Self::Defined);
                [Self::Key, Self::Client, Self::Group].into_iter().chain(definitions).collect()
            }
            one => vec![one],
        }
    }
}

/// A value that a shell offers, with what explains it.
type Offer = (String, String);

/// Takes the options of commands from the tool's command line.
pub(in crate::admin) fn read_command(mut command: Command) {
    // Only then has each command the options of all.
    command.build();
    COMMAND.get_or_init(|| command);
}

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

/// Offers the keys and clients of the tenant on the command line, and the application keys.
pub(in crate::admin) fn actors() -> ArgValueCompleter {
    completer(Named::Actor)
}

/// Offers what has changes in the feed of the tenant on the command line, apart from users: there may be many.
pub(in crate::admin) fn subjects() -> ArgValueCompleter {
    completer(Named::Subject)
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
    let (options, arguments) = read_words(COMMAND.get()?, &words);
    let tenant: Option<TenantId> = arguments.first().and_then(|word| word.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let table = options.connect().await.ok()?;
            let mut offers = Vec::new();
            for part in named.parts(tenant.as_ref()) {
                offers.extend(list(part, &table, tenant.clone()).await.unwrap_or_default());
            }
            Some(offers)
        })
        .await
        .ok()?
    })
}

fn lossy(word: OsString) -> String {
    word.to_string_lossy().into_owned()
}

/// The options that lead to the table, and the arguments of the command that are no options. The first word is the
/// program.
fn read_words(mut command: &Command, words: &[String]) -> (GlobalOptions, Vec<String>) {
    let mut options = GlobalOptions::from_environment();
    let mut arguments = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            match command.find_subcommand(word) {
                Some(below) => command = below,
                None => arguments.push(word.clone()),
            }
            continue;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if takes_value(command, word) => (word.as_str(), words.next().cloned()),
            None => continue,
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

/// Whether a value follows this option of a command.
fn takes_value(command: &Command, option: &str) -> bool {
    let has_name = |arg: &&Arg| match option.strip_prefix("--") {
        Some(long) => arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)),
        None => arg.get_short().is_some_and(|short| option.chars().nth(1) == Some(short)),
    };
    command.get_arguments().find(has_name).is_some_and(|arg| arg.get_action().takes_values())
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
            let listed = definition_list::list(table, &tenant?, kind).await.ok()?.into_iter();
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
        // These are read in their parts.
        Named::Actor | Named::Subject => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;
    use crate::admin::audit::AuditArgs;
    use crate::admin::check::command::CheckArgs;
    use crate::admin::cli::key::KeyArgs;
    use crate::admin::cli::webhook::WebhookArgs;

    /// The options and arguments of a line.
    fn read(line: &str) -> (GlobalOptions, Vec<String>) {
        let mut command = Command::new("rollcall")
            .subcommand(AuditArgs::augment_args(Command::new("audit")))
            .subcommand(CheckArgs::augment_args(Command::new("check")))
            .subcommand(KeyArgs::augment_args(Command::new("key")))
            .subcommand(WebhookArgs::augment_args(Command::new("webhook")));
        command.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        read_words(&command, &words)
    }

    #[test]
    fn options_are_told_from_arguments() {
        let line =
            "rollcall key --json create --table=t --name x acme --endpoint-url http://127.0.0.1:1 key_";
        let (options, arguments) = read(line);
        assert_eq!(options.table.as_deref(), Some("t"));
        assert_eq!(options.endpoint_url.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(arguments, ["acme", "key_"]);
    }

    #[test]
    fn a_flag_takes_no_word_from_what_follows() {
        for (line, expected) in [
            ("rollcall check --repair --table t acme", "acme"),
            ("rollcall check -v --feed --table t x", "x"),
            ("rollcall audit --follow --table t acme --actor key_", "acme"),
            ("rollcall webhook create --include-resource --table t https://x.example", "https://x.example"),
            ("rollcall webhook update --include-resource true --table t wh_", "wh_"),
        ] {
            let (options, arguments) = read(line);
            assert_eq!(options.table.as_deref(), Some("t"), "{line}");
            assert_eq!(arguments, [expected], "{line}");
        }
    }

    #[test]
    fn an_actor_of_a_tenant_may_be_each_kind_of_key() {
        let acme: Option<TenantId> = "acme".parse().ok();
        let deployment = TenantId::deployment();
        assert_eq!(Named::Actor.parts(acme.as_ref()).len(), 3);
        assert_eq!(Named::Subject.parts(acme.as_ref()).len(), 3 + DefinedKind::ALL.len());
        assert_eq!(Named::Actor.parts(Some(&deployment)).len(), 1);
        assert_eq!(Named::Subject.parts(Some(&deployment)).len(), 2);
        assert_eq!(Named::Tenant.parts(None).len(), 1);
    }
}
