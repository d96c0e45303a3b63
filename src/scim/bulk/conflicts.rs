//! What operations of a Bulk request can meet at, so that their order matters (RFC 7644 §3.7).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::references::each_text;
use super::request::{BulkAction, BulkOperation, BulkRequest, TargetId};
use crate::scim::fold::fold;
use crate::scim::resource_type::Kind;

/// What the order of operations depends on besides the request.
#[derive(Clone, Debug, Default)]
pub struct TenantState {
    /// The ids of the users who administer the tenant, and of the groups that make them administrators.
    pub administrators: BTreeSet<String>,
    /// The resources that hold the [`names`] of the request, by id. A deactivated account holds its name, too.
    pub holders: BTreeMap<Name, String>,
    /// Whether the number of deactivations is limited.
    pub limits_deactivations: bool,
    /// Whether a user's name follows the primary email.
    pub names_follow_emails: bool,
}

/// A name that is unique among the resources of a kind, folded.
pub type Name = (Kind, String);

/// What two operations can meet at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Touch {
    /// A resource by its id.
    Resource(String),
    /// A resource that the request creates.
    Created(String),
    /// A name that the request gives to a resource.
    Name(Name),
    /// The names of all resources of a kind.
    Names(Kind),
    /// Who administers the tenant.
    Administrators,
    /// The number of active users.
    Deactivations,
    /// The versions of groups, which the deletion of a member raises.
    GroupVersions,
}

/// How an operation touches something. Operations that touch it in the same way run side by side, but for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It changes it, or may do so, and the result depends on what it was.
    Change,
    /// It refers to it, or changes it so that the order of such changes does not matter.
    Mention,
    /// It has a condition on it.
    Condition,
}

/// The units that touched something last.
#[derive(Default)]
pub(super) struct LastUses {
    last: Option<Use>,
    /// Those of the last use that run side by side.
    units: Vec<usize>,
    /// Those of the use before, which they wait for.
    before: Vec<usize>,
}

impl LastUses {
    /// Notes that a unit touches it. Adds to `after` what the unit must wait for.
    pub(super) fn note(&mut self, unit: usize, way: Use, after: &mut BTreeSet<usize>) {
        if way == Use::Change || self.last != Some(way) {
            self.last = Some(way);
            self.before = std::mem::take(&mut self.units);
        }
        self.units.push(unit);
        after.extend(self.before.iter().filter(|before| **before != unit));
    }
}

/// What the operations of a request touch.
pub(super) struct Conflicts<'r> {
    state: &'r TenantState,
    /// Those who administer the tenant, and those whom the request may make administrators: by id, and by `bulkId`.
    administrators: BTreeSet<String>,
    new_administrators: BTreeSet<String>,
}

impl<'r> Conflicts<'r> {
    /// Reads a request. `references` are the names of new resources that each operation refers to.
    pub(super) fn new(
        operations: &[BulkOperation],
        references: &[BTreeSet<String>],
        state: &'r TenantState,
    ) -> Self {
        let mut administrators = state.administrators.clone();
        let mut new_administrators = BTreeSet::new();
        for (operation, references) in operations.iter().zip(references) {
            let of_administrators = match operation.target.as_ref().map(|target| &target.id) {
                Some(TargetId::Id(id)) => state.administrators.contains(&id.to_ascii_lowercase()),
                _ => false,
            };
            if let (true, Some(data)) = (of_administrators, operation.data()) {
                administrators.extend(ids_in(data).map(|id| id.to_ascii_lowercase()));
                new_administrators.extend(references.iter().cloned());
            }
        }
        Self { state, administrators, new_administrators }
    }

    /// What an operation touches, and how.
    pub(super) fn touches(
        &self,
        operation: &BulkOperation,
        references: &BTreeSet<String>,
    ) -> Vec<(Touch, Use)> {
        if operation.action.is_err() {
            return Vec::new();
        }
        let mut found: Vec<(Touch, Use)> =
            references.iter().map(|name| (Touch::Created(name.clone()), Use::Mention)).collect();
        match operation.target.as_ref().map(|target| &target.id) {
            Some(TargetId::Id(id)) => found.push((Touch::Resource(id.to_ascii_lowercase()), Use::Change)),
            Some(TargetId::BulkId(name)) => found.push((Touch::Created(name.clone()), Use::Change)),
            None => {}
        }
        if let Some(data) = operation.data() {
            found.extend(ids_in(data).map(|id| (Touch::Resource(id.to_ascii_lowercase()), Use::Mention)));
        }
        found.extend(self.name_touches(operation));
        found.extend(self.rule_touches(operation));
        found
    }

    /// The names that an operation gives, and those who hold them now.
    fn name_touches(&self, operation: &BulkOperation) -> Vec<(Touch, Use)> {
        let Some(kind) = operation.kind() else { return Vec::new() };
        let names = given_names(operation);
        let mut found = Vec::new();
        for name in &names {
            let Some(holder) = self.state.holders.get(name) else { continue };
            // A creation may bring a deactivated account back.
            let way = if operation.creates() { Use::Change } else { Use::Mention };
            found.push((Touch::Resource(holder.clone()), way));
        }
        if self.state.names_follow_emails && kind == Kind::User && is_patch_of(operation, "emails") {
            // The name may become one of the emails that the user has.
            found.push((Touch::Names(kind), Use::Change));
        } else if operation.data().is_none() || !names.is_empty() {
            found.push((Touch::Names(kind), Use::Mention));
        }
        found.extend(names.into_iter().map(|name| (Touch::Name(name), Use::Change)));
        found
    }

    /// What an operation touches that rules of the tenant depend on, and conditions.
    fn rule_touches(&self, operation: &BulkOperation) -> Vec<(Touch, Use)> {
        let Some(kind) = operation.kind() else { return Vec::new() };
        let deletes = operation.data().is_none();
        let mut found = Vec::new();
        let is_administrator = match operation.target.as_ref().map(|target| &target.id) {
            Some(TargetId::Id(id)) => self.administrators.contains(&id.to_ascii_lowercase()),
            Some(TargetId::BulkId(name)) => self.new_administrators.contains(name),
            None => false,
        };
        if is_administrator {
            found.push((Touch::Administrators, Use::Change));
        }
        if self.state.limits_deactivations && kind == Kind::User {
            if operation.creates() {
                found.push((Touch::Deactivations, Use::Mention));
            } else if deletes || operation.data().is_some_and(|data| mentions(data, "active")) {
                found.push((Touch::Deactivations, Use::Change));
            }
        }
        if deletes {
            found.push((Touch::GroupVersions, Use::Mention));
        } else if kind == Kind::Group && operation.version.is_some() {
            found.push((Touch::GroupVersions, Use::Condition));
        }
        found
    }
}

/// The names that a request gives to resources, with a text of each as it was sent. None if nothing in the request could
/// meet their holders: no operation names a resource by its id.
pub fn names(request: &BulkRequest) -> BTreeMap<Name, String> {
    let names_id = |operation: &BulkOperation| {
        let target = operation.target.as_ref().map(|target| &target.id);
        matches!(target, Some(TargetId::Id(_)))
            || operation.data().is_some_and(|data| ids_in(data).next().is_some())
    };
    let mut found = BTreeMap::new();
    if !request.operations.iter().any(names_id) {
        return found;
    }
    for operation in request.operations.iter().filter(|operation| operation.action.is_ok()) {
        let (Some(kind), Some(data)) = (operation.kind(), operation.data()) else { continue };
        unique_names(kind, data, &mut |name| {
            found.entry((kind, fold(name))).or_insert_with(|| name.to_owned());
        });
    }
    found
}

/// The names that an operation gives. Names that compare as equal fold alike, too.
fn given_names(operation: &BulkOperation) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    if let (Some(kind), Some(data)) = (operation.kind(), operation.data()) {
        unique_names(kind, data, &mut |name| {
            found.insert((kind, fold(name)));
        });
    }
    found
}

/// Whether an operation is a PATCH that has this attribute in a path or a key, in lower case.
fn is_patch_of(operation: &BulkOperation, attribute: &str) -> bool {
    matches!(&operation.action, Ok(BulkAction::Modify(_, data)) if mentions(data, attribute))
}

/// The attributes that give a resource its name: some policies take it from an email.
const fn naming_attributes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::User => &["username", "emails"],
        Kind::Group => &["displayname"],
    }
}

/// Whether a key or a path in the data has this name in it, which is in lower case.
fn mentions(data: &Map<String, Value>, name: &str) -> bool {
    let has = |text: &str| text.to_ascii_lowercase().contains(name);
    data.iter().any(|(key, value)| {
        has(key)
            || match value {
                Value::String(path) => key.eq_ignore_ascii_case("path") && has(path),
                Value::Object(inner) => mentions(inner, name),
                Value::Array(elements) => {
                    elements.iter().filter_map(Value::as_object).any(|element| mentions(element, name))
                }
                _ => false,
            }
    })
}

/// The ids in the data, wherever they stand.
fn ids_in(data: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let mut found = Vec::new();
    for (key, value) in data {
        each_text(key, value, &mut |_, text| {
            found.extend(text.split(['/', '"']).filter(|part| is_id(part)));
        });
    }
    found.into_iter()
}

/// The values that a resource or a PATCH gives to the attributes which give a resource its name.
fn unique_names(kind: Kind, object: &Map<String, Value>, call: &mut impl FnMut(&str)) {
    let is_naming = |path: &str| {
        let name = path.trim().to_ascii_lowercase();
        naming_attributes(kind).iter().any(|naming| {
            // The name itself, after the URN of a schema, or before a filter and a sub-attribute.
            name.split(['[', '.']).any(|part| part == *naming || part.rsplit(':').next() == Some(naming))
        })
    };
    let path = object.iter().find(|(key, _)| key.eq_ignore_ascii_case("path")).map(|(_, value)| value);
    let patched = path.and_then(Value::as_str).is_some_and(is_naming);
    for (key, value) in object {
        if is_naming(key) || (patched && key.eq_ignore_ascii_case("value")) {
            each_text(key, value, &mut |holder, text| {
                if holder == key || holder.eq_ignore_ascii_case("value") {
                    call(text);
                }
            });
            continue;
        }
        match value {
            Value::Object(inner) => unique_names(kind, inner, call),
            Value::Array(elements) => elements
                .iter()
                .filter_map(Value::as_object)
                .for_each(|element| unique_names(kind, element, call)),
            _ => {}
        }
    }
}

/// Whether a text has the form of an id.
fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
