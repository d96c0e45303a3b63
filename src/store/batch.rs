//! Calls about many items: read or written in batches, what DynamoDB leaves out asked for again.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    DeleteRequest, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest,
};
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::call::Table;
use super::error::{self, StoreError};
use super::item::{Item, with_key};
use super::keys::Key;
use super::meter::Direction;
use super::retry::Attempts;
use crate::limits::{
    BATCH_GETS_AT_ONCE, BATCH_RETRIES, BATCH_WRITES_AT_ONCE, MAX_ITEMS_PER_BATCH_WRITE,
    MAX_KEYS_PER_BATCH_GET,
};

/// The error for a batch of which DynamoDB left something out at every attempt.
pub(super) fn never_read() -> StoreError {
    StoreError::Unavailable("a batch was never read whole".to_owned())
}

/// The answer to one BatchGetItem.
#[derive(Debug)]
pub(super) struct BatchAnswer {
    /// The items that exist, at most 16 MB.
    pub(super) items: Vec<Item>,
    /// The keys that DynamoDB left out. They can be asked for again.
    pub(super) left_out: Vec<Item>,
}

impl Table {
    /// Reads items, in no order; those that do not exist are left out. Any number: calls of 100
    /// run side by side.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        self.batch_get_some(keys, &[]).await
    }

    /// Reads items as [`Table::batch_get`] does, but only these attributes of each item; all of them if
    /// none is named. It costs the units of the whole items and transfers less.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn batch_get_some(&self, keys: &[Key], attributes: &[&str]) -> Result<Vec<Item>, StoreError> {
        let mut unique: Vec<&Key> = keys.iter().collect();
        unique.sort_unstable();
        unique.dedup();
        let mut items = Vec::with_capacity(unique.len());
        for some in unique.chunks(MAX_KEYS_PER_BATCH_GET * BATCH_GETS_AT_ONCE) {
            let calls =
                some.chunks(MAX_KEYS_PER_BATCH_GET).map(|chunk| self.batch_get_chunk(chunk, attributes));
            items.extend(try_join_all(calls).await?.into_iter().flatten());
        }
        Ok(items)
    }

    async fn batch_get_chunk(&self, keys: &[&Key], attributes: &[&str]) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut open: Vec<Item> = keys.iter().map(|key| with_key(key)).collect();
        let mut attempts = Attempts::new(BATCH_RETRIES);
        while attempts.start_next().await {
            let answer = self.batch_get_once(open, attributes).await?;
            found.extend(answer.items);
            if answer.left_out.is_empty() {
                return Ok(found);
            }
            open = answer.left_out;
        }
        Err(never_read())
    }

    /// Reads at most 100 items in one call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub(super) async fn batch_get_once(
        &self,
        keys: Vec<Item>,
        attributes: &[&str],
    ) -> Result<BatchAnswer, StoreError> {
        // Named by placeholders, since some of the names are reserved words.
        let placeholder = |at: usize| format!("#a{at}");
        let names: HashMap<String, String> =
            attributes.iter().enumerate().map(|(at, name)| (placeholder(at), (*name).to_owned())).collect();
        let projection: Vec<String> = (0..attributes.len()).map(placeholder).collect();
        let some = !attributes.is_empty();
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .set_projection_expression(some.then(|| projection.join(", ")))
            .set_expression_attribute_names(some.then_some(names))
            .consistent_read(true)
            .build()
            .map_err(|e| StoreError::Broken(e.to_string()))?;
        let round = self.meter.begin();
        let answer = self
            .client
            .batch_get_item()
            .request_items(&*self.name, request)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .boxed()
            .await
            .map_err(error::read)?;
        self.spent(round, Direction::Read, answer.consumed_capacity());
        let items = answer.responses.unwrap_or_default().remove(&*self.name).unwrap_or_default();
        let left_out = answer.unprocessed_keys.unwrap_or_default().remove(&*self.name);
        Ok(BatchAnswer { items, left_out: left_out.map(|rest| rest.keys).unwrap_or_default() })
    }

    /// Writes many items without conditions, in calls of 25, some side by side.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`]. Some of the items may be written then.
    pub async fn batch_put(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let put = |item: Item| {
            let put = PutRequest::builder().set_item(Some(item)).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        };
        self.batch_write(items.into_iter().map(put).collect::<Result<_, _>>()).await
    }

    /// Deletes many items. Those that do not exist are no error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`]. Some of the items may be deleted then.
    pub async fn batch_delete(&self, keys: impl IntoIterator<Item = Key>) -> Result<(), StoreError> {
        let delete = |key: Key| {
            let delete = DeleteRequest::builder().set_key(Some(with_key(&key))).build();
            delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
        };
        self.batch_write(keys.into_iter().map(delete).collect::<Result<_, _>>()).await
    }

    async fn batch_write(&self, requests: Result<Vec<WriteRequest>, BuildError>) -> Result<(), StoreError> {
        let requests = requests.map_err(|e| StoreError::Broken(e.to_string()))?;
        let chunks: Vec<Vec<WriteRequest>> =
            requests.chunks(MAX_ITEMS_PER_BATCH_WRITE).map(<[_]>::to_vec).collect();
        let calls = stream::iter(chunks).map(|chunk| self.batch_write_chunk(chunk));
        calls.buffer_unordered(BATCH_WRITES_AT_ONCE).try_collect().await
    }

    async fn batch_write_chunk(&self, mut open: Vec<WriteRequest>) -> Result<(), StoreError> {
        let mut attempts = Attempts::new(BATCH_RETRIES);
        while attempts.start_next().await {
            let round = self.meter.begin();
            let answer = self
                .client
                .batch_write_item()
                .request_items(&*self.name, open.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .boxed()
                .await;
            let answer = match answer.map_err(error::read) {
                Ok(answer) => answer,
                Err(StoreError::Conflict) => {
                    self.meter.end(round, Direction::Write, 0.0);
                    continue;
                }
                Err(failed) => return Err(failed),
            };
            self.spent(round, Direction::Write, answer.consumed_capacity());
            open = answer.unprocessed_items.unwrap_or_default().remove(&*self.name).unwrap_or_default();
            if open.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("a batch was never written whole".to_owned()))
    }
}
