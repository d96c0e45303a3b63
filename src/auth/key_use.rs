//! When keys were last used, to the day.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::types::AttributeValue;

use crate::clock;
use crate::limits::MAX_KEYS_REMEMBERED;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::keys::Key;
use crate::store::transaction::{Action, Expression};

/// The day on which each key was last noted as used, as far as this process knows.
#[derive(Debug, Default)]
pub struct KeyUses(Mutex<HashMap<String, String>>);

impl KeyUses {
    /// Notes the day on which a key was last used, in its item at `place`. Writes once a day: best effort, beside
    /// the request and outside its cost.
    pub async fn note(&self, table: &Table, key_id: &str, place: &Key) {
        let today = clock::timestamp()[..10].to_owned();
        {
            let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if used.get(key_id) == Some(&today) {
                return;
            }
            if used.len() > MAX_KEYS_REMEMBERED {
                used.clear();
            }
            used.insert(key_id.to_owned(), today.clone());
        }
        if let Err(failed) = mark_used(&table.fresh(), place, &today).await {
            tracing::warn!(error = %failed, "the day of a key's use was not noted");
        }
    }
}

/// Notes that a key was used on `day` (`yyyy-mm-dd`). Writes once a day, however often it is called.
///
/// # Errors
/// [`StoreError`] if a call fails. A request need not fail because of it.
pub async fn mark_used(table: &Table, place: &Key, day: &str) -> Result<(), StoreError> {
    let actions = || {
        let update = Expression::new("SET lastUsed = :day").value(":day", AttributeValue::S(day.to_owned()));
        let news = "attribute_not_exists(lastUsed) OR lastUsed < :day";
        vec![Action::update(place.clone(), update).only_if(Expression::new(news), Refusal::Changed)]
    };
    match table.transact(actions).await {
        Err(StoreError::Refused(_)) => Ok(()),
        outcome => outcome,
    }
}
