//! `rollcall audit`: who changed what, from the change feed.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration as Pause;

use clap::Args;
use time::{Duration, OffsetDateTime};

use super::cli::parse::{event_type, whole_number};
use super::cli::resolve_change::{actor_id, subject_id};
use super::cli::{CommandOutput, GlobalOptions, complete, finish};
use super::error::AdminError;
use super::output::Format;
use super::when;
use crate::clock;
use crate::limits::MAX_FEED_ANSWER_CHANGES;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;
use crate::store::feed::reader::{ChangeList, ChangeQuery, FeedReader, LostPosition};
use crate::store::keys::TenantId;

/// How long `--follow` waits between two looks.
const PAUSE: Pause = Pause::from_secs(1);
/// The actors that are not keys.
const ACTORS: [&str; 2] = ["operator", "worker"];
/// The columns of the table: heading, width.
const COLUMNS: [(&str, usize); 6] =
    [("TIME", 24), ("TYPE", 18), ("RESOURCE", 36), ("ACTOR", 17), ("ATTRIBUTES", 0), ("MEMBERS", 0)];

/// `rollcall audit`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall audit acme
  rollcall audit acme --since 7d --type user.deactivated
  rollcall audit acme --since 2026-11-01 --actor key_4fK2mQ9sXb1Z --json
  rollcall audit acme --resource 01a20b56-57f0-7122-a8e5-2ab0f14a92bb --since 90d --limit 20
  rollcall audit acme --follow
  rollcall audit deployment

The changes of application keys and webhooks, which belong to no tenant, stand under the name deployment. A deleted tenant keeps its changes. Changes are kept for 90 days, unless the parameter ChangeRetentionDays of the deployment says otherwise. With --json each change is one line.")]
pub struct AuditArgs {
    #[command(flatten)]
    options: GlobalOptions,
    /// Whose changes: a tenant, or `deployment`
    #[arg(add = complete::tenants())]
    tenant: TenantId,
    /// From when on: 15m, 12h, 30d before now, a date (00:00 UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = since)]
    since: OffsetDateTime,
    /// Only what this key, client or application key, by its id or name, or `operator`, did
    #[arg(long, value_name = "ID|NAME", add = complete::actors())]
    actor: Option<String>,
    /// Only what happened to this user, group, role, entitlement, key, client or webhook, by its id or name
    #[arg(long, value_name = "ID|NAME", add = complete::subjects())]
    resource: Option<String>,
    /// Only changes of this type, such as user.created
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type(), hide_possible_values = true)]
    event_type: Option<String>,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>(1..=u64::MAX))]
    limit: Option<usize>,
    /// Go on and print what happens from now on, until interrupted
    #[arg(long)]
    follow: bool,
}

fn since(text: &str) -> Result<OffsetDateTime, String> {
    when::parse_past(text, clock::now())
        .ok_or_else(|| "give a span as 15m, 12h or 30d, a date as 2027-01-31, or an RFC 3339 time".to_owned())
}

/// Which changes are wanted.
struct Wanted<'a> {
    tenant: &'a TenantId,
    /// Not before this time, in RFC 3339.
    since: String,
    actor: Option<String>,
    resource: Option<String>,
    event_type: Option<String>,
    /// Whether the tenant exists. The changes of a deleted one stay in the feed.
    is_there: bool,
}

impl<'a> Wanted<'a> {
    /// What the arguments ask for, with ids for names.
    async fn of(table: &Table, args: &'a AuditArgs) -> Result<Self, AdminError> {
        let tenant = &args.tenant;
        let is_there = *tenant == TenantId::deployment()
            || match super::tenant::get(table, tenant).await {
                Err(AdminError::NoTenant(_)) => false,
                found => found.map(|_| true)?,
            };
        let actor = match args.actor.as_deref() {
            // The names of a deleted tenant are gone with it: ids are left.
            Some(actor) if is_there && !ACTORS.contains(&actor) => {
                Some(actor_id(table, tenant, actor).await?)
            }
            actor => actor.map(str::to_owned),
        };
        let resource = match args.resource.as_deref() {
            Some(resource) if is_there => Some(subject_id(table, tenant, resource).await?),
            resource => resource.map(str::to_owned),
        };
        Ok(Self {
            tenant,
            since: clock::text(args.since),
            actor,
            resource,
            event_type: args.event_type.clone(),
            is_there,
        })
    }

    fn includes(&self, change: &FeedChange) -> bool {
        let is = |text: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| text == wanted);
        change.time >= self.since
            && is(&change.actor, &self.actor)
            && is(&change.resource_id, &self.resource)
            && is(&change.event_type, &self.event_type)
    }
}

/// The changes of the feed, some at a time.
struct AuditWalk<'a> {
    reader: FeedReader<'a>,
    seq: u64,
}

impl<'a> AuditWalk<'a> {
    /// From the first change that may have happened at `since` or later.
    async fn start(table: &'a Table, since: OffsetDateTime) -> Result<Self, StoreError> {
        let reader = FeedReader::open(table).await?;
        // The clocks that write times may differ.
        let since = (since - Duration::minutes(5)).unix_timestamp();
        let seq = reader.find_time(u64::try_from(since).unwrap_or(0)).await?;
        Ok(Self { reader, seq })
    }

    async fn next(&mut self, tenant: &TenantId) -> Result<ChangeList, StoreError> {
        let query = ChangeQuery { limit: MAX_FEED_ANSWER_CHANGES, tenant: Some(tenant.as_str()) };
        loop {
            match self.reader.read(&self.reader.at(self.seq), query).await? {
                Ok(list) => {
                    self.seq = list.seq;
                    return Ok(list);
                }
                // The retention has ended for these meanwhile.
                Err(LostPosition::TooOld) => self.seq = self.reader.oldest().seq,
                Err(lost) => return Err(StoreError::Broken(format!("the feed cannot be read: {lost:?}"))),
            }
        }
    }
}

fn line(format: Format, change: &FeedChange) -> String {
    if format == Format::Json {
        return serde_json::to_string(change).unwrap_or_default();
    }
    let members = match (change.added_count, change.removed_count) {
        (0, 0) => String::new(),
        (added, removed) => format!("+{added} -{removed}"),
    };
    let attributes = change.attributes.join(",");
    let cells = [&change.time, &change.event_type, &change.resource_id, &change.actor, &attributes, &members];
    let cells = cells.iter().zip(COLUMNS).map(|(text, (_, width))| {
        let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        format!("{text:width$}")
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn heading() -> String {
    COLUMNS.map(|(name, width)| format!("{name:width$}")).join("  ")
}

/// Prints lines.
fn print(lines: &[String]) -> Result<(), AdminError> {
    let mut out = std::io::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    written.map_err(AdminError::output("the changes"))
}

/// From the arguments to the exit code.
pub fn run(args: AuditArgs) -> ExitCode {
    finish(&args.options, audit(&args))
}

async fn audit(args: &AuditArgs) -> Result<CommandOutput, AdminError> {
    let (table, format) = (args.options.open().await?, args.options.format());
    let wanted = Wanted::of(&table, args).await?;
    let failed = AdminError::table(table.name());
    if format == Format::Table {
        print(&[heading()])?;
    }
    let mut walk = AuditWalk::start(&table, args.since).await.map_err(&failed)?;
    let mut newest = std::collections::VecDeque::new();
    let mut is_known = wanted.is_there;
    loop {
        let list = walk.next(wanted.tenant).await.map_err(&failed)?;
        is_known |= !list.changes.is_empty();
        let lines = list.changes.iter().filter(|change| wanted.includes(change));
        let lines: Vec<String> = lines.map(|change| line(format, change)).collect();
        match args.limit {
            // Only the newest are kept.
            Some(limit) => {
                newest.extend(lines);
                newest.drain(..newest.len().saturating_sub(limit));
            }
            None => print(&lines)?,
        }
        if !list.more {
            break;
        }
    }
    print(&Vec::from(newest))?;
    if !is_known {
        return Err(AdminError::NoTenant(wanted.tenant.clone()));
    }
    if !args.follow {
        return Ok(CommandOutput::default());
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        let list = walk.next(wanted.tenant).await.map_err(&failed)?;
        let lines = list.changes.iter().filter(|change| wanted.includes(change));
        print(&lines.map(|change| line(format, change)).collect::<Vec<_>>())?;
    }
}
