//! What a request cost the table: calls, rounds and capacity units.

use std::sync::{Mutex, PoisonError};

/// The cost of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Calls to DynamoDB.
    pub calls: u32,
    /// Calls that had to follow one another: the longest chain.
    pub rounds: u32,
    /// Read units as DynamoDB reports them.
    pub read_units: f64,
    /// Write units as DynamoDB reports them.
    pub write_units: f64,
}

/// Counts what one request costs. A call's round is one more than the latest round that was
/// finished when it began, so calls that run side by side share a round whichever ends first.
#[derive(Debug, Default)]
pub struct Meter {
    usage: Mutex<(Usage, u32)>,
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
    /// A call begins; its round.
    pub fn begin(&self) -> u32 {
        let mut inner = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.calls += 1;
        let round = inner.1 + 1;
        inner.0.rounds = inner.0.rounds.max(round);
        round
    }

    /// A call of this round has ended, with the units that it was charged.
    pub fn end(&self, round: u32, direction: Direction, units: f64) {
        let mut inner = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1 = inner.1.max(round);
        match direction {
            Direction::Read => inner.0.read_units += units,
            Direction::Write => inner.0.write_units += units,
        }
    }

    /// What was counted until now.
    pub fn usage(&self) -> Usage {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).0
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
