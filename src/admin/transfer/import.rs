//! Reading users and groups in, through the same operations that clients use: every rule holds, and
//! every change has its event. A user is the one of the same `userName`, a group that of the same
//! `displayName`; so an import that was interrupted is simply run again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::file_ids::FileIds;
use super::levels::levels;
use super::rows::Row;
use crate::admin::actor::ACTOR;
use crate::admin::error::AdminError;
use crate::admin::group::{self, Assignment};
use crate::admin::{tenant, user};
use crate::auth::tenant::TenantRecord;
use crate::limits::{IMPORTS_AT_ONCE, MAX_SCAN_TIME};
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::provider::{Provider, ResourceRequest};
use crate::scim::error::ErrorKind;
use crate::scim::projection::Projection;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::validate::read;
use crate::scim::work::WorkBudget;
use crate::scim::{document_rules, members, urn, username};
use crate::store::Store;
use crate::store::call::Table;
use crate::store::claim::NameClaim;
use crate::store::cursor::CursorKeys;
use crate::store::index::{self, Entry, Index};
use crate::store::item::key_of;
use crate::store::keys::{self, Key, TenantId, parse_id};
use crate::store::known_groups::KnownGroups;
use crate::store::list::RecentCheckpoints;
use crate::store::record::{MEMBER, Record};

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
struct Import<'a> {
    table: &'a Table,
    tenant: TenantRecord,
    provider: Provider<'a>,
    dry_run: bool,
    ids: Mutex<FileIds>,
    /// The resources that the tenant has of each name in the file.
    found: Mutex<HashMap<(Kind, String), Vec<Uuid>>>,
    /// What earlier lines would have written, by name: those of a dry run.
    planned: Mutex<HashMap<(Kind, String), PlannedResource>>,
}

/// What a line would write: the document, and the ids of the members.
type PlannedResource = (Map<String, Value>, BTreeSet<String>);

/// Imports rows, and tells `progress` after each how many there were. Rows are written side by side, each after the
/// earlier ones that it names. The outcomes are in the order of the file. With `dry_run` nothing is written, and
/// members that the file makes count as there.
///
/// # Errors
/// [`AdminError::NoTenant`], [`AdminError::BeingDeleted`]; [`AdminError::Table`] if a call fails. What is refused is in the outcome instead.
pub async fn import(
    table: &Table,
    id: &TenantId,
    rows: &[Row],
    dry_run: bool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<ImportedLine>, AdminError> {
    let tenant = tenant::get_lasting(table, id).await?;
    let model = tenant::model(tenant.policy)?;
    let provider = provider(table, &tenant, &model);
    let (ids, found, planned) = (Mutex::default(), Mutex::default(), Mutex::default());
    let import = Import { table, provider, tenant, dry_run, ids, found, planned };
    import.look_up(rows).await?;
    let mut outcomes: Vec<ImportedLine> = Vec::with_capacity(rows.len());
    for row in rows {
        let problem = row.resource.as_ref().err();
        outcomes.extend(problem.map(|problem| refused_line(row.line, problem.clone())));
    }
    // Those whose manager is made further down in the file.
    let mut early = Vec::new();
    for level in levels(rows, |kind, body| import.name(kind, body).map(|(_, entry)| entry.value)) {
        let rows = level.into_iter().map(|at| &rows[at]);
        let writes = rows.filter_map(|row| Some((row, row.resource.as_ref().ok()?)));
        let writes = writes.map(|(row, (kind, body))| {
            let import = &import;
            async move { (row, import.is_early(body), import.row(*kind, body.clone()).await) }
        });
        let mut writes = stream::iter(writes).buffer_unordered(IMPORTS_AT_ONCE);
        while let Some((row, is_early, written)) = writes.next().await {
            early.extend(row.resource.as_ref().ok().filter(|_| is_early));
            outcomes.push(match written {
                Ok((fate, id)) => ImportedLine { line: row.line, fate, id, error: None },
                Err(Stopped::Refused(problem)) => refused_line(row.line, problem),
                Err(Stopped::Failed(error)) => return Err(error),
            });
            progress(outcomes.len());
        }
    }
    import.write_again(early).await?;
    outcomes.sort_by_key(|outcome| outcome.line);
    Ok(outcomes)
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
    /// Finds those of the file that the tenant has already: unique names together, others side by side.
    async fn look_up(&self, rows: &[Row]) -> Result<(), AdminError> {
        let store = &self.provider.store;
        let failed = AdminError::table(self.table.name());
        let resources = || rows.iter().filter_map(|row| row.resource.as_ref().ok());
        let mut found: HashMap<(Kind, String), Vec<Uuid>> = HashMap::new();
        let (mut claims, mut lookups) = (BTreeMap::new(), BTreeMap::new());
        for (kind, body) in resources() {
            match self.name(*kind, body) {
                Some((Index::Claim, entry)) => {
                    let key = keys::claim(&store.tenant, entry.attribute, &entry.value);
                    claims.insert(key, (*kind, entry.value));
                }
                Some((Index::Lookup, entry)) => {
                    lookups.insert((*kind, entry.value.clone()), entry);
                }
                None => {}
            }
        }
        let places: Vec<Key> = claims.keys().cloned().collect();
        for item in self.table.batch_get(&places).await.map_err(&failed)? {
            let holder = NameClaim::from_item(&item).filter(|claim| !claim.gone);
            let name = key_of(&item).and_then(|key| claims.get(&key));
            if let (Some(holder), Some(name)) = (holder, name) {
                found.insert(name.clone(), vec![holder.id]);
            }
        }
        let finds = lookups.into_iter().map(|((kind, value), entry)| async move {
            Ok(((kind, value), store.find(kind, Index::Lookup, &entry).await?))
        });
        let more: Vec<_> =
            stream::iter(finds).buffered(IMPORTS_AT_ONCE).try_collect().await.map_err(&failed)?;
        found.extend(more);
        for (kind, body) in resources() {
            let old = body.get("id").and_then(Value::as_str);
            let name = self.name(*kind, body).map(|(_, entry)| (*kind, entry.value));
            if let (Some(old), Some([one])) = (old, name.and_then(|name| found.get(&name)).map(Vec::as_slice))
            {
                self.note_id(old, *one);
            }
        }
        *self.found() = found;
        Ok(())
    }

    /// Writes rows again whose manager was made after them.
    async fn write_again(&self, early: Vec<&(Kind, Map<String, Value>)>) -> Result<(), AdminError> {
        let writes = early.into_iter().filter(|_| !self.dry_run);
        let writes = writes.map(|(kind, body)| self.row(*kind, body.clone()));
        let mut writes = stream::iter(writes).buffer_unordered(IMPORTS_AT_ONCE);
        while let Some(written) = writes.next().await {
            match written {
                // What is refused now was refused before, and is in the report.
                Ok(_) | Err(Stopped::Refused(_)) => {}
                Err(Stopped::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn ids(&self) -> MutexGuard<'_, FileIds> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<(Kind, String), Vec<Uuid>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which id of the tenant an id of the file is.
    fn note_id(&self, old: &str, id: Uuid) {
        self.ids().note(old, &id.to_string());
    }

    /// Whether a resource names a manager whom the tenant does not have yet.
    fn is_early(&self, body: &Map<String, Value>) -> bool {
        let manager =
            body.get(urn::ENTERPRISE_USER).and_then(|extension| extension["manager"]["value"].as_str());
        manager.is_some_and(|id| self.ids().get(id).is_none())
    }

    async fn row(&self, kind: Kind, mut body: Map<String, Value>) -> Result<(Fate, Option<String>), Stopped> {
        let old = body.shift_remove("id").and_then(|id| id.as_str().map(str::to_owned));
        body.shift_remove("meta");
        let own = match kind {
            Kind::User => urn::ROLLCALL_USER,
            Kind::Group => urn::ROLLCALL_GROUP,
        };
        let ours = body.shift_remove(own).unwrap_or_default();
        if let Some(schemas) = body.get_mut("schemas").and_then(Value::as_array_mut) {
            schemas.retain(|schema| schema != own);
        }
        self.rename(&mut body);
        let name = self.name(kind, &body).map(|(_, entry)| (kind, entry.value));
        let found = self.find(name.as_ref(), &body)?;
        if self.dry_run {
            let fate = self.plan_line((kind, name), &body, found).await?;
            if let Some(old) = old {
                // Later lines may refer to it, since it will exist.
                let id = found.map_or_else(|| old.clone(), |id| id.to_string());
                self.ids().note(&old, &id);
            }
            return Ok((fate, found.map(|id| id.to_string())));
        }
        let (fate, id) = match found {
            Some(id) => self.change(kind, id, body).await?,
            None if kind == Kind::User && ours["account"] == "local" => {
                let made = user::create(self.table, &self.tenant.id, &Value::Object(body)).await?;
                (Fate::Created, made.id)
            }
            None => {
                let made = self.provider.changing().create(kind, &body, &Projection::default()).await?;
                let id = made.location.rsplit('/').next().and_then(parse_id);
                (Fate::Created, id.ok_or_else(|| Stopped::Refused("it was made without an id".to_owned()))?)
            }
        };
        if let Some(old) = old {
            self.note_id(&old, id);
        }
        if let Some(name) = name.filter(|_| fate == Fate::Created) {
            self.found().entry(name).or_default().push(id);
        }
        if kind == Kind::Group {
            self.assign(id, &ours).await?;
        }
        Ok((fate, Some(id.to_string())))
    }

    /// Members and managers of the file are those of the tenant from here on.
    fn rename(&self, body: &mut Map<String, Value>) {
        let ids = self.ids();
        let renamed = |value: &mut Value| {
            if let Some(id) = value.as_str().and_then(|id| ids.get(id)) {
                *value = json!(id);
            }
        };
        if let Some(members) = body.get_mut("members").and_then(Value::as_array_mut) {
            members.iter_mut().filter_map(|member| member.get_mut("value")).for_each(renamed);
        }
        let enterprise = body.get_mut(urn::ENTERPRISE_USER);
        let manager = enterprise.and_then(|extension| extension.get_mut("manager"));
        manager.and_then(|manager| manager.get_mut("value")).into_iter().for_each(renamed);
    }

    /// What a resource of the file is recognised by.
    fn name(&self, kind: Kind, body: &Map<String, Value>) -> Option<(Index, Entry)> {
        index::entry(self.provider.ty(kind), name_path(kind), name_text(kind, body)?)
    }

    /// The resource of the same name that the tenant has.
    fn find(
        &self,
        name: Option<&(Kind, String)>,
        body: &Map<String, Value>,
    ) -> Result<Option<Uuid>, Stopped> {
        let Some(name) = name else { return Ok(None) };
        match self.found().get(name).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => {
                let text = name_text(name.0, body).unwrap_or_default();
                Err(Stopped::Refused(format!("several groups are called {text}")))
            }
        }
    }

    async fn change(
        &self,
        kind: Kind,
        id: Uuid,
        mut body: Map<String, Value>,
    ) -> Result<(Fate, Uuid), Stopped> {
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
        } else if self.is_same(before.as_ref(), &body)? {
            return Ok((Fate::Unchanged, id));
        } else {
            self.provider.changing().replace(&request, &body).await?
        };
        let is_unchanged = before.is_some_and(|before| before.version == changed.version);
        Ok((if is_unchanged { Fate::Unchanged } else { Fate::Updated }, id))
    }

    /// Whether a user is as the line says: a PUT of the same would convert a local account.
    fn is_same(&self, found: Option<&Record>, body: &Map<String, Value>) -> Result<bool, Stopped> {
        let Some(found) = found.filter(|found| found.kind == Kind::User) else { return Ok(false) };
        let mut wanted = read(body, self.provider.ty(found.kind), self.tenant.policy, &self.provider.work)
            .map_err(Failure::from)?;
        // A line without `active` keeps it, as a PUT does.
        if let (false, Some(active)) = (wanted.contains_key("active"), found.doc.get("active")) {
            wanted.insert("active".to_owned(), active.clone());
        }
        Ok(found.doc == wanted)
    }

    /// What would become of a line of this name.
    async fn plan_line(
        &self,
        (kind, name): (Kind, Option<(Kind, String)>),
        body: &Map<String, Value>,
        found: Option<Uuid>,
    ) -> Result<Fate, Stopped> {
        let (ty, policy) = (self.provider.ty(kind), self.tenant.policy);
        let before = match found.filter(|_| kind == Kind::User) {
            Some(id) => self.provider.store.fetch(kind, id).await.map_err(Failure::from)?,
            None => None,
        };
        let check = || {
            let mut doc = read(body, ty, policy, &self.provider.work)?;
            document_rules::check_required(&doc, ty)?;
            index::check(ty, &doc, &self.provider.work)?;
            match kind {
                Kind::User => {
                    document_rules::check_username_and_email(&doc, policy)?;
                    username::check_change(before.as_ref().map(|before| &before.doc), &doc)?;
                    Ok((doc, Vec::new()))
                }
                Kind::Group => members::take(&mut doc, policy).map(|members| (doc, members)),
            }
        };
        let (doc, wanted) = check().map_err(Failure::from)?;
        let unknown: Vec<(Uuid, Kind)> = {
            let ids = self.ids();
            let unknown = wanted.iter().filter(|member| !ids.is_in_tenant(&member.id));
            unknown.filter_map(|member| Some((parse_id(&member.id)?, member.taken_for()))).collect()
        };
        let existing = self.provider.store.members().identify(&unknown).await.map_err(Failure::from)?;
        if let Some((missing, _)) = unknown.iter().find(|(id, _)| !existing.contains_key(id)) {
            return Err(Stopped::Refused(format!("there is no member {missing}")));
        }
        let members = wanted.into_iter().map(|member| member.id).collect();
        let fate = match (self.plan(name, (doc, members), before.as_ref()), found) {
            (Some(is_same), _) => {
                if is_same {
                    Fate::Unchanged
                } else {
                    Fate::Updated
                }
            }
            (None, None) => Fate::Created,
            (None, Some(_)) if self.is_same(before.as_ref(), body)? => Fate::Unchanged,
            (None, Some(_)) => Fate::Updated,
        };
        Ok(fate)
    }

    /// Notes what a line would write. Says whether an earlier line of the name would have written the same. `None` if
    /// there is no such line. `stored` is the user who has the name.
    fn plan(
        &self,
        name: Option<(Kind, String)>,
        (mut doc, members): PlannedResource,
        stored: Option<&Record>,
    ) -> Option<bool> {
        let name = name?;
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let before = planned.get(&name);
        if name.0 == Kind::User {
            // A line without `active` keeps it.
            let kept = before.map(|(doc, _)| doc).or(stored.map(|stored| &stored.doc));
            let kept = kept.and_then(|doc| doc.get("active")).cloned();
            doc.entry("active").or_insert(kept.unwrap_or(Value::Bool(true)));
        }
        let after = (doc, members);
        let is_same = before.map(|before| *before == after);
        planned.insert(name, after);
        is_same
    }

    /// The roles that the operator assigned, beside that of a member in the group itself.
    async fn assign(&self, group: Uuid, ours: &Value) -> Result<(), Stopped> {
        let Some(wanted) = ours["assignments"].as_array() else { return Ok(()) };
        for role in wanted {
            let (Some(team), Some(role)) = (role["team"].as_str(), role["role"].as_str()) else { continue };
            let known = self.ids().get(team).map(str::to_owned);
            let team = known.as_deref().unwrap_or(team);
            if team == group.to_string() && role == MEMBER {
                continue;
            }
            let assignment = Assignment {
                tenant: self.tenant.id.clone(),
                group,
                team: Some(team.to_owned()),
                role: role.to_owned(),
            };
            group::assign(self.table, &assignment, true).await?;
        }
        Ok(())
    }
}

/// The attribute by which a resource of the file is recognised.
const fn name_path(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "userName",
        Kind::Group => "displayName",
    }
}

fn name_text(kind: Kind, body: &Map<String, Value>) -> Option<&str> {
    let path = name_path(kind);
    body.iter().find(|(key, _)| key.eq_ignore_ascii_case(path)).and_then(|(_, value)| value.as_str())
}
