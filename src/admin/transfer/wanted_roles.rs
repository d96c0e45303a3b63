//! The roles that a group of a file grants. This file is pure.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::file_ids::FileIds;
use crate::provider::changing::assignments::is_role;
use crate::store::keys::parse_id;
use crate::store::record::Role;

/// The roles that a line gives to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedRoles {
    /// Those in the group itself, whose id in the tenant may not exist yet.
    pub own: BTreeSet<String>,
    /// Those in other teams.
    pub others: BTreeSet<Role>,
}

impl WantedRoles {
    /// Reads the extension of a line. `group` is the id of the group in the file. `None` if the line does not say.
    ///
    /// # Errors
    /// What is wrong with a role.
    pub fn read(extension: &Value, group: Option<&str>) -> Result<Option<Self>, String> {
        let roles = match &extension["assignments"] {
            Value::Null => return Ok(None),
            Value::Array(roles) => roles,
            _ => return Err("assignments must be an array".to_owned()),
        };
        let mut wanted = Self::default();
        for one in roles {
            let (Some(team), Some(role)) = (one["team"].as_str(), one["role"].as_str()) else {
                return Err("each of assignments needs the texts team and role".to_owned());
            };
            if !is_role(role) {
                return Err("a role has 1 to 64 lower-case letters, digits, - or _".to_owned());
            }
            if Some(team) == group {
                wanted.own.insert(role.to_owned());
                continue;
            }
            let team = parse_id(team).ok_or("the team of a role must be the id of a group")?;
            wanted.others.insert(Role { team, role: role.to_owned() });
        }
        Ok(Some(wanted))
    }

    /// Takes the ids of the tenant for those of the file. Returns whether a team is made further down in the file; such
    /// roles are left out if `leaves_out` says so.
    pub fn take(&mut self, ids: &FileIds, leaves_out: bool) -> bool {
        let is_later = |role: &Role| ids.is_later(&role.team.to_string());
        let waits = self.others.iter().any(is_later);
        if leaves_out {
            self.others.retain(|role| !is_later(role));
        }
        let renamed = std::mem::take(&mut self.others).into_iter().map(|role| {
            let team = ids.get(&role.team.to_string()).and_then(parse_id);
            Role { team: team.unwrap_or(role.team), ..role }
        });
        self.others = renamed.collect();
        waits
    }

    /// All of them, for a group of this id.
    pub fn of(&self, group: Uuid) -> BTreeSet<Role> {
        let own = self.own.iter().map(|role| Role { team: group, role: role.clone() });
        own.chain(self.others.iter().cloned()).collect()
    }
}
