//! What cursors need of the table: the key that signs a tenant's cursors, and the sort keys at which sorted
//! lists continue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use uuid::Uuid;

use super::Store;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, number, text};
use super::keys::{self, TenantId};
use super::transaction::Action;
use crate::clock;
use crate::limits::{CURSOR_TIMEOUT_SECONDS, MAX_CURSOR_KEYS_KEPT};
use crate::scim::sort::SortKey;

/// The secret that signs the cursors of one tenant.
pub type CursorKey = [u8; 32];

/// The keys that this process has read.
#[derive(Clone, Debug, Default)]
pub struct CursorKeys(Arc<Mutex<HashMap<TenantId, KnownCursorKey>>>);

#[derive(Clone, Copy, Debug)]
struct KnownCursorKey {
    key: CursorKey,
    /// When the key was read, in seconds since 1970.
    read_at: u64,
}

impl CursorKeys {
    /// Returns the key if it was read within the life of a cursor. A tenant that was deleted and created
    /// again has another key.
    fn get(&self, tenant: &TenantId) -> Option<CursorKey> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.get(tenant)?;
        (known.read_at + CURSOR_TIMEOUT_SECONDS > clock::epoch_seconds()).then_some(known.key)
    }

    fn insert(&self, tenant: &TenantId, key: CursorKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_CURSOR_KEYS_KEPT {
            keys.clear();
        }
        keys.insert(tenant.clone(), KnownCursorKey { key, read_at: clock::epoch_seconds() });
    }
}

impl Store {
    /// Returns the key that signs the tenant's cursors. It is made with the first cursor. A process reads it
    /// once an hour.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn cursor_key(&self, known: &CursorKeys) -> Result<CursorKey, StoreError> {
        if let Some(key) = known.get(&self.tenant) {
            return Ok(key);
        }
        let key = match self.fetch_cursor_key().await? {
            Some(key) => key,
            None => self.make_cursor_key().await?,
        };
        known.insert(&self.tenant, key);
        Ok(key)
    }

    async fn fetch_cursor_key(&self) -> Result<Option<CursorKey>, StoreError> {
        let Some(item) = self.table.get(&keys::cursor_key(&self.tenant)).await? else { return Ok(None) };
        let key = item.get("secret").and_then(|secret| secret.as_b().ok());
        match key.and_then(|key| CursorKey::try_from(key.as_ref()).ok()) {
            Some(key) => Ok(Some(key)),
            None => Err(StoreError::Broken("the key of the cursors cannot be read".to_owned())),
        }
    }

    /// Makes the key. If another request made it at the same time, returns that one.
    async fn make_cursor_key(&self) -> Result<CursorKey, StoreError> {
        let mut key = CursorKey::default();
        getrandom::fill(&mut key).map_err(|error| StoreError::Broken(error.to_string()))?;
        let item = Item::from([("secret".to_owned(), AttributeValue::B(Blob::new(key)))]);
        let put =
            Action::put(keys::cursor_key(&self.tenant), item).only_if(Expression::absent(), Refusal::Exists);
        match self.table.transact(|| vec![put.clone()]).await {
            Ok(()) => Ok(key),
            Err(StoreError::Refused(_)) => self
                .fetch_cursor_key()
                .await?
                .ok_or_else(|| StoreError::Broken("the key of the cursors is gone".to_owned())),
            Err(failed) => Err(failed),
        }
    }

    /// Writes the sort key of the last resource on a page, for as long as the cursor of the next page
    /// lives. The cursor names it by `id`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn save_sort_checkpoint(&self, id: Uuid, key: &SortKey) -> Result<(), StoreError> {
        let item = Item::from([
            text("after", key.to_value().to_string()),
            number("ttl", clock::epoch_seconds() + CURSOR_TIMEOUT_SECONDS),
        ]);
        self.table.put(&keys::sort_mark(&self.tenant, id), item).await
    }

    /// Reads the sort key that a cursor names. `None` if it has expired.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_sort_checkpoint(&self, id: Uuid) -> Result<Option<SortKey>, StoreError> {
        let Some(item) = self.table.get(&keys::sort_mark(&self.tenant, id)).await? else { return Ok(None) };
        // The table removes expired items late.
        if get_number::<u64>(&item, "ttl").is_none_or(|ttl| ttl < clock::epoch_seconds()) {
            return Ok(None);
        }
        let key = get_text(&item, "after").and_then(|text| serde_json::from_str::<Value>(text).ok());
        Ok(key.as_ref().and_then(SortKey::from_value))
    }
}
