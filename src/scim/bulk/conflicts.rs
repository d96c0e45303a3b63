//! What operations of a Bulk request can meet at, so that their order matters (RFC 7644 §3.7).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::references::each_text;
use super::request::{BulkAction, BulkOperation, BulkRequest, TargetId};
use crate::limits::MAX_BULK_OPERATION_NAMES;
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
    /// A resource, or several that may have the same name one after the other, by its number in [`Things`].
    Thing(usize),
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

/// A resource or a name, as an operation names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    /// A resource by its id, in lower case.
    Resource(String),
    /// A resource that the request creates, by its `bulkId`.
    Created(String),
    /// A name.
    Name(Name),
}

/// Which resources and names count as one: a name, the resource that holds it, and the resources that the request gives it
/// to. One of these may set the name free for another, and a creation may bring a deactivated account of the name back.
#[derive(Default)]
struct Things {
    number_of: HashMap<Node, usize>,
    /// What each is joined to; itself at the end.
    joined_to: Vec<usize>,
}

impl Things {
    /// The number of what a resource or a name belongs to.
    fn number(&mut self, node: Node) -> usize {
        let next = self.joined_to.len();
        let mut at = *self.number_of.entry(node).or_insert(next);
        if at == next {
            self.joined_to.push(next);
        }
        while self.joined_to[at] != at {
            self.joined_to[at] = self.joined_to[self.joined_to[at]];
            at = self.joined_to[at];
        }
        at
    }

    fn join(&mut self, one: Node, other: Node) {
        let (one, other) = (self.number(one), self.number(other));
        self.joined_to[one] = other;
    }
}

/// What the operations of a request touch.
pub(super) struct Conflicts<'r> {
    state: &'r TenantState,
    things: Things,
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
        let mut things = Things::default();
        for (name, holder) in &state.holders {
            things.join(Node::Name(name.clone()), Node::Resource(holder.clone()));
        }
        for (operation, references) in operations.iter().zip(references) {
            if let (Some(node), Some(names)) = (own_node(operation), given_names(operation, state)) {
                for name in names {
                    things.join(Node::Name(name), node.clone());
                }
            }
            let of_administrators = match operation.target.as_ref().map(|target| &target.id) {
                Some(TargetId::Id(id)) => state.administrators.contains(&id.to_ascii_lowercase()),
                _ => false,
            };
            if let (true, Some(data)) = (of_administrators, operation.data()) {
                administrators.extend(ids_in(data).map(|id| id.to_ascii_lowercase()));
                new_administrators.extend(references.iter().cloned());
            }
        }
        Self { state, things, administrators, new_administrators }
    }

    /// What an operation touches, and how, but for the new resources that only `later` operations create.
    pub(super) fn touches(
        &mut self,
        operation: &BulkOperation,
        references: &BTreeSet<String>,
        later: &BTreeSet<&str>,
    ) -> Vec<(Touch, Use)> {
        if operation.action.is_err() {
            return Vec::new();
        }
        let mut found: Vec<(Node, Use)> =
            references.iter().map(|name| (Node::Created(name.clone()), Use::Mention)).collect();
        found.extend(own_node(operation).map(|node| (node, Use::Change)));
        if let Some(data) = operation.data() {
            found.extend(ids_in(data).map(|id| (Node::Resource(id.to_ascii_lowercase()), Use::Mention)));
        }
        let given = given_names(operation, self.state);
        found.retain(|(node, _)| !matches!(node, Node::Created(name) if later.contains(name.as_str())));
        let mut touches = self.names_touch(operation, given.as_ref());
        found.extend(given.into_iter().flatten().map(|name| (Node::Name(name), Use::Change)));
        touches.extend(found.into_iter().map(|(node, way)| (Touch::Thing(self.things.number(node)), way)));
        touches.extend(self.rule_touches(operation));
        touches
    }

    /// Whether an operation may meet any other that is about names, which are `None` if it gives too many.
    fn names_touch(&self, operation: &BulkOperation, given: Option<&BTreeSet<Name>>) -> Vec<(Touch, Use)> {
        let Some(kind) = operation.kind() else { return Vec::new() };
        // The name may become one of the emails that the user has.
        let follows =
            self.state.names_follow_emails && kind == Kind::User && is_patch_of(operation, "emails");
        let way = match given {
            None => Use::Change,
            Some(_) if follows => Use::Change,
            Some(names) if !names.is_empty() => Use::Mention,
            // A deletion and a deactivation set a name free.
            _ if operation.data().is_none_or(|data| mentions(data, "active")) => Use::Mention,
            _ => return Vec::new(),
        };
        vec![(Touch::Names(kind), way)]
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
        if deletes && kind == Kind::Group && operation.version.is_some() {
            found.push((Touch::GroupVersions, Use::Change));
        } else if deletes {
            found.push((Touch::GroupVersions, Use::Mention));
        } else if kind == Kind::Group && operation.version.is_some() {
            found.push((Touch::GroupVersions, Use::Condition));
        }
        found
    }
}

/// The names that a request gives to resources, with a text of each as it was sent. None if nothing in the request could
/// meet their holders: no operation names a resource by its id. `names_follow_emails` is that of [`TenantState`].
pub fn names(request: &BulkRequest, names_follow_emails: bool) -> BTreeMap<Name, String> {
    let names_id = |operation: &BulkOperation| {
        let target = operation.target.as_ref().map(|target| &target.id);
        matches!(target, Some(TargetId::Id(_)))
            || operation.data().is_some_and(|data| ids_in(data).next().is_some())
    };
    if !request.operations.iter().any(names_id) {
        return BTreeMap::new();
    }
    let given = request.operations.iter().filter_map(|one| texts_of_names(one, names_follow_emails));
    given.flatten().collect()
}

/// The names that an operation gives. Names that compare as equal fold alike, too. `None` if they are more than
/// [`MAX_BULK_OPERATION_NAMES`].
fn given_names(operation: &BulkOperation, state: &TenantState) -> Option<BTreeSet<Name>> {
    Some(texts_of_names(operation, state.names_follow_emails)?.into_keys().collect())
}

/// The same, each with a text of it as it was sent.
fn texts_of_names(operation: &BulkOperation, names_follow_emails: bool) -> Option<BTreeMap<Name, String>> {
    let mut found = BTreeMap::new();
    let (Ok(_), Some(kind), Some(data)) = (&operation.action, operation.kind(), operation.data()) else {
        return Some(found);
    };
    let mut texts = 0;
    // A creation and a PUT have the name itself, too.
    let from_emails = names_follow_emails && is_patch_of(operation, "emails");
    unique_names(naming_attributes(kind, from_emails), data, &mut |name| {
        texts += 1;
        if texts <= MAX_BULK_OPERATION_NAMES {
            found.entry((kind, fold(name))).or_insert_with(|| name.to_owned());
        }
    });
    (texts <= MAX_BULK_OPERATION_NAMES).then_some(found)
}

/// The resource that an operation changes or creates, if another one can name it.
fn own_node(operation: &BulkOperation) -> Option<Node> {
    match operation.target.as_ref().map(|target| &target.id) {
        Some(TargetId::Id(id)) => Some(Node::Resource(id.to_ascii_lowercase())),
        Some(TargetId::BulkId(name)) => Some(Node::Created(name.clone())),
        None => operation.bulk_id.clone().filter(|_| operation.creates()).map(Node::Created),
    }
}

/// Whether an operation is a PATCH that has this attribute in a path or a key, in lower case.
fn is_patch_of(operation: &BulkOperation, attribute: &str) -> bool {
    matches!(&operation.action, Ok(BulkAction::Modify(_, data)) if mentions(data, attribute))
}

/// The attributes that give a resource its name, in lower case: some policies take that of a user from an email.
const fn naming_attributes(kind: Kind, from_emails: bool) -> &'static [&'static str] {
    match (kind, from_emails) {
        (Kind::User, true) => &["username", "emails"],
        (Kind::User, false) => &["username"],
        (Kind::Group, _) => &["displayname"],
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

/// The texts that a resource or a PATCH gives to these attributes, which are in lower case.
fn unique_names(naming: &[&str], object: &Map<String, Value>, call: &mut impl FnMut(&str)) {
    let is_naming = |path: &str| {
        let name = path.trim().to_ascii_lowercase();
        naming.iter().any(|naming| {
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
            Value::Object(inner) => unique_names(naming, inner, call),
            Value::Array(elements) => elements
                .iter()
                .filter_map(Value::as_object)
                .for_each(|element| unique_names(naming, element, call)),
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
