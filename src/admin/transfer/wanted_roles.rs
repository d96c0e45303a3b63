//! The roles that a group of a file grants. This file is pure.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::file_ids::FileIds;
use crate::provider::changing::assignments::is_role;
use crate::store::keys::parse_id;
use crate::store::record::Role;

/// The roles that a line gives to a group, with ids of the tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedRoles {
    /// Those in the group itself, whose id in the tenant may not exist yet. `None` for a line without an id, which cannot
    /// name itself.
    own: Option<BTreeSet<String>>,
    /// Those in other teams.
    pub others: BTreeSet<Role>,
    /// Whether a team is made further down in the file. Such roles are left out.
    pub waits: bool,
}

impl WantedRoles {
    /// Reads the extension of a line. `group` is the id of the group in the file. `None` if the line does not say which
    /// roles it grants. With `leaves_out`, teams that are made further down in the file are left out.
    ///
    /// # Errors
    /// What is wrong with a role.
    pub fn read(
        extension: &Value,
        group: Option<&str>,
        ids: &FileIds,
        leaves_out: bool,
    ) -> Result<Option<Self>, String> {
        let roles = match &extension["assignments"] {
            Value::Null => return Ok(None),
            Value::Array(roles) => roles,
            _ => return Err("assignments must be an array".to_owned()),
        };
        let mut wanted = Self { own: group.map(|_| BTreeSet::new()), ..Self::default() };
        for one in roles {
            let (Some(team), Some(role)) = (one["team"].as_str(), one["role"].as_str()) else {
                return Err("each of assignments needs the texts team and role".to_owned());
            };
            if !is_role(role) {
                return Err("a role has 1 to 64 lower-case letters, digits, - or _".to_owned());
            }
            match &mut wanted.own {
                Some(own) if Some(team) == group => {
                    own.insert(role.to_owned());
                }
                _ if leaves_out && ids.is_later(team) => wanted.waits = true,
                _ => {
                    let team = parse_id(ids.get(team).unwrap_or(team))
                        .ok_or("the team of a role must be the id of a group")?;
                    wanted.others.insert(Role { team, role: role.to_owned() });
                }
            }
        }
        Ok(Some(wanted))
    }

    /// What a group of this id, which grants these roles now, grants afterwards. A group keeps the roles in itself if its
    /// line cannot name them.
    pub fn after(&self, group: Uuid, before: &BTreeSet<Role>) -> BTreeSet<Role> {
        let own: Vec<Role> = match &self.own {
            Some(own) => own.iter().map(|role| Role { team: group, role: role.clone() }).collect(),
            None => before.iter().filter(|role| role.team == group).cloned().collect(),
        };
        own.into_iter().chain(self.others.iter().cloned()).collect()
    }
}
