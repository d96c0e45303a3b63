//! Reading users and groups in, through the same operations that clients use: every rule holds, and
//! every change has its event. A user is the one of the same `userName`, a group that of the same
//! `displayName`; so an import that was interrupted is simply run again. The root team of an export is that of the tenant,
//! whatever the two are called.
//!
//! Rows are written side by side, each after the earlier ones that it names. A row may name a later one as well: a
//! manager, a member, the team of a role. If the row is new, it is made without what does not exist yet, and written
//! again after all others. If it exists, it is only written then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::file_ids::FileIds;
use super::levels::levels;
use super::rows::{ImportFile, Row, RowResource};
use super::wanted_roles::WantedRoles;
use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::{tenant, user};
use crate::auth::tenant::TenantRecord;
use crate::limits::{APPLY_TIMEOUT, IMPORTS_AT_ONCE, MAX_SCAN_TIME};
use crate::provider::changing::assignments::{AssignmentTarget, change_assignments, missing_team};
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::provider::{Provider, ResourceRequest};
use crate::scim::error::ErrorKind;
use crate::scim::projection::Projection;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::urn;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::keys::{TenantId, parse_id};
use crate::store::known_groups::KnownGroups;
use crate::store::list::RecentCheckpoints;
use crate::store::record::Role;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was as the line says already.
    Unchanged,
    /// It cannot be imported as it is.
    Refused,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedLine {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What became of it, or would.
    pub fate: Fate,
    /// Its id in the tenant, if it has one.
    pub id: Option<String>,
    /// Why it was refused.
    pub error: Option<String>,
}

/// An import on its way.
pub(super) struct Import<'a> {
    pub(super) table: &'a Table,
    pub(super) tenant: TenantRecord,
    pub(super) provider: Provider<'a>,
    pub(super) dry_run: bool,
    /// The root team of the file, by its id there.
    pub(super) root_team: Option<&'a str>,
    pub(super) ids: Mutex<FileIds>,
    /// The resources that the tenant has of each name in the file.
    pub(super) found: Mutex<HashMap<RowName, Vec<Uuid>>>,
    /// What earlier lines would have written, by name: those of a dry run.
    pub(super) planned: Mutex<HashMap<RowName, PlannedResource>>,
}

/// What a resource is recognised by.
pub(super) type RowName = (Kind, String);

/// When a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// After the earlier rows that it names.
    First,
    /// After all rows, since it names a later one.
    Second,
}

/// What a row was found to be, and what it names, with ids of the tenant.
pub(super) struct ResolvedRow {
    pub(super) kind: Kind,
    pub(super) body: Map<String, Value>,
    pub(super) name: Option<RowName>,
    /// The resource that the tenant has.
    pub(super) found: Option<Uuid>,
    /// The roles that a group grants, if the line says.
    pub(super) roles: Option<WantedRoles>,
    /// Whether the row names a later one. What it names is left out here.
    pub(super) waits: bool,
    /// Whether it is an account of the operator.
    is_local: bool,
}

/// What a line would leave.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedResource {
    pub(super) document: Map<String, Value>,
    /// The ids of the members.
    pub(super) members: BTreeSet<String>,
    /// The roles that a group grants; `None` for those of a new group.
    pub(super) roles: Option<BTreeSet<Role>>,
}

/// What became of a row.
enum RowResult {
    Done(Fate, Option<String>),
    /// The row names a later one. `Some`: it was made without that.
    Waits(Option<Uuid>),
}

/// Imports the rows of a file, and tells `progress` after each how many there were. The outcomes are in the order of the
/// file. With `dry_run` nothing is written, and members that the file makes count as there.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::BeingDeleted`]; [`AdminError::Table`] if a call fails. What is refused is in the outcome instead.
pub async fn import(
    table: &Table,
    id: &TenantId,
    file: &ImportFile,
    dry_run: bool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<ImportedLine>, AdminError> {
    let tenant = tenant::get_lasting(table, id).await?;
    let model = tenant::model(tenant.policy)?;
    let provider = provider(table, &tenant, &model);
    let (ids, found, planned) = (Mutex::default(), Mutex::default(), Mutex::default());
    let root_team = file.root_team.as_deref();
    let import = Import { table, provider, tenant, dry_run, root_team, ids, found, planned };
    let rows = import.without_namesakes(&file.rows);
    *import.ids() = FileIds::of(&rows);
    import.look_up(&rows).await?;
    let mut outcomes: BTreeMap<usize, ImportedLine> = BTreeMap::new();
    let mut note = |outcome: ImportedLine| {
        outcomes.insert(outcome.line, outcome);
        progress(outcomes.len());
    };
    for row in rows.iter() {
        let problem = row.resource.as_ref().err();
        problem.into_iter().for_each(|problem| note(refused_line(row.line, problem.clone())));
    }
    let mut waiting = Vec::new();
    for level in levels(&rows, |kind, body| import.name(kind, body).map(|(_, entry)| entry.value)) {
        let mut writes = import.write(level.into_iter().map(|at| &rows[at]), Pass::First);
        while let Some((row, written)) = writes.next().await {
            match written {
                Ok(RowResult::Waits(made)) => waiting.push((row, made)),
                Ok(RowResult::Done(fate, id)) => note(ImportedLine { line: row.line, fate, id, error: None }),
                Err(Stopped::Refused(problem)) => note(refused_line(row.line, problem)),
                Err(Stopped::Failed(error)) => return Err(error),
            }
        }
    }
    for outcome in import.write_again(waiting, &rows).await? {
        note(outcome);
    }
    Ok(outcomes.into_values().collect())
}

fn provider<'a>(table: &Table, tenant: &TenantRecord, model: &'a Model) -> Provider<'a> {
    Provider {
        store: Store {
            table: table.clone(),
            tenant: tenant.id.clone(),
            actor: ACTOR.to_owned(),
            request_id: Uuid::now_v7().to_string(),
        },
        model,
        base_url: String::new(),
        bound_user: None,
        retention_days: tenant.settings.retention_days,
        max_scan_time: MAX_SCAN_TIME,
        breaker: None,
        root_team_protected: false,
        converts_local_accounts: false,
        cursor_keys: CursorKeys::default(),
        recent_checkpoints: RecentCheckpoints::default(),
        known_groups: KnownGroups::default(),
        // The operator's own file: it may take what it needs.
        work: WorkBudget::new(u64::MAX, ErrorKind::PayloadTooLarge),
    }
}

fn refused_line(line: usize, problem: String) -> ImportedLine {
    ImportedLine { line, fate: Fate::Refused, id: None, error: Some(problem) }
}

/// Why a line was not imported: it is wrong, or the table does not answer.
pub(super) enum Stopped {
    Refused(String),
    Failed(AdminError),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        match failure.error.kind.wire().0 {
            400..=499 => Self::Refused(failure.error.detail),
            _ => Self::Failed(AdminError::Input(failure.source.unwrap_or(failure.error.detail))),
        }
    }
}

impl From<AdminError> for Stopped {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Input(problem) => Self::Refused(problem),
            error => Self::Failed(error),
        }
    }
}

impl Import<'_> {
    /// Writes rows side by side. The results come as they are ready.
    fn write<'r>(
        &'r self,
        rows: impl Iterator<Item = &'r Row> + Send + 'r,
        pass: Pass,
    ) -> impl Stream<Item = (&'r Row, Result<RowResult, Stopped>)> + Unpin {
        let read = rows.filter_map(|row| Some((row, row.resource.as_ref().ok()?)));
        let writes = read.map(move |(row, resource)| async move { (row, self.row(resource, pass).await) });
        Box::pin(stream::iter(writes).buffer_unordered(IMPORTS_AT_ONCE))
    }

    /// Writes the rows that name later ones. The id is that of a resource that was made without these.
    async fn write_again(
        &self,
        waiting: Vec<(&Row, Option<Uuid>)>,
        rows: &[Row],
    ) -> Result<Vec<ImportedLine>, AdminError> {
        let last = self.last_lines(rows);
        let is_replaced = |row: &Row| {
            self.name_of(row).and_then(|name| last.get(&name)).is_some_and(|last| *last > row.line)
        };
        let made: HashMap<usize, Uuid> =
            waiting.iter().filter_map(|(row, id)| Some((row.line, (*id)?))).collect();
        let (replaced, again): (Vec<&Row>, Vec<&Row>) =
            waiting.into_iter().map(|(row, _)| row).partition(|row| is_replaced(row));
        // A later row of the same name counts, and is written.
        let replaced = replaced.into_iter().map(|row| (row, Ok(RowResult::Done(Fate::Unchanged, None))));
        let mut results = stream::iter(replaced).chain(self.write(again.into_iter(), Pass::Second));
        let mut outcomes = Vec::new();
        while let Some((row, result)) = results.next().await {
            let id = made.get(&row.line).map(Uuid::to_string);
            outcomes.push(match result {
                Ok(RowResult::Done(_, _)) if id.is_some() => {
                    ImportedLine { line: row.line, fate: Fate::Created, id, error: None }
                }
                Ok(RowResult::Done(fate, id)) => ImportedLine { line: row.line, fate, id, error: None },
                // Not in this pass.
                Ok(RowResult::Waits(_)) => continue,
                Err(Stopped::Refused(problem)) => ImportedLine { id, ..refused_line(row.line, problem) },
                Err(Stopped::Failed(error)) => return Err(error),
            });
        }
        Ok(outcomes)
    }

    pub(super) fn ids(&self) -> MutexGuard<'_, FileIds> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn found(&self) -> MutexGuard<'_, HashMap<RowName, Vec<Uuid>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which id of the tenant an id of the file is.
    pub(super) fn note_id(&self, old: Option<&str>, id: &str) {
        if let Some(old) = old {
            self.ids().note(old, id);
        }
    }

    async fn row(&self, resource: &RowResource, pass: Pass) -> Result<RowResult, Stopped> {
        let old = resource.1.get("id").and_then(Value::as_str);
        let row = self.resolve(resource, pass == Pass::First)?;
        self.check_teams(&row).await?;
        if self.dry_run {
            let found = row.found.map(|id| id.to_string());
            let fate = self.plan_row(&row).await?;
            // Later lines may refer to it, since it will exist.
            self.note_id(old, found.as_deref().or(old).unwrap_or_default());
            return Ok(RowResult::Done(fate, found));
        }
        if let (true, Some(id)) = (row.waits, row.found) {
            self.note_id(old, &id.to_string());
            return Ok(RowResult::Waits(None));
        }
        let ResolvedRow { kind, name, found, roles, waits, .. } = &row;
        let (fate, id) = match found {
            Some(id) => (self.change(*kind, *id, row.body.clone()).await?, *id),
            None => (Fate::Created, self.create(&row).await?),
        };
        self.note_id(old, &id.to_string());
        if let Some(name) = name.clone().filter(|_| fate == Fate::Created) {
            self.found().entry(name).or_default().push(id);
        }
        let is_granted = match roles {
            Some(roles) => self.assign(id, roles).await?,
            None => false,
        };
        Ok(match (waits, fate) {
            (true, _) => RowResult::Waits(Some(id)),
            (false, Fate::Unchanged) if is_granted => RowResult::Done(Fate::Updated, Some(id.to_string())),
            (false, fate) => RowResult::Done(fate, Some(id.to_string())),
        })
    }

    /// Finds what a row is in the tenant, and takes the ids of the tenant for those of the file. What is not there yet
    /// is left out if a second pass follows, where it is not a dry run.
    fn resolve(&self, (kind, body): &RowResource, is_first: bool) -> Result<ResolvedRow, Stopped> {
        let (kind, mut body) = (*kind, body.clone());
        let old = body.shift_remove("id");
        let old = old.as_ref().and_then(Value::as_str);
        body.shift_remove("meta");
        let own = match kind {
            Kind::User => urn::ROLLCALL_USER,
            Kind::Group => urn::ROLLCALL_GROUP,
        };
        let ours = body.shift_remove(own).unwrap_or_default();
        if let Some(schemas) = body.get_mut("schemas").and_then(Value::as_array_mut) {
            schemas.retain(|schema| schema != own);
        }
        let mut roles = match kind {
            Kind::User => None,
            Kind::Group => WantedRoles::read(&ours, old).map_err(Stopped::Refused)?,
        };
        let ids = self.ids();
        let leaves_out = is_first && !self.dry_run;
        let waits =
            ids.take_into(&mut body, leaves_out) | roles.as_mut().is_some_and(|r| r.take(&ids, leaves_out));
        drop(ids);
        let name = self.name(kind, &body).map(|(_, entry)| (kind, entry.value));
        let found = self.find(old, name.as_ref(), &body)?;
        let is_local = ours["account"] == "local";
        Ok(ResolvedRow { kind, body, name, found, roles, waits: waits && leaves_out, is_local })
    }

    async fn create(&self, row: &ResolvedRow) -> Result<Uuid, Stopped> {
        if row.is_local {
            return Ok(user::create(self.table, &self.tenant.id, &Value::Object(row.body.clone())).await?.id);
        }
        let made = self.provider.changing().create(row.kind, &row.body, &Projection::default()).await?;
        let id = made.location.rsplit('/').next().and_then(parse_id);
        id.ok_or_else(|| Stopped::Refused("it was made without an id".to_owned()))
    }

    async fn change(&self, kind: Kind, id: Uuid, mut body: Map<String, Value>) -> Result<Fate, Stopped> {
        let before = self.provider.store.fetch(kind, id).await.map_err(Failure::from)?;
        let (all, none) = (Projection::default(), Preconditions::default());
        let request = ResourceRequest { kind, id, projection: &all, preconditions: &none };
        let changed = if self.tenant.root_team == Some(id) {
            // The root team keeps its own administrators: others only come.
            let members = body.shift_remove("members").unwrap_or_else(|| json!([]));
            let add = json!({
                "schemas": [urn::PATCH_OP],
                "Operations": [{ "op": "add", "path": "members", "value": members }],
            });
            let add = add.as_object().cloned().unwrap_or_default();
            self.provider.changing().modify(&request, &add).await?
        } else {
            self.provider.changing().replace(&request, &body).await?
        };
        let is_unchanged = before.is_some_and(|before| before.version == changed.version);
        Ok(if is_unchanged { Fate::Unchanged } else { Fate::Updated })
    }

    /// Lets a group grant the roles of the file, and no others. The root team keeps its own, too. Returns whether that
    /// changed anything.
    async fn assign(&self, group: Uuid, wanted: &WantedRoles) -> Result<bool, Stopped> {
        let is_root = self.tenant.root_team == Some(group);
        let wanted = wanted.of(group);
        let target = AssignmentTarget {
            group,
            ty: self.provider.ty(Kind::Group),
            root_team: self.tenant.root_team,
            preconditions: &Preconditions::default(),
            wait: APPLY_TIMEOUT,
        };
        let is_changed = AtomicBool::new(false);
        let change = |roles: &BTreeSet<Role>| {
            let after = if is_root { roles | &wanted } else { wanted.clone() };
            is_changed.store(*roles != after, Ordering::Relaxed);
            after
        };
        change_assignments(&self.provider.store, &target, change).await?;
        Ok(is_changed.into_inner())
    }

    /// Refuses roles in teams that do not exist, before anything is written.
    async fn check_teams(&self, row: &ResolvedRow) -> Result<(), Stopped> {
        let Some(roles) = &row.roles else { return Ok(()) };
        let unknown = {
            let ids = self.ids();
            let is_known = |team: &str| ids.is_in_tenant(team) || self.dry_run && ids.is_later(team);
            let unknown = roles.others.iter().filter(|role| !is_known(&role.team.to_string()));
            unknown.cloned().collect()
        };
        let store = &self.provider.store;
        match missing_team(store, &unknown, None).await.map_err(Failure::from)? {
            Some(team) => Err(Stopped::Refused(format!("there is no team {team}"))),
            None => Ok(()),
        }
    }
}
