//! What operations of a Bulk request can meet at, so that their order matters (RFC 7644 §3.7).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::references::each_text;
use super::request::{BulkAction, BulkOperation, TargetId};
use crate::scim::fold::fold;
use crate::scim::resource_type::Kind;

/// The rules of a tenant that make the order of operations matter.
#[derive(Clone, Debug, Default)]
pub struct TenantRules {
    /// The ids of the users who administer the tenant, and of the groups that make them administrators.
    pub administrators: BTreeSet<String>,
    /// Whether the number of deactivations is limited.
    pub limits_deactivations: bool,
}

/// What two operations can meet at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Touch {
    /// A resource by its id.
    Resource(String),
    /// A resource that the request creates.
    Created(String),
    /// A name that is unique among resources of a kind, folded.
    Name(Kind, String),
    /// The names of the resources of a kind that exist: a change gives one of them another name, a deletion sets one
    /// free.
    Names(Kind),
    /// Who administers the tenant.
    Administrators,
    /// The number of active users.
    Deactivations,
    /// The versions of groups, which the deletion of a member raises.
    GroupVersions,
}

/// Who touched it last.
#[derive(Default)]
pub(super) struct LastUses {
    changed: Option<usize>,
    mentioned: Vec<usize>,
}

impl LastUses {
    /// Mentions run side by side, changes alone.
    pub(super) fn note_touch(&mut self, unit: usize, changes: bool, after: &mut BTreeSet<usize>) {
        after.extend(self.changed.filter(|changed| *changed != unit));
        if changes {
            after.extend(self.mentioned.drain(..).filter(|mentioned| *mentioned != unit));
            self.changed = Some(unit);
        } else {
            self.mentioned.push(unit);
        }
    }
}

/// What the operations of a request touch.
pub(super) struct Conflicts<'r> {
    rules: &'r TenantRules,
    /// Those who administer the tenant, and those whom the request may make administrators: by id, and by `bulkId`.
    administrators: BTreeSet<String>,
    new_administrators: BTreeSet<String>,
}

impl<'r> Conflicts<'r> {
    /// Reads a request. `references` are the names of new resources that each operation refers to.
    pub(super) fn new(
        operations: &[BulkOperation],
        references: &[BTreeSet<String>],
        rules: &'r TenantRules,
    ) -> Self {
        let mut administrators = rules.administrators.clone();
        let mut new_administrators = BTreeSet::new();
        for (operation, references) in operations.iter().zip(references) {
            let of_administrators = match operation.target.as_ref().map(|target| &target.id) {
                Some(TargetId::Id(id)) => rules.administrators.contains(&id.to_ascii_lowercase()),
                _ => false,
            };
            if let (true, Some(data)) = (of_administrators, operation.data()) {
                administrators.extend(ids_in(data).map(|id| id.to_ascii_lowercase()));
                new_administrators.extend(references.iter().cloned());
            }
        }
        Self { rules, administrators, new_administrators }
    }

    /// What an operation touches, and whether it changes it.
    pub(super) fn touches(
        &self,
        operation: &BulkOperation,
        references: &BTreeSet<String>,
    ) -> Vec<(Touch, bool)> {
        let Ok(action) = &operation.action else { return Vec::new() };
        let mut found: Vec<(Touch, bool)> =
            references.iter().map(|name| (Touch::Created(name.clone()), false)).collect();
        match operation.target.as_ref().map(|target| &target.id) {
            Some(TargetId::Id(id)) => found.push((Touch::Resource(id.to_ascii_lowercase()), true)),
            Some(TargetId::BulkId(name)) => found.push((Touch::Created(name.clone()), true)),
            None => {}
        }
        if let Some(kind) = action.changed_kind() {
            found.extend(self.rule_touches(operation, kind));
        }
        let Some(data) = operation.data() else { return found };
        found.extend(ids_in(data).map(|id| (Touch::Resource(id.to_ascii_lowercase()), false)));
        let kind = match action {
            BulkAction::Create(kind, _) => *kind,
            BulkAction::Replace(target, _) | BulkAction::Modify(target, _) | BulkAction::Delete(target) => {
                target.kind
            }
        };
        // Names that compare as equal fold alike, too. That others also do costs only some haste.
        unique_names(kind, data, &mut |name| found.push((Touch::Name(kind, fold(name)), true)));
        found
    }

    /// What a change or a deletion of a resource of this kind touches besides.
    fn rule_touches(&self, operation: &BulkOperation, kind: Kind) -> Vec<(Touch, bool)> {
        let deletes = matches!(operation.action, Ok(BulkAction::Delete(_)));
        let mentions = |names: &[&str]| operation.data().is_some_and(|data| mentions_any(data, names));
        let mut found = Vec::new();
        if deletes || mentions(naming_attributes(kind)) {
            found.push((Touch::Names(kind), !deletes));
        }
        let is_administrator = match operation.target.as_ref().map(|target| &target.id) {
            Some(TargetId::Id(id)) => self.administrators.contains(&id.to_ascii_lowercase()),
            Some(TargetId::BulkId(name)) => self.new_administrators.contains(name),
            None => false,
        };
        if is_administrator {
            found.push((Touch::Administrators, true));
        }
        if self.rules.limits_deactivations && kind == Kind::User && (deletes || mentions(&["active"])) {
            found.push((Touch::Deactivations, true));
        }
        if deletes || (kind == Kind::Group && operation.version.is_some()) {
            found.push((Touch::GroupVersions, !deletes));
        }
        found
    }
}

/// The attributes that give a resource its name: some policies take it from an email.
const fn naming_attributes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::User => &["username", "emails"],
        Kind::Group => &["displayname"],
    }
}

/// Whether a key or a path in the data has one of these names in it, which are in lower case.
fn mentions_any(data: &Map<String, Value>, names: &[&str]) -> bool {
    let has = |text: &str| {
        let text = text.to_ascii_lowercase();
        names.iter().any(|name| text.contains(name))
    };
    data.iter().any(|(key, value)| {
        has(key)
            || match value {
                Value::String(path) => key.eq_ignore_ascii_case("path") && has(path),
                Value::Object(inner) => mentions_any(inner, names),
                Value::Array(elements) => {
                    elements.iter().filter_map(Value::as_object).any(|element| mentions_any(element, names))
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
