//! `rollcall completions`: what a shell needs to complete this tool's commands.

use std::process::ExitCode;

use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::cli::complete;
use super::cli::runtime::write_out;

/// The variable with which the script of a shell asks the tool what to offer.
const VARIABLE: &str = "COMPLETE";

/// `rollcall completions`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  source <(rollcall completions bash)
  rollcall completions bash > ~/.local/share/bash-completion/completions/rollcall
  rollcall completions zsh > ~/.zfunc/_rollcall
  rollcall completions fish > ~/.config/fish/completions/rollcall.fish

The script asks the tool what to offer: commands and options, and the tenants, keys, groups and webhooks of
the table that ROLLCALL_TABLE, --table or a running `rollcall dev` names.")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Answers a shell that asks what to offer, and ends the process. Returns if no shell asks.
pub fn answer(command: fn() -> clap::Command) {
    let with_options = move || {
        complete::read_command(command());
        command()
    };
    CompleteEnv::with_factory(with_options).var(VARIABLE).complete();
}

/// Prints the script, and says how that went.
pub fn run(args: &CompletionsArgs) -> ExitCode {
    let shell = args.shell.to_string();
    let mut script = Vec::new();
    let written = match Shells::builtins().completer(&shell) {
        Some(completer) => {
            completer.write_registration(VARIABLE, "rollcall", "rollcall", "rollcall", &mut script)
        }
        None => Err(std::io::Error::other(format!("{shell} is not supported"))),
    };
    match written.and_then(|()| write_out(&script)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::admin::output::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
