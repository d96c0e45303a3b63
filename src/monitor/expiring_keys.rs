//! How many keys end soon and have no successor.
//!
//! - A key of a tenant has a successor if another key of the same tenant, name, scope and user lives longer. So a
//!   rotation makes one, and so does a new key of the same name.
//! - A key of an application has a successor if another one of the same name and scope lives longer.
//! - A secret of a client has a successor if another one of the client lives longer.
//! - A secret of a webhook only ends after a rotation has made its successor. So none is counted.
//!
//! The count reads each tenant's list of keys, and each key. 10,000 tenants with two keys each are about 30,000 read
//! units and 10,300 calls a day, 0.12 USD a month. They are read a few at a time.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use time::{Duration, OffsetDateTime};

use crate::auth::application::ApplicationRecord;
use crate::auth::client::ClientRecord;
use crate::auth::record::{KeyListing, KeyRecord, Status};
use crate::limits::{EXPIRING_KEY_DAYS, TENANTS_COUNTED_AT_ONCE};
use crate::store::call::{Range, Table};
use crate::store::error::StoreError;
use crate::store::item::must_text;
use crate::store::keys::{self, Key, TenantId};

/// Until when a key is in force.
struct LifeOfKey<I> {
    /// What its successor has in common with it.
    identity: I,
    expires: Option<OffsetDateTime>,
}

/// Counts the keys of all tenants and applications that are in force, end within [`EXPIRING_KEY_DAYS`] and have no
/// successor.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn count(table: &Table, now: OffsetDateTime) -> Result<usize, StoreError> {
    let mut found = count_applications(table, now).await?;
    let mut range = Range::default();
    loop {
        let page = table.query(keys::TENANTS, &range).await?;
        let tenants: Vec<TenantId> =
            page.items.iter().filter_map(|listing| must_text(listing, "sk").ok()?.parse().ok()).collect();
        let counts = stream::iter(tenants).map(|tenant| count_of_tenant(table, tenant, now));
        let counts: Vec<usize> = counts.buffer_unordered(TENANTS_COUNTED_AT_ONCE).try_collect().await?;
        found += counts.iter().sum::<usize>();
        match page.next {
            Some(next) => range.after = Some(next),
            None => return Ok(found),
        }
    }
}

async fn count_of_tenant(table: &Table, tenant: TenantId, now: OffsetDateTime) -> Result<usize, StoreError> {
    let listed = table.query_all(&keys::tenant_partition(&tenant), Some(keys::BEARER_LISTING)).await?;
    let listing: Vec<_> = listed.iter().map(KeyListing::from_item).filter_map(if_readable).collect();
    let places: Vec<Key> = listing.iter().map(|entry| keys::bearer(entry.hash.as_str())).collect();
    let items = table.batch_get(&places).await?;
    let records = items.iter().map(KeyRecord::from_item).filter_map(if_readable);
    let active = records.filter(|key| key.status == Status::Active && key.tenant == tenant);
    let lives = active
        .map(|key| LifeOfKey { identity: (key.name, key.scope.name(), key.user), expires: key.expires })
        .collect::<Vec<_>>();
    Ok(count_ending(&lives, now) + count_clients(table, &tenant, now).await?)
}

/// Counts the clients of a tenant whose last secret ends soon.
async fn count_clients(table: &Table, tenant: &TenantId, now: OffsetDateTime) -> Result<usize, StoreError> {
    let prefix = keys::oauth::CLIENT_LISTING;
    let listed = table.query_all(&keys::tenant_partition(tenant), Some(prefix)).await?;
    let mut places: Vec<Key> = Vec::with_capacity(listed.len());
    for entry in &listed {
        let id = must_text(entry, "sk")?.strip_prefix(prefix).unwrap_or_default();
        places.push(keys::oauth::client(id));
    }
    let items = table.batch_get(&places).await?;
    let clients: Vec<_> = items.iter().map(ClientRecord::from_item).filter_map(if_readable).collect();
    let active = clients.iter().filter(|client| client.status == Status::Active && client.tenant == *tenant);
    let lives = active.flat_map(|client| {
        let secrets = client.proof.secrets().iter();
        secrets.map(|secret| LifeOfKey { identity: client.id.as_str(), expires: Some(secret.expires) })
    });
    Ok(count_ending(&lives.collect::<Vec<_>>(), now))
}

async fn count_applications(table: &Table, now: OffsetDateTime) -> Result<usize, StoreError> {
    let listing = table.query_all(keys::APPLICATIONS, None).await?;
    let hashes = listing.iter().map(|entry| must_text(entry, "hash")).filter_map(if_readable);
    let places: Vec<Key> = hashes.map(keys::application).collect();
    let items = table.batch_get(&places).await?;
    let records = items.iter().map(ApplicationRecord::from_item).filter_map(if_readable);
    let active = records.filter(|key| key.status == Status::Active);
    let lives = active
        .map(|key| LifeOfKey { identity: (key.name, key.scope.name()), expires: key.expires })
        .collect::<Vec<_>>();
    Ok(count_ending(&lives, now))
}

/// What was read. An item that cannot be read opens nothing. It is logged, and does not hide the others.
fn if_readable<T>(read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|failed| tracing::error!(error = %failed, "a key that cannot be read was not counted"))
        .ok()
}

/// How many of these keys end soon and have no successor among them.
fn count_ending<I: PartialEq>(keys: &[LifeOfKey<I>], now: OffsetDateTime) -> usize {
    let soon = now + Duration::days(EXPIRING_KEY_DAYS);
    let ends_soon = |key: &&LifeOfKey<I>| key.expires.is_some_and(|expires| expires > now && expires <= soon);
    let lives_longer = |other: &LifeOfKey<I>, key: &LifeOfKey<I>| match (other.expires, key.expires) {
        (None, Some(_)) => true,
        (Some(other), Some(end)) => other > end,
        (_, None) => false,
    };
    let has_successor = |key: &LifeOfKey<I>| {
        keys.iter().any(|other| other.identity == key.identity && lives_longer(other, key))
    };
    keys.iter().filter(ends_soon).filter(|key| !has_successor(key)).count()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn keys_that_end_soon_count_unless_another_one_of_their_identity_goes_on() {
        let now = datetime!(2026-11-26 06:00 UTC);
        let life = |identity, days: Option<i64>| LifeOfKey {
            identity,
            expires: days.map(|days| now + Duration::days(days)),
        };
        for (keys, count) in [
            (vec![], 0),
            (vec![life("a", None)], 0),
            (vec![life("a", Some(15))], 0),
            (vec![life("a", Some(-1))], 0),
            (vec![life("a", Some(0))], 0),
            (vec![life("a", Some(14))], 1),
            (vec![life("a", Some(1)), life("b", Some(2))], 2),
            (vec![life("a", Some(1)), life("a", None)], 0),
            (vec![life("a", Some(1)), life("a", Some(15))], 0),
            (vec![life("a", Some(1)), life("a", Some(9))], 1),
            (vec![life("a", Some(1)), life("b", None)], 1),
        ] {
            assert_eq!(count_ending(&keys, now), count);
        }
    }
}
