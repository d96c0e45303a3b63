//! `rollcall feed`: the change feed as a whole.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde_json::json;

use super::cli::{GlobalOptions, finish};
use super::error::AdminError;
use super::output::{self, object};
use super::tenant;
use crate::clock;
use crate::limits::APPLY_TIMEOUT;
use crate::store::call::Table;
use crate::store::feed::renew::{self, FeedRenewal};
use crate::store::feed::sequencer::Sequencer;

/// `rollcall feed`.
#[derive(Args, Clone, Debug)]
pub struct FeedArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: FeedCommand,
}

/// Commands on the feed.
#[derive(Subcommand, Clone, Debug)]
pub enum FeedCommand {
    /// Give the feed of a table that was restored from a backup a new id
    #[command(after_help = "Example:
  rollcall feed renew --table restored

Every position that a mirror has stored is lost then, so mirrors take a snapshot. The bus and webhooks go
on from the positions in the table. Every tenant gets the change tenant.resync. docs/operations.md has
the steps of a restore.")]
    Renew {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// From the arguments to the exit code.
pub fn run(args: FeedArgs) -> ExitCode {
    finish(&args.options, command(&args.options, args.command))
}

async fn command(options: &GlobalOptions, command: FeedCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    let FeedCommand::Renew { yes } = command;
    if !yes {
        let what = format!("this makes every mirror of {} take a snapshot", table.name());
        output::confirm(&what, "the name of the table", table.name())?;
    }
    let (renewal, tenants) = renew(&table).await?;
    let fields = json!({
        "feed": renewal.feed, "lastChange": renewal.last, "nextChange": renewal.next,
        "gapsFilled": renewal.gaps, "changesDropped": renewal.dropped,
        "consumers": renewal.consumers, "tenants": tenants,
    });
    Ok(output::show_fields(format, &object(fields)))
}

/// Gives the feed a new id, and tells mirrors of every tenant to read it again. Returns what became of the feed,
/// and how many tenants there are.
///
/// # Errors
/// [`AdminError::Table`] if a call fails. Then it can be run again.
pub async fn renew(table: &Table) -> Result<(FeedRenewal, usize), AdminError> {
    let failed = AdminError::table(table.name());
    let renewal = renew::renew(table).await.map_err(&failed)?;
    let tenants = tenant::list(table).await?;
    for record in &tenants {
        match tenant::resync(table, &record.id, clock::now()).await {
            // Deleted meanwhile.
            Ok(_) | Err(AdminError::NoTenant(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Sequencer::new(table).run(Instant::now() + APPLY_TIMEOUT).await.map_err(&failed)?;
    Ok((renewal, tenants.len()))
}
