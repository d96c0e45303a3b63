//! The part of a page that a measurement writes anew.

use std::path::Path;
use std::process::Command;

use time::OffsetDateTime;

/// What the machine is, and what else it did before the measurement.
pub struct Machine {
    load_before: String,
}

impl Machine {
    /// To be asked before the measurement begins.
    pub fn before_measuring() -> Self {
        Self { load_before: load() }
    }

    /// A sentence for each: when and of which commit the measurement was, and on which machine. To be asked after it.
    pub fn description(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (date, load_before, load_after) = (OffsetDateTime::now_utc().date(), &self.load_before, load());
        format!(
            "Measured on {date} at commit {}. The machine has {cores} cores. Its load average was {load_before} before the run and {load_after} after it.",
            commit()
        )
    }
}

/// The load average of the last minute.
fn load() -> String {
    let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn commit() -> String {
    let git = |words: &[&str]| {
        let said = Command::new("git").args(words).output().ok().filter(|said| said.status.success())?;
        Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    match git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.lock"]) {
        Some(changed) if changed.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}

/// Writes a text between the two markers of a part.
///
/// # Errors
/// A page that cannot be read or written, or has no such part.
pub fn write_part(page: &Path, part: &str, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", page.display());
    let old = std::fs::read_to_string(page).map_err(failed)?;
    let (begin, end) = (format!("<!-- measured: {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let found = old.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = found.ok_or_else(|| format!("{} has no part {part}", page.display()))?;
    std::fs::write(page, format!("{head}{begin}{text}{end}{tail}")).map_err(failed)
}
