//! Runs a command: the async runtime, what is printed where, and the exit code.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use super::options::GlobalOptions;
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

/// Exit code of a command line that cannot be used.
pub(crate) const WRONG_USAGE: u8 = 2;
/// Exit code of a command that is done, with findings.
const FINDINGS: u8 = 3;

/// Prints what a command says: 0 when it is done, 3 with findings, 1 with one line when it failed,
/// 2 with one line for a command line that cannot be used. The options
/// are those that the command has.
pub(in crate::admin) fn finish<T: Into<CommandOutput>>(
    options: &GlobalOptions,
    command: impl Future<Output = Result<T, AdminError>>,
) -> ExitCode {
    let began = Instant::now();
    let done = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command).map(Into::into),
        Err(error) => Err(AdminError::Input(format!("this system gives no runtime: {error}"))),
    };
    if options.verbose {
        print_costs(options, began);
    }
    match done {
        Ok(CommandOutput { text, findings }) => match write_out(text.as_bytes()) {
            Ok(()) if findings => ExitCode::from(FINDINGS),
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!(
                "the command is done, but its output cannot be written: {error}. If it made a key or another secret, revoke that and make a new one"
            )),
        },
        Err(AdminError::ReaderGone) => ExitCode::SUCCESS,
        Err(error @ AdminError::Usage(_)) => {
            fail(&format!("{error} (see --help)"));
            ExitCode::from(WRONG_USAGE)
        }
        Err(error) if options.verbose => fail(&error.in_full(options.aws_profile().as_deref())),
        Err(error) => fail(&error.in_line(options.aws_profile().as_deref())),
    }
}

fn fail(problem: &str) -> ExitCode {
    // A terminal that has gone is no reason for a panic.
    let _ = writeln!(io::stderr(), "error: {problem}");
    ExitCode::FAILURE
}

/// Says how long the command took, and what it asked the table.
fn print_costs(options: &GlobalOptions, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let line = match options.opened().map(|table| table.usage()) {
        Some(usage) => format!(
            "{seconds:.1} s, {} calls to DynamoDB, {} read units, {} write units",
            usage.calls, usage.read_units, usage.write_units
        ),
        None => format!("{seconds:.1} s, no call to DynamoDB"),
    };
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes to the standard output. A reader that has gone, such as `| head`, is not an error.
///
/// # Errors
/// If it cannot be written for another reason.
pub(in crate::admin) fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
