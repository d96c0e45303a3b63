//! `rollcall`: the operator's tool.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use rollcall::{admin, dev};

/// `rollcall dev` gives the memory back that large requests took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The operator's tool of Rollcall, a SCIM 2.0 service provider.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with findings.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve SCIM on this machine, with no AWS account
    Dev(dev::command::DevArgs),
    /// Make, show, change and delete tenants
    Tenant(admin::cli::tenant::TenantArgs),
    /// Make, list, rotate and revoke bearer keys
    Key(admin::cli::key::KeyArgs),
    /// Make, list, rotate and revoke OAuth clients, which get access tokens
    Client(admin::cli::client::ClientArgs),
    /// Make, list, rotate and revoke the keys of the application behind
    Application(admin::cli::application::ApplicationArgs),
    /// Make, list, test, change and delete webhooks, or play one on this machine
    Webhook(admin::cli::webhook::WebhookArgs),
    /// List groups, and say which roles they grant
    Group(admin::group::GroupArgs),
    /// Make, change, list and delete roles that identity providers give to users
    Role(admin::definition::RoleArgs),
    /// Make, change, list and delete entitlements that identity providers give to users
    Entitlement(admin::definition::EntitlementArgs),
    /// List users, make local accounts, and bring deactivated ones back
    User(admin::cli::user::UserArgs),
    /// Show who changed what
    Audit(admin::audit::AuditArgs),
    /// Write a tenant's users and groups out, as lines of JSON
    Export(admin::transfer::command::ExportArgs),
    /// Read users and groups into a tenant, from lines of JSON or a table
    Import(admin::transfer::command::ImportArgs),
    /// Find broken invariants in a tenant, and repair them
    Check(admin::check::command::CheckArgs),
    /// Give the feed of a restored table a new id
    Feed(admin::feed::FeedArgs),
    /// Print a script that completes commands in a shell
    Completions(admin::completions::CompletionsArgs),
    /// Print the API as an OpenAPI document
    Openapi(admin::openapi::command::OpenApiArgs),
}

fn main() -> ExitCode {
    // A shell that asks what to offer is answered here.
    admin::completions::answer(Cli::command);
    match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        Err(error) => usage(&error),
    }
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Dev(args) => dev::command::run(args),
        Command::Tenant(args) => admin::cli::tenant::run(args),
        Command::Key(args) => admin::cli::key::run(args),
        Command::Client(args) => admin::cli::client::run(args),
        Command::Application(args) => admin::cli::application::run(args),
        Command::Webhook(args) => admin::cli::webhook::run(args),
        Command::Group(args) => admin::group::run(args),
        Command::Role(args) => admin::definition::run_role(args),
        Command::Entitlement(args) => admin::definition::run_entitlement(args),
        Command::User(args) => admin::cli::user::run(args),
        Command::Audit(args) => admin::audit::run(args),
        Command::Export(args) => admin::transfer::command::run_export(args),
        Command::Import(args) => admin::transfer::command::run_import(args),
        Command::Check(args) => admin::check::command::run(args),
        Command::Feed(args) => admin::feed::run(args),
        Command::Completions(args) => admin::completions::run(&args),
        Command::Openapi(args) => admin::openapi::command::run(&args),
    }
}

/// Help is shown whole; a mistake is one line, with what is similar, and exit status 2.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => {
            let text = error.render().to_string();
            let mut line: Vec<&str> =
                text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            line.extend(text.lines().map(str::trim).filter(|line| line.starts_with("tip:")));
            admin::output::note(&format!("{} (see --help)", line.join(" ")));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples on the help pages of a command and of those below it.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace("\\\n", " ");
        let lines = help.lines().filter(|line| line.starts_with("  rollcall "));
        let mut found: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
        found.extend(command.get_subcommands().flat_map(examples));
        found
    }

    /// The words of a line, as a shell splits it.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
        for c in line.chars() {
            match c {
                '\'' => {
                    is_quoted = !is_quoted;
                    word.get_or_insert_default();
                }
                ' ' if !is_quoted => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn every_example_can_be_used() {
        let examples = examples(&Cli::command());
        assert!(examples.len() > 60, "{examples:?}");
        for example in examples {
            let words = words(&example).into_iter().take_while(|word| word != "|" && word != ">");
            let Err(error) = Cli::command().try_get_matches_from(words) else { continue };
            let problem = error.to_string();
            // The date of an example passes some day.
            assert!(problem.contains("that time has passed"), "{example}: {problem}");
        }
    }
}
