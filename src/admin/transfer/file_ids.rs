//! The ids of a file, and those in the tenant.

use std::collections::{HashMap, HashSet};

/// Which resource of the tenant each id of the file is.
#[derive(Debug, Default)]
pub struct FileIds {
    of_file: HashMap<String, String>,
    of_tenant: HashSet<String>,
}

impl FileIds {
    /// Notes which id of the tenant an id of the file is.
    pub fn note(&mut self, old: &str, id: &str) {
        self.of_tenant.insert(id.to_owned());
        self.of_file.insert(old.to_owned(), id.to_owned());
    }

    /// The id in the tenant, if the tenant has the resource already.
    pub fn get(&self, old: &str) -> Option<&str> {
        self.of_file.get(old).map(String::as_str)
    }

    /// Whether a resource of the file has this id in the tenant.
    pub fn is_in_tenant(&self, id: &str) -> bool {
        self.of_tenant.contains(id)
    }
}
