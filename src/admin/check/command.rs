//! `rollcall check`: the command.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, json};
use time::OffsetDateTime;

use super::report::{CheckReport, Finding};
use super::run::check;
use crate::admin::cli::{CommandOutput, GlobalOptions, finish};
use crate::admin::error::AdminError;
use crate::admin::output::{self, Format};
use crate::scim::resource_type::Model;
use crate::store::error::StoreError;
use crate::store::keys::TenantId;

/// `rollcall check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rollcall check acme
  rollcall check acme --repair
  rollcall check acme --json | jq '.findings[].problem'

It reads the whole table, whose cost is that of a scan: the tenant's items lie in as many partitions
as it has users. It keeps ids and keys in memory, some 500 bytes a user. What another request is just
changing is looked at twice. The exit code is 3 where something is wrong and was not mended.")]
pub struct CheckArgs {
    #[command(flatten)]
    options: GlobalOptions,
    /// Which tenant
    tenant: TenantId,
    /// Mend what is safe to mend
    #[arg(long)]
    repair: bool,
}

/// From the arguments to the exit code.
pub fn run(args: CheckArgs) -> ExitCode {
    finish(command(args))
}

async fn command(args: CheckArgs) -> Result<CommandOutput, AdminError> {
    let (table, format) = (args.options.open().await?, args.options.format());
    let record = crate::admin::tenant::get(&table, &args.tenant).await?;
    let failed = AdminError::table(table.name());
    let models = Model::all(&[]).map_err(|error| failed(StoreError::Broken(error.detail.clone())))?;
    let model = models.iter().find(|model| model.policy == record.policy).ok_or_else(|| {
        AdminError::Input(format!("the policy {} is not known to this version", record.policy.name))
    })?;
    let mut report = check(&table, &args.tenant, model, args.repair).await.map_err(&failed)?;
    if report.repaired.iter().any(|finding| finding.problem.is_seen_by_mirrors()) {
        crate::admin::tenant::resync(&table, &args.tenant, OffsetDateTime::now_utc()).await?;
        report.resync = true;
    }
    Ok(CommandOutput { findings: !report.findings.is_empty(), ..CommandOutput::from(text(format, &report)) })
}

fn text(format: Format, report: &CheckReport) -> String {
    let entry = |finding: &Finding| {
        json!({
            "problem": format!("{:?}", finding.problem),
            "meaning": finding.problem.text(),
            "pk": finding.key.pk,
            "sk": finding.key.sk,
            "other": finding.other.as_ref().map(|key| json!({ "pk": key.pk, "sk": key.sk })),
        })
    };
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
    lines.extend(report.repaired.iter().map(|finding| format!("mended   {finding}")));
    lines.extend(report.findings.iter().map(|finding| format!("broken   {finding}")));
    if report.resync {
        lines.push("the change tenant.resync tells mirrors to read the tenant again".to_owned());
    }
    lines.push(format!(
        "{} users and groups, {} memberships, {} items; {} changes pending; {} broken, {} mended",
        report.resources,
        report.memberships,
        report.items,
        report.pending,
        report.findings.len(),
        report.repaired.len()
    ));
    lines.join("\n") + "\n"
}
