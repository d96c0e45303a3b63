//! A resource on its way out: the stored document, and what the server adds to it. `writing` makes
//! the text of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Provider;
use super::failure::Failure;
use crate::limits::MAX_MEMBERS_IN_ANSWER;
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::projection::Projection;
use crate::scim::resource::{Meta, assemble, etag, location};
use crate::scim::resource_type::{DefinedKind, Kind};
use crate::scim::urn;
use crate::store::document::Document;
use crate::store::membership::Membership;
use crate::store::record::{Record, Role};
use crate::store::resource::Team;
use crate::store::role_grants::{RoleGrants, role_ids};

/// The attribute of a user that names roles of the tenant.
const ROLES: &str = "roles";

/// Refuses to answer, or to look through, more members than fit an answer, before they are made
/// one.
///
/// # Errors
/// `tooMany`, which says what to leave out.
pub fn check_answerable(members: u64) -> Result<(), ScimError> {
    if members <= MAX_MEMBERS_IN_ANSWER {
        return Ok(());
    }
    Err(ScimError::too_many(format!(
        "The groups asked for have {members} members; {MAX_MEMBERS_IN_ANSWER} are the most that are answered together. Ask for fewer groups, or send excludedAttributes=members and ask for single members with a filter: id eq \"…\" and members eq \"…\"."
    )))
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Relations<'a> {
    /// The groups that users are in, by id; `None` where they were not read.
    pub teams: Option<&'a BTreeMap<Uuid, Team>>,
    /// A group's members; `None` where they were not read.
    pub members: Option<&'a [Membership]>,
    /// What the tenant's roles grant; `None` where it was not read.
    pub grants: Option<&'a RoleGrants>,
}

impl Provider<'_> {
    /// The whole resource, before projection.
    pub fn represent(&self, record: &Record, relations: &Relations<'_>) -> Map<String, Value> {
        self.represent_document(record, record.doc.clone(), relations)
    }

    /// The whole resource that has this document, before projection.
    pub fn represent_document<D>(
        &self,
        record: &Record<D>,
        document: Map<String, Value>,
        relations: &Relations<'_>,
    ) -> Map<String, Value> {
        let related = match record.kind {
            Kind::User => ("groups", self.represent_groups(record, relations.teams)),
            Kind::Group => (MEMBERS, self.represent_members(relations.members.unwrap_or_default())),
        };
        let own = represent_own_extension(record, &document, relations);
        let extra = [Some(related), own].into_iter().flatten();
        let extra = extra.map(|(name, value)| (name.to_owned(), value)).collect();
        let id = record.id.to_string();
        assemble(document, self.ty(record.kind), &id, &self.meta(record), extra)
    }

    /// The attribute `meta` of a resource.
    pub(super) fn meta<'r, D>(&self, record: &'r Record<D>) -> Meta<'r> {
        Meta {
            resource_type: record.kind.name(),
            created: &record.created,
            last_modified: &record.modified,
            location: location(&self.base_url, record.kind, &record.id.to_string()),
            version: record.version,
        }
    }

    /// The attribute `groups` of a user.
    pub(super) fn represent_groups<D>(
        &self,
        record: &Record<D>,
        teams: Option<&BTreeMap<Uuid, Team>>,
    ) -> Value {
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

    /// The attribute `members` of a group.
    pub(super) fn represent_members(&self, members: &[Membership]) -> Value {
        let shown = members.iter().map(|membership| {
            let mut element = membership.member().element();
            let id = membership.id.to_string();
            element.insert("$ref".to_owned(), location(&self.base_url, membership.kind, &id).into());
            Value::Object(element)
        });
        shown.collect()
    }

    /// The answer for a user: reads its groups if they or their roles are shown, and what its own roles grant.
    ///
    /// # Errors
    /// 503 if the table does not answer; 500 if an item cannot be read.
    pub async fn answer_user<D: Document + Sync>(
        &self,
        record: &Record<D>,
        projection: &Projection,
    ) -> Result<Answer, Failure> {
        let (teams, grants) = match record.kind == Kind::User && shows_groups(self, projection) {
            true => self.read_granted(record, shows_roles(projection)).await?,
            false => Default::default(),
        };
        let relations = Relations { teams: Some(&teams), grants: Some(&grants), members: None };
        Ok(self.answer(record, Some(self.write_projected(record, &relations, projection))))
    }

    /// Reads the groups of a user, and with `with_roles` what its own roles grant.
    ///
    /// # Errors
    /// 503 if the table does not answer; 500 if an item cannot be read.
    pub(super) async fn read_granted<D: Document + Sync>(
        &self,
        user: &Record<D>,
        with_roles: bool,
    ) -> Result<(BTreeMap<Uuid, Team>, RoleGrants), Failure> {
        let teams = async {
            match user.groups.is_empty() {
                true => Ok(BTreeMap::new()),
                false => self.store.fetch_teams(&user.groups).await,
            }
        };
        let grants = async {
            match with_roles && has_roles(user) {
                true => Ok(self.store.definitions().index().await?.grants),
                false => Ok(RoleGrants::default()),
            }
        };
        Ok(futures_util::try_join!(teams, grants)?)
    }

    /// The answer for a record with this body.
    pub fn answer<D>(&self, record: &Record<D>, body: Option<String>) -> Answer {
        let location = location(&self.base_url, record.kind, &record.id.to_string());
        Answer { location, version: record.version, body }
    }
}

/// Whether an answer shows of a user what its groups decide.
pub(super) fn shows_groups(provider: &Provider<'_>, projection: &Projection) -> bool {
    projection.wants(provider.ty(Kind::User), "groups") || shows_roles(projection)
}

/// Whether an answer shows the effective roles of a user.
pub(super) fn shows_roles(projection: &Projection) -> bool {
    projection.names_extension(urn::ROLLCALL_USER)
}

/// Whether a user has a value of `roles`, which may name a role of the tenant.
pub(crate) fn has_roles<D: Document>(user: &Record<D>) -> bool {
    user.kind == Kind::User && role_ids(user.doc.value(ROLES).as_deref()).next().is_some()
}

/// The union of what the groups and the roles of a user grant, so that leaving one takes no role that
/// another still grants.
fn effective_roles<D>(
    user: &Record<D>,
    document: &impl Document,
    relations: &Relations<'_>,
) -> BTreeSet<Role> {
    let teams = user.groups.iter().filter_map(|id| relations.teams?.get(id));
    let granted =
        relations.grants.map(|grants| grants.of_roles(document.value(ROLES).as_deref())).unwrap_or_default();
    teams.flat_map(|team| team.roles.iter().cloned()).chain(granted).collect()
}

/// The server's own extension of a resource with this document; `None` if it has no value.
pub(super) fn represent_own_extension<D>(
    record: &Record<D>,
    document: &impl Document,
    relations: &Relations<'_>,
) -> Option<(&'static str, Value)> {
    match record.kind {
        Kind::User => {
            let mut own = json!({ "account": record.account.as_str() });
            let roles = effective_roles(record, document, relations);
            if !roles.is_empty() {
                own["roles"] = roles_as_json(&roles);
            }
            Some((urn::ROLLCALL_USER, own))
        }
        Kind::Group => {
            let roles = record.assignments();
            (!roles.is_empty())
                .then(|| (urn::ROLLCALL_GROUP, json!({ "assignments": roles_as_json(&roles) })))
        }
    }
}

fn roles_as_json(roles: &BTreeSet<Role>) -> Value {
    roles.iter().map(|role| json!({ "team": role.team.to_string(), "role": role.role })).collect()
}

/// There is no such resource.
pub fn not_found(kind: Kind) -> ScimError {
    not_found_of(kind.name())
}

/// There is no resource of this type with the id.
pub fn not_found_of(type_name: &str) -> ScimError {
    ScimError::not_found(format!("There is no {type_name} with this id."))
}

/// The kind with its article, in lower case.
pub const fn this_kind(kind: DefinedKind) -> &'static str {
    match kind {
        DefinedKind::Role => "a role",
        DefinedKind::Entitlement => "an entitlement",
    }
}
