//! The file of an import with ids: all lines of an export, read as what the table holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::definitions::{DefinitionLine, definition_lines};
use super::export::LineCounts;
use super::rows::{DEACTIVATED_LINE, DEFINITION_LINE, ERASED_LINE, TENANT_LINE, has_schema, json_object};
use crate::admin::error::AdminError;
use crate::admin::when;
use crate::auth::tenant::{Settings, TenantRecord};
use crate::scim::resource_type::{Kind, Model, ResourceType};
use crate::scim::work::WorkBudget;
use crate::scim::{urn, validate};
use crate::store::admin_guard::{ADMIN, AdminGuard};
use crate::store::index;
use crate::store::keys::parse_id;
use crate::store::membership::Membership;
use crate::store::record::{Account, Record, Role};
use crate::store::tombstone::{ErasedAccount, Tombstone};

/// A group with its members.
#[derive(Clone, Debug)]
pub struct KeptGroup {
    /// The group, with the digest of no members.
    pub record: Record,
    /// Its members.
    pub members: Vec<Membership>,
}

/// A deactivated account.
#[derive(Clone, Debug)]
pub struct KeptAccount {
    /// The account.
    pub tombstone: Tombstone,
    /// Whether its name is kept for it. Another account may have taken the name.
    pub holds_name: bool,
}

/// What a line of the file holds.
#[derive(Clone, Debug)]
pub enum KeptResource {
    /// A user.
    User(Record),
    /// A group.
    Group(KeptGroup),
    /// A deactivated account.
    Deactivated(KeptAccount),
    /// An erased account.
    Erased(ErasedAccount),
}

impl KeptResource {
    /// Its id.
    pub const fn id(&self) -> Uuid {
        match self {
            Self::User(record) => record.id,
            Self::Group(group) => group.record.id,
            Self::Deactivated(kept) => kept.tombstone.record.id,
            Self::Erased(erased) => erased.id,
        }
    }
}

/// A line of the file: its number, and what it holds or why it cannot be read.
#[derive(Clone, Debug)]
pub struct KeptLine {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What it holds.
    pub resource: Result<KeptResource, String>,
}

/// A whole file.
#[derive(Clone, Debug)]
pub struct KeptFile {
    /// The id of the root team.
    pub root_team: Uuid,
    /// What is set for the tenant.
    pub settings: Settings,
    /// Users, groups, and deactivated and erased accounts.
    pub lines: Vec<KeptLine>,
    /// Roles and entitlements.
    pub definitions: Vec<DefinitionLine>,
}

impl KeptFile {
    /// Reads the text of a file for this tenant.
    ///
    /// # Errors
    /// [`AdminError::Input`] if the file is not whole, has an id twice, or is of a tenant with another policy.
    pub fn read(text: &str, tenant: &TenantRecord, model: &Model) -> Result<Self, AdminError> {
        let (mut of_tenant, mut lines, mut ids) = (None, Vec::new(), BTreeSet::new());
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let object = json_object(line);
            if let Ok(object) = object.as_ref()
                && has_schema(object, TENANT_LINE)
            {
                of_tenant = Some(object.clone());
                continue;
            }
            if object.as_ref().is_ok_and(|object| has_schema(object, DEFINITION_LINE)) {
                continue;
            }
            let resource = object.and_then(|object| read_line(object, model));
            if let Some(id) = resource.as_ref().ok().map(KeptResource::id)
                && !ids.insert(id)
            {
                return Err(AdminError::Input(format!("line {}: the file has the id {id} twice", at + 1)));
            }
            lines.push(KeptLine { line: at + 1, resource });
        }
        let whole =
            "the file is not whole: it lacks the line of the tenant, with which `rollcall export` ends";
        let of_tenant = of_tenant.ok_or_else(|| AdminError::Input(whole.to_owned()))?;
        let mut file = read_tenant(&of_tenant, tenant)?;
        file.lines = lines;
        file.definitions = definition_lines(text);
        file.check_counts(&of_tenant)?;
        file.check_grants();
        file.mark_guarded();
        Ok(file)
    }

    /// The groups of the file.
    pub fn groups(&self) -> impl Iterator<Item = &KeptGroup> {
        self.lines.iter().filter_map(|line| match &line.resource {
            Ok(KeptResource::Group(group)) => Some(group),
            _ => None,
        })
    }

    /// The admin guard that the groups and users of the file make.
    pub fn admin_guard(&self) -> AdminGuard {
        let admin = Role { team: self.root_team, role: ADMIN.to_owned() };
        let users = self.lines.iter().filter_map(|line| match &line.resource {
            Ok(KeptResource::User(user)) => Some((user.id, user.is_active())),
            _ => None,
        });
        let users: BTreeMap<Uuid, bool> = users.collect();
        let mut guard = AdminGuard {
            version: 0,
            root: self.root_team,
            granting: BTreeSet::new(),
            admins: BTreeMap::new(),
        };
        for group in self.groups().filter(|group| group.record.assignments().contains(&admin)) {
            guard.granting.insert(group.record.id);
            for member in &group.members {
                if let Some(active) = users.get(&member.id) {
                    guard.join(group.record.id, member.id, *active);
                }
            }
        }
        guard
    }

    /// Checks that the file has as many lines as an export wrote.
    fn check_counts(&self, of_tenant: &Map<String, Value>) -> Result<(), AdminError> {
        let wanted = of_tenant.get("lines").cloned().unwrap_or_default();
        let wanted: LineCounts = serde_json::from_value(wanted)
            .map_err(|error| AdminError::Input(format!("the line of the tenant cannot be read: {error}")))?;
        let wanted = wanted.users + wanted.groups + wanted.deactivated + wanted.erased + wanted.definitions;
        let found = (self.lines.len() + self.definitions.len()) as u64;
        if wanted == found {
            return Ok(());
        }
        Err(AdminError::Input(format!("the file is not whole: it has {found} resources, and had {wanted}")))
    }

    /// Refuses roles that grant the administration of the root team.
    fn check_grants(&mut self) {
        let admin = Role { team: self.root_team, role: ADMIN.to_owned() };
        for line in &mut self.definitions {
            if line.definition.as_ref().is_ok_and(|definition| definition.grants.contains(&admin)) {
                line.definition = Err("no role can grant the administration of the root team".to_owned());
            }
        }
    }

    /// Marks the users and groups that the admin guard names.
    fn mark_guarded(&mut self) {
        let guard = self.admin_guard();
        for line in &mut self.lines {
            match &mut line.resource {
                Ok(KeptResource::User(user)) => user.guarded = guard.admins.contains_key(&user.id),
                Ok(KeptResource::Group(KeptGroup { record, .. })) => {
                    record.guarded = record.id == guard.root || guard.granting.contains(&record.id);
                }
                _ => {}
            }
        }
    }
}

fn read_tenant(line: &Map<String, Value>, tenant: &TenantRecord) -> Result<KeptFile, AdminError> {
    let policy = text_of(line, "policy").map_err(AdminError::Input)?;
    if policy != tenant.policy.name {
        return Err(AdminError::Input(format!(
            "the file is of a tenant with the policy {policy}: make {} with `--policy {policy}`",
            tenant.id
        )));
    }
    let no_root = || AdminError::Input("the tenant of the file has no root team".to_owned());
    let settings = line.get("settings").cloned().unwrap_or_default();
    let settings: Settings = serde_json::from_value(settings)
        .map_err(|error| AdminError::Input(format!("the settings of the tenant cannot be read: {error}")))?;
    let root_team = text_of(line, "rootTeam").ok().and_then(|id| parse_id(&id)).ok_or_else(no_root)?;
    Ok(KeptFile { root_team, settings, lines: Vec::new(), definitions: Vec::new() })
}

fn text_of(line: &Map<String, Value>, name: &str) -> Result<String, String> {
    line.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("the line lacks {name}"))
}

fn number_of(line: &Map<String, Value>, name: &str) -> Result<u64, String> {
    line.get(name).and_then(Value::as_u64).ok_or_else(|| format!("the line lacks {name}"))
}

fn id_of(line: &Map<String, Value>, name: &str) -> Result<Uuid, String> {
    let text = text_of(line, name)?;
    parse_id(&text).ok_or_else(|| format!("{name} must be a lower-case UUID with hyphens"))
}

fn time_of(line: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = text_of(line, name)?;
    when::moment(&text).map(|_| text).ok_or_else(|| format!("{name} is not a time"))
}

fn read_line(line: Map<String, Value>, model: &Model) -> Result<KeptResource, String> {
    let has = |urn: &str| has_schema(&line, urn);
    if has(ERASED_LINE) {
        let (id, version) = (id_of(&line, "id")?, number_of(&line, "version")?);
        return Ok(KeptResource::Erased(ErasedAccount { id, version, purged: time_of(&line, "purged")? }));
    }
    match (has(DEACTIVATED_LINE), has(urn::USER), has(urn::GROUP)) {
        (true, ..) => {
            let kept_until = number_of(&line, "keptUntil")?;
            let holds_name = line.get("holdsName") == Some(&Value::Bool(true));
            let record = read_record(line, Kind::User, model)?;
            let tombstone = Tombstone { record, kept_until, detachment: None };
            Ok(KeptResource::Deactivated(KeptAccount { tombstone, holds_name }))
        }
        (_, true, false) => Ok(KeptResource::User(read_record(line, Kind::User, model)?)),
        (_, false, true) => {
            let members = read_members(&line)?;
            let record = read_record(line, Kind::Group, model)?;
            Ok(KeptResource::Group(KeptGroup { record, members }))
        }
        _ => Err(format!("schemas must name {} or {}", urn::USER, urn::GROUP)),
    }
}

fn read_members(line: &Map<String, Value>) -> Result<Vec<Membership>, String> {
    let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
    for element in line.get("members").and_then(Value::as_array).into_iter().flatten() {
        let element = element.as_object().ok_or("a member must be an object")?;
        let id = id_of(element, "value")?;
        if !seen.insert(id) {
            return Err(format!("the member {id} is named twice"));
        }
        let kind = match text_of(element, "type")?.as_str() {
            "User" => Kind::User,
            "Group" => Kind::Group,
            other => return Err(format!("a member cannot be of the type {other}")),
        };
        members.push(Membership { id, kind, display: text_of(element, "display").ok() });
    }
    Ok(members)
}

/// Reads a user or a group as the table holds it. What the line holds besides what the server writes must be a
/// document of the type; it is kept as it is.
fn read_record(mut line: Map<String, Value>, kind: Kind, model: &Model) -> Result<Record, String> {
    let id = id_of(&line, "id")?;
    let meta =
        line.shift_remove("meta").and_then(|meta| meta.as_object().cloned()).ok_or("the line lacks meta")?;
    let (created, modified) = (time_of(&meta, "created")?, time_of(&meta, "lastModified")?);
    let version = text_of(&meta, "version")?;
    let version = version.strip_prefix("W/\"").and_then(|rest| rest.strip_suffix('"'));
    let version: Option<u64> = version.and_then(|version| version.parse().ok());
    let version = version.filter(|version| *version > 0).ok_or("meta.version must be as W/\"3\"")?;
    let own = match kind {
        Kind::User => line.shift_remove(urn::ROLLCALL_USER),
        Kind::Group => line.shift_remove(urn::ROLLCALL_GROUP),
    };
    let own = own.unwrap_or_default();
    for name in ["schemas", "id", "members", "keptUntil", "holdsName"] {
        line.shift_remove(name);
    }
    check_document(&line, model.of(kind), model)?;
    let mut record = Record { version, modified, ..Record::new(kind, id, line, &created) };
    match kind {
        Kind::User if own["account"] == Account::Local.as_str() => record.account = Account::Local,
        Kind::User => {}
        Kind::Group => {
            let roles = own.get("assignments").cloned().unwrap_or_default();
            let roles: BTreeSet<Role> = serde_json::from_value(roles)
                .map_err(|error| format!("the assignments cannot be read: {error}"))?;
            record.roles = (roles != record.assignments()).then_some(roles);
        }
    }
    Ok(record)
}

/// Checks that the values of a document have their types. The rules for new documents may be stricter than those
/// under which it was written, so they are not asked. Extensions that only the deployment knows are kept unread.
fn check_document(doc: &Map<String, Value>, ty: &ResourceType, model: &Model) -> Result<(), String> {
    let is_known = |name: &str| !name.starts_with("urn:") || ty.extensions.iter().any(|e| e.id == name);
    let mut known: Map<String, Value> = doc.clone();
    known.retain(|name, _| is_known(name));
    known.insert("schemas".to_owned(), json!([ty.schema.id]));
    let work = WorkBudget::of_body();
    let checked = validate::read(&known, ty, model.policy, &work).and_then(|_| index::check(ty, doc, &work));
    checked.map_err(|error| error.detail)
}
