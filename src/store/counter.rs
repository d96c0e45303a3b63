//! Counters: how many users and groups a tenant has, and how many of its users are inactive. Each is
//! spread over shards, which are items of their own.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Store;
use super::error::StoreError;
use super::expression::Expression;
use super::item::{get_number, get_text};
use super::keys::{self, Key, TenantId};
use super::record::Record;
use super::retry::random_below;
use super::transaction::Action;
use crate::limits::COUNTER_SHARDS;
use crate::scim::resource_type::Kind;

/// The action that adds `by` to the counter of a kind. It takes a random shard, so that another attempt
/// takes another one.
pub(super) fn count_resource(tenant: &TenantId, kind: Kind, by: i64) -> Action {
    count_on_shard(tenant, random_shard(), kind, by)
}

/// The action that adds to one shard of the counter of a kind.
pub fn count_on_shard(tenant: &TenantId, shard: u8, kind: Kind, by: i64) -> Action {
    add(keys::counter(tenant, kind, shard), by)
}

/// The action that corrects the counter of inactive users after a change of a resource. `None` if the
/// number of inactive users stays the same. `before` is `None` for a resource that is created, `after` for
/// one that is deleted.
pub(super) fn count_inactive(
    tenant: &TenantId,
    before: Option<&Record>,
    after: Option<&Record>,
) -> Option<Action> {
    let inactive = |record: Option<&Record>| {
        i64::from(record.is_some_and(|record| record.kind == Kind::User && !record.is_active()))
    };
    let by = inactive(after) - inactive(before);
    (by != 0).then(|| add(keys::inactive_counter(tenant, random_shard()), by))
}

fn random_shard() -> u8 {
    u8::try_from(random_below(COUNTER_SHARDS)).unwrap_or(0)
}

/// The action that adds `by` to a shard of a counter.
pub fn add(counter: Key, by: i64) -> Action {
    Action::update(counter, Expression::update().add("n", AttributeValue::N(by.to_string())))
}

impl Store {
    /// Counts the resources of a kind. The number is exact: the sum of the counter's shards.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn total(&self, kind: Kind) -> Result<u64, StoreError> {
        let shards =
            self.table.query_all(&keys::counters(&self.tenant), Some(&format!("{}#", kind.name()))).await?;
        let total: i64 = shards.iter().filter_map(|item| get_number::<i64>(item, "n")).sum();
        Ok(u64::try_from(total).unwrap_or(0))
    }

    /// Counts the active users: all users less the inactive ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn count_active_users(&self) -> Result<u64, StoreError> {
        let counters = self.table.query_all(&keys::counters(&self.tenant), None).await?;
        let users = format!("{}#", Kind::User.name());
        let sum: i64 = counters
            .iter()
            .filter_map(|item| {
                let (shard, n) = (get_text(item, "sk")?, get_number::<i64>(item, "n")?);
                match shard {
                    _ if shard.starts_with(&users) => Some(n),
                    _ if shard.starts_with(keys::INACTIVE) => Some(-n),
                    _ => None,
                }
            })
            .sum();
        Ok(u64::try_from(sum).unwrap_or(0))
    }
}
