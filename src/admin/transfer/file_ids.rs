//! The ids of a file, and those in the tenant.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::rows::Row;
use crate::scim::members::MEMBERS;
use crate::scim::resource_type::Kind;
use crate::scim::urn;

/// Which resource of the tenant each id of the file is.
#[derive(Debug, Default)]
pub struct FileIds {
    of_file: HashMap<String, String>,
    of_tenant: HashMap<String, Kind>,
    /// Those of rows that are not written yet.
    unwritten: HashSet<String>,
}

impl FileIds {
    /// Those of a file of which nothing is written.
    pub fn of(rows: &[Row]) -> Self {
        let ids = rows.iter().filter_map(|row| row.resource.as_ref().ok()?.1.get("id")?.as_str());
        Self { unwritten: ids.map(str::to_owned).collect(), ..Self::default() }
    }

    /// Notes which id of the tenant an id of the file is.
    /// The first one counts.
    pub fn note(&mut self, old: &str, id: &str, kind: Kind) {
        self.unwritten.remove(old);
        let known = self.of_file.entry(old.to_owned()).or_insert_with(|| id.to_owned());
        self.of_tenant.insert(known.clone(), kind);
    }

    /// Forgets the id of a row that was refused. Rows that name it as a member or as a team are refused, too.
    pub fn forget(&mut self, old: &str) {
        self.unwritten.remove(old);
    }

    /// The id in the tenant, if the tenant has the resource already.
    pub fn get(&self, old: &str) -> Option<&str> {
        self.of_file.get(old).map(String::as_str)
    }

    /// Whether this is the id of a row that is not written yet.
    pub fn is_later(&self, old: &str) -> bool {
        self.unwritten.contains(old)
    }

    /// What the resource of the file is that has this id in the tenant.
    pub fn kind_of(&self, id: &str) -> Option<Kind> {
        self.of_tenant.get(id).copied()
    }

    /// Takes the ids of the tenant for those of the file: of members and of the manager. With `leaves_out`, those that are
    /// made further down in the file are left out. Returns whether there were any.
    pub fn take_into(&self, body: &mut Map<String, Value>, leaves_out: bool) -> bool {
        let is_later = |one: &Value| leaves_out && one["value"].as_str().is_some_and(|id| self.is_later(id));
        let rename = |one: &mut Value| {
            let Some(value) = one.get_mut("value") else { return };
            if let Some(id) = value.as_str().and_then(|id| self.get(id)) {
                *value = json!(id);
            }
        };
        let mut waits = false;
        if let Some(members) = body.get_mut(MEMBERS).and_then(Value::as_array_mut) {
            let sent = members.len();
            members.retain(|member| !is_later(member));
            waits |= members.len() < sent;
            members.iter_mut().for_each(rename);
        }
        if let Some(enterprise) = body.get_mut(urn::ENTERPRISE_USER).and_then(Value::as_object_mut) {
            if enterprise.get("manager").is_some_and(is_later) {
                enterprise.shift_remove("manager");
                waits = true;
            }
            enterprise.get_mut("manager").into_iter().for_each(rename);
        }
        waits
    }
}
