//! Reading users and groups in, through the same operations that clients use: every rule holds, and
//! every change has its event. A user is the one of the same `userName`, a group that of the same
//! `displayName`; so an import that was interrupted is simply run again. The root team of an export is that of the tenant,
//! also if the two have different names.
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
    /// Taken by a row that changes who administers the tenant: such rows would keep coming in between each other.
    administrators: tokio::sync::Mutex<()>,
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

/// Whether a row that names a later one was made without that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MadeRow {
    /// It exists, and is written in the second pass.
    Not,
    /// It was made, with this id; without one in a dry run.
    Made(Option<String>),
}

/// What became of a row.
enum RowResult {
    Done(Fate, Option<String>),
    /// The row names a later one.
    Waits(MadeRow),
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
    let import = Import {
        table,
        provider,
        tenant,
        dry_run,
        root_team: file.root_team.as_deref(),
        ids: Mutex::default(),
        found: Mutex::default(),
        planned: Mutex::default(),
        administrators: tokio::sync::Mutex::default(),
    };
    let rows = import.without_namesakes(&file.rows);
    *import.ids() = FileIds::of(&rows);
    import.look_up(&rows).await?;
    let mut outcomes: BTreeMap<usize, ImportedLine> = BTreeMap::new();
    let note = |outcomes: &mut BTreeMap<usize, ImportedLine>, outcome: ImportedLine| {
        outcomes.insert(outcome.line, outcome);
        progress(outcomes.len());
    };
    for row in rows.iter() {
        let problem = row.resource.as_ref().err();
        problem.into_iter().for_each(|problem| note(&mut outcomes, refused_line(row.line, problem.clone())));
    }
    let mut waiting = Vec::new();
    for level in levels(&rows, |kind, body| import.name(kind, body).map(|(_, entry)| entry.value)) {
        let mut results = import.write(level.into_iter().map(|at| &rows[at]), Pass::First);
        while let Some((row, result)) = results.next().await {
            match result {
                Ok(RowResult::Waits(made)) => waiting.push((row, made)),
                Ok(RowResult::Done(fate, id)) => note(&mut outcomes, done_line(row.line, fate, id)),
                Err(Stopped::Refused(problem)) => note(&mut outcomes, refused_line(row.line, problem)),
                Err(Stopped::Failed(error)) => return Err(error),
            }
        }
    }
    let is_refused =
        |row: &&Row| outcomes.get(&row.line).is_some_and(|outcome| outcome.fate == Fate::Refused);
    let last = import.last_lines(rows.iter().filter(|row| !is_refused(row)));
    for outcome in import.write_again(waiting, &last).await? {
        note(&mut outcomes, outcome);
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

fn done_line(line: usize, fate: Fate, id: Option<String>) -> ImportedLine {
    ImportedLine { line, fate, id, error: None }
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
        let writes = read.map(move |(row, resource)| async move {
            let result = self.row(resource, pass).await;
            if let (Err(Stopped::Refused(_)), Some(id)) =
                (&result, resource.1.get("id").and_then(Value::as_str))
            {
                self.ids().forget(id);
            }
            (row, result)
        });
        Box::pin(stream::iter(writes).buffer_unordered(IMPORTS_AT_ONCE))
    }

    /// Writes the rows that name later ones. `last` is the last line of each name.
    async fn write_again(
        &self,
        waiting: Vec<(&Row, MadeRow)>,
        last: &HashMap<RowName, usize>,
    ) -> Result<Vec<ImportedLine>, AdminError> {
        let made: HashMap<usize, MadeRow> =
            waiting.iter().map(|(row, made)| (row.line, made.clone())).collect();
        let is_replaced = |row: &&Row| {
            self.name_of(row).and_then(|name| last.get(&name)).is_some_and(|last| *last > row.line)
        };
        let (replaced, again): (Vec<&Row>, Vec<&Row>) =
            waiting.into_iter().map(|(row, _)| row).partition(is_replaced);
        // A later row of the same name counts, and is written.
        let replaced = replaced.into_iter().map(|row| (row, Ok(RowResult::Done(Fate::Unchanged, None))));
        let mut results = stream::iter(replaced).chain(self.write(again.into_iter(), Pass::Second));
        let mut outcomes = Vec::new();
        while let Some((row, result)) = results.next().await {
            outcomes.push(match (result, made.get(&row.line)) {
                (Ok(_), Some(MadeRow::Made(id))) => done_line(row.line, Fate::Created, id.clone()),
                (Ok(RowResult::Done(fate, id)), _) => done_line(row.line, fate, id),
                // Not in this pass.
                (Ok(RowResult::Waits(_)), _) => continue,
                (Err(Stopped::Refused(problem)), Some(MadeRow::Made(id))) => {
                    ImportedLine { id: id.clone(), ..refused_line(row.line, problem) }
                }
                (Err(Stopped::Refused(problem)), _) => refused_line(row.line, problem),
                (Err(Stopped::Failed(error)), _) => return Err(error),
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
    pub(super) fn note_id(&self, old: Option<&str>, id: Uuid) {
        if let Some(old) = old {
            self.ids().note(old, &id.to_string());
        }
    }

    async fn row(&self, resource: &RowResource, pass: Pass) -> Result<RowResult, Stopped> {
        let old = resource.1.get("id").and_then(Value::as_str);
        let row = self.resolve(resource, pass == Pass::First)?;
        self.check_teams(&row).await?;
        if row.waits && (row.found.is_some() || self.is_planned(row.name.as_ref())) {
            row.found.into_iter().for_each(|id| self.note_id(old, id));
            return Ok(RowResult::Waits(MadeRow::Not));
        }
        let (fate, id) = match self.dry_run {
            true => (self.plan_row(&row).await?, row.found),
            false => self.write_row(&row).await.map(|(fate, id)| (fate, Some(id)))?,
        };
        // What a dry run would make gets an id that later lines may name.
        self.note_id(old, id.unwrap_or_else(Uuid::now_v7));
        let id = id.map(|id| id.to_string());
        Ok(if row.waits { RowResult::Waits(MadeRow::Made(id)) } else { RowResult::Done(fate, id) })
    }

    async fn write_row(&self, row: &ResolvedRow) -> Result<(Fate, Uuid), Stopped> {
        let root = self.tenant.root_team;
        let names_root = |roles: &WantedRoles| roles.others.iter().any(|role| Some(role.team) == root);
        let _turn =
            match row.roles.as_ref().is_some_and(names_root) || row.found.is_some() && row.found == root {
                true => Some(self.administrators.lock().await),
                false => None,
            };
        let Some(id) = row.found else {
            let id = self.create(row).await?;
            if let Some(name) = row.name.clone() {
                self.found().entry(name).or_default().push(id);
            }
            if let Some(roles) = &row.roles {
                self.assign(id, roles).await?;
            }
            return Ok((Fate::Created, id));
        };
        let before = self.provider.store.fetch(row.kind, id).await.map_err(Failure::from)?;
        let (wanted, members) = self.check_row(row, before.as_ref()).map_err(Failure::from)?;
        self.check_members(&members).await?;
        if row.kind == Kind::User
            && before.as_ref().is_some_and(|before| before.doc == keep_active(wanted, Some(&before.doc)))
        {
            return Ok((Fate::Unchanged, id));
        }
        // First what the rule of the last administrator may refuse: then nothing of the line is written.
        let is_granted = match &row.roles {
            Some(roles)
                if before.as_ref().is_none_or(|before| {
                    self.roles_after(roles, id, &before.assignments()) != before.assignments()
                }) =>
            {
                self.assign(id, roles).await?
            }
            _ => false,
        };
        let version = self.change(row.kind, id, row.body.clone()).await?;
        let is_unchanged = !is_granted && before.is_some_and(|before| before.version == version);
        Ok((if is_unchanged { Fate::Unchanged } else { Fate::Updated }, id))
    }

    /// Finds what a row is in the tenant, and takes the ids of the tenant for those of the file. With `leaves_out`, what is
    /// made further down in the file is left out.
    fn resolve(&self, (kind, body): &RowResource, leaves_out: bool) -> Result<ResolvedRow, Stopped> {
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
        let ids = self.ids();
        let roles = match kind {
            Kind::User => None,
            Kind::Group => WantedRoles::read(&ours, old, &ids, leaves_out).map_err(Stopped::Refused)?,
        };
        let waits = ids.take_into(&mut body, leaves_out) || roles.as_ref().is_some_and(|roles| roles.waits);
        drop(ids);
        let name = self.name(kind, &body).map(|(_, entry)| (kind, entry.value));
        let found = self.find(old, name.as_ref(), &body)?;
        let is_local = ours["account"] == "local";
        Ok(ResolvedRow { kind, body, name, found, roles, waits, is_local })
    }

    async fn create(&self, row: &ResolvedRow) -> Result<Uuid, Stopped> {
        if row.is_local {
            return Ok(user::create(self.table, &self.tenant.id, &Value::Object(row.body.clone())).await?.id);
        }
        let made = self.provider.changing().create(row.kind, &row.body, &Projection::default()).await?;
        let id = made.location.rsplit('/').next().and_then(parse_id);
        id.ok_or_else(|| Stopped::Refused("it was made without an id".to_owned()))
    }

    /// Replaces a resource, or lets the members of the root team come. Returns the version.
    async fn change(&self, kind: Kind, id: Uuid, mut body: Map<String, Value>) -> Result<u64, Stopped> {
        let (all, none) = (Projection::default(), Preconditions::default());
        let request = ResourceRequest { kind, id, projection: &all, preconditions: &none };
        if self.tenant.root_team != Some(id) {
            return Ok(self.provider.changing().replace(&request, &body).await?.version);
        }
        // The root team keeps its own administrators: others only come.
        let members = body.shift_remove("members").unwrap_or_else(|| json!([]));
        let add = json!({
            "schemas": [urn::PATCH_OP],
            "Operations": [{ "op": "add", "path": "members", "value": members }],
        });
        let add = add.as_object().cloned().unwrap_or_default();
        Ok(self.provider.changing().modify(&request, &add).await?.version)
    }

    /// The roles that a group grants after an import: those of the file, and no others. The root team keeps its own, too.
    pub(super) fn roles_after(
        &self,
        wanted: &WantedRoles,
        group: Uuid,
        before: &BTreeSet<Role>,
    ) -> BTreeSet<Role> {
        let after = wanted.after(group, before);
        if self.tenant.root_team == Some(group) { before | &after } else { after }
    }

    /// Lets a group grant the roles of the file. Returns whether that changed anything.
    async fn assign(&self, group: Uuid, wanted: &WantedRoles) -> Result<bool, Stopped> {
        let target = AssignmentTarget {
            group,
            ty: self.provider.ty(Kind::Group),
            root_team: self.tenant.root_team,
            preconditions: &Preconditions::default(),
            wait: APPLY_TIMEOUT,
        };
        let is_changed = AtomicBool::new(false);
        let change = |before: &BTreeSet<Role>| {
            let after = self.roles_after(wanted, group, before);
            is_changed.store(*before != after, Ordering::Relaxed);
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
            let unknown = roles.others.iter().filter(|role| !ids.is_in_tenant(&role.team.to_string()));
            unknown.cloned().collect()
        };
        let store = &self.provider.store;
        match missing_team(store, &unknown, None).await.map_err(Failure::from)? {
            Some(team) => Err(Stopped::Refused(format!("there is no team {team}"))),
            None => Ok(()),
        }
    }
}

/// The document of a line that may lack `active`: it keeps the value, as a PUT does.
pub(super) fn keep_active(
    mut wanted: Map<String, Value>,
    before: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    if let (false, Some(active)) =
        (wanted.contains_key("active"), before.and_then(|before| before.get("active")))
    {
        wanted.insert("active".to_owned(), active.clone());
    }
    wanted
}
