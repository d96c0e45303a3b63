//! A small identity provider: a directory, and the requests that bring a tenant to the same state.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::client::user;
use crate::support::dev::{Answer, Dev};

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Who there is, and who is in which group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// The name to display of each user.
    pub users: BTreeMap<String, String>,
    /// The users of each group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

fn send(dev: &Dev, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/scim+json")];
    let path = path.replace(' ', "%20").replace('"', "%22");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = dev.send(method, &path, &headers, body.as_bytes());
    assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
    answer
}

fn list(dev: &Dev, query: &str) -> Vec<Value> {
    let page = send(dev, "GET", query, &Value::Null).body;
    page["Resources"].as_array().cloned().unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

impl Directory {
    /// Adds users `<prefix>0`, … and a group of the same name that has them.
    pub fn hire(&mut self, prefix: &str, count: usize) {
        let names: BTreeSet<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
        self.users.extend(names.iter().map(|name| (name.clone(), name.clone())));
        self.groups.insert(prefix.to_owned(), names);
    }

    /// Removes a user.
    pub fn dismiss(&mut self, name: &str) {
        self.users.remove(name);
        self.groups.values_mut().for_each(|members| {
            members.remove(name);
        });
    }

    /// Sends everything, as an identity provider does that starts again: it looks for each user and group, makes
    /// those that are missing, and corrects the others. Returns how many requests changed something.
    pub fn send_everything(&self, dev: &Dev) -> usize {
        let (mut ids, mut changes) = (BTreeMap::new(), 0);
        for (name, display) in &self.users {
            let found = list(dev, &format!("/Users?filter=userName eq \"{name}@example.com\""));
            let mut wanted = user(name);
            wanted["displayName"] = display.as_str().into();
            let there = match found.into_iter().next() {
                None => {
                    changes += 1;
                    send(dev, "POST", "/Users", &wanted).body
                }
                Some(there) if there["displayName"] != wanted["displayName"] => {
                    changes += 1;
                    let replace = json!({ "op": "replace", "path": "displayName", "value": display });
                    let body = json!({ "schemas": [PATCH], "Operations": [replace] });
                    send(dev, "PATCH", &format!("/Users/{}", text(&there, "id")), &body).body
                }
                Some(there) => there,
            };
            ids.insert(name.clone(), text(&there, "id"));
        }
        for there in list(dev, "/Users?count=200") {
            let name = text(&there, "userName").replace("@example.com", "");
            if !self.users.contains_key(&name) && !name.starts_with("break-glass") {
                changes += 1;
                send(dev, "DELETE", &format!("/Users/{}", text(&there, "id")), &Value::Null);
            }
        }
        for (name, members) in &self.groups {
            let values: Vec<Value> = members.iter().map(|name| json!({ "value": ids[name] })).collect();
            let found = list(dev, &format!("/Groups?filter=displayName eq \"{name}\""));
            match found.first() {
                None => {
                    changes += 1;
                    send(dev, "POST", "/Groups", &json!({ "displayName": name, "members": values }));
                }
                Some(there)
                    if members_of(there) != members.iter().map(|name| ids[name].clone()).collect() =>
                {
                    changes += 1;
                    let replace = json!({ "op": "replace", "path": "members", "value": values });
                    let body = json!({ "schemas": [PATCH], "Operations": [replace] });
                    send(dev, "PATCH", &format!("/Groups/{}", text(there, "id")), &body);
                }
                Some(_) => {}
            }
        }
        changes
    }

    /// The tenant as an identity provider reads it, without the root team.
    pub fn read(dev: &Dev) -> Self {
        let mut directory = Self::default();
        let mut names = BTreeMap::new();
        for user in list(dev, "/Users?count=200") {
            let name = text(&user, "userName").replace("@example.com", "");
            names.insert(text(&user, "id"), name.clone());
            if !name.starts_with("break-glass") {
                directory.users.insert(name, text(&user, "displayName"));
            }
        }
        for group in list(dev, "/Groups?count=200") {
            let members = members_of(&group).iter().map(|id| names[id].clone()).collect();
            directory.groups.insert(text(&group, "displayName"), members);
        }
        directory.groups.remove("Root");
        directory
    }
}

fn members_of(group: &Value) -> BTreeSet<String> {
    let members = group["members"].as_array().into_iter().flatten();
    members.map(|member| text(member, "value")).collect()
}
