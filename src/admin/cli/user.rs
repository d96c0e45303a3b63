//! `rollcall user`: lists users, makes local accounts, and brings deactivated accounts back.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::complete;
use super::options::GlobalOptions;
use super::parse::{read_address, whole_number};
use super::resolve::Resolver;
use super::runtime::finish;
use crate::admin::error::AdminError;
use crate::admin::output::{self, Format};
use crate::admin::user::{create, find, list, list_deactivated, purge, restore};
use crate::scim::urn;
use crate::store::keys::TenantId;
use crate::store::record::Record;

/// `rollcall user`.
#[derive(Args, Clone, Debug)]
pub struct UserArgs {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: UserCommand,
}

/// Commands on users.
#[derive(Subcommand, Clone, Debug)]
pub enum UserCommand {
    /// List the users, in the order in which they were made
    #[command(after_help = "Examples:
  rollcall user list acme
  rollcall user list acme --limit 20 --json")]
    List {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// Only the first N
        #[arg(long, value_name = "N", value_parser = whole_number::<usize>(1..=u64::MAX))]
        limit: Option<usize>,
    },
    /// Show a user with its groups
    #[command(after_help = "Examples:
  rollcall user show acme ada@acme.example
  rollcall user show acme 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The user's id or userName
        #[arg(value_name = "ID|NAME")]
        user: String,
    },
    /// Make a local account, which no identity provider manages
    #[command(after_help = "Example:
  rollcall user create acme --email ada@acme.example --given-name Ada --family-name Lovelace

It becomes the identity provider's with the first update that comes from there.")]
    Create {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The address, and the userName
        #[arg(long, value_name = "ADDRESS", value_parser = read_address)]
        email: String,
        /// The first name
        #[arg(long)]
        given_name: String,
        /// The last name
        #[arg(long)]
        family_name: String,
        /// What to call the account; else first and last name
        #[arg(long)]
        display_name: Option<String>,
    },
    /// List the accounts that are deactivated and kept
    #[command(after_help = "Example:\n  rollcall user list-deactivated acme")]
    ListDeactivated {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
    },
    /// Bring a deactivated account back, active and under its old id, without its groups
    #[command(after_help = "Examples:
  rollcall user restore acme ada@acme.example
  rollcall user restore acme 01890a5d-ac96-774b-bcce-b302099a8057 --user-name ada.l@acme.example

Another userName is needed where another user has the old one by now; under the policy veza the
primary email changes with it.")]
    Restore {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The account's id or userName, as `rollcall user list-deactivated` shows it
        #[arg(value_name = "ID|NAME")]
        account: String,
        /// The userName that it has from now on
        #[arg(long)]
        user_name: Option<String>,
    },
    /// Erase a deactivated account at once, without waiting for the end of its retention
    #[command(after_help = "Example:
  rollcall user purge acme 01890a5d-ac96-774b-bcce-b302099a8057 --yes

What the account held is gone: it cannot be restored, and its userName is free. Its id stays, and the
event user.purged. docs/operations.md says where else personal data can be, and for how long.")]
    Purge {
        /// Whose
        #[arg(add = complete::tenants())]
        tenant: TenantId,
        /// The account's id or userName, as `rollcall user list-deactivated` shows it
        #[arg(value_name = "ID|NAME")]
        account: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// From the arguments to the exit code.
pub fn run(args: UserArgs) -> ExitCode {
    finish(&args.options, command(&args.options, args.command))
}

async fn command(options: &GlobalOptions, command: UserCommand) -> Result<String, AdminError> {
    let (table, format) = (options.open().await?, options.format());
    match command {
        UserCommand::List { tenant, limit } => {
            let users = list(&table, &tenant, limit.unwrap_or(usize::MAX)).await?;
            let rows: Vec<_> = users.iter().map(listed_row).collect();
            Ok(output::show_rows(format, &["id", "userName", "displayName", "active", "account"], &rows))
        }
        UserCommand::Show { tenant, user } => {
            let id = Resolver::of(&table, &tenant).await?.user(&user).await?;
            let (record, groups) = find(&table, &tenant, id).await?;
            Ok(output::show_fields(format, &whole_row(format, &record, &groups)))
        }
        UserCommand::Create { tenant, email, given_name, family_name, display_name } => {
            let display_name = display_name.unwrap_or_else(|| format!("{given_name} {family_name}"));
            let body = json!({
                "schemas": [urn::USER],
                "userName": email,
                "name": { "givenName": given_name, "familyName": family_name },
                "displayName": display_name,
                "active": true,
                "emails": [{ "value": email, "type": "work", "primary": true }],
            });
            Ok(output::show_fields(format, &row(&create(&table, &tenant, &body).await?)))
        }
        UserCommand::ListDeactivated { tenant } => {
            let rows: Vec<_> = list_deactivated(&table, &tenant)
                .await?
                .iter()
                .map(|(record, until)| {
                    let mut fields = row(record);
                    fields.insert("keptUntil".to_owned(), json!(until));
                    fields
                })
                .collect();
            Ok(output::show_rows(format, &["id", "userName", "keptUntil"], &rows))
        }
        UserCommand::Purge { tenant, account, yes } => {
            let id = Resolver::of(&table, &tenant).await?.deactivated(&account).await?;
            if !yes {
                let what = format!("this erases the account {id} of tenant {tenant} for good");
                output::confirm(&what, "its id", &id.to_string())?;
            }
            purge(&table, &tenant, id).await?;
            let fields = json!({ "id": id.to_string(), "status": "purged" });
            Ok(output::show_fields(format, &fields.as_object().cloned().unwrap_or_default()))
        }
        UserCommand::Restore { tenant, account, user_name } => {
            let id = Resolver::of(&table, &tenant).await?.deactivated(&account).await?;
            Ok(output::show_fields(format, &row(&restore(&table, &tenant, id, user_name.as_deref()).await?)))
        }
    }
}

fn row(record: &Record) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(record.id.to_string()));
    fields.insert("userName".to_owned(), record.doc.get("userName").cloned().unwrap_or_default());
    fields.insert("account".to_owned(), json!(record.account.as_str()));
    fields
}

fn listed_row(record: &Record) -> Map<String, Value> {
    let mut fields = row(record);
    fields.insert("displayName".to_owned(), record.doc.get("displayName").cloned().unwrap_or_default());
    fields.insert("active".to_owned(), json!(record.is_active()));
    fields
}

/// A user with the names of its groups.
fn whole_row(format: Format, record: &Record, groups: &[Record]) -> Map<String, Value> {
    let mut fields = listed_row(record);
    fields.insert("externalId".to_owned(), record.doc.get("externalId").cloned().unwrap_or_default());
    fields.insert("created".to_owned(), json!(record.created));
    fields.insert("lastModified".to_owned(), json!(record.modified));
    fields.insert("version".to_owned(), json!(record.version));
    let name =
        |group: &Record| group.doc.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let groups = match format {
        Format::Table => groups.iter().map(name).collect::<Vec<_>>().join(", ").into(),
        Format::Json => {
            let object = |group: &Record| json!({ "id": group.id.to_string(), "displayName": name(group) });
            groups.iter().map(object).collect()
        }
    };
    fields.insert("groups".to_owned(), groups);
    fields
}
