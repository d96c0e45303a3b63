//! What a request costs at the table: calls, rounds and capacity units.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The cost of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Calls to DynamoDB.
    pub calls: u32,
    /// The longest chain of calls that followed one another.
    pub rounds: u32,
    /// Read units as DynamoDB reports them.
    pub read_units: f64,
    /// Write units as DynamoDB reports them.
    pub write_units: f64,
}

/// How many changes the rules of the tenant refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleRefusals {
    /// The rules about who administers the tenant.
    pub admin_rule: u32,
    /// The deactivation limit.
    pub deactivation_limit: u32,
}

/// Counts what one request costs.
///
/// The round of a call is the latest finished round, plus one, when the call begins. So calls that run
/// side by side share a round, whichever ends first.
#[derive(Debug, Default)]
pub struct Meter {
    state: Mutex<MeterState>,
}

#[derive(Debug, Default)]
struct MeterState {
    usage: Usage,
    refusals: RuleRefusals,
    /// The latest round that is finished.
    finished_round: u32,
}

/// Whether a call's units are read or write units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Read units.
    Read,
    /// Write units.
    Write,
}

impl Meter {
    /// Counts a call that begins. Returns its round.
    pub fn begin(&self) -> u32 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.usage.calls += 1;
        let round = state.finished_round + 1;
        state.usage.rounds = state.usage.rounds.max(round);
        round
    }

    /// Counts the units of a call of this round that has ended.
    pub fn end(&self, round: u32, direction: Direction, units: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.finished_round = state.finished_round.max(round);
        match direction {
            Direction::Read => state.usage.read_units += units,
            Direction::Write => state.usage.write_units += units,
        }
    }

    /// Counts refusals of rules.
    pub fn add_refusals(&self, more: RuleRefusals) {
        let refusals = &mut self.state.lock().unwrap_or_else(PoisonError::into_inner).refusals;
        refusals.admin_rule += more.admin_rule;
        refusals.deactivation_limit += more.deactivation_limit;
    }

    /// The refusals until now.
    pub fn refusals(&self) -> RuleRefusals {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refusals
    }

    /// What was counted until now.
    pub fn usage(&self) -> Usage {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_side_by_side_are_one_round() {
        let meter = Meter::default();
        let (a, b) = (meter.begin(), meter.begin());
        meter.end(b, Direction::Read, 0.5);
        // Begun while `a` is still under way, but after `b` ended: it had to wait for `b`.
        let c = meter.begin();
        meter.end(a, Direction::Read, 1.0);
        meter.end(c, Direction::Write, 2.0);
        assert_eq!(meter.usage(), Usage { calls: 3, rounds: 2, read_units: 1.5, write_units: 2.0 });
    }
}
