//! The end of retention: deactivated accounts are erased.
//!
//! Every tombstone has an item in the `WORK#EXPIRY` partitions, which are sorted by time. So the
//! accounts to erase are found without looking at the others.

use std::cell::LazyCell;
use std::time::Instant;

use uuid::Uuid;

use super::Store;
use super::call::{Range, Table};
use super::error::StoreError;
use super::item::get_text;
use super::keys::{self, Expiry};
use crate::clock;
use crate::limits::{ERASURES_PER_PAGE, EXPIRY_SHARDS};
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::{Kind, Model};

/// The actor in the events of the accounts that are erased here.
const ACTOR: &str = "worker";

/// What a round of erasures did.
#[derive(Debug, Default)]
pub(super) struct Purges {
    /// How many accounts were erased.
    pub(super) purged: usize,
    /// Why accounts could not be erased. The others were.
    pub(super) failures: Vec<StoreError>,
}

/// Erases the deactivated accounts whose retention has ended, the oldest first, at most until `until`. An
/// account that cannot be erased does not stop the others.
pub(super) async fn purge_expired(table: &Table, until: Instant) -> Purges {
    let mut purges = Purges::default();
    let model = LazyCell::new(|| Model::new(&STANDARD, &[]));
    for shard in 0..EXPIRY_SHARDS {
        let mut range = Range {
            through: Some(keys::expiry_until(clock::epoch_seconds())),
            limit: Some(ERASURES_PER_PAGE),
            ..Range::default()
        };
        while Instant::now() < until {
            let page = match table.query(&keys::expiry_partition(shard), &range).await {
                Ok(page) => page,
                Err(failed) => {
                    purges.failures.push(failed);
                    return purges;
                }
            };
            for item in &page.items {
                if Instant::now() >= until {
                    return purges;
                }
                let sk = get_text(item, "sk").unwrap_or_default();
                let Some(expiry) = keys::parse_expiry(sk) else { continue };
                let Ok(model) = &*model else { continue };
                match purge_one(table, expiry, model).await {
                    Ok(was_there) => purges.purged += usize::from(was_there),
                    Err(failed) => purges.failures.push(failed),
                }
            }
            range.after = page.next;
            if range.after.is_none() {
                break;
            }
        }
    }
    purges
}

/// Erases one account. Returns whether it was there. An account that came back stays, and so does one that
/// was deactivated again and is kept longer.
async fn purge_one(table: &Table, expiry: Expiry, model: &Model) -> Result<bool, StoreError> {
    let Expiry { tenant, id, kept_until } = expiry;
    let key = keys::expiry(&tenant, kept_until, id);
    let request_id = Uuid::now_v7().to_string();
    let store = Store { table: table.clone(), tenant, actor: ACTOR.to_owned(), request_id };
    if let Some(found) = store.tombstones().fetch(id).await?.filter(|found| found.kept_until == kept_until) {
        let event = store.event_of_version("user.purged", &found.record, found.record.version + 1);
        match store.tombstones().purge(&found, model.of(Kind::User), &event).await {
            Ok(()) => return Ok(true),
            // It came back meanwhile.
            Err(StoreError::Refused(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    table.batch_delete([key]).await?;
    Ok(false)
}
