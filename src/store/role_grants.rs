//! What the roles of a tenant grant, all of them together: small enough to be read with a user.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::error::StoreError;
use super::record::Role;
use crate::scim::fold::fold;

/// What each role grants, by its id in lower case: a user's `roles` are compared without regard to case (RFC 7643 §8.7.1).
/// A role that grants nothing is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleGrants(BTreeMap<String, RoleGrant>);

/// What one role grants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RoleGrant {
    /// The id of the role.
    id: String,
    granted: BTreeSet<Role>,
}

/// The form in the table. Each team is named once, because its id is what takes the room.
#[derive(Serialize, Deserialize)]
struct PackedGrants {
    teams: Vec<Uuid>,
    /// By the id of the role: the place of the team in `teams`, and the role in it.
    roles: BTreeMap<String, Vec<(usize, String)>>,
}

impl RoleGrants {
    /// What a user's `roles` grant together. A value that is not the id of a role grants nothing.
    pub fn of_roles(&self, roles: Option<&Value>) -> BTreeSet<Role> {
        if self.0.is_empty() {
            return BTreeSet::new();
        }
        // The form of an id, which is ASCII, is the id in lower case.
        let grants = role_ids(roles).filter_map(|value| self.0.get(&fold(value)));
        grants.flat_map(|grant| &grant.granted).cloned().collect()
    }

    /// Sets what a role grants.
    pub fn set(&mut self, role: &str, grants: &BTreeSet<Role>) {
        let key = role.to_ascii_lowercase();
        match grants.is_empty() {
            true => self.0.remove(&key),
            false => self.0.insert(key, RoleGrant { id: role.to_owned(), granted: grants.clone() }),
        };
    }

    /// The form in the table.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if it cannot be packed.
    pub fn pack(&self) -> Result<Vec<u8>, StoreError> {
        let broken =
            |why: &dyn ToString| StoreError::Broken(format!("grants cannot be packed: {}", why.to_string()));
        let granted = self.0.values().flat_map(|grant| &grant.granted);
        let teams: BTreeSet<Uuid> = granted.map(|role| role.team).collect();
        let teams: Vec<Uuid> = teams.into_iter().collect();
        let place = |role: &Role| (teams.binary_search(&role.team).unwrap_or(0), role.role.clone());
        let in_place = |grant: &RoleGrant| (grant.id.clone(), grant.granted.iter().map(place).collect());
        let roles = self.0.values().map(in_place).collect();
        let packed = PackedGrants { teams: teams.clone(), roles };
        let json = serde_json::to_vec(&packed).map_err(|error| broken(&error))?;
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&json).map_err(|error| broken(&error))?;
        packer.finish().map_err(|error| broken(&error))
    }

    /// Reads [`RoleGrants::pack`].
    ///
    /// # Errors
    /// [`StoreError::Broken`] for anything else.
    pub fn unpack(packed: &[u8]) -> Result<Self, StoreError> {
        let broken = || StoreError::Broken("the grants of the roles cannot be read".to_owned());
        let mut json = Vec::new();
        DeflateDecoder::new(packed).read_to_end(&mut json).map_err(|_| broken())?;
        let PackedGrants { teams, roles } = serde_json::from_slice(&json).map_err(|_| broken())?;
        let mut grants = Self::default();
        for (id, granted) in roles {
            let role =
                |(place, role): (usize, String)| teams.get(place).map(|team| Role { team: *team, role });
            let granted: Option<BTreeSet<Role>> = granted.into_iter().map(role).collect();
            grants.set(&id, &granted.ok_or_else(broken)?);
        }
        Ok(grants)
    }
}

/// The values of a user's `roles`.
pub fn role_ids(roles: Option<&Value>) -> impl Iterator<Item = &str> {
    let roles = roles.and_then(Value::as_array);
    roles.into_iter().flatten().filter_map(|role| role.get("value")?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(team: u128, name: &str) -> Role {
        Role { team: Uuid::from_u128(team), role: name.to_owned() }
    }

    #[test]
    fn grants_read_back_and_a_user_has_those_of_all_its_roles() {
        let mut grants = RoleGrants::default();
        grants.set("Billing", &BTreeSet::from([role(1, "member"), role(2, "admin")]));
        grants.set("support", &BTreeSet::from([role(1, "member"), role(3, "reader")]));
        grants.set("nothing", &BTreeSet::new());
        let grants = RoleGrants::unpack(&grants.pack().expect("packed")).expect("grants");
        let user = json!({ "roles": [
            { "value": "billing" }, { "value": "support" }, { "value": "Billin" }, { "display": "x" }, {}
        ] });
        assert_eq!(
            grants.of_roles(user.get("roles")),
            BTreeSet::from([role(1, "member"), role(2, "admin"), role(3, "reader")])
        );
        for value in ["Billing", "BILLING", "\u{ff22}illing"] {
            let granted = grants.of_roles(Some(&json!([{ "value": value }])));
            assert_eq!(granted, BTreeSet::from([role(1, "member"), role(2, "admin")]), "{value}");
        }
        assert!(grants.of_roles(None).is_empty());
        assert!(RoleGrants::unpack(b"x").is_err());
    }

    #[test]
    fn two_hundred_roles_fit_one_read_unit() {
        let mut grants = RoleGrants::default();
        for at in 0..200_u128 {
            let team = |n: u128| (0x0190_0000_0000_7000_8000_u128 << 48) | (n * 0x9E37_79B9_7F4A);
            let granted = BTreeSet::from([role(team(at % 50), "member"), role(team(at % 7), "reviewer")]);
            grants.set(&format!("role-{at}"), &granted);
        }
        let bytes = grants.pack().expect("packed").len();
        assert!(bytes <= crate::limits::MAX_ROLE_GRANTS_BYTES, "{bytes}");
    }
}
