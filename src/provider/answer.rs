//! A resource as it is answered: the stored document and what the server knows besides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::projection::Projection;
use crate::scim::resource::{Meta, assemble, etag, location};
use crate::scim::resource_type::{Kind, Model, ResourceType};
use crate::scim::urn;
use crate::scim::work::WorkBudget;
use crate::store::Store;
use crate::store::cursor::CursorKeys;
use crate::store::deactivations::DeactivationLimit;
use crate::store::membership::Membership;
use crate::store::record::{Record, Role};
use crate::store::resource::Team;

/// So many members are made JSON at once.
const MEMBERS_WRITTEN_AT_ONCE: usize = 5_000;

/// More members than that fit no answer, packed or not.
const MEMBERS_ANSWERABLE: u64 = 200_000;

/// Refuses to answer, or to look through, more members than fit an answer, before they are made
/// one.
///
/// # Errors
/// `tooMany`, which says what to leave out.
pub fn check_answerable(members: u64) -> Result<(), ScimError> {
    if members <= MEMBERS_ANSWERABLE {
        return Ok(());
    }
    Err(ScimError::too_many(format!(
        "The groups asked for have {members} members; {MEMBERS_ANSWERABLE} are the most that are answered together. Ask for fewer groups, or send excludedAttributes=members and ask for single members with a filter: id eq \"…\" and members eq \"…\"."
    )))
}

/// Everything that an operation works with: whose resources, under which rules, where they stand.
#[derive(Debug)]
pub struct Provider<'a> {
    /// The table as this request sees it.
    pub store: Store,
    /// The resource types under the tenant's policy.
    pub model: &'a Model,
    /// The SCIM base URL, without a slash at its end.
    pub base_url: String,
    /// The user that the key is bound to, for `/Me`.
    pub bound_user: Option<Uuid>,
    /// How many days a deactivated account is kept.
    pub retention_days: u32,
    /// How long a query may read resources before it is refused with `tooMany`.
    pub max_scan_time: Duration,
    /// How many users may be deactivated within an hour, if the tenant limits it.
    pub breaker: Option<DeactivationLimit>,
    /// Whether no request through this provider changes who administers the root team, or the
    /// break-glass account.
    pub root_team_protected: bool,
    /// What the core may still compute for this request.
    pub work: WorkBudget,
    /// The keys that sign cursors, as far as this process knows them.
    pub cursor_keys: CursorKeys,
}

/// A resource on its way out.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it is.
    pub location: String,
    /// Its version.
    pub version: u64,
    /// The body as JSON; `None` where the operation answers none (204).
    pub body: Option<String>,
}

impl Answer {
    /// The entity tag.
    pub fn etag(&self) -> String {
        etag(self.version)
    }
}

/// What a resource shows that is not in its own item.
#[derive(Debug, Default)]
pub struct Relations<'a> {
    /// The groups that users are in, by id; `None` where they were not read.
    pub teams: Option<&'a BTreeMap<Uuid, Team>>,
    /// A group's members; `None` where they were not read.
    pub members: Option<&'a [Membership]>,
}

impl Provider<'_> {
    /// The resource type of a kind.
    pub fn ty(&self, kind: Kind) -> &ResourceType {
        self.model.of(kind)
    }

    /// The whole resource, before projection.
    pub fn whole(&self, record: &Record, relations: &Relations<'_>) -> Map<String, Value> {
        let id = record.id.to_string();
        let meta = Meta {
            kind: record.kind,
            created: record.created.clone(),
            last_modified: record.modified.clone(),
            location: location(&self.base_url, record.kind, &id),
            version: record.version,
        };
        let extra = match record.kind {
            Kind::User => {
                let mut own = json!({ "account": record.account.as_str() });
                let roles = effective_roles(record, relations.teams);
                if !roles.is_empty() {
                    own["roles"] = roles_as_json(&roles);
                }
                vec![
                    ("groups".to_owned(), self.groups(record, relations.teams)),
                    (urn::ROLLCALL_USER.to_owned(), own),
                ]
            }
            Kind::Group => {
                let mut extra =
                    vec![("members".to_owned(), self.members(relations.members.unwrap_or_default()))];
                let roles = record.assignments();
                if !roles.is_empty() {
                    extra.push((
                        urn::ROLLCALL_GROUP.to_owned(),
                        json!({ "assignments": roles_as_json(&roles) }),
                    ));
                }
                extra
            }
        };
        assemble(&record.doc, self.ty(record.kind), &id, &meta, extra)
    }

    fn groups(&self, record: &Record, teams: Option<&BTreeMap<Uuid, Team>>) -> Value {
        let Some(teams) = teams else { return Value::Null };
        // A group that is not among the teams is gone: its deletion has not reached the user yet.
        let shown = record.groups.iter().filter_map(|id| {
            let mut group =
                json!({ "value": id, "$ref": location(&self.base_url, Kind::Group, &id.to_string()) });
            if let Some(name) = &teams.get(id)?.name {
                group["display"] = name.as_str().into();
            }
            group["type"] = "direct".into();
            Some(group)
        });
        shown.collect()
    }

    fn members(&self, members: &[Membership]) -> Value {
        let shown = members.iter().map(|membership| {
            let mut element = membership.member().element();
            let id = membership.id.to_string();
            element.insert("$ref".to_owned(), location(&self.base_url, membership.kind, &id).into());
            Value::Object(element)
        });
        shown.collect()
    }

    /// The body of an answer for one resource, projected, as JSON. Members are written out some at a time:
    /// as text they take a fourth of the memory.
    pub fn project(&self, record: &Record, relations: &Relations<'_>, projection: &Projection) -> String {
        let members = relations.members.unwrap_or_default();
        let (first, rest) = members.split_at(members.len().min(MEMBERS_WRITTEN_AT_ONCE));
        let relations = Relations { members: Some(first), teams: relations.teams };
        let body = self.projected(record, &relations, projection);
        if rest.is_empty() {
            return serde_json::to_string(&body).unwrap_or_default();
        }
        let mut text = String::new();
        for (key, value) in &body {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push(':');
            let value = value.to_string();
            match value.strip_suffix(']') {
                Some(open) if key == MEMBERS => {
                    text.push_str(open);
                    for some in rest.chunks(MEMBERS_WRITTEN_AT_ONCE) {
                        self.write_members(some, record.kind, projection, &mut text);
                    }
                    text.push(']');
                }
                _ => text.push_str(&value),
            }
        }
        text.push('}');
        text
    }

    /// More members, after others.
    fn write_members(&self, members: &[Membership], kind: Kind, projection: &Projection, text: &mut String) {
        let mut body = Map::from_iter([(MEMBERS.to_owned(), self.members(members))]);
        projection.apply(&mut body, self.ty(kind));
        for member in body.get(MEMBERS).and_then(Value::as_array).into_iter().flatten() {
            text.push(',');
            text.push_str(&member.to_string());
        }
    }

    fn projected(
        &self,
        record: &Record,
        relations: &Relations<'_>,
        projection: &Projection,
    ) -> Map<String, Value> {
        let mut body = self.whole(record, relations);
        projection.apply(&mut body, self.ty(record.kind));
        // Clients that check what they are sent know the extensions in /ResourceTypes alone; the
        // server's own comes only to those who ask for it.
        let own = match record.kind {
            Kind::User => urn::ROLLCALL_USER,
            Kind::Group => urn::ROLLCALL_GROUP,
        };
        if !body.contains_key(own)
            && let Some(Value::Array(schemas)) = body.get_mut("schemas")
        {
            schemas.retain(|schema| schema != own);
        }
        body
    }

    /// The answer for a user: reads its groups if they or their roles are shown.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn answer_user(&self, record: &Record, projection: &Projection) -> Result<Answer, Failure> {
        let mut teams = BTreeMap::new();
        if shows_groups(projection) && !record.groups.is_empty() {
            teams = self.store.fetch_teams(&record.groups).await?;
        }
        let relations = Relations { teams: Some(&teams), ..Relations::default() };
        Ok(self.answer(record, Some(self.project(record, &relations, projection))))
    }

    /// The answer for a record with this body.
    pub fn answer(&self, record: &Record, body: Option<String>) -> Answer {
        let location = location(&self.base_url, record.kind, &record.id.to_string());
        Answer { location, version: record.version, body }
    }
}

/// Whether an answer shows of a user what its groups decide.
pub(super) fn shows_groups(projection: &Projection) -> bool {
    projection.wants("groups") || projection.names_extension(urn::ROLLCALL_USER)
}

/// The union of what the groups of a user grant, so that leaving one group takes no role that
/// another still grants.
fn effective_roles(user: &Record, teams: Option<&BTreeMap<Uuid, Team>>) -> BTreeSet<Role> {
    let teams = user.groups.iter().filter_map(|id| teams?.get(id));
    teams.flat_map(|team| team.roles.iter().cloned()).collect()
}

fn roles_as_json(roles: &BTreeSet<Role>) -> Value {
    roles.iter().map(|role| json!({ "team": role.team.to_string(), "role": role.role })).collect()
}

/// There is no such resource.
pub fn not_found(kind: Kind) -> ScimError {
    ScimError::not_found(format!("There is no {} with this id.", kind.name()))
}
