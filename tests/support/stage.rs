//! Scenarios that are played twice: on a table that shows transactions at once, and under torn ones.
#![allow(dead_code, unused_imports, unused_macros)]

use rollcall::store::call::Table;

use super::torn::Tearing;
use super::{Embedded, serve, serve_torn};

/// The seeds that scenarios are played with under torn transactions.
pub const SEEDS: [u64; 3] = [1, 2, 3];

/// On which table a scenario is played.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The items of a transaction are visible together.
    Whole,
    /// They become visible one by one, in the orders of this seed.
    Torn(u64),
}

impl Stage {
    /// A new table, empty and in memory, with its address.
    pub async fn serve(self) -> Embedded {
        match self {
            Self::Whole => serve().await,
            Self::Torn(seed) => serve_torn(Tearing::short(seed)).await.1,
        }
    }

    /// A new table, empty and in memory.
    pub async fn table(self) -> Table {
        self.serve().await.table
    }

    /// How often something is repeated that is repeated so often on a whole table: less under torn
    /// transactions, which take their time.
    pub fn times(self, whole: usize, torn: usize) -> usize {
        match self {
            Self::Whole => whole,
            Self::Torn(_) => torn,
        }
    }
}

/// Makes tests of scenarios: `name::whole` and `name::torn` of `async fn name(stage: Stage)`.
macro_rules! play {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::stage::{SEEDS, Stage};

            #[tokio::test]
            async fn whole() {
                Box::pin(super::$name(Stage::Whole)).await;
            }

            #[tokio::test]
            async fn torn() {
                for seed in SEEDS {
                    Box::pin(super::$name(Stage::Torn(seed))).await;
                }
            }
        }
    )+ };
}
pub(crate) use play;
