//! Writes one row of an import, through the operations that clients use.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::import::{Fate, Import, ResolvedRow, Stopped};
use super::wanted_roles::WantedRoles;
use crate::admin::user;
use crate::limits::APPLY_TIMEOUT;
use crate::provider::ResourceRequest;
use crate::provider::changing::assignments::{AssignmentTarget, change_assignments, missing_team};
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::scim::document_rules::keep_active;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::keys::parse_id;
use crate::store::record::Role;

impl Import<'_> {
    /// Writes a row. Returns what became of it, its id, and whether all of it was written: the roles of a new group may have
    /// met other changes.
    pub(super) async fn write_row(&self, row: &ResolvedRow) -> Result<(Fate, Uuid, bool), Stopped> {
        let Some(id) = row.found else {
            let id = self.create(row).await?;
            if let Some(name) = row.name.clone() {
                self.found().entry(name).or_default().push(id);
            }
            let assigned = match &row.roles {
                Some(roles) => self.assign(id, roles).await.map(drop),
                None => Ok(()),
            };
            return match assigned {
                Err(Stopped::Busy(_)) => Ok((Fate::Created, id, false)),
                assigned => assigned.map(|()| (Fate::Created, id, true)),
            };
        };
        let before = self.provider.store.fetch(row.kind, id).await.map_err(Failure::from)?;
        let (mut wanted, members) = self.check_row(row, before.as_ref()).map_err(Failure::from)?;
        self.check_members(&members).await?;
        if let (Kind::User, Some(before)) = (row.kind, &before) {
            keep_active(&before.doc, &mut wanted);
            if before.doc == wanted {
                return Ok((Fate::Unchanged, id, true));
            }
        }
        // The roles come first: if the rule of the last administrator refuses them, nothing of the line is written.
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
        Ok((if is_unchanged { Fate::Unchanged } else { Fate::Updated }, id, true))
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
    pub(super) async fn check_teams(&self, row: &ResolvedRow) -> Result<(), Stopped> {
        let Some(roles) = &row.roles else { return Ok(()) };
        let unknown = {
            let ids = self.ids();
            let is_group = |role: &&Role| ids.kind_of(&role.team.to_string()) == Some(Kind::Group);
            let unknown = roles.others.iter().filter(|role| !is_group(role));
            unknown.cloned().collect()
        };
        let store = &self.provider.store;
        match missing_team(store, &unknown, None).await.map_err(Failure::from)? {
            Some(team) => Err(Stopped::Refused(format!("there is no team {team}"))),
            None => Ok(()),
        }
    }
}
