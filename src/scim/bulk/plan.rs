//! The order in which the operations of a Bulk request run (RFC 7644 §3.7, §3.7.3):
//!
//! - An operation that refers to a new resource runs after the operation that creates it.
//! - Operations that can meet at something keep the client's order ([`conflicts`](super::conflicts)).
//! - All others may run side by side. The result is the same.

use std::collections::{BTreeSet, HashMap};

use super::conflicts::{Conflicts, LastUses, TenantState, Touch, Use};
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
    pub fn new(request: &BulkRequest, model: &Model, state: &TenantState) -> Self {
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
        let mut conflicts = Conflicts::new(operations, &references, state);
        // An operation that refers to a later creation gives its own place up, so nothing there waits for it.
        let (mut touches, mut touches_at_first) = (Vec::new(), Vec::new());
        for (at, (operation, references)) in operations.iter().zip(&references).enumerate() {
            let is_later = |name: &&str| creators.get(*name).is_some_and(|creator| *creator > at);
            let later: BTreeSet<&str> = references.iter().map(String::as_str).filter(is_later).collect();
            let all = conflicts.touches(operation, references, &BTreeSet::new());
            touches_at_first.push(match later.is_empty() {
                true => all.clone(),
                false => conflicts.touches(operation, references, &later),
            });
            touches.push(all);
        }
        let needed = |unit: usize| {
            let needed = circles[unit].iter().flat_map(|operation| &needs[*operation]);
            needed.map(|operation| unit_of[*operation]).filter(move |other| *other != unit)
        };
        let needs_of: Vec<BTreeSet<usize>> = (0..circles.len()).map(|unit| needed(unit).collect()).collect();
        let in_order = (0..operations.len()).map(|operation| (unit_of[operation], operation));
        let wanted = wait_for(circles.len(), in_order, &touches_at_first);
        let order = arrange(&circles, &needs_of, &wanted);
        let mut place = vec![0; order.len()];
        for (at, unit) in order.iter().enumerate() {
            place[*unit] = at;
        }
        let arranged = order.iter().enumerate();
        let arranged =
            arranged.flat_map(|(at, unit)| circles[*unit].iter().map(move |operation| (at, *operation)));
        let mut after = wait_for(order.len(), arranged, &touches);
        let units = order.iter().enumerate().map(|(at, unit)| {
            let mut after = std::mem::take(&mut after[at]);
            after.extend(needs_of[*unit].iter().map(|needed| place[*needed]));
            let operations = circles[*unit].clone();
            let circular = operations
                .iter()
                .any(|operation| needs[*operation].iter().any(|needed| unit_of[*needed] == *unit));
            Unit { operations, circular, after }
        });
        Self { units: units.collect(), creators, references }
    }

    /// Whether the operations are in the client's order.
    pub fn keeps_order(&self) -> bool {
        self.units.iter().flat_map(|unit| &unit.operations).is_sorted()
    }
}

/// For every unit, those that it must wait for, because an operation of theirs touches the same. `operations` are pairs of
/// a unit and an operation, in the order to keep.
fn wait_for(
    units: usize,
    operations: impl Iterator<Item = (usize, usize)>,
    touches: &[Vec<(Touch, Use)>],
) -> Vec<BTreeSet<usize>> {
    let mut after = vec![BTreeSet::new(); units];
    let mut last: HashMap<&Touch, LastUses> = HashMap::new();
    for (unit, operation) in operations {
        for (touch, way) in &touches[operation] {
            last.entry(touch).or_default().note(unit, *way, &mut after[unit]);
        }
    }
    after
}

/// The units in the client's order, as far as what they need allows. Each comes after those that it needs, and after
/// those that it should wait for (`wanted`) unless these need it.
fn arrange(circles: &[Vec<usize>], needs: &[BTreeSet<usize>], wanted: &[BTreeSet<usize>]) -> Vec<usize> {
    // Ordered by the first operation of each.
    let mut left: BTreeSet<(usize, usize)> = circles
        .iter()
        .enumerate()
        .map(|(unit, members)| (members.first().copied().unwrap_or(0), unit))
        .collect();
    let mut is_placed = vec![false; circles.len()];
    let mut order = Vec::with_capacity(circles.len());
    while let Some(first) = left.first().copied() {
        let is_free = |unit: usize| needs[unit].iter().chain(&wanted[unit]).all(|other| is_placed[*other]);
        let mut next = left.iter().copied().find(|(_, unit)| is_free(*unit)).unwrap_or(first);
        // What the next one needs stands behind something that waits for it: it is brought forward.
        let first_of = |unit: usize| (circles[unit].first().copied().unwrap_or(0), unit);
        while let Some(needed) =
            needs[next.1].iter().copied().filter(|needed| !is_placed[*needed]).map(first_of).min()
        {
            next = needed;
        }
        left.remove(&next);
        is_placed[next.1] = true;
        order.push(next.1);
    }
    order
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
mod tests;
