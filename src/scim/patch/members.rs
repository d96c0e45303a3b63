//! PATCH of a group's members, as a change that need not know them all (RFC 7644 §3.5.2).
//!
//! A group may have a hundred thousand members, and a PATCH may add one. So not all members are read: the steps
//! name the members that they touch, the caller reads these, and [`MemberChange::net`] replays the steps.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::member_filter::{by_id, ids, is_list_of_ids, is_same, names_type};
use super::request::{PatchOp, PatchStep};
use super::select::{Selector, equal_terms};
use crate::scim::error::ScimError;
use crate::scim::faults::Faults;
use crate::scim::filter::ast::Filter;
use crate::scim::members::{MEMBERS, Member, parse};
use crate::scim::note_texts::Rule;
use crate::scim::policy::{Policy, STANDARD};
use crate::scim::resource_type::{AttributeTarget, Kind, ResourceType};
use crate::scim::values::{is_unassigned, lists_nothing};
use crate::scim::work::WorkBudget;

/// The sub-attribute that says what a member is.
const TYPE: &str = "type";

/// What it takes to make a member an element that a filter can be put to.
const STEPS_PER_MEMBER: u64 = 8;

/// The members that the steps of one PATCH are about.
#[derive(Debug)]
pub struct MemberChange<'a> {
    groups: &'a ResourceType,
    policy: &'a Policy,
    steps: Vec<MemberStep>,
}

#[derive(Debug)]
enum MemberStep {
    Add(Vec<Member>),
    Remove(Vec<String>),
    Replace(Vec<Member>),
    Select(Box<ValuePath>),
}

/// A step on the members that a filter selects.
#[derive(Debug)]
struct ValuePath {
    op: PatchOp,
    filter: Filter,
    selector: Selector,
    /// The only ids that the filter can select, where it says so.
    ids: Option<BTreeSet<String>>,
    sub: Option<String>,
    value: Option<Value>,
    /// The only members that a `remove` takes away, where it lists them.
    listed: Option<BTreeSet<String>>,
}

/// Whose membership must be known before the net change can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersToRead {
    /// Everyone's.
    All,
    /// Theirs.
    Ids(BTreeSet<String>),
}

/// The net change: the members become what they are, plus and minus these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Net {
    /// Not members yet, in the order of their ids.
    pub add: Vec<Member>,
    /// Members now, in the order of their ids.
    pub remove: Vec<String>,
}

impl Net {
    /// How many come and go.
    pub fn len(&self) -> usize {
        self.add.len() + self.remove.len()
    }

    /// Whether no member does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> MemberChange<'a> {
    /// Reads the steps on `members` among those of a PATCH; others are passed over.
    ///
    /// # Errors
    /// One error names the faults of all steps: `invalidValue` for members without an id, `mutability` for changes within a member, 413 for
    /// more work than the budget holds.
    pub fn read(
        steps: &[PatchStep],
        groups: &'a ResourceType,
        policy: &'a Policy,
        work: &WorkBudget,
    ) -> Result<Self, ScimError> {
        let own = steps.iter().filter(|step| step.attribute() == Some(MEMBERS));
        let (mut steps, mut faults) = (Vec::new(), Faults::default());
        for step in own {
            steps.extend(faults.keep(MemberStep::read(step, groups, policy, work))?);
        }
        faults.finish()?;
        Ok(Self { groups, policy, steps })
    }

    /// The members of a group that is replaced as a whole (RFC 7644 §3.5.1).
    pub fn replace(members: Vec<Member>, groups: &'a ResourceType, policy: &'a Policy) -> Self {
        Self { groups, policy, steps: vec![MemberStep::Replace(members)] }
    }

    /// Whether no step is about members.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whose membership [`MemberChange::net`] must be given.
    pub fn members_to_read(&self) -> MembersToRead {
        let mut touched = BTreeSet::new();
        for step in &self.steps {
            match step {
                MemberStep::Add(members) => touched.extend(members.iter().map(|member| member.id.clone())),
                MemberStep::Remove(ids) => touched.extend(ids.iter().cloned()),
                MemberStep::Select(path) => match &path.ids {
                    Some(ids) => touched.extend(ids.iter().cloned()),
                    None => return MembersToRead::All,
                },
                MemberStep::Replace(_) => return MembersToRead::All,
            }
        }
        MembersToRead::Ids(touched)
    }

    /// Who may come, and what each is taken for until it is found: what the client says it is, or
    /// a user. Those that a value path makes are not among them.
    pub fn newcomers(&self) -> BTreeMap<&str, Kind> {
        let lists = self.steps.iter().filter_map(|step| match step {
            MemberStep::Add(members) | MemberStep::Replace(members) => Some(members),
            MemberStep::Remove(_) | MemberStep::Select(_) => None,
        });
        lists.flatten().map(|member| (member.id.as_str(), member.taken_for())).collect()
    }

    /// The members that a step adds and of which a later step asks what they are, by id. Each has the kind that the
    /// client sent, or `User` if it sent none. It is empty unless a filter or a value names `type`.
    pub fn members_to_identify(&self, work: &WorkBudget) -> BTreeMap<String, Kind> {
        let (mut added, mut asked) = (BTreeMap::new(), BTreeMap::new());
        let asks = |step: &MemberStep| matches!(step, MemberStep::Select(path) if path.asks_for_kind());
        let count = self.steps.iter().rposition(asks).map_or(0, |last| last + 1);
        for step in self.steps.iter().take(count) {
            let members = match step {
                MemberStep::Add(members) => Cow::Borrowed(members),
                MemberStep::Replace(members) => {
                    added.clear();
                    Cow::Borrowed(members)
                }
                MemberStep::Remove(_) => continue,
                MemberStep::Select(path) => {
                    match (path.asks_for_kind(), &path.ids) {
                        (true, Some(ids)) => asked.extend(ids.iter().filter_map(|id| added.remove_entry(id))),
                        (true, None) => asked.append(&mut added),
                        (false, _) => {}
                    }
                    Cow::Owned(path.member_to_make((self.groups, self.policy), work))
                }
            };
            added.extend(members.iter().map(|member| (member.id.clone(), member.taken_for())));
        }
        asked
    }

    /// The net change if those that the steps add are not members, and those that they remove are. `None`
    /// if the steps alone do not tell it: they use a filter, replace all members, or add and remove the same
    /// member.
    pub fn net_by_ids(&self) -> Option<Net> {
        let (mut add, mut remove) = (BTreeMap::new(), BTreeSet::new());
        for step in &self.steps {
            match step {
                MemberStep::Add(members) => {
                    for member in members {
                        add.entry(member.id.as_str()).or_insert(member);
                    }
                }
                MemberStep::Remove(ids) => remove.extend(ids.iter().cloned()),
                MemberStep::Replace(_) | MemberStep::Select(_) => return None,
            }
        }
        let is_disjoint = !add.keys().any(|id| remove.contains(*id));
        is_disjoint
            .then(|| Net { add: add.into_values().cloned().collect(), remove: remove.into_iter().collect() })
    }

    /// Replays the steps over the members that are touched, of whom `current` holds, by id, those
    /// that are members now. `kinds` says what the [`MemberChange::members_to_identify`] are that are not members now. A
    /// set knows no duplicates: adding a member again changes nothing, another `display` included, even if an earlier step
    /// removes the member. Nor does removing one who is not there.
    ///
    /// # Errors
    /// - `mutability` for a change within a member
    /// - `noTarget` for a `replace` that selects no member, under `strict`
    /// - 413 for more work than the budget allows
    pub fn net(
        &self,
        current: &BTreeMap<String, Member>,
        kinds: &BTreeMap<String, Kind>,
        work: &WorkBudget,
    ) -> Result<Net, ScimError> {
        let mut replay = Replay { members: current.clone(), current, kinds };
        for step in &self.steps {
            match step {
                MemberStep::Add(more) => more.iter().for_each(|member| replay.add(member)),
                MemberStep::Remove(ids) => {
                    for id in ids {
                        replay.members.remove(id);
                    }
                }
                MemberStep::Replace(all) => replay.replace(all),
                MemberStep::Select(path) => path.apply(&mut replay, (self.groups, self.policy), work)?,
            }
        }
        let members = replay.members;
        let remove = current.keys().filter(|id| !members.contains_key(*id)).cloned().collect();
        let add = members.into_values().filter(|member| !current.contains_key(&member.id)).collect();
        Ok(Net { add, remove })
    }
}

/// The members while the steps are replayed.
struct Replay<'r> {
    members: BTreeMap<String, Member>,
    /// The members before the first step.
    current: &'r BTreeMap<String, Member>,
    /// What others are, as far as it was asked.
    kinds: &'r BTreeMap<String, Kind>,
}

impl Replay<'_> {
    fn add(&mut self, member: &Member) {
        if !self.members.contains_key(&member.id) {
            self.members.insert(member.id.clone(), self.with_known_kind(member));
        }
    }

    fn replace(&mut self, all: &[Member]) {
        let mut before = std::mem::take(&mut self.members);
        for member in all {
            let kept = before.remove(&member.id).unwrap_or_else(|| self.with_known_kind(member));
            self.members.insert(member.id.clone(), kept);
        }
    }

    /// A member with the kind that the table has. What the client calls it counts only if that is not known.
    fn with_known_kind(&self, member: &Member) -> Member {
        let own = self.current.get(&member.id).and_then(|member| member.kind);
        let kind = own.or_else(|| self.kinds.get(&member.id).copied()).or(member.kind);
        Member { kind, ..member.clone() }
    }
}

impl MemberStep {
    fn read(
        step: &PatchStep,
        groups: &ResourceType,
        policy: &Policy,
        work: &WorkBudget,
    ) -> Result<Self, ScimError> {
        let value = step.value.as_ref().filter(|value| !value.is_null());
        let members = |value: Option<&Value>| match value {
            Some(value) => parse(value, groups, policy, work),
            None => Ok(Vec::new()),
        };
        if let Some(filter) = &step.filter {
            let filter = by_id(filter)?;
            let ids = ids(&filter);
            let lists = step.op == PatchOp::Remove && step.sub.is_none();
            let listed = match value.filter(|value| lists && !lists_nothing(value)) {
                Some(one @ Value::Object(_)) => {
                    Some(parse(&Value::Array(vec![one.clone()]), groups, policy, work)?)
                }
                Some(value) => Some(parse(value, groups, policy, work)?),
                None => None,
            };
            let listed: Option<BTreeSet<String>> =
                listed.map(|members| members.into_iter().map(|member| member.id).collect());
            // `members[value eq "a" or value eq "b"]` selects by id alone: no member is looked at.
            if step.op == PatchOp::Remove
                && step.sub.is_none()
                && let (Some(ids), true) = (&ids, is_list_of_ids(&filter))
            {
                let goes = |id: &&String| listed.as_ref().is_none_or(|listed| listed.contains(*id));
                return Ok(Self::Remove(ids.iter().filter(goes).cloned().collect()));
            }
            let Some(attribute) = groups.core_attribute(MEMBERS) else { return Ok(Self::Add(Vec::new())) };
            let target = AttributeTarget { extension: None, attribute, sub: None };
            return Ok(Self::Select(Box::new(ValuePath {
                op: step.op,
                selector: Selector::new(&filter, target, groups, policy)?,
                filter,
                ids,
                sub: step.sub.clone(),
                value: value
                    .filter(|value| !is_unassigned(value))
                    .map(|value| unwrap_one(value, policy))
                    .cloned(),
                listed,
            })));
        }
        if step.sub.is_some() {
            return Err(immutable());
        }
        Ok(match (step.op, value) {
            // One member needs no array to be added, or taken away, under any policy.
            (PatchOp::Add | PatchOp::Remove, Some(one @ Value::Object(_))) => {
                let one = parse(&Value::Array(vec![one.clone()]), groups, policy, work)?;
                match step.op {
                    PatchOp::Add => Self::Add(one),
                    _ => Self::Remove(one.into_iter().map(|member| member.id).collect()),
                }
            }
            (PatchOp::Add, value) => Self::Add(members(value)?),
            (PatchOp::Replace, value) => Self::Replace(members(value)?),
            // Microsoft Entra ID lists who is to go; without a list everyone is.
            (PatchOp::Remove, Some(value)) => {
                Self::Remove(members(Some(value))?.into_iter().map(|member| member.id).collect())
            }
            (PatchOp::Remove, None) => Self::Replace(Vec::new()),
        })
    }
}

impl ValuePath {
    /// Whether the step depends on what members are.
    fn asks_for_kind(&self) -> bool {
        let of_value = || match &self.value {
            Some(Value::Object(value)) => value.keys().any(|name| name.eq_ignore_ascii_case(TYPE)),
            _ => false,
        };
        names_type(&self.filter) || self.sub.as_deref() == Some(TYPE) || of_value()
    }

    fn apply(
        &self,
        replay: &mut Replay<'_>,
        rules: (&ResourceType, &Policy),
        work: &WorkBudget,
    ) -> Result<(), ScimError> {
        let members = &mut replay.members;
        let asked: Vec<&Member> = match &self.ids {
            Some(ids) => ids.iter().filter_map(|id| members.get(id)).collect(),
            None => members.values().collect(),
        };
        work.spend(STEPS_PER_MEMBER * asked.len() as u64)?;
        let mut selected: Vec<String> = Vec::new();
        for member in asked {
            if self.selector.matches(&Value::Object(member.element()), work)? {
                selected.push(member.id.clone());
            }
        }
        if self.op == PatchOp::Replace && selected.is_empty() && !rules.1.replace_creates {
            return Err(self.no_target(rules.0, work));
        }
        match (self.op, &self.sub, &self.value) {
            (PatchOp::Remove, None, _) | (PatchOp::Replace, None, None) => {
                for id in selected {
                    if self.listed.as_ref().is_none_or(|listed| listed.contains(&id)) {
                        members.remove(&id);
                    }
                }
                return Ok(());
            }
            (PatchOp::Remove, Some(sub), _) | (_, Some(sub), None) => {
                let assigned = selected
                    .iter()
                    .filter_map(|id| members.get(id))
                    .any(|member| sub == "$ref" || member.element().contains_key(sub));
                return if assigned { Err(immutable()) } else { Ok(()) };
            }
            _ => {}
        }
        let Some(wanted) = self.wanted() else { return Ok(()) };
        if selected.is_empty() {
            self.describe(&wanted, rules, work)?.iter().for_each(|member| replay.add(member));
            return Ok(());
        }
        // What is wrong with the value is wrong with it for each of them.
        let first = selected.first().and_then(|id| members.get(id)).map(Member::element).unwrap_or_default();
        let read = read_member(first, &wanted, rules, work)?;
        let same = |id: &String| members.get(id).is_some_and(|member| is_same(member, &wanted, &read));
        if selected.iter().all(same) { Ok(()) } else { Err(immutable()) }
    }

    /// The value that an `add` or a `replace` has for a member.
    fn wanted(&self) -> Option<Value> {
        let value = self.value.clone().filter(|_| self.op != PatchOp::Remove)?;
        Some(match &self.sub {
            Some(sub) => Value::Object(Map::from_iter([(sub.clone(), value)])),
            None => value,
        })
    }

    /// The member that the step makes if its filter selects none, if it can make one.
    fn member_to_make(&self, rules: (&ResourceType, &Policy), work: &WorkBudget) -> Vec<Member> {
        let Some(wanted) = self.wanted() else { return Vec::new() };
        work.try_out(|work| self.describe(&wanted, rules, work)).unwrap_or_default()
    }

    /// The refusal of a filter that selects no member. It names the tenant's policy if the policy standard accepts the step.
    fn no_target(&self, groups: &ResourceType, work: &WorkBudget) -> ScimError {
        let detail =
            "The filter on members selects no member. Use add to add one, or name a member of the group.";
        let refusal = ScimError::no_target(detail);
        let makes =
            |wanted: Value| work.try_out(|work| self.describe(&wanted, (groups, &STANDARD), work)).is_ok();
        let is_accepted = match self.wanted() {
            None => true,
            Some(wanted) => equal_terms(&self.filter).is_some() && makes(wanted),
        };
        if is_accepted { refusal.by(Rule::Target, MEMBERS) } else { refusal }
    }

    /// The member that the filter and the value describe (RFC 7644 §3.5.2.3).
    fn describe(
        &self,
        wanted: &Value,
        rules: (&ResourceType, &Policy),
        work: &WorkBudget,
    ) -> Result<Vec<Member>, ScimError> {
        let terms = equal_terms(&self.filter);
        let (Some(element), true) = (terms, self.op == PatchOp::Add || rules.1.replace_creates) else {
            return Err(self.no_target(rules.0, work));
        };
        let members = read_member(element, wanted, rules, work)?;
        let is_another = |member: &Member| self.ids.as_ref().is_some_and(|ids| !ids.contains(&member.id));
        if members.iter().any(is_another) {
            return Err(ScimError::invalid_value("The value names another member than its path does."));
        }
        Ok(members)
    }
}

/// Reads an element, with what a step says of it, as the value of `members` is read. So its errors are the same.
fn read_member(
    mut element: Map<String, Value>,
    wanted: &Value,
    (groups, policy): (&ResourceType, &Policy),
    work: &WorkBudget,
) -> Result<Vec<Member>, ScimError> {
    let element = match wanted {
        Value::Object(wanted) => {
            for (name, value) in wanted {
                // Without an id in the value, the path says which member it is.
                if !(name.eq_ignore_ascii_case("value") && is_unassigned(value)) {
                    element.retain(|key, _| !key.eq_ignore_ascii_case(name));
                    element.insert(name.clone(), value.clone());
                }
            }
            Value::Object(element)
        }
        Value::String(id) if policy.tolerant => {
            element.insert("value".to_owned(), id.as_str().into());
            Value::Object(element)
        }
        other => other.clone(),
    };
    parse(&Value::Array(vec![element]), groups, policy, work)
}

/// Microsoft Entra ID wraps one value into an array.
fn unwrap_one<'v>(value: &'v Value, policy: &Policy) -> &'v Value {
    match value {
        Value::Array(elements) if policy.tolerant => match elements.as_slice() {
            [one] => one,
            _ => value,
        },
        _ => value,
    }
}

fn immutable() -> ScimError {
    ScimError::mutability("A member cannot be changed: remove it, and add it again in the next request.")
}

#[cfg(test)]
mod tests;
