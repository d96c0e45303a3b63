//! `rollcall audit`: who changed what, from the events that every change leaves in the table.
//!
//! Events lie in four partitions a day. They are read a page at a time and merged by time, so that
//! a long past costs no memory.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration as Pause;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime, UtcOffset};

use super::cli::{CommandOutput, GlobalOptions, finish};
use super::error::AdminError;
use super::output::Format;
use super::when;
use crate::clock;
use crate::limits::{EVENT_SHARDS, EVENTS_PER_READ};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::event::RETENTION;
use crate::store::item::{Item, get_text};
use crate::store::keys::{self, TenantId};

/// How long `--follow` waits between two looks.
const PAUSE: Pause = Pause::from_secs(1);
/// Events may appear a little after the time they bear: `--follow` looks so far back.
const OVERLAP: Duration = Duration::seconds(60);
const COLUMNS: [(&str, usize); 6] =
    [("time", 24), ("type", 18), ("resourceId", 36), ("actor", 17), ("attributes", 0), ("members", 0)];

/// `rollcall audit`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall audit acme
  rollcall audit acme --since 7d --type user.deactivated
  rollcall audit acme --since 2026-11-01 --actor key_4fK2mQ9sXb1Z --json
  rollcall audit acme --resource 01a20b56-57f0-7122-a8e5-2ab0f14a92bb --since 90d --limit 20
  rollcall audit acme --follow

Events are kept for 90 days. With --json each event is one line.")]
pub struct AuditArgs {
    #[command(flatten)]
    options: GlobalOptions,
    /// Whose events
    tenant: TenantId,
    /// From when on: 15m, 12h, 30d before now, a date (00:00 UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = since)]
    since: OffsetDateTime,
    /// Only what this key, or `operator`, did
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only what happened to this user, group or key
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Only events of this type, such as user.created
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on and print what happens from now on, until interrupted
    #[arg(long)]
    follow: bool,
}

fn since(text: &str) -> Result<OffsetDateTime, String> {
    let now = OffsetDateTime::now_utc();
    let since = when::parse_past(text, now)
        .ok_or("give a span as 15m, 12h or 30d, a date as 2027-01-31, or an RFC 3339 time")?;
    // Older ones are gone.
    Ok(since.max(now - RETENTION - Duration::DAY))
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Who did it.
    pub actor: Option<String>,
    /// What it happened to.
    pub resource: Option<String>,
    /// What happened.
    pub event_type: Option<String>,
}

impl Wanted {
    fn has(&self, item: &Item) -> bool {
        let is = |name: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| get_text(item, name) == Some(wanted))
        };
        is("actor", &self.actor) && is("resourceId", &self.resource) && is("type", &self.event_type)
    }
}

/// One partition on its way through the merge.
struct Stream {
    pk: String,
    read: VecDeque<Item>,
    after: Option<String>,
    ended: bool,
}

/// A tenant's events in the order of time, or against it.
pub struct EventReader<'a> {
    table: &'a Table,
    tenant: &'a TenantId,
    since: String,
    backwards: bool,
    /// The days still to read, the next one last.
    days: Vec<String>,
    streams: Vec<Stream>,
}

impl<'a> EventReader<'a> {
    /// The events between two moments.
    pub fn new(
        table: &'a Table,
        tenant: &'a TenantId,
        (since, until): (OffsetDateTime, OffsetDateTime),
        backwards: bool,
    ) -> Self {
        let (first, last) = (since.to_offset(UtcOffset::UTC).date(), until.to_offset(UtcOffset::UTC).date());
        let mut days = Vec::new();
        let mut day = Some(first).filter(|day| *day <= last);
        while let Some(date) = day {
            days.push(clock::day(date));
            day = date.next_day().filter(|day| *day <= last);
        }
        if !backwards {
            days.reverse();
        }
        Self { table, tenant, since: clock::text(since), backwards, days, streams: Vec::new() }
    }

    /// The next event; none at the end.
    ///
    /// # Errors
    /// As every call.
    pub async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            let (table, backwards, since) = (self.table, self.backwards, &self.since);
            try_join_all(self.streams.iter_mut().map(|stream| stream.fill(table, backwards, since))).await?;
            let place = |item: &Item| get_text(item, "sk").unwrap_or_default().to_owned();
            let heads = self.streams.iter_mut().filter(|stream| !stream.read.is_empty());
            let key = |stream: &&mut Stream| stream.read.front().map(place);
            let next = if backwards { heads.max_by_key(key) } else { heads.min_by_key(key) };
            if let Some(item) = next.and_then(|stream| stream.read.pop_front()) {
                if backwards && place(&item) < *since {
                    return Ok(None);
                }
                return Ok(Some(item));
            }
            let Some(day) = self.days.pop() else { return Ok(None) };
            self.streams = (0..EVENT_SHARDS)
                .map(|shard| Stream {
                    pk: keys::events(self.tenant, &day, shard),
                    read: VecDeque::new(),
                    after: None,
                    ended: false,
                })
                .collect();
        }
    }
}

impl Stream {
    async fn fill(&mut self, table: &Table, backwards: bool, since: &str) -> Result<(), StoreError> {
        while self.read.is_empty() && !self.ended {
            // Sort keys begin with the time, so an earlier one stands before `since` itself.
            let start = (!backwards).then(|| since.to_owned());
            let after = self.after.take().or(start);
            let page = table
                .query(
                    &self.pk,
                    &Range { after, limit: Some(EVENTS_PER_READ), backwards, ..Range::default() },
                )
                .await?;
            self.read.extend(page.items);
            self.ended = page.next.is_none();
            self.after = page.next;
        }
        Ok(())
    }
}

/// An event as it is printed: plain JSON, names in a fixed order.
pub fn plain(item: &Item) -> Map<String, Value> {
    const NAMES: [&str; 16] = [
        "time",
        "type",
        "tenant",
        "resourceType",
        "resourceId",
        "version",
        "actor",
        "requestId",
        "id",
        "attributes",
        "added",
        "removed",
        "addedCount",
        "removedCount",
        "change",
        "warning",
    ];
    let mut event = Map::new();
    for name in NAMES {
        let value = match item.get(name) {
            Some(AttributeValue::S(text)) => json!(text),
            Some(AttributeValue::Ss(texts)) => {
                let mut texts = texts.clone();
                texts.sort();
                json!(texts)
            }
            Some(AttributeValue::N(number)) => number.parse::<i64>().map_or(Value::Null, Value::from),
            _ => continue,
        };
        event.insert(name.to_owned(), value);
    }
    event
}

fn line(format: Format, item: &Item) -> String {
    let event = plain(item);
    if format == Format::Json {
        return Value::Object(event).to_string();
    }
    let count = |name: &str| event.get(name).and_then(Value::as_i64).unwrap_or(0);
    let cells = COLUMNS.map(|(name, width)| {
        let text = match name {
            "attributes" => {
                let names = event.get(name).and_then(Value::as_array).into_iter().flatten();
                names.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            "members" => match (count("addedCount"), count("removedCount")) {
                (0, 0) => String::new(),
                (added, removed) => format!("+{added} -{removed}"),
            },
            _ => event.get(name).and_then(Value::as_str).unwrap_or("-").to_owned(),
        };
        let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        format!("{text:width$}")
    });
    cells.join("  ").trim_end().to_owned()
}

fn heading() -> String {
    let names = ["TIME", "TYPE", "RESOURCE", "ACTOR", "ATTRIBUTES", "MEMBERS"];
    let cells = names.iter().zip(COLUMNS).map(|(name, (_, width))| format!("{name:width$}"));
    cells.collect::<Vec<_>>().join("  ")
}

/// Prints lines; `false` once nobody reads them any more.
fn print(lines: &[String]) -> bool {
    let mut out = std::io::stdout().lock();
    lines.iter().all(|line| writeln!(out, "{line}").is_ok()) && out.flush().is_ok()
}

/// From the arguments to the exit code.
pub fn run(args: AuditArgs) -> ExitCode {
    finish(audit(args))
}

async fn audit(args: AuditArgs) -> Result<CommandOutput, AdminError> {
    let (table, format, tenant) = (args.options.open().await?, args.options.format(), args.tenant);
    super::tenant::get(&table, &tenant).await?;
    let wanted = Wanted { actor: args.actor, resource: args.resource, event_type: args.event_type };
    let failed = AdminError::table(table.name());
    if format == Format::Table && !print(&[heading()]) {
        return Ok(CommandOutput::default());
    }
    let now = OffsetDateTime::now_utc();
    // One that another machine wrote may bear a time to come.
    let mut events = EventReader::new(&table, &tenant, (args.since, now + OVERLAP), args.limit.is_some());
    let mut newest = Vec::new();
    let mut seen = BTreeMap::new();
    let start = now - OVERLAP;
    loop {
        let whole = args.limit.is_some_and(|limit| newest.len() >= limit);
        if whole && !args.follow {
            break;
        }
        let Some(item) = events.next().await.map_err(&failed)? else { break };
        // What follows must know all that happened lately, shown or not.
        if whole && get_text(&item, "time") < Some(clock::text(start).as_str()) {
            break;
        }
        note(&mut seen, &item);
        if whole || !wanted.has(&item) {
            continue;
        }
        match args.limit {
            Some(_) => newest.push(line(format, &item)),
            None if print(&[line(format, &item)]) => {}
            None => return Ok(CommandOutput::default()),
        }
    }
    newest.reverse();
    let mut read_on = print(&newest);
    while args.follow && read_on {
        tokio::time::sleep(PAUSE).await;
        let now = OffsetDateTime::now_utc();
        let from = (now - OVERLAP).max(start);
        let mut events = EventReader::new(&table, &tenant, (from, now + OVERLAP), false);
        let oldest = clock::text(from - OVERLAP);
        seen.retain(|place: &String, ()| *place >= oldest);
        while let Some(item) = events.next().await.map_err(&failed)? {
            let news = note(&mut seen, &item);
            if news && wanted.has(&item) {
                read_on = read_on && print(&[line(format, &item)]);
            }
        }
    }
    Ok(CommandOutput::default())
}

/// Notes an event; says whether it is new.
fn note(seen: &mut BTreeMap<String, ()>, item: &Item) -> bool {
    seen.insert(get_text(item, "sk").unwrap_or_default().to_owned(), ()).is_none()
}
