//! Tests of webhooks that applications ask for. The worker sends them, since only it may read the secrets.
//!
//! A webhook has at most one test. A new request replaces the one before it.

use aws_sdk_dynamodb::types::AttributeValue;

use super::call::Table;
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, must_text, text};
use super::keys;
use super::transaction::Action;
use crate::limits::MAX_DELIVERY_ERROR_CHARS;

/// A test that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTest {
    /// The id of the webhook.
    pub webhook: String,
    /// Its own id, which the id of its message holds.
    pub id: String,
    /// When it was asked for, in RFC 3339.
    pub requested: String,
    /// What came of it. `None` until the worker has sent it.
    pub result: Option<WebhookTestResult>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTestResult {
    /// When the attempt ended, in RFC 3339.
    pub finished: String,
    /// The status that the receiver answered.
    pub status: Option<u16>,
    /// Why the attempt failed. `None` if the receiver took the message.
    pub error: Option<String>,
}

impl WebhookTest {
    fn from_item(item: &Item) -> Result<Self, StoreError> {
        let result = get_text(item, "finished").map(|finished| WebhookTestResult {
            finished: finished.to_owned(),
            status: get_number(item, "status"),
            error: get_text(item, "error").map(str::to_owned),
        });
        Ok(Self {
            webhook: must_text(item, "sk")?.to_owned(),
            id: must_text(item, "id")?.to_owned(),
            requested: must_text(item, "requested")?.to_owned(),
            result,
        })
    }

    /// The actions that write this request in place of an earlier one. They are refused as [`Refusal::Gone`] if
    /// there is no such webhook.
    pub fn write(&self) -> [Action; 2] {
        let item = Item::from([text("id", &self.id), text("requested", &self.requested)]);
        let webhook = Action::check(keys::webhook(&self.webhook), Expression::exists(), Refusal::Gone);
        [webhook, Action::put(keys::webhook_test(&self.webhook), item)]
    }

    /// The action that deletes the test of a webhook.
    pub fn delete(webhook: &str) -> Action {
        Action::delete(keys::webhook_test(webhook))
    }

    /// Reads the test of a webhook.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(table: &Table, webhook: &str) -> Result<Option<Self>, StoreError> {
        table.get(&keys::webhook_test(webhook)).await?.as_ref().map(Self::from_item).transpose()
    }

    /// Reads the tests of all webhooks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list(table: &Table) -> Result<Vec<Self>, StoreError> {
        table.query_all(keys::WEBHOOK_TESTS, None).await?.iter().map(Self::from_item).collect()
    }

    /// Writes what came of the test, unless another one was asked for meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn finish(&self, table: &Table, result: &WebhookTestResult) -> Result<(), StoreError> {
        let mut update = Expression::update().set("finished", AttributeValue::S(result.finished.clone()));
        if let Some(status) = result.status {
            update = update.set("status", AttributeValue::N(status.to_string()));
        }
        if let Some(error) = &result.error {
            let error: String = error.chars().take(MAX_DELIVERY_ERROR_CHARS).collect();
            update = update.set("error", AttributeValue::S(error));
        }
        let is_same = Expression::equals("id", AttributeValue::S(self.id.clone()));
        let action = Action::update(keys::webhook_test(&self.webhook), update);
        let action = action.only_if(is_same, Refusal::Changed);
        match table.transact(|| vec![action.clone()]).await {
            Err(StoreError::Refused(_)) => Ok(()),
            outcome => outcome,
        }
    }
}
