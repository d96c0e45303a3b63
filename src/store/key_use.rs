//! The day on which a bearer key was last used, in the tenant's list of keys.

use aws_sdk_dynamodb::types::AttributeValue;

use super::call::Table;
use super::error::{Refusal, StoreError};
use super::keys::{self, TenantId};
use super::transaction::{Action, Expression};

/// Notes that a key was used on a day (`yyyy-mm-dd`), unless that or a later day is noted.
///
/// # Errors
/// As every call.
pub async fn note(table: &Table, tenant: &TenantId, key_id: &str, day: &str) -> Result<(), StoreError> {
    let update = Expression::new("SET lastUsed = :day").value(":day", AttributeValue::S(day.to_owned()));
    let later =
        Expression::new("attribute_exists(pk) AND (attribute_not_exists(lastUsed) OR lastUsed < :day)");
    let noted = table
        .transact(|| {
            vec![
                Action::update(keys::bearer_listing(tenant, key_id), update.clone())
                    .only_if(later.clone(), Refusal::Changed),
            ]
        })
        .await;
    match noted {
        // Noted already, or a key of the time before keys were listed.
        Err(StoreError::Refused(_)) => Ok(()),
        other => other,
    }
}
