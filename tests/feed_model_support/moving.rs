//! A tenant that moves to this deployment with its ids, beside all other work.

use std::time::Duration;

use rollcall::admin::progress::Progress;
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::transfer::export::export;
use rollcall::admin::transfer::import::Fate;
use rollcall::admin::transfer::move_in::move_in;
use rollcall::clock;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;

use super::ending::Ending;
use super::{Dice, MOVED, TEAR};

/// A tenant as a file.
pub async fn export_tenant(table: &Table, name: &str) -> String {
    let mut file = Vec::new();
    export(&table.fresh(), &name.parse().unwrap(), &mut file, &Progress::hidden()).await.expect("an export");
    String::from_utf8(file).unwrap()
}

/// Imports the file with ids into a new tenant, somewhere in the work. The import dies at random steps, and is run
/// again until it ends. A run may also fail because what the run before has written is visible in part.
pub async fn import_tenant(table: Table, file: String, ending: Ending, mut dice: Dice) {
    let rest = ending.shortest_rest().mul_f64(dice.roll(60) as f64 / 100.0);
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
        match tokio::time::timeout(lifetime, run).await {
            Err(_) => {}
            Ok(Ok(lines)) => {
                let mut refused = lines.iter().filter(|line| line.fate == Fate::Refused);
                let Some(refused) = refused.next() else { return };
                assert!(attempt < 40, "the import never ends: {refused:?}");
            }
            Ok(Err(error)) if error.to_string().contains("has ended already") => return,
            Ok(Err(error)) => assert!(attempt < 40, "the import never ends: {error}"),
        }
        tokio::time::sleep(TEAR).await;
    }
}
