//! Scenarios that are played twice: on a table that shows transactions at once, and under torn ones.
#![allow(dead_code, unused_imports, unused_macros)]

use std::time::Duration;

use rollcall::store::call::Table;

use super::client::Client;
use super::racing::rounds;
use super::torn::Tearing;
use super::{Embedded, serve, serve_torn};

/// The seeds that scenarios are played with under torn transactions. `make test-long` sets TORN_SEEDS=8.
pub fn torn_seeds() -> std::ops::RangeInclusive<u64> {
    let asked = std::env::var("TORN_SEEDS").ok();
    1..=asked.map_or(1, |text| text.parse().expect("TORN_SEEDS is a number"))
}

/// On which table a scenario is played.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The items of a transaction are visible together.
    Whole,
    /// They become visible one by one, in the orders of this seed.
    Torn(u64),
}

impl Stage {
    /// A new table, empty and in memory.
    pub async fn table(self) -> Table {
        let embedded = self.serve().await;
        embedded.tear(self.tearing()).await;
        embedded.table
    }

    /// A client of a new table, with this number of users and their ids in order. They are made before
    /// anything is torn.
    pub async fn client_with_users(self, policy: &'static str, users: usize) -> (Client, Vec<String>) {
        let embedded = self.serve().await;
        let client = Client::new(embedded.table.clone(), policy).await;
        let ids = client.users(0..users).await;
        embedded.tear(self.tearing()).await;
        (client, ids)
    }

    /// A new table, empty and in memory. Nothing is torn before [`Embedded::tear`].
    pub async fn serve(self) -> Embedded {
        match self {
            Self::Whole => serve().await,
            Self::Torn(_) => serve_torn(None).await,
        }
    }

    /// How transactions are torn: the higher the seed, the longer.
    pub fn tearing(self) -> Tearing {
        let Self::Torn(seed) = self else { return Tearing::short(0) };
        Tearing { longest: Duration::from_millis(4 << (seed % 4)), ..Tearing::short(seed) }
    }

    /// How often a race is run.
    pub fn rounds(self) -> usize {
        if self.is_torn() { rounds() / 20 } else { rounds() }
    }

    /// How many seeds of its own a scenario plays. `make test-long` sets WALK_SEEDS=12.
    pub fn runs(self) -> u64 {
        let asked = std::env::var("WALK_SEEDS").ok();
        let whole = asked.map_or(4, |text| text.parse().expect("WALK_SEEDS is a number"));
        if self.is_torn() { 1 } else { whole }
    }

    /// Whether transactions are torn: then everything takes its time, and some orders never occur.
    pub fn is_torn(self) -> bool {
        matches!(self, Self::Torn(_))
    }
}

/// Makes tests of scenarios: `name::whole` and `name::torn` of `async fn name(stage: Stage)`. The attribute
/// of the tests may come before the names.
macro_rules! play {
    (#[$test:meta] $($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::stage::{Stage, torn_seeds};

            #[$test]
            async fn whole() {
                Box::pin(super::$name(Stage::Whole)).await;
            }

            #[$test]
            async fn torn() {
                for seed in torn_seeds() {
                    Box::pin(super::$name(Stage::Torn(seed))).await;
                }
            }
        }
    )+ };
    ($($name:ident),+ $(,)?) => {
        $crate::support::stage::play!(#[tokio::test] $($name),+);
    };
}
pub(crate) use play;
