//! The command `rollcall openapi`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::app::app_document;
use super::document::document;
use crate::admin::cli::parse::policy;
use crate::admin::cli::runtime::write_out;
use crate::scim::policy::{POLICIES, Policy};
use crate::scim::resource_type::Model;

/// `rollcall openapi`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall openapi --policy standard --to openapi.json
  rollcall openapi --app --to app-openapi.json")]
pub struct OpenApiArgs {
    /// The rules of the tenant that the document is for
    #[arg(long, default_value = POLICIES[0].name, value_parser = policy())]
    policy: &'static Policy,
    /// Print the document of the application's side
    #[arg(long)]
    app: bool,
    /// File to write to, instead of the standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// The document as text, as it is written.
///
/// # Errors
/// A sentence that says why the document cannot be made.
pub fn text(policy: &'static Policy) -> Result<String, String> {
    write(policy, document)
}

/// The document of the application's side as text, as it is written.
///
/// # Errors
/// A sentence that says why there is none.
pub fn app_text(policy: &'static Policy) -> Result<String, String> {
    write(policy, app_document)
}

fn write(policy: &'static Policy, document: impl Fn(&Model) -> Value) -> Result<String, String> {
    let model = Model::new(policy, &[]).map_err(|error| error.detail)?;
    let text = serde_json::to_string_pretty(&document(&model)).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

/// From the arguments to the exit code.
pub fn run(args: &OpenApiArgs) -> ExitCode {
    let text = if args.app { app_text(args.policy) } else { text(args.policy) };
    let written = text.and_then(|text| match &args.to {
        Some(file) => std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display())),
        None => write_out(text.as_bytes()).map_err(|error| error.to_string()),
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::admin::output::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
