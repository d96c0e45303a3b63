//! `rollcall completions`: what a shell needs to complete this tool's commands.

use std::io::Write as _;
use std::process::ExitCode;

use clap_complete::Shell;

/// `rollcall completions`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall completions bash > ~/.local/share/bash-completion/completions/rollcall
  rollcall completions zsh > ~/.zfunc/_rollcall
  rollcall completions fish > ~/.config/fish/completions/rollcall.fish")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script for a command line, and says how that went.
pub fn run(args: &CompletionsArgs, mut command: clap::Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "rollcall", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
