//! Runs a command: the async runtime, what is printed where, and the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use crate::admin::error::AdminError;

/// What a command that ran to its end leaves: what to print, and whether it found what somebody
/// should look at.
#[derive(Debug, Default)]
pub(in crate::admin) struct CommandOutput {
    /// For the standard output.
    pub text: String,
    /// Some lines failed, or something is wrong: exit code 3.
    pub findings: bool,
}

impl From<String> for CommandOutput {
    fn from(text: String) -> Self {
        Self { text, findings: false }
    }
}

/// Exit code of a command that is done, with findings.
const FINDINGS: u8 = 3;

/// Prints what a command says: 0 when it is done, 3 with findings, 1 with one line when it failed.
pub(in crate::admin) fn finish<T: Into<CommandOutput>>(
    command: impl Future<Output = Result<T, AdminError>>,
) -> ExitCode {
    let done = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command).map(Into::into),
        Err(error) => Err(AdminError::Input(format!("this system gives no runtime: {error}"))),
    };
    // A reader that has gone, `| head` say, is no failure worth a panic.
    let written = match &done {
        Ok(done) => std::io::stdout().write_all(done.text.as_bytes()),
        Err(error) => writeln!(std::io::stderr(), "error: {error}"),
    };
    match done {
        Ok(CommandOutput { findings: true, .. }) if written.is_ok() => ExitCode::from(FINDINGS),
        Ok(_) if written.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
