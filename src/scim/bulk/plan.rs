//! The order in which the operations of a Bulk request run (RFC 7644 §3.7, §3.7.3):
//!
//! - An operation that refers to a new resource runs after the operation that creates it.
//! - Operations that can meet at something keep the client's order ([`conflicts`](super::conflicts)).
//! - Creations run side by side with creations alone: what changes or deletes a resource may set free the name that a
//!   creation takes, and a creation may bring back a resource that others name by its id.
//! - All others may run side by side. The result is the same.

use std::collections::{BTreeSet, HashMap};

use super::conflicts::{Conflicts, LastUses, TenantRules, Touch};
use super::references::names;
use super::request::{BulkOperation, BulkRequest, TargetId};
use crate::scim::resource_type::Model;

/// What is done, in an order that satisfies every dependency.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The units; each comes after those that it depends on.
    pub units: Vec<Unit>,
    /// The operation that creates what a `bulkId` names.
    pub creators: HashMap<String, usize>,
    /// The names that each operation refers to, in its data and in its path.
    pub references: Vec<BTreeSet<String>>,
}

/// What is begun as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// One operation, or all that refer to one another in a circle, in the client's order.
    pub operations: Vec<usize>,
    /// Whether the operations refer to one another, or the one to itself (RFC 7644 §3.7.1).
    pub circular: bool,
    /// The units that must have ended before, by their place in the plan.
    pub after: BTreeSet<usize>,
}

impl Plan {
    /// Plans a request. The model tells which attributes refer to resources.
    pub fn new(request: &BulkRequest, model: &Model, rules: &TenantRules) -> Self {
        let operations = &request.operations;
        let mut creators = HashMap::new();
        for (at, operation) in operations.iter().enumerate() {
            if let (true, Some(name)) = (operation.creates(), &operation.bulk_id) {
                creators.entry(name.clone()).or_insert(at);
            }
        }
        let references: Vec<BTreeSet<String>> =
            operations.iter().map(|operation| references(operation, model)).collect();
        let needs: Vec<BTreeSet<usize>> = references
            .iter()
            .map(|names| names.iter().filter_map(|name| creators.get(name).copied()).collect())
            .collect();
        let circles = Circles::of(&needs);
        let mut unit_of = vec![0; operations.len()];
        for (unit, members) in circles.iter().enumerate() {
            for operation in members {
                unit_of[*operation] = unit;
            }
        }
        let conflicts = Conflicts::new(operations, &references, rules);
        let mut touched: HashMap<Touch, LastUses> = HashMap::new();
        let mut phases = Phases::default();
        let mut units = Vec::with_capacity(circles.len());
        for (at, members) in circles.into_iter().enumerate() {
            let mut after = BTreeSet::new();
            for operation in &members {
                after.extend(needs[*operation].iter().map(|needed| unit_of[*needed]));
                for (touch, changes) in conflicts.touches(&operations[*operation], &references[*operation]) {
                    touched.entry(touch).or_default().note_touch(at, changes, &mut after);
                }
                if operations[*operation].action.is_ok() {
                    phases.note(at, operations[*operation].creates(), &mut after);
                }
            }
            // What needs something of its own unit is part of a circle.
            let circular = after.remove(&at);
            units.push(Unit { operations: members, circular, after });
        }
        Self { units, creators, references }
    }
}

/// Which units run before a creation, and which before anything else.
#[derive(Default)]
struct Phases {
    /// Whether the units of the phase create.
    creates: bool,
    units: Vec<usize>,
    /// The units of the phase before.
    before: Vec<usize>,
}

impl Phases {
    fn note(&mut self, unit: usize, creates: bool, after: &mut BTreeSet<usize>) {
        if self.creates != creates {
            self.creates = creates;
            self.before = std::mem::take(&mut self.units);
        }
        self.units.push(unit);
        after.extend(self.before.iter().filter(|before| **before != unit));
    }
}

fn references(operation: &BulkOperation, model: &Model) -> BTreeSet<String> {
    if operation.action.is_err() {
        return BTreeSet::new();
    }
    let mut found = match (operation.data(), operation.subject(model)) {
        (Some(data), Some(subject)) => names(data, subject),
        _ => BTreeSet::new(),
    };
    if let Some(TargetId::BulkId(name)) = operation.target.as_ref().map(|target| &target.id) {
        found.insert(name.clone());
    }
    found
}

/// The strongly connected components of a graph, each after those it needs (R. Tarjan, 1972).
struct Circles<'a> {
    needs: &'a [BTreeSet<usize>],
    /// When each was first met.
    met: Vec<Option<usize>>,
    /// The earliest that each leads back to.
    low: Vec<usize>,
    open: Vec<usize>,
    is_open: Vec<bool>,
    found: Vec<Vec<usize>>,
    clock: usize,
}

impl<'a> Circles<'a> {
    fn of(needs: &'a [BTreeSet<usize>]) -> Vec<Vec<usize>> {
        let count = needs.len();
        let mut circles = Self {
            needs,
            met: vec![None; count],
            low: vec![0; count],
            open: Vec::new(),
            is_open: vec![false; count],
            found: Vec::new(),
            clock: 0,
        };
        for at in 0..count {
            if circles.met[at].is_none() {
                circles.visit(at);
            }
        }
        circles.found
    }

    /// As deep as the longest chain of references, which the limit of operations bounds.
    fn visit(&mut self, at: usize) {
        let met = self.clock;
        self.clock += 1;
        self.met[at] = Some(met);
        self.low[at] = met;
        self.open.push(at);
        self.is_open[at] = true;
        let needs = self.needs;
        for &needed in &needs[at] {
            match self.met[needed] {
                None => {
                    self.visit(needed);
                    self.low[at] = self.low[at].min(self.low[needed]);
                }
                Some(met) if self.is_open[needed] => self.low[at] = self.low[at].min(met),
                Some(_) => {}
            }
        }
        if self.low[at] == met {
            let mut circle = Vec::new();
            while let Some(member) = self.open.pop() {
                self.is_open[member] = false;
                circle.push(member);
                if member == at {
                    break;
                }
            }
            circle.sort_unstable();
            self.found.push(circle);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scim::bulk::request::read;
    use crate::scim::policy::STANDARD;

    const ID: &str = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d5e";

    fn user(bulk_id: &str, name: &str) -> Value {
        json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": { "userName": name } })
    }

    fn group(bulk_id: &str, members: &[&str]) -> Value {
        let members: Vec<_> = members.iter().map(|member| json!({ "value": member })).collect();
        let data = json!({ "displayName": bulk_id, "members": members });
        json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data })
    }

    fn patch(path: &str, operation: &Value) -> Value {
        json!({ "method": "PATCH", "path": path, "data": { "Operations": [operation] } })
    }

    /// `0 1<0 (2 3)<0,1`: units by their operations, and the units that they wait for.
    fn planned(operations: &[Value]) -> String {
        planned_by(operations, &TenantRules::default())
    }

    fn planned_by(operations: &[Value], rules: &TenantRules) -> String {
        let body = json!({ "Operations": operations });
        let request = read(body.as_object().expect("an object"), &STANDARD).expect("a request");
        let list = |numbers: &mut dyn Iterator<Item = usize>, by: &str| {
            numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(by)
        };
        let model = Model::new(&STANDARD, &[]).expect("a model");
        let shown = Plan::new(&request, &model, rules).units.into_iter().map(|unit| {
            let mut text = list(&mut unit.operations.iter().copied(), " ");
            if unit.circular {
                text = format!("({text})");
            }
            if !unit.after.is_empty() {
                text = format!("{text}<{}", list(&mut unit.after.into_iter(), ","));
            }
            text
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    fn assert_plans<const N: usize>(rows: [(&str, Vec<Value>, &str); N]) {
        for (about, operations, expected) in rows {
            assert_eq!(planned(&operations), expected, "{about}");
        }
    }

    #[test]
    fn references_decide_the_order() {
        assert_plans([
            ("independent", vec![user("a", "A"), user("b", "B"), group("g", &[])], "0 1 2"),
            ("backward", vec![user("a", "A"), group("g", &["bulkId:a"])], "0 1<0"),
            ("forward", vec![group("g", &["bulkId:a"]), user("b", "B"), user("a", "A")], "2 0<0 1"),
            (
                "a chain forward",
                vec![group("g", &["bulkId:h"]), group("h", &["bulkId:a"]), user("a", "A")],
                "2 1<0 0<1",
            ),
            (
                "a circle, and what needs it",
                vec![
                    group("g", &["bulkId:h"]),
                    group("h", &["bulkId:g", "bulkId:a"]),
                    group("i", &["bulkId:g"]),
                    user("a", "A"),
                ],
                "3 (0 1)<0 2<1",
            ),
            ("of itself", vec![group("g", &["bulkId:g"])], "(0)"),
            ("an unknown name waits for nothing", vec![group("g", &["bulkId:x"])], "0"),
        ]);
    }

    #[test]
    fn names_and_resources_decide_the_order() {
        let title = json!({ "op": "replace", "path": "title", "value": "t" });
        let rename = |to: &str| json!({ "op": "replace", "path": "userName", "value": to });
        let bare = |to: &str| json!({ "op": "replace", "value": { "USERNAME": to } });
        let join = json!({ "op": "add", "path": "members", "value": [{ "value": ID }] });
        let leave = json!({ "op": "remove", "path": format!("members[value eq \"{ID}\"]") });
        let of_id = format!("/Users/{ID}");
        let delete = |path: &str| json!({ "method": "DELETE", "path": path });
        assert_plans([
            (
                "names that fold alike",
                vec![user("a", "Straße"), user("b", "B"), user("c", "STRASSE")],
                "0 1 2<0",
            ),
            ("names of two kinds", vec![user("a", "x"), group("x", &[])], "0 1"),
            (
                "a rename",
                vec![patch("/Users/1", &rename("A")), user("a", "a"), patch("/Users/2", &bare("A"))],
                "0 1<0 2<0,1",
            ),
            (
                "creations run beside creations alone",
                vec![
                    user("a", "A"),
                    patch("/Users/1", &title),
                    group("g", &[]),
                    user("b", "B"),
                    delete("/Users/2"),
                ],
                "0 1<0 2<1 3<1 4<2,3",
            ),
            (
                "one resource",
                vec![patch("/Users/1", &title), patch("/Users/2", &title), delete("/Users/1")],
                "0 1 2<0",
            ),
            (
                "a path by bulkId",
                vec![
                    patch("/Users/bulkId:a", &title),
                    user("a", "A"),
                    delete("/Users/bulkId:a"),
                    group("g", &["bulkId:a"]),
                ],
                "1 0<0 2<0,1 3<0,1,2",
            ),
            (
                "mentions run side by side, changes alone",
                vec![
                    patch("/Groups/1", &join),
                    patch("/Groups/2", &leave),
                    delete(&of_id),
                    patch("/Groups/3", &join),
                ],
                "0 1 2<0,1 3<2",
            ),
        ]);
    }

    #[test]
    fn whatever_may_set_a_name_free_keeps_its_order() {
        let rename = |to: Value| json!({ "op": "replace", "path": "userName", "value": to });
        let email = json!({ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "A" });
        let title = json!({ "op": "replace", "path": "title", "value": "t" });
        let delete = |path: &str| json!({ "method": "DELETE", "path": path });
        let put =
            |path: &str, name: &str| json!({ "method": "PUT", "path": path, "data": { "userName": name } });
        let with_email = |bulk_id: &str, value: &str| {
            let mut user = user(bulk_id, bulk_id);
            user["data"]["emails"] = json!([{ "type": "work", "value": value }]);
            user
        };
        assert_plans([
            (
                "a name that another one gives up later",
                vec![patch("/Users/1", &rename("a".into())), patch("/Users/2", &rename("b".into()))],
                "0 1<0",
            ),
            (
                "a wrapped name, and an email",
                vec![
                    patch("/Users/1", &rename(json!([{ "$ref": null, "value": "a" }]))),
                    patch("/Users/2", &email),
                    patch("/Users/3", &title),
                ],
                "0 1<0 2",
            ),
            (
                "deletions side by side, a new name alone",
                vec![delete("/Users/1"), delete("/Users/2"), put("/Users/3", "a"), delete("/Users/4")],
                "0 1 2<0,1 3<2",
            ),
            ("of another kind", vec![delete("/Groups/1"), put("/Users/2", "a")], "0 1"),
            (
                "creations with one email",
                vec![with_email("a", "x"), with_email("b", "y"), with_email("c", "X")],
                "0 1 2<0",
            ),
        ]);
    }

    #[test]
    fn the_rules_of_a_tenant_decide_the_order() {
        const ROOT: &str = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d00";
        let delete = |path: &str| json!({ "method": "DELETE", "path": path });
        let active = json!({ "op": "replace", "path": "active", "value": false });
        let join = json!({ "op": "add", "path": "members", "value": [{ "value": ID }] });
        let operations = [
            patch(&format!("/Groups/{ROOT}"), &join),
            delete("/Users/admin"),
            delete("/Users/1"),
            delete(&format!("/Users/{ID}")),
            patch("/Users/2", &active),
        ];
        let administrators = BTreeSet::from([ROOT.to_owned(), "admin".to_owned()]);
        let rules = TenantRules { administrators: administrators.clone(), limits_deactivations: false };
        assert_eq!(planned_by(&operations, &rules), "0 1<0 2 3<0,1 4");
        let rules = TenantRules { administrators, limits_deactivations: true };
        assert_eq!(planned_by(&operations, &rules), "0 1<0 2<1 3<0,1,2 4<3");
        let versioned = |path: &str| {
            let mut operation = patch(path, &join);
            operation["version"] = "W/\"1\"".into();
            operation
        };
        assert_plans([(
            "a deletion raises the versions of groups",
            vec![delete("/Users/1"), versioned("/Groups/2"), patch("/Groups/3", &join), delete("/Users/4")],
            "0 1<0 2 3<1",
        )]);
    }

    #[test]
    fn the_longest_chain_is_planned() {
        let groups: Vec<Value> =
            (0..1000).map(|at| group(&format!("g{at}"), &[&format!("bulkId:g{}", at + 1)])).collect();
        assert!(planned(&groups).ends_with(" 0<998"));
    }
}
