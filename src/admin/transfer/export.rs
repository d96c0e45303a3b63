//! Exports a tenant, one resource in a line. Users come first, so that an import knows every member. At the end
//! stands what only an import with ids reads.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::definitions::definition_line;
use super::rows::{DEACTIVATED_LINE, ERASED_LINE, TENANT_LINE};
use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::progress::Progress;
use crate::admin::tenant;
use crate::admin::wipe::count_resources;
use crate::auth::tenant::TenantRecord;
use crate::limits::RESOURCES_PER_READ;
use crate::scim::resource_type::{DefinedKind, Kind, Model};
use crate::scim::urn;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::claim::NameClaim;
use crate::store::error::StoreError;
use crate::store::keys::{self, Key, TenantId};
use crate::store::list::IdPage;
use crate::store::record::Record;
use crate::store::tombstone::{ErasedAccount, Tombstone};

/// How many lines of each kind an export has, besides that of the tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    /// Users.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Deactivated accounts.
    pub deactivated: u64,
    /// Erased accounts.
    pub erased: u64,
    /// Roles and entitlements.
    #[serde(default)]
    pub definitions: u64,
}

/// An export that is being written.
struct ExportWriter<'a> {
    store: Store,
    model: Model,
    to: &'a mut (dyn Write + Send),
    progress: &'a Progress,
    counts: LineCounts,
    /// The users that have a line. One of them may be deactivated before the deactivated accounts are read.
    written: HashSet<Uuid>,
}

/// Writes every user and group of a tenant as a SCIM resource in one line of JSON, with its id and `meta`. After
/// them come roles and entitlements, the deactivated and erased accounts, and at the end the tenant itself: what an import
/// with ids needs besides. Tells `progress` how many users and groups there were. Returns how many users, groups, roles
/// and entitlements there were. Each resource is whole and of one moment; the tenant as a whole is as of the time that it takes.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::BeingDeleted`]; [`AdminError::Input`] when `to` cannot be written;
/// [`AdminError::Table`] if a call fails.
pub async fn export(
    table: &Table,
    id: &TenantId,
    to: &mut (dyn Write + Send),
    progress: &Progress,
) -> Result<u64, AdminError> {
    let tenant = tenant::get_lasting(table, id).await?;
    let store = Store {
        table: table.clone(),
        tenant: id.clone(),
        actor: ACTOR.to_owned(),
        request_id: Uuid::now_v7().to_string(),
    };
    let model = tenant::model(tenant.policy)?;
    let total = count_resources(&store).await.map_err(AdminError::table(table.name()))?;
    progress.begin(Some(total), "users and groups");
    let mut writer =
        ExportWriter { store, model, to, progress, counts: LineCounts::default(), written: HashSet::new() };
    writer.write_resources().await?;
    writer.write_definitions().await?;
    writer.write_tombstones().await?;
    writer.write_line(&tenant_line(&tenant, writer.counts))?;
    let LineCounts { users, groups, definitions, .. } = writer.counts;
    Ok(users + groups + definitions)
}

impl ExportWriter<'_> {
    fn write_line(&mut self, line: &Value) -> Result<(), AdminError> {
        writeln!(self.to, "{line}").map_err(AdminError::output("the export"))
    }

    async fn write_resources(&mut self) -> Result<(), AdminError> {
        let failed = AdminError::table(self.store.table.name());
        for kind in Kind::ALL {
            let mut after = None;
            loop {
                let page = self.store.list_page(kind, after, RESOURCES_PER_READ).await;
                let IdPage { ids, has_more } = page.map_err(&failed)?;
                for mut record in self.store.fetch_many(kind, &ids).await.map_err(&failed)? {
                    let mut members = Vec::new();
                    if kind == Kind::Group {
                        let found = self.store.members().fetch_group(record.id).await.map_err(&failed)?;
                        // Deleted since the page was read.
                        let Some(found) = found else { continue };
                        record = found.record;
                        members = found.members.iter().map(|m| m.member().element().into()).collect();
                    }
                    let line = Value::Object(resource(&record, members, &self.model));
                    self.write_line(&line)?;
                    match kind {
                        Kind::User => {
                            self.counts.users += 1;
                            self.written.insert(record.id);
                        }
                        Kind::Group => self.counts.groups += 1,
                    }
                }
                self.progress.set(self.counts.users + self.counts.groups);
                match ids.last() {
                    Some(last) if has_more => after = Some(*last),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    async fn write_definitions(&mut self) -> Result<(), AdminError> {
        let failed = AdminError::table(self.store.table.name());
        for kind in DefinedKind::ALL {
            for definition in self.store.definitions().list(kind).await.map_err(&failed)? {
                self.write_line(&definition_line(&definition))?;
                self.counts.definitions += 1;
            }
        }
        Ok(())
    }

    async fn write_tombstones(&mut self) -> Result<(), AdminError> {
        let failed = AdminError::table(self.store.table.name());
        let tenant = self.store.tenant.clone();
        let items = self.store.table.query_all(&keys::tombstones(&tenant), None).await.map_err(&failed)?;
        for some in items.chunks(RESOURCES_PER_READ) {
            let mut kept = Vec::new();
            for item in some {
                if let Some(erased) = ErasedAccount::from_item(item) {
                    if !self.written.contains(&erased.id) {
                        self.write_erased(&erased)?;
                    }
                } else {
                    kept.extend(Tombstone::from_item(&tenant, item.clone()).map_err(&failed)?);
                }
            }
            kept.retain(|tombstone| !self.written.contains(&tombstone.record.id));
            let holders = self.read_holders(&kept).await.map_err(&failed)?;
            for tombstone in kept {
                let holds_name = holders.contains(&tombstone.record.id);
                self.write_kept(&tombstone, holds_name)?;
            }
        }
        Ok(())
    }

    /// Reads which deactivated accounts hold their names. Another account may have taken a name.
    async fn read_holders(&self, kept: &[Tombstone]) -> Result<BTreeSet<Uuid>, StoreError> {
        let claim = |kept: &Tombstone| {
            let entry = kept.record.claim(self.model.of(Kind::User))?;
            Some(keys::claim(&self.store.tenant, entry.attribute, &entry.value))
        };
        let claims: Vec<Key> = kept.iter().filter_map(claim).collect();
        let items = self.store.table.batch_get(&claims).await?;
        Ok(items.iter().filter_map(NameClaim::from_item).map(|claim| claim.id).collect())
    }

    fn write_kept(&mut self, kept: &Tombstone, holds_name: bool) -> Result<(), AdminError> {
        self.counts.deactivated += 1;
        let mut line = resource(&kept.record, Vec::new(), &self.model);
        line.insert("schemas".to_owned(), json!([DEACTIVATED_LINE]));
        line.insert("keptUntil".to_owned(), json!(kept.kept_until));
        line.insert("holdsName".to_owned(), json!(holds_name));
        self.write_line(&Value::Object(line))
    }

    fn write_erased(&mut self, erased: &ErasedAccount) -> Result<(), AdminError> {
        self.counts.erased += 1;
        self.write_line(&json!({
            "schemas": [ERASED_LINE], "id": erased.id.to_string(), "version": erased.version,
            "purged": erased.purged,
        }))
    }
}

/// The last line. It tells an import with ids that the file is whole.
fn tenant_line(tenant: &TenantRecord, counts: LineCounts) -> Value {
    json!({
        "schemas": [TENANT_LINE],
        "tenant": tenant.id.as_str(),
        "policy": tenant.policy.name,
        "rootTeam": tenant.root_team.map(|id| id.to_string()),
        "settings": tenant.settings,
        "lines": counts,
    })
}

/// A resource as it can be created again, with its id, its versions and what the operator decided about it.
fn resource(record: &Record, members: Vec<Value>, model: &Model) -> Map<String, Value> {
    let ty = model.of(record.kind);
    let mut schemas = vec![json!(ty.schema.id)];
    let extensions = ty.extensions.iter().filter(|extension| record.doc.contains_key(&extension.id));
    schemas.extend(extensions.map(|extension| json!(extension.id)));
    let (own, value) = match record.kind {
        Kind::User => (urn::ROLLCALL_USER, json!({ "account": record.account.as_str() })),
        Kind::Group => {
            let role = |role: &crate::store::record::Role| json!({ "team": role.team.to_string(), "role": role.role });
            let roles: Vec<Value> = record.assignments().iter().map(role).collect();
            (urn::ROLLCALL_GROUP, json!({ "assignments": roles }))
        }
    };
    schemas.push(json!(own));
    let mut line = Map::new();
    line.insert("schemas".to_owned(), schemas.into());
    line.insert("id".to_owned(), json!(record.id.to_string()));
    line.extend(record.doc.clone());
    if !members.is_empty() {
        line.insert("members".to_owned(), members.into());
    }
    line.insert(own.to_owned(), value);
    let meta = json!({
        "resourceType": record.kind.name(), "created": record.created, "lastModified": record.modified,
        "version": format!("W/\"{}\"", record.version),
    });
    line.insert("meta".to_owned(), meta);
    line
}
