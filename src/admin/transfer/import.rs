//! Reading users and groups in, through the same operations that clients use: every rule holds, and
//! every change has its event. A user is the one of the same `userName`, a group that of the same
//! `displayName`; so an import that was interrupted is simply run again. The root team of an export is that of the tenant,
//! also if the two have different names.
//!
//! Rows are written side by side, each after the earlier ones that it names. A row may name a later one as well: a
//! manager, a member, the team of a role. If the row is new, it is made without what does not exist yet, and written
//! again after all others. If it exists, it is only written then.
//!
//! Rows that keep meeting other changes, such as those about administrators, are written once more, one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::file_ids::FileIds;
use super::levels::levels;
use super::rows::{ImportFile, Row, RowResource};
use super::wanted_roles::WantedRoles;
use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::tenant;
use crate::auth::tenant::TenantRecord;
use crate::limits::{IMPORTS_AT_ONCE, MAX_SCAN_TIME};
use crate::provider::Provider;
use crate::provider::failure::{Failure, too_many_conflicts};
use crate::scim::error::ErrorKind;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::urn;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::keys::TenantId;
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
    pub(super) is_local: bool,
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
                Err(Stopped::Refused(problem) | Stopped::Busy(problem)) => {
                    note(&mut outcomes, refused_line(row.line, problem))
                }
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

/// What became of a row that was written again. `made` says what the first pass did.
fn outcome(
    row: &Row,
    result: Result<RowResult, Stopped>,
    made: Option<&MadeRow>,
) -> Result<ImportedLine, AdminError> {
    let made = match made {
        Some(MadeRow::Made(id)) => Some(id.clone()),
        _ => None,
    };
    match (result, made) {
        (Ok(RowResult::Done(..)), Some(id)) => Ok(done_line(row.line, Fate::Created, id)),
        (Ok(RowResult::Done(fate, id)), None) => Ok(done_line(row.line, fate, id)),
        (Ok(RowResult::Waits(_)), made) => {
            let problem = too_many_conflicts().detail;
            Ok(ImportedLine { id: made.flatten(), ..refused_line(row.line, problem) })
        }
        (Err(Stopped::Refused(problem) | Stopped::Busy(problem)), made) => {
            Ok(ImportedLine { id: made.flatten(), ..refused_line(row.line, problem) })
        }
        (Err(Stopped::Failed(error)), _) => Err(error),
    }
}

/// Why a line was not imported: it is wrong, or the table does not answer.
pub(super) enum Stopped {
    Refused(String),
    /// Changes of other rows kept coming in between.
    Busy(String),
    Failed(AdminError),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        match failure.error.kind.wire().0 {
            409 if failure.error.kind == ErrorKind::Conflict => Self::Busy(failure.error.detail),
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
            let result = match self.row(resource, pass).await {
                Err(Stopped::Busy(_)) if pass == Pass::First => Ok(RowResult::Waits(MadeRow::Not)),
                result => result,
            };
            if let (Err(Stopped::Refused(_) | Stopped::Busy(_)), Some(id)) =
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
        let mut made: HashMap<usize, MadeRow> =
            waiting.iter().map(|(row, made)| (row.line, made.clone())).collect();
        let is_replaced = |row: &&Row| {
            self.name_of(row).and_then(|name| last.get(&name)).is_some_and(|last| *last > row.line)
        };
        let (replaced, again): (Vec<&Row>, Vec<&Row>) =
            waiting.into_iter().map(|(row, _)| row).partition(is_replaced);
        // A later row of the same name counts, and is written.
        let replaced = replaced.into_iter().map(|row| (row, Ok(RowResult::Done(Fate::Unchanged, None))));
        let mut results = stream::iter(replaced).chain(self.write(again.into_iter(), Pass::Second));
        let (mut outcomes, mut busy) = (Vec::new(), Vec::new());
        while let Some((row, result)) = results.next().await {
            match result {
                Err(Stopped::Busy(_)) => busy.push(row),
                Ok(RowResult::Waits(now)) => {
                    made.insert(row.line, now);
                    busy.push(row);
                }
                result => outcomes.push(outcome(row, result, made.get(&row.line))?),
            }
        }
        // One after another: they would keep coming in between each other.
        for row in busy {
            let mut results = self.write(iter::once(row), Pass::Second);
            while let Some((row, result)) = results.next().await {
                outcomes.push(outcome(row, result, made.get(&row.line))?);
            }
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
    pub(super) fn note_id(&self, old: Option<&str>, id: Uuid, kind: Kind) {
        if let Some(old) = old {
            self.ids().note(old, &id.to_string(), kind);
        }
    }

    async fn row(&self, resource: &RowResource, pass: Pass) -> Result<RowResult, Stopped> {
        let old = resource.1.get("id").and_then(Value::as_str);
        let row = self.resolve(resource, pass == Pass::First)?;
        self.check_teams(&row).await?;
        if row.waits && (row.found.is_some() || self.is_planned(row.name.as_ref())) {
            row.found.into_iter().for_each(|id| self.note_id(old, id, row.kind));
            return Ok(RowResult::Waits(MadeRow::Not));
        }
        let (fate, id, is_whole) = match self.dry_run {
            true => (self.plan_row(&row).await?, row.found, true),
            false => self.write_row(&row).await.map(|(fate, id, is_whole)| (fate, Some(id), is_whole))?,
        };
        // What a dry run would make gets an id that later lines may name.
        self.note_id(old, id.unwrap_or_else(Uuid::now_v7), row.kind);
        let id = id.map(|id| id.to_string());
        Ok(match row.waits || !is_whole {
            true => RowResult::Waits(MadeRow::Made(id)),
            false => RowResult::Done(fate, id),
        })
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
}
