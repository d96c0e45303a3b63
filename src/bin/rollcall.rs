//! `rollcall`: the operator's tool.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use rollcall::{admin, dev};

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
    /// Make and show tenants
    Tenant(admin::cli::tenant::TenantArgs),
    /// Make, list, rotate and revoke bearer keys
    Key(admin::cli::key::KeyArgs),
    /// Make, list, rotate and revoke OAuth clients, which get access tokens
    Client(admin::cli::client::ClientArgs),
    /// Make, list, rotate and revoke the keys of the application behind
    Application(admin::cli::application::ApplicationArgs),
    /// Make, list, test and delete webhooks, or play one on this machine
    Webhook(admin::cli::webhook::WebhookArgs),
    /// List groups, and say which roles they grant
    Group(admin::group::GroupArgs),
    /// Make, change, list and delete roles that identity providers give to users
    Role(admin::definition::RoleArgs),
    /// Make, change, list and delete entitlements that identity providers give to users
    Entitlement(admin::definition::EntitlementArgs),
    /// Make local accounts, and bring deactivated ones back
    User(admin::user::UserArgs),
    /// Show who changed what
    Audit(admin::audit::AuditArgs),
    /// Write a tenant's users and groups out, as lines of JSON
    Export(admin::transfer::command::ExportArgs),
    /// Read users and groups into a tenant, from lines of JSON or a table
    Import(admin::transfer::command::ImportArgs),
    /// Look for what does not add up in a tenant, and mend it
    Check(admin::check::command::CheckArgs),
    /// Give the feed of a restored table a new id
    Feed(admin::feed::FeedArgs),
    /// Print a script that completes commands in a shell
    Completions(admin::completions::CompletionsArgs),
    /// Print the API as an OpenAPI document
    Openapi(admin::openapi::command::OpenApiArgs),
}

fn main() -> ExitCode {
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
        Command::User(args) => admin::user::run(args),
        Command::Audit(args) => admin::audit::run(args),
        Command::Export(args) => admin::transfer::command::run_export(args),
        Command::Import(args) => admin::transfer::command::run_import(args),
        Command::Check(args) => admin::check::command::run(args),
        Command::Feed(args) => admin::feed::run(args),
        Command::Completions(args) => admin::completions::run(&args, Cli::command()),
        Command::Openapi(args) => admin::openapi::command::run(&args),
    }
}

/// Help is shown whole; a mistake is one line and exit status 2.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => {
            let text = error.render().to_string();
            let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            eprintln!("{} (see --help)", first.join(" "));
            ExitCode::from(2)
        }
    }
}
