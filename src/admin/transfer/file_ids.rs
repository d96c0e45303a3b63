//! The ids of a file, and those in the tenant.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::rows::Row;
use crate::scim::members::MEMBERS;
use crate::scim::urn;

/// Which resource of the tenant each id of the file is.
#[derive(Debug, Default)]
pub struct FileIds {
    of_file: HashMap<String, String>,
    of_tenant: HashSet<String>,
    /// Those of rows that are not written yet.
    later: HashSet<String>,
}

impl FileIds {
    /// Those of a file of which nothing is written.
    pub fn of(rows: &[Row]) -> Self {
        let ids = rows.iter().filter_map(|row| row.resource.as_ref().ok()?.1.get("id")?.as_str());
        Self { later: ids.map(str::to_owned).collect(), ..Self::default() }
    }

    /// Notes which id of the tenant an id of the file is.
    pub fn note(&mut self, old: &str, id: &str) {
        self.later.remove(old);
        self.of_tenant.insert(id.to_owned());
        self.of_file.insert(old.to_owned(), id.to_owned());
    }

    /// The id in the tenant, if the tenant has the resource already.
    pub fn get(&self, old: &str) -> Option<&str> {
        self.of_file.get(old).map(String::as_str)
    }

    /// Whether this is the id of a row that is not written yet.
    pub fn is_later(&self, old: &str) -> bool {
        self.later.contains(old)
    }

    /// Whether a resource of the file has this id in the tenant.
    pub fn is_in_tenant(&self, id: &str) -> bool {
        self.of_tenant.contains(id)
    }

    /// Takes the ids of the tenant for those of the file: of members and of the manager. Returns whether one of them is
    /// made further down in the file; such ones are left out if `leaves_out` says so.
    pub fn take_into(&self, body: &mut Map<String, Value>, leaves_out: bool) -> bool {
        let is_later = |one: &Value| one["value"].as_str().is_some_and(|id| self.is_later(id));
        let rename = |one: &mut Value| {
            let Some(value) = one.get_mut("value") else { return };
            if let Some(id) = value.as_str().and_then(|id| self.get(id)) {
                *value = json!(id);
            }
        };
        let mut waits = false;
        if let Some(members) = body.get_mut(MEMBERS).and_then(Value::as_array_mut) {
            waits |= members.iter().any(is_later);
            if leaves_out {
                members.retain(|member| !is_later(member));
            }
            members.iter_mut().for_each(rename);
        }
        if let Some(enterprise) = body.get_mut(urn::ENTERPRISE_USER).and_then(Value::as_object_mut) {
            let is_early = enterprise.get("manager").is_some_and(is_later);
            waits |= is_early;
            if leaves_out && is_early {
                enterprise.shift_remove("manager");
            }
            enterprise.get_mut("manager").into_iter().for_each(rename);
        }
        waits
    }
}
