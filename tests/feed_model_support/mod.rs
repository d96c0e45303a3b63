//! The parts of the model of the change feed.
#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod chaos;
pub mod clients;
pub mod ending;
pub mod mirror;
pub mod moving;
pub mod place;
pub mod readable;
pub mod receiver;
pub mod writer;

use std::time::Duration;

/// The longest tear of a transaction.
pub const TEAR: Duration = Duration::from_millis(2_000);
/// The names that tenants may have. The first tenant is exported, and the last one is made again and again.
const TENANTS: [&str; 8] = ["acme", "acme-2", "zeta", "beta", "gamma", "delta", "kappa", "omega"];
/// A tenant that is imported with its ids.
pub const MOVED: &str = "moved";
/// How many people each tenant begins with.
pub const PEOPLE: usize = 60;
/// How many groups each tenant begins with.
pub const GROUPS: usize = 4;

/// Random numbers that a seed decides.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below
    }

    /// Other dice, for another task.
    pub fn split(&mut self) -> Self {
        self.roll(2);
        Self(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    /// The tenants, beginning with any of them.
    pub fn shuffle_tenants(&mut self) -> Vec<&'static str> {
        let mut all = tenants().to_vec();
        all.rotate_left(self.roll(tenants().len()));
        all
    }

    /// How many seconds the clock of a process is ahead. Two clocks differ by five seconds at most.
    pub fn seconds_ahead(&mut self) -> i64 {
        [-2, -1, 0, 0, 1, 2, 3][self.roll(7)]
    }
}

/// The tenants: FEED_TENANTS, or three.
pub fn tenants() -> &'static [&'static str] {
    let count = usize::try_from(setting("FEED_TENANTS", 3)).unwrap();
    &TENANTS[..count]
}

/// A setting of the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}
