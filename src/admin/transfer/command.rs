//! `rollcall export` and `rollcall import`: the commands.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, json};
use tokio::signal::unix::{SignalKind, signal};

use super::definitions::{definition_lines, import_definitions};
use super::export::export;
use super::import::{Fate, ImportedLine, import};
use super::move_in::move_in;
use super::rows::{ImportFile, Row, json_lines};
use super::user_table::user_table;
use super::whole_file::WholeFile;
use crate::admin::cli::{CommandOutput, GlobalOptions, complete, finish};
use crate::admin::error::AdminError;
use crate::admin::output;
use crate::admin::progress::Progress;
use crate::admin::tenant;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::Kind;
use crate::store::keys::TenantId;

/// How many refused lines are shown.
const MAX_REFUSALS_SHOWN: usize = 20;

/// `rollcall export`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall export acme --to acme.jsonl
  rollcall export acme | wc -l

A line is a user or group as SCIM has it, users first. After them come roles and entitlements,
deactivated and erased accounts, and the tenant. Passwords, keys and events are not in it.")]
pub struct ExportArgs {
    #[command(flatten)]
    options: GlobalOptions,
    /// Which tenant
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// File to write to, instead of the standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// `rollcall import`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall import globex acme.jsonl --dry-run
  rollcall import globex acme.jsonl --report report.jsonl
  rollcall import acme people.csv
  rollcall import acme acme.jsonl --keep-ids

A file that ends in .csv is a table of users: its first line names the columns by their SCIM names
(userName,name.givenName,name.familyName,displayName,emails,active). A column that SCIM does not
have is refused. Any other file is what `rollcall
export` writes. A user is the one of the same userName, a group that of the same displayName; others
are made, under new ids. An import that was interrupted is run again: what is done is unchanged then.
With --keep-ids, a tenant moves from another deployment into an empty tenant: ids, versions, times and
deactivated accounts stay. docs/operations.md has the steps. The exit code is 3 where lines were
refused.")]
pub struct ImportArgs {
    #[command(flatten)]
    options: GlobalOptions,
    /// Which tenant
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// The file
    file: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Keep ids, versions, times and deactivated accounts; the tenant must be empty
    #[arg(long)]
    keep_ids: bool,
    /// File to write what became of each line to, as lines of JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// From the arguments to the exit code.
pub fn run_export(args: ExportArgs) -> ExitCode {
    finish(&args.options, write_out(&args))
}

/// From the arguments to the exit code.
pub fn run_import(args: ImportArgs) -> ExitCode {
    finish(&args.options, read_in(&args))
}

async fn write_out(args: &ExportArgs) -> Result<String, AdminError> {
    let table = args.options.open().await?;
    let progress = Progress::shown();
    match &args.to {
        Some(path) => {
            let mut file = WholeFile::create(path).map_err(file_error(path))?;
            let is_hidden = file.is_hidden();
            let written = export(&table, &args.tenant, &mut file, &progress);
            let outcome = "the export was interrupted; no file was written";
            let count = until_interrupted(written, is_hidden, outcome).await?;
            file.finish().map_err(file_error(path))?;
            progress.end();
            let mut fields = Map::new();
            fields.insert("tenant".to_owned(), json!(args.tenant.as_str()));
            fields.insert("exported".to_owned(), json!(count));
            Ok(output::show_fields(args.options.format(), &fields))
        }
        None => {
            let mut out = BufWriter::new(std::io::stdout());
            export(&table, &args.tenant, &mut out, &progress).await?;
            progress.end();
            out.flush().map_err(AdminError::output("the export"))?;
            Ok(String::new())
        }
    }
}

/// Lets a command go on until a signal ends the process. Then it drops what the command holds: the caller can remove the
/// hidden file that it was writing. Without such a file the signal itself ends the process, also while a pipe is waited
/// for.
async fn until_interrupted<T>(
    command: impl Future<Output = Result<T, AdminError>>,
    has_hidden_file: bool,
    outcome: &str,
) -> Result<T, AdminError> {
    if !has_hidden_file {
        return command.await;
    }
    let failed = |error| AdminError::Input(format!("cannot listen for signals: {error}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        done = command => done,
        _ = terminated.recv() => Err(AdminError::Input(outcome.to_owned())),
        _ = interrupted.recv() => Err(AdminError::Input(outcome.to_owned())),
    }
}

async fn read_in(args: &ImportArgs) -> Result<CommandOutput, AdminError> {
    let table = args.options.open().await?;
    let text = read_text(&args.file)?;
    let is_csv = args.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let file = match (args.keep_ids, is_csv) {
        (true, _) => ImportFile::default(),
        // Every policy has the same attributes.
        (false, true) => {
            let rows = user_table(&text, tenant::model(&STANDARD)?.of(Kind::User))?;
            ImportFile { rows, root_team: None }
        }
        (false, false) => json_lines(&text),
    };
    // If the report cannot be written, nothing is imported.
    let report = args.report.as_deref().map(|path| begin_report(path, &args.file)).transpose()?;
    let total = if args.keep_ids { text.lines().count().saturating_sub(1) } else { file.rows.len() };
    let bar = Progress::shown();
    bar.begin(Some(total as u64), "lines");
    let progress = |count: usize| bar.set(count as u64);
    let importing = async {
        match args.keep_ids {
            true => move_in(&table, &args.tenant, &text, args.dry_run, &progress).await,
            false => import(&table, &args.tenant, &file, args.dry_run, &progress).await,
        }
    };
    let outcome = "the import was interrupted; run it again: what is done is unchanged then";
    let imported =
        until_interrupted(importing, report.as_ref().is_some_and(WholeFile::is_hidden), outcome).await;
    bar.end();
    let mut outcomes = imported?;
    if !args.keep_ids && !is_csv {
        let (lines, ids) = (definition_lines(&text), ids_of(&file, &outcomes));
        outcomes.extend(import_definitions(&table, &args.tenant, &lines, &ids, args.dry_run).await?);
    }
    show_refusals(&outcomes);
    let count = |fate: Fate| outcomes.iter().filter(|outcome| outcome.fate == fate).count();
    let mut fields = Map::new();
    fields.insert("tenant".to_owned(), json!(args.tenant.as_str()));
    fields.insert("dryRun".to_owned(), json!(args.dry_run));
    for fate in [Fate::Created, Fate::Updated, Fate::Unchanged, Fate::Refused] {
        fields.insert(name(fate).to_owned(), json!(count(fate)));
    }
    let text = output::show_fields(args.options.format(), &fields);
    if let (Some(report), Some(path)) = (report, &args.report) {
        write_report(report, &outcomes).map_err(|error| {
            let path = path.display();
            AdminError::Input(format!(
                "{path}: {error}. The import is done, only its report is missing:\n{text}"
            ))
        })?;
    }
    Ok(CommandOutput { findings: count(Fate::Refused) > 0, ..CommandOutput::from(text) })
}

/// Shows the first refused lines. A terminal that has gone is no reason to stop.
fn show_refusals(outcomes: &[ImportedLine]) {
    let mut refused = outcomes.iter().filter(|outcome| outcome.fate == Fate::Refused);
    for outcome in refused.by_ref().take(MAX_REFUSALS_SHOWN) {
        let problem = outcome.error.as_deref().unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "line {}: {problem}", outcome.line);
    }
    match refused.count() {
        0 => {}
        more => drop(writeln!(
            std::io::stderr(),
            "{more} more lines were refused; the option --report FILE writes what became of each line"
        )),
    }
}

/// Reads the file of an import. A byte order mark is no part of the text.
fn read_text(path: &Path) -> Result<String, AdminError> {
    let bytes = std::fs::read(path).map_err(file_error(path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        AdminError::Input(format!("{}: line {line} is not UTF-8; save the file as UTF-8", path.display()))
    })?;
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let looks_like_json = || text.lines().any(|line| line.trim_start().starts_with(['{', '[']));
    if !is_csv && text.contains(',') && !looks_like_json() {
        return Err(AdminError::Input(format!(
            "{}: no line is JSON; the name of a table of users must end in .csv",
            path.display()
        )));
    }
    Ok(text)
}

/// Begins the report, which must not replace the file that is imported.
fn begin_report(path: &Path, imported: &Path) -> Result<WholeFile, AdminError> {
    let is_same = match (path.metadata(), imported.metadata()) {
        (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    if is_same {
        let path = path.display();
        return Err(AdminError::Input(format!(
            "{path}: the report would replace the file that is imported; give it another name"
        )));
    }
    WholeFile::create(path).map_err(file_error(path))
}

/// Writes what became of each line.
fn write_report(mut report: WholeFile, outcomes: &[ImportedLine]) -> std::io::Result<()> {
    outcomes.iter().try_for_each(|outcome| writeln!(report, "{}", line(outcome)))?;
    report.finish()
}

/// The ids in the tenant, by those in the file.
fn ids_of(file: &ImportFile, outcomes: &[ImportedLine]) -> BTreeMap<String, String> {
    let of_line: BTreeMap<usize, &String> =
        outcomes.iter().filter_map(|outcome| Some((outcome.line, outcome.id.as_ref()?))).collect();
    let old = |row: &Row| row.resource.as_ref().ok()?.1.get("id")?.as_str().map(str::to_owned);
    file.rows.iter().filter_map(|row| Some((old(row)?, (*of_line.get(&row.line)?).clone()))).collect()
}

fn name(fate: Fate) -> &'static str {
    match fate {
        Fate::Created => "created",
        Fate::Updated => "updated",
        Fate::Unchanged => "unchanged",
        Fate::Refused => "refused",
    }
}

fn line(outcome: &ImportedLine) -> serde_json::Value {
    json!({ "line": outcome.line, "result": name(outcome.fate), "id": outcome.id, "error": outcome.error })
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> AdminError {
    let path = path.display().to_string();
    move |error| AdminError::Input(format!("{path}: {error}"))
}
