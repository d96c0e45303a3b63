//! `rollcall check`: the command.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::feed::check_feed_with_progress;
use super::report::{CheckReport, FeedReport, Finding};
use super::run::check_with_progress;
use crate::admin::cli::{CommandOutput, GlobalOptions, complete, finish};
use crate::admin::error::AdminError;
use crate::admin::output::{self, Format, object};
use crate::admin::progress::Progress;
use crate::scim::resource_type::Model;
use crate::store::error::StoreError;
use crate::store::keys::TenantId;

/// `rollcall check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall check acme
  rollcall check acme --repair
  rollcall check acme --json | jq '.findings[].problem'
  rollcall check --feed

It reads the whole table, whose cost is that of a scan: the tenant's items lie in as many partitions
as it has users. It keeps ids and keys in memory, some 700 bytes a user. Then it reads the change feed.
With --feed it reads the feed, the outbox and the positions of the bus and of webhooks instead, for the
whole deployment. What another request is just changing is looked at twice. The exit code is 3 where
something is wrong and was not repaired.")]
pub struct CheckArgs {
    #[command(flatten)]
    options: GlobalOptions,
    /// Which tenant
    #[arg(required_unless_present = "feed", conflicts_with = "feed", add = complete::tenants())]
    tenant: Option<TenantId>,
    /// Check the change feed of the whole deployment instead
    #[arg(long)]
    feed: bool,
    /// Repair what is safe to repair
    #[arg(long)]
    repair: bool,
}

/// From the arguments to the exit code.
pub fn run(args: CheckArgs) -> ExitCode {
    finish(&args.options, command(&args))
}

async fn command(args: &CheckArgs) -> Result<CommandOutput, AdminError> {
    let (table, format) = (args.options.open().await?, args.options.format());
    let failed = AdminError::table(table.name());
    let progress = Progress::shown();
    let Some(tenant) = &args.tenant else {
        let report = check_feed_with_progress(&table, args.repair, &progress).await.map_err(&failed)?;
        let text = feed_text(format, &report);
        return Ok(CommandOutput { findings: !report.findings.is_empty(), ..CommandOutput::from(text) });
    };
    let record = crate::admin::tenant::get_lasting(&table, tenant).await?;
    let models = Model::all(&[]).map_err(|error| failed(StoreError::Broken(error.detail.clone())))?;
    let model = models.iter().find(|model| model.policy == record.policy).ok_or_else(|| {
        AdminError::Input(format!("the policy {} is not known to this version", record.policy.name))
    })?;
    let report = check_with_progress(&table, tenant, model, args.repair, &progress).await.map_err(&failed)?;
    progress.end();
    Ok(CommandOutput { findings: !report.findings.is_empty(), ..CommandOutput::from(text(format, &report)) })
}

fn entry(finding: &Finding) -> Value {
    json!({
        "problem": format!("{:?}", finding.problem),
        "meaning": finding.problem.text(),
        "pk": finding.key.pk,
        "sk": finding.key.sk,
        "other": finding.other.as_ref().map(|key| json!({ "pk": key.pk, "sk": key.sk })),
    })
}

fn feed_text(format: Format, report: &FeedReport) -> String {
    if format == Format::Json {
        let fields = json!({
            "pages": report.pages, "changes": report.changes, "outbox": report.outbox,
            "consumers": report.consumers, "moved": report.moved,
            "findings": report.findings.iter().map(entry).collect::<Vec<_>>(),
        });
        return output::show_fields(format, &object(fields));
    }
    let mut lines: Vec<String> =
        report.findings.iter().map(|finding| format!("broken   {finding}")).collect();
    lines.push(format!(
        "{} changes in {} pages, {} items in the outbox, {} consumers; {} broken, {} moved into the feed",
        report.changes,
        report.pages,
        report.outbox,
        report.consumers,
        report.findings.len(),
        report.moved
    ));
    lines.join("\n") + "\n"
}

fn text(format: Format, report: &CheckReport) -> String {
    if format == Format::Json {
        let mut fields = Map::new();
        fields.insert("items".to_owned(), json!(report.items));
        fields.insert("resources".to_owned(), json!(report.resources));
        fields.insert("memberships".to_owned(), json!(report.memberships));
        fields.insert("pending".to_owned(), json!(report.pending));
        fields.insert("findings".to_owned(), report.findings.iter().map(entry).collect());
        fields.insert("repaired".to_owned(), report.repaired.iter().map(entry).collect());
        fields.insert("resync".to_owned(), json!(report.resync));
        return output::show_fields(format, &fields);
    }
    let mut lines = Vec::new();
    lines.extend(report.repaired.iter().map(|finding| format!("repaired {finding}")));
    lines.extend(report.findings.iter().map(|finding| format!("broken   {finding}")));
    if report.resync {
        lines.push("the change tenant.resync tells mirrors to read the tenant again".to_owned());
    }
    lines.push(format!(
        "{} users and groups, {} memberships, {} items; {} changes pending; {} broken, {} repaired",
        report.resources,
        report.memberships,
        report.items,
        report.pending,
        report.findings.len(),
        report.repaired.len()
    ));
    lines.join("\n") + "\n"
}
