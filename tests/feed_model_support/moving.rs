//! A tenant that moves to this deployment with its ids, beside all other work.

use std::time::{Duration, Instant};

use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::transfer::export::export;
use rollcall::admin::transfer::import::Fate;
use rollcall::admin::transfer::move_in::move_in;
use rollcall::clock;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;

use super::{Dice, MOVED};

/// A tenant as a file.
pub async fn export_tenant(table: &Table, name: &str) -> String {
    let mut file = Vec::new();
    export(&table.fresh(), &name.parse().unwrap(), &mut file, &|_| ()).await.expect("an export");
    String::from_utf8(file).unwrap()
}

/// Imports the file with ids into a new tenant, somewhere in the work. The import dies at random steps, and is run
/// again until it ends.
pub async fn import_tenant(table: Table, file: String, until: Instant, mut dice: Dice) {
    let rest = until.saturating_duration_since(Instant::now()).mul_f64(dice.roll(60) as f64 / 100.0);
    tokio::time::sleep(rest).await;
    let id = MOVED.parse().unwrap();
    let new = NewTenant::new(&id, &VEZA, &"m".repeat(40));
    tenant::create(&table.fresh(), &new, clock::now()).await.expect("a tenant");
    for attempt in 1.. {
        // Each run has more time than the one before.
        let lifetime = Duration::from_millis((100 + dice.roll(400) as u64) * attempt);
        let fresh = table.fresh();
        let run = move_in(&fresh, &id, &file, false, &|_| ());
        let run = clock::with_seconds_ahead(dice.seconds_ahead(), run);
        if let Ok(done) = tokio::time::timeout(lifetime, run).await {
            let lines = done.expect("an import");
            let refused: Vec<_> = lines.iter().filter(|line| line.fate == Fate::Refused).collect();
            assert!(refused.is_empty(), "{refused:?}");
            return;
        }
    }
}
